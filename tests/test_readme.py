"""The README's table holds what results.json holds, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from speechnlp_tl.evaluation.results import read_results

ROOT = Path(__file__).parent.parent


def test_every_number_in_the_readme_table_was_measured():
    records = read_results(ROOT / "recipes" / "speaker_adaptation" / "results.json")
    measured = {
        (record.system, record.budget, record.target): f"{record.value:.1f}"
        for record in records
        if record.corpus == "fsdd" and record.metric == "wer"
    }
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    header = next(line for line in lines if line.startswith("| method |"))
    budgets = [int(number) for number in re.findall(r"(\d+) utt", header)]
    rows = [re.findall(r"\*\*([\d.]+)\*\* / ([\d.]+)", line) for line in lines if line.startswith("| `")]
    names = [re.findall(r"`([^`]+)`", line)[0] for line in lines if line.startswith("| `")]
    assert len(budgets) == 4
    assert {"unadapted", "finetune", "default"} <= set(names)
    for name, cells in zip(names, rows, strict=True):
        assert len(cells) == len(budgets)
        for budget, (new, old) in zip(budgets, cells, strict=True):
            amount = 0 if name == "unadapted" else budget
            assert new == measured[name, amount, "new speakers"]
            assert old == measured[name, amount, "old speakers"]


def test_the_readme_quotes_the_error_rates_of_the_other_recipes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for recipe, system in (("an4", "best-all"), ("yesno", "yesno")):
        path = ROOT / "recipes" / recipe / "results.json"
        value = next(
            r.value for r in read_results(path) if r.system == system and r.target == "test" and r.metric == "wer"
        )
        assert f"{value:.2f} %" in text, recipe


def test_the_readme_quotes_what_was_gained_without_labels():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    heard = {
        (r.system, r.budget): r.value
        for r in read_results(ROOT / "recipes" / "speaker_adaptation" / "results-unsupervised.json")
        if r.corpus == "fsdd" and r.metric == "wer" and r.target == "new speakers"
    }
    before, after = heard["unadapted", 0], heard["adabn, then own hypotheses", 67]
    assert f"from {before:.1f} to {after:.1f} % errors" in text
    read = {
        r.system: r.value
        for r in read_results(ROOT / "recipes" / "cross_domain_sentiment" / "results.json")
        if r.corpus == "amazon" and r.metric == "accuracy" and r.target == "mean"
    }
    before, after = read["svm"], read["svm, mSDA of all texts, self-trained"]
    assert f"right on {before:.1f} % of another product's becomes right on {after:.1f} %" in text
