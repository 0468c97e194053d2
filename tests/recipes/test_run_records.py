"""What recipes with many runs share: names and records of runs, runs side by side, the published page."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.results_page import ResultsPage
from recipes.run_records import digest_of, in_parallel, plain, read_record, record_of, write_record
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.results import Record, read_results

ROOT = Path(__file__).parents[2]


def double(number: int) -> str:
    return str(2 * number)


def test_names_that_differ_stay_different_and_depend_on_all_that_is_given() -> None:
    assert plain("a, b") != plain("a  b")
    assert all(letter.isalnum() or letter == "-" for letter in plain("a, b/../c"))
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1, "b": 3})


def test_a_record_is_read_back_and_a_damaged_one_names_its_stage(tmp_path: Path) -> None:
    file = record_of(tmp_path / "deep" / "run.0-abc")
    assert file.name == "run.0-abc.json"
    write_record(file, {"wall_s": 1.5})
    assert read_record(file, 3) == {"wall_s": 1.5}
    file.write_text("{")
    with pytest.raises(InputError, match="run stage 3 again"):
        read_record(file, 3)


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_work_is_done_in_order(jobs: int, capsys) -> None:
    in_parallel(double, [1, 2, 3], jobs)
    assert capsys.readouterr().out.split("\n")[:3] == ["2 (1 of 3)", "4 (2 of 3)", "6 (3 of 3)"]
    in_parallel(double, [], jobs)
    assert "all done already" in capsys.readouterr().out


def test_workers_end_when_the_sweep_is_killed(tmp_path: Path) -> None:
    (tmp_path / "sweep.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from recipes.run_records import in_parallel\n"
        "def work(path):\n"
        "    Path(path).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        f"    in_parallel(work, [{str(tmp_path / 'one')!r}, {str(tmp_path / 'two')!r}], 2)\n"
    )
    sweep = subprocess.Popen([sys.executable, tmp_path / "sweep.py"], env=os.environ | {"PYTHONPATH": str(ROOT)})
    places = [tmp_path / "one", tmp_path / "two"]
    until = time.monotonic() + 60
    while not all(place.is_file() and place.read_text() for place in places):
        assert time.monotonic() < until
        time.sleep(0.1)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    workers = [int(place.read_text()) for place in places]
    while any(_runs(worker) for worker in workers):
        assert time.monotonic() < until, "workers go on without their parent"
        time.sleep(0.1)


def _runs(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False


def test_published_records_replace_those_of_their_corpus_only(tmp_path: Path) -> None:
    def record(corpus: str, value: float, system: str = "a") -> Record:
        return Record(recipe="r", corpus=corpus, system=system, metric="accuracy", value=value)

    def sections(records, corpus: str) -> list[str]:
        return [f"## {corpus}: " + ", ".join(str(each.value) for each in records if each.corpus == corpus)]

    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "discussion.md").write_text("What it means.")
    (tmp_path / "figures").mkdir()
    made = tmp_path / "made"
    made.mkdir()
    (made / "real-tsne.png").write_bytes(b"picture")
    page = ResultsPage(tmp_path, "Results", "run.sh", sections, {"tsne": "a picture"})
    page.publish([record("real", 1.0), record("real", 2.0, "gone")], made)
    page.publish([record("synthetic", 9.0)], made)
    page.publish([record("real", 3.0)], made)
    assert [(each.corpus, each.value) for each in read_results(tmp_path / "results.json")] == [
        ("real", 3.0),
        ("synthetic", 9.0),
    ]
    text = (tmp_path / "RESULTS.md").read_text()
    assert "What it means.\n\n## real: 3.0\n\n![a picture](figures/real-tsne.png)\n\n## synthetic: 9.0" in text
    assert (tmp_path / "figures" / "real-tsne.png").read_bytes() == b"picture"
