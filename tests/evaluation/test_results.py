import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.results import (
    Record,
    TableSpec,
    environment,
    peak_mb,
    read_results,
    render_results,
    write_results,
)
from speechnlp_tl.evaluation.results import duration as text_of_duration


def record(**fields):
    return Record(**({"recipe": "sa", "corpus": "fsdd", "system": "kld", "metric": "wer", "value": 5.0} | fields))


NUMBER = st.floats(0, 100)


@settings(max_examples=30)
@given(
    st.lists(
        st.builds(
            record,
            system=st.text(min_size=1, max_size=5),
            budget=st.none() | st.integers(0, 50) | st.floats(0, 9) | st.sampled_from(["all"]),
            value=NUMBER,
            ci95=st.none() | st.tuples(NUMBER, NUMBER).map(sorted),
            seeds=st.none() | st.integers(1, 5),
            synthetic=st.booleans(),
        ),
        unique_by=lambda one: (one.system, one.budget, one.synthetic),
    )
)
def test_written_records_are_read_back_and_their_order_does_not_matter(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("results")
    write_results(folder / "a.json", records)
    write_results(folder / "b.json", reversed(records))
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()
    assert sorted(read_results(folder / "a.json"), key=repr) == sorted(records, key=repr)


def test_absent_fields_are_left_out_and_budgets_stand_in_order(tmp_path):
    write_results(tmp_path / "r.json", [record(budget=10), record(budget=3)])
    rows = json.loads((tmp_path / "r.json").read_text())
    assert [row["budget"] for row in rows] == [3, 10]
    assert set(rows[0]) == {"recipe", "corpus", "synthetic", "system", "budget", "metric", "value"}


@pytest.mark.parametrize(
    "fields",
    [{"colour": 1}, {"value": "5"}, {"value": float("nan")}, {"n": 1.5}, {"synthetic": 1}, {"ci95": [3.0, 1.0]}],
)
def test_a_malformed_record_is_refused(fields):
    with pytest.raises(ValidationError):
        record(**fields)


def test_every_problem_of_a_results_file_is_listed(tmp_path):
    path = tmp_path / "results.json"
    good = {"recipe": "r", "corpus": "c", "system": "s", "metric": "wer", "value": 1.0}
    path.write_text(json.dumps([good, good, {**good, "value": "x", "extra": 1}, {"recipe": "r"}, 3]))
    with pytest.raises(InputError) as caught:
        read_results(path)
    text = str(caught.value)
    for expected in (
        "record 3: value",
        "record 3: extra",
        "record 4: corpus",
        "record 5",
        "two records for r, c, s, wer",
    ):
        assert expected in text


@pytest.mark.parametrize("content", ["{", "{}", "[1"])
def test_what_is_no_list_of_records_is_refused(tmp_path, content):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(InputError, match=r"results\.json"):
        read_results(tmp_path / "results.json")


def test_two_records_for_one_thing_are_not_written(tmp_path):
    with pytest.raises(InputError, match="two records"):
        write_results(tmp_path / "r.json", [record(value=1.0), record(value=2.0)])
    assert list(tmp_path.iterdir()) == []


def test_results_open_with_the_command_and_the_environment():
    text = render_results(
        [record(wall_s=125.0, peak_mb=812.4, commit="abc")],
        "Speaker adaptation",
        "recipes/speaker_adaptation/run.sh --corpus fsdd",
        {"commit": "def", "cpu": "Some CPU"},
        [TableSpec("WER")],
        "What was done.",
    )
    head, _, rest = text.partition("## WER")
    assert head.index("recipes/speaker_adaptation/run.sh") < head.index("Some CPU") < head.index("What was done.")
    assert "measured at: abc" in head
    assert "longest run: 2 min 5 s" in head
    assert "peak memory: 812 MB" in head
    assert "| kld | 5.00 |" in rest


def test_problems_of_all_tables_are_listed_at_once():
    tables = [TableSpec("A", where={"metric": "bleu"}), TableSpec("B", where={"corpus": "an4"})]
    with pytest.raises(InputError) as caught:
        render_results([record()], "T", "make", {}, tables)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(("seconds", "text"), [(3.14, "3.1 s"), (41, "41 s"), (425, "7 min 5 s"), (7800, "2 h 10 min")])
def test_durations_are_readable(seconds, text):
    assert text_of_duration(seconds) == text


def test_environment_names_versions_and_processor_but_no_machine():
    facts = environment()
    assert {"python", "torch", "numpy", "cpu", "cores", "system"} <= set(facts)
    assert facts["cores"] >= 1
    text = json.dumps(facts)
    assert os.uname().nodename not in text
    assert str(Path.cwd()) not in text


def test_peak_memory_counts_what_was_held():
    code = (
        "from speechnlp_tl.evaluation.environment import peak_mb\n"
        "before = peak_mb(); block = b'x' * 200_000_000; del block; print(peak_mb() - before)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(output) == pytest.approx(200, abs=15)
    assert peak_mb() > 5
