import base64
import json
import re
from html.parser import HTMLParser

import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.experiment import read_experiments
from speechnlp_tl.evaluation.plots import Series, adaptation_curve, save
from speechnlp_tl.evaluation.report import build_report
from speechnlp_tl.evaluation.results import Record, write_results
from speechnlp_tl.evaluation.summary import summarise

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "img"}


def make_experiment(folder, name="kld"):
    experiment = folder / name
    experiment.mkdir(parents=True)
    reference = {"a-1": ["one", "two"], "a-2": ["three"], "b-1": [EVIL, "four"], "b-2": []}
    hypothesis = {"a-1": ["one", "too"], "a-2": ["three", "uh"], "b-2": []}
    speakers = {utterance: utterance[0] for utterance in reference}
    for file, texts in (("ref", reference), ("hyp", hypothesis)):
        lines = (" ".join([utterance, *words]) for utterance, words in texts.items())
        (experiment / file).write_text("\n".join(lines) + "\n")
    (experiment / "utt2spk").write_text("".join(f"{utterance} {s}\n" for utterance, s in speakers.items()))
    scores = summarise(reference, hypothesis, speakers, baseline={}).to_json()
    (experiment / "scores.json").write_text(json.dumps(scores))
    lines = [json.dumps({"step": step, "loss": 1 / step}) for step in range(1, 9)]
    (experiment / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 9, "lo')
    (experiment / "config.yaml").write_text(f"name: '{EVIL}'\n")
    (experiment / "environment.json").write_text(json.dumps({"commit": "abc123", "cpu": EVIL, "cores": 2}))
    save(adaptation_curve([Series("kld", [1, 10], [5.0, 2.0])]), experiment / "wer_by_seconds.svg")
    records = [
        Record(
            recipe="sa", corpus=corpus, synthetic=made, system="kld", budget=budget, metric="wer", value=5.0 / budget
        )
        for corpus, made in (("fsdd", False), ("made", True))
        for budget in (1, 10)
    ]
    write_results(experiment / "results.json", records)
    return experiment


class Checker(HTMLParser):
    """Collects tags and their attributes, and checks that every element is closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parse(page):
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def test_report_is_one_well_formed_file_that_needs_nothing_beside_it(tmp_path):
    page = build_report([make_experiment(tmp_path)])
    tags = parse(page).tags
    assert {tag for tag, _ in tags}.isdisjoint({"script", "link", "iframe", "object"})
    addresses = [value for _, attributes in tags for key, value in attributes.items() if key in ("src", "href")]
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_everything_an_experiment_holds_is_shown(tmp_path):
    page = build_report([make_experiment(tmp_path)], title="Adapted & scored")
    text = " ".join(parse(page).words)
    for expected in ("Adapted & scored", "abc123", "By speaker", "Training", "Worst utterances", "Resolved config"):
        assert expected in text
    pictures = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)
    assert len(pictures) == 5  # bars, two adaptation curves, training, the folder's own
    assert all(b"<svg" in base64.b64decode(picture) for picture in pictures)


def test_text_of_files_is_escaped(tmp_path):
    page = build_report([make_experiment(tmp_path)], title=EVIL)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4  # title, environment, reference word, config


def test_errors_are_marked_by_letter_as_well_as_colour(tmp_path):
    page = build_report([make_experiment(tmp_path)])
    worst = page.partition("Worst utterances")[2]
    assert '<span class="pair S"><span class="r" dir="auto">two</span><span class="h" dir="auto">too</span>' in worst
    assert '<small class="mark">S</small>' in worst
    assert '<span class="r" dir="auto"></span><span class="h" dir="auto">uh</span><small class="mark">I<' in worst
    assert worst.index("b-1") < worst.index("a-1")  # two errors before one
    assert "no hypothesis" in worst


def test_synthetic_results_stand_apart_and_are_marked(tmp_path):
    page = build_report([make_experiment(tmp_path)])
    assert re.search(r"<h3>sa: made <span class=\"made\">synthetic data</span></h3>", page)
    assert "<h3>sa: fsdd</h3>" in page


def test_a_shared_environment_is_shown_once(tmp_path):
    paths = [make_experiment(tmp_path, "kld"), make_experiment(tmp_path, "ewc")]
    assert build_report(paths).count("abc123") == 1
    (paths[1] / "environment.json").write_text('{"commit": "def456"}')
    page = build_report(paths)
    assert (page.count("abc123"), page.count("def456")) == (1, 1)


def test_transcripts_alone_are_enough(tmp_path):
    (tmp_path / "ref").write_text("u one two\n")
    (tmp_path / "hyp").write_text("u one\n")
    assert "50.00" in build_report([tmp_path])


def test_a_results_file_alone_is_enough(tmp_path):
    experiment = make_experiment(tmp_path)
    assert "sa: fsdd" in build_report([experiment / "results.json"])


def test_all_unreadable_experiments_are_listed(tmp_path):
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "scores.json").write_text('{"wer": 5, "per_speaker": {"s": 3}}')
    (broken / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    (broken / "environment.json").write_text("[]")
    with pytest.raises(InputError) as caught:
        build_report([tmp_path / "absent", tmp_path / "empty", broken])
    text = str(caught.value)
    for expected in (
        "absent: does not exist",
        "empty: holds nothing to report",
        "environment.json: is not a JSON object",
        "metrics.jsonl:2: is not JSON",
        "scores.json: errors is missing",
        "scores.json: per_speaker.s is missing",
    ):
        assert expected in text


def test_experiments_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [make_experiment(tmp_path / corpus) for corpus in ("an4", "fsdd")]
    assert [experiment.name for experiment in read_experiments(paths)] == ["an4/kld", "fsdd/kld"]
    assert [experiment.name for experiment in read_experiments(paths[:1] * 2)]  # one twice: no endless search


def test_a_record_in_two_experiments_counts_once_and_a_disputed_one_is_named_after_each(tmp_path):
    paths = [make_experiment(tmp_path, "kld"), make_experiment(tmp_path, "again")]
    results = build_report(paths).partition("<h2>Results</h2>")[2]
    assert results.count("<td>kld</td>") == 4  # two budgets, real and synthetic
    fields = {"recipe": "sa", "corpus": "fsdd", "system": "kld", "budget": 1, "metric": "wer"}
    write_results(paths[1] / "results.json", [Record(**fields, value=7.0)])
    page = build_report(paths)
    assert "<td>kld (kld)</td>" in page
    assert "<td>kld (again)</td>" in page
