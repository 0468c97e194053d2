from __future__ import annotations

import random

import pytest
import sacrebleu

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.bleu import compare_scores, corpus_score


def lines(count, wrong, seed=0):
    """References, and hypotheses of which a share of words is wrong."""
    generator = random.Random(seed)
    references = [[generator.choice("abcdefghijklmnop") * 2 for _ in range(9)] for _ in range(count)]
    hypotheses = [[w if generator.random() > wrong else "xx" for w in line] for line in references]
    return [" ".join(line) for line in references], [" ".join(line) for line in hypotheses]


def test_the_scores_are_sacrebleus():
    references, hypotheses = lines(30, 0.3)
    for metric, theirs in (("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf)):
        score = corpus_score(hypotheses, references, metric)
        assert score.value == pytest.approx(theirs(hypotheses, [references]).score, abs=1e-9)
        assert "nrefs:1" in score.signature
        assert f"version:{sacrebleu.__version__}" in score.signature


def test_the_interval_is_about_that_of_sacrebleu():
    references, hypotheses = lines(60, 0.3)
    low, high = corpus_score(hypotheses, references).ci95
    theirs = sacrebleu.BLEU().corpus_score(hypotheses, [references], n_bootstrap=1000)
    assert (high - low) / 2 == pytest.approx(theirs._ci, rel=0.25)
    assert low < theirs.score < high


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    truth = corpus_score(*reversed(lines(4000, 0.25, 99)), resamples=2).value
    inside = 0
    for seed in range(60):
        references, hypotheses = lines(80, 0.25, seed)
        low, high = corpus_score(hypotheses, references, resamples=200).ci95
        inside += low <= truth <= high
    assert 50 <= inside <= 60


def test_a_pair_that_shares_its_difficulty_is_told_apart():
    references, better = lines(80, 0.30)
    worse = [" ".join(["yy", *line.split()[1:]]) for line in better]
    found = compare_scores(better, worse, references)
    assert found.difference == pytest.approx(
        corpus_score(better, references).value - corpus_score(worse, references).value
    )
    assert found.ci95[0] > 0
    assert found.p < 0.01
    assert compare_scores(better, better, references).p == 1


def test_the_same_seed_gives_the_same_interval():
    references, hypotheses = lines(20, 0.3)
    assert corpus_score(hypotheses, references) == corpus_score(hypotheses, references)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(InputError, match="1 hypotheses and 2 references"):
        corpus_score(["a"], ["a", "b"])
    with pytest.raises(InputError, match="one each is needed"):
        corpus_score([], [])
    assert corpus_score(["a b c d"], ["a b c d"]).ci95 is None
