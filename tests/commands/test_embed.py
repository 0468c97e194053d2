"""`speechnlp-tl embed`: what comes out of each verb, and every mistake said in plain words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from speechnlp_tl.embeddings.vector_files import read_vectors, write_vectors
from speechnlp_tl.embeddings.vectors import WordVectors

COUNT, WIDTH = 260, 20
GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.standard_normal((COUNT, WIDTH)).astype(np.float32) * np.linspace(2, 0.5, WIDTH, dtype=np.float32)
ENTRIES = [(f"w{n}", f"m{n}") for n in range(COUNT)]


def refused(outcome, *said: str) -> None:
    assert outcome.code == 2, (outcome.code, outcome.out, outcome.err)
    assert "Traceback" not in outcome.err
    assert any(line.startswith("error: ") for line in outcome.err.splitlines())
    for words in said:
        assert words in outcome.err, outcome.err


def write_entries(path: Path, entries) -> Path:
    path.write_text("".join(f"{one}\t{other}\n" for one, other in entries), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three languages that are rotations of each other with a little noise; every tenth word is spelt alike in all."""
    folder = tmp_path_factory.mktemp("embed")
    for name, letter, seed in (("en", "w", 0), ("fr", "m", 1), ("de", "d", 2)):
        rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((WIDTH, WIDTH)))[0]
        noise = 0.02 * np.random.default_rng(seed).standard_normal(ROWS.shape)
        words = [f"name{n}" if n % 10 == 9 else f"{letter}{n}" for n in range(COUNT)]
        write_vectors(WordVectors(words, (ROWS @ rotation + noise).astype(np.float32)), folder / f"{name}.vec", "text")
    ours = [entry for n, entry in enumerate(ENTRIES) if n % 10 != 9]
    write_entries(folder / "train.tsv", ours[:100])
    write_entries(folder / "test.tsv", ours[100:])
    write_entries(folder / "train-de.tsv", [(one, other.replace("m", "d")) for one, other in ours[:100]])
    return folder


@pytest.fixture(scope="module")
def aligned(folder: Path) -> Path:
    from speechnlp_tl.embeddings.alignment_run import AlignmentRun
    from speechnlp_tl.embeddings.inputs import Place

    run = AlignmentRun(Place.of(folder / "en.vec"), [Place.of(folder / "fr.vec")], [folder / "train.tsv"])
    list(run.check().align(folder / "en-fr", lambda line: None))
    return folder / "en-fr"


def pair(folder: Path, *more: object) -> tuple[object, ...]:
    return ("--source", folder / "en.vec", "--target", folder / "fr.vec", *more)


def test_align_says_what_is_used_and_what_is_left_out(run, folder: Path, tmp_path: Path) -> None:
    more = [("ice cream", "glace"), ("nowhere", "m3"), ("w3", "nulle"), *ENTRIES[:8]]
    write_entries(tmp_path / "d.tsv", more)
    done = run("embed", "align", *pair(folder), "--dictionary", tmp_path / "d.tsv", "--out", tmp_path / "a")
    assert done.code == 0, done.err
    assert "1 entries of several words are left out: ice cream - glace" in done.err
    assert "left out: 1 words without a vector: nowhere" in done.err
    assert "left out: 1 translations without a vector: nulle" in done.err
    assert "en and fr aligned by procrustes, 8 pairs" in done.out
    assert "method: procrustes" in (tmp_path / "a" / "languages.yaml").read_text()


def test_evaluate_prints_and_writes_rates_coverage_and_bands(run, folder: Path, aligned: Path, tmp_path: Path) -> None:
    words = ("--dictionary", folder / "test.tsv", "--json", tmp_path / "s.json")
    done = run("embed", "evaluate", *pair(folder), "--alignment", aligned, *words)
    assert done.code == 0, done.err
    assert "134 of 134 source words are scored (coverage 100.0 %)" in done.out
    assert "P@1   " in done.out
    assert "frequency rank 1-500 (134)" in done.out
    found = json.loads((tmp_path / "s.json").read_text())
    assert found["covered"]["precision"]["1"]["value"] > 95
    assert found["coverage"] == 100.0


def test_translate_gives_scores_in_both_directions_and_names_unknown_words(
    run, folder: Path, aligned: Path, tmp_path: Path
) -> None:
    done = run("embed", "translate", *pair(folder), "--alignment", aligned, "--count", 2, "w200", "zzz")
    assert done.code == 0, done.err
    assert done.out.startswith("w200\t1\tm200\t")
    assert len(done.out.splitlines()) == 2
    assert "1 of 2 words have no vector: zzz" in done.err
    (tmp_path / "words.txt").write_text("m201\nm202\n")
    back = ("--source", folder / "fr.vec", "--target", folder / "en.vec", "--alignment", aligned)
    out = tmp_path / "out.jsonl"
    done = run("embed", "translate", *back, "--input", tmp_path / "words.txt", "--out", out, "--retrieval", "nn")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["translations"][0]["word"] for row in rows] == ["w201", "w202"]
    scores = [each["score"] for each in rows[0]["translations"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("joint", [[], ["--joint"]])
def test_several_targets_share_the_source_space(run, folder: Path, tmp_path: Path, joint: list[str]) -> None:
    targets = ("--target", folder / "fr.vec", "--target", folder / "de.vec")
    words = ("--dictionary", folder / "train.tsv", "--dictionary", folder / "train-de.tsv")
    done = run("embed", "align", "--source", folder / "en.vec", *targets, *words, "--out", tmp_path / "hub", *joint)
    assert done.code == 0, done.err
    between = ("--source", folder / "fr.vec", "--target", folder / "de.vec", "--alignment", tmp_path / "hub")
    done = run("embed", "translate", *between, "--count", 1, "m200", "m201", "m203")
    assert [line.split("\t")[2] for line in done.out.splitlines()] == ["d200", "d201", "d203"]


def test_identical_strings_are_seeds(run, folder: Path, tmp_path: Path) -> None:
    how = ("--seeds", "identical", "--method", "self-learning", "--set", "words=150")
    done = run("embed", "align", *pair(folder), *how, "--out", tmp_path / "a")
    assert done.code == 0, done.err
    assert "26 of 26 dictionary words" in done.err
    assert "% of the words return" in done.err
    done = run("embed", "translate", *pair(folder), "--alignment", tmp_path / "a", "--count", 1, "w200")
    assert done.out.startswith("w200\t1\tm200\t")


def test_an_unsupervised_run_that_fails_warns_and_falls_back(run, folder: Path, tmp_path: Path) -> None:
    """Vectors of no shape and one step of adversarial training: nothing is found, but from identical strings."""
    generator = np.random.default_rng(5)
    round_rows = generator.standard_normal((COUNT, WIDTH)).astype(np.float32)
    rotation = np.linalg.qr(generator.standard_normal((WIDTH, WIDTH)))[0]
    turned = (round_rows @ rotation + 0.6 * generator.standard_normal((COUNT, WIDTH))).astype(np.float32)
    for name, letter, rows in (("en", "w", round_rows), ("fr", "m", turned)):
        words = [f"name{n}" if n % 10 == 9 else f"{letter}{n}" for n in range(COUNT)]
        write_vectors(WordVectors(words, rows), tmp_path / f"{name}.vec", "text")
    little = [f"--set={each}" for each in ("steps=1", "epochs=1", "restarts=1", "refinements=0", "words=150")]
    how = ("--unsupervised", "--method", "adversarial", *little)
    done = run("embed", "align", *pair(tmp_path), *how, "--no-fallback", "--out", tmp_path / "a")
    assert done.code == 0, done.err
    assert "warning: en - fr: the alignment seems to have failed" in done.err
    done = run("embed", "align", *pair(tmp_path), *how, "--out", tmp_path / "b")
    assert done.code == 0, done.err
    assert "starting again from 26 identical strings" in done.err
    words = ("--dictionary", folder / "test.tsv", "--json", tmp_path / "s.json")
    assert run("embed", "evaluate", *pair(tmp_path), "--alignment", tmp_path / "b", *words).code == 0
    assert json.loads((tmp_path / "s.json").read_text())["covered"]["precision"]["1"]["value"] > 80
    assert "identical strings" in (tmp_path / "b" / "languages.yaml").read_text()


def test_a_swapped_dictionary_is_hinted_at(run, folder: Path, aligned: Path, tmp_path: Path) -> None:
    """Its columns are exchanged, but for some words that both languages have and that it translates wrongly."""
    tested = [line.split("\t") for line in (folder / "test.tsv").read_text().splitlines()]
    names = [(f"name{n}", f"name{n + 10}") for n in range(9, 109, 10)]
    swapped = write_entries(tmp_path / "d.tsv", [*((other, one) for one, other in tested), *names])
    done = run("embed", "evaluate", *pair(folder), "--alignment", aligned, "--dictionary", swapped)
    assert done.code == 0, done.err
    assert "are the languages swapped?" in done.err


def test_train_writes_vectors_of_one_language_or_of_several(run, tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    generator = np.random.default_rng(0)
    numbers = [generator.integers(0, 12, 6) for _ in range(150)]
    for name, letter in (("en", "w"), ("fr", "m")):
        lines = (" ".join(f"{letter}{n}" for n in each) for each in numbers)
        (tmp_path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    small = ("--dim", 10, "--epochs", 2, "--workers", 1)
    done = run("embed", "train", tmp_path / "en.txt", "--out", tmp_path / "en.vec", "--method", "cbow", *small)
    assert done.code == 0, done.err
    assert read_vectors(tmp_path / "en.vec").matrix.shape == (12, 10)
    texts = f"en={tmp_path}/en.txt,fr={tmp_path}/fr.txt"
    done = run("embed", "train", "--pairs", texts, "--joint", "sentence-ids", "--out", tmp_path / "joint", *small)
    assert done.code == 0, done.err
    both = ("--source", tmp_path / "joint" / "en", "--target", tmp_path / "joint" / "fr")
    done = run("embed", "translate", *both, "--count", 1, "--retrieval", "nn", "w3", "w7")
    assert [line.split("\t")[2] for line in done.out.splitlines()] == ["m3", "m7"]


def test_bad_input_is_all_said_at_once(run, folder: Path, aligned: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.vec").write_bytes(b"5 3\nhouse 1 2\nhouse 1 2 3\nmouse nan 2 3\nnone 0 0 0\nlouse 1 2 \xff\n")
    done = run("embed", "align", "--source", tmp_path / "no.vec", "--target", tmp_path / "none.vec",
               "--dictionary", tmp_path / "no.tsv", "--out", tmp_path / "a")  # fmt: skip
    refused(done, "no.vec", "none.vec", "no.tsv")
    done = run("embed", "align", "--source", tmp_path / "bad.vec", "--target", folder / "fr.vec",
               "--dictionary", folder / "train.tsv", "--out", tmp_path / "a")  # fmt: skip
    refused(done, "no entry is in both vocabularies")
    assert "dropped: " in done.err
    turned = write_entries(tmp_path / "turned.tsv", [(other, one) for one, other in ENTRIES[:8]])
    done = run("embed", "align", *pair(folder), "--dictionary", turned, "--out", tmp_path / "a")
    refused(done, "some are the other way round")
    done = run("embed", "align", *pair(folder), "--unsupervised", "--method", "procrustes",
               "--joint", "--set", "words=x", "--out", tmp_path / "a")  # fmt: skip
    refused(done, "procrustes needs a dictionary", "joint alignment is that of", "words")
    assert not (tmp_path / "a").exists()
    refused(run("embed", "align", *pair(folder), "--out", tmp_path / "a"), "--unsupervised is needed")
    done = run("embed", "align", *pair(folder), "--dictionary", folder / "train.tsv", "--out", aligned)
    refused(done, "exists already")


def test_translate_and_evaluate_refuse_what_does_not_fit(run, folder: Path, aligned: Path, tmp_path: Path) -> None:
    done = run("embed", "translate", *pair(folder), "--alignment", aligned)
    refused(done, "words or --input are needed")
    refused(run("embed", "translate", *pair(folder), "--alignment", aligned, "zzz"), "no vector for any")
    others = ("--source", folder / "de.vec", "--target", folder / "fr.vec", "--alignment", aligned)
    refused(run("embed", "translate", *others, "d3"), "no language 'de' was aligned", "languages are fr, en")
    done = run("embed", "translate", "--source", f"en={folder / 'de.vec'}", "--target", folder / "fr.vec",
               "--alignment", tmp_path / "no", "d3")  # fmt: skip
    refused(done, "languages.yaml")
    (tmp_path / "words.txt").write_text("one word\n")
    refused(run("embed", "translate", *pair(folder), "--input", tmp_path / "words.txt"), "more than one word")
    done = run("embed", "evaluate", *pair(folder), "--alignment", tmp_path / "no", "--dictionary", tmp_path / "no.tsv")
    refused(done, "no.tsv", "languages.yaml")


def test_train_refuses_all_that_is_wrong(run, tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("a b\nc d\n")
    (tmp_path / "fr.txt").write_text("a b\n")
    refused(run("embed", "train", tmp_path / "x.txt", tmp_path / "y.txt", "--out", tmp_path / "v"), "x.txt", "y.txt")
    refused(run("embed", "train", "--out", tmp_path / "v"), "text files or --pairs")
    refused(run("embed", "train", tmp_path / "en.txt", "--out", tmp_path / "v", "--dim", -1, "--epochs", 0),
            "dimension", "epochs")  # fmt: skip
    pairs = f"en={tmp_path}/en.txt,fr={tmp_path}/fr.txt"
    refused(run("embed", "train", "--pairs", pairs, "--out", tmp_path / "v"), "different numbers of lines")
    done = run("embed", "train", "--pairs", pairs, "--joint", "random", "--out", tmp_path / "v")
    refused(done, "add --fold-in")
    refused(run("embed", "train", "--pairs", str(tmp_path / "en.txt"), "--out", tmp_path / "v"), "no two languages")
    assert not (tmp_path / "v").exists()
