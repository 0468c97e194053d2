"""Made languages: the same bytes again, dictionaries that are right, and a layout like the real corpora's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.made_languages import BOOKS, GENRES, LANGUAGES, NAMES, VERSES, concepts, lexicon, prepare
from speechnlp_tl.embeddings.dictionary import read_dictionary
from speechnlp_tl.errors import InputError


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare(tmp_path / name, sentences=100, matched=100, seed=seed)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.t?[tv]"))
    assert len(files) == 3 + 6 + 6
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    assert all((tmp_path / "a" / file).read_bytes() != (tmp_path / "c" / file).read_bytes() for file in files)


def test_no_word_means_two_things_and_names_are_the_same_in_all_languages() -> None:
    words = [lexicon(number) for number in range(len(LANGUAGES))]
    for language in words:
        assert list(language) == concepts()
        assert len(set(language.values())) == len(language)
    same = [concept for concept in concepts() if len({language[concept] for language in words}) == 1]
    assert len(same) == NAMES


def test_matched_sentences_say_the_same_and_dictionaries_translate_them(tmp_path: Path) -> None:
    prepare(tmp_path, sentences=100, matched=100)
    pair = tmp_path / "text" / "made" / "xa-xc"
    sides = [(pair / f"{name}.txt").read_text().splitlines() for name in ("xa", "xc")]
    parts = [read_dictionary(tmp_path / "dictionaries" / "made" / f"xa-xc.{part}.tsv") for part in ("train", "test")]
    assert not {word for word, _ in parts[0].entries} & {word for word, _ in parts[1].entries}
    translation = dict(parts[0].entries + parts[1].entries)
    for one, other in zip(*sides, strict=True):
        # names and numbers are in no dictionary: they stand for themselves
        assert sorted(translation.get(word, word) for word in one.split()) == sorted(other.split())


def test_documents_are_the_same_verse_by_verse_and_each_genre_has_topics_of_its_own(tmp_path: Path) -> None:
    prepare(tmp_path / "out", 100, 100)
    rows = {
        name: [json.loads(line) for line in (tmp_path / "out" / "documents" / f"{name}.jsonl").read_text().splitlines()]
        for name in LANGUAGES
    }
    assert len(rows["xa"]) == GENRES * BOOKS * VERSES
    back = {name: {word: each for each, word in lexicon(number).items()} for number, name in enumerate(LANGUAGES)}
    for one, other in zip(rows["xa"], rows["xc"], strict=True):
        assert (one["verse"], one["label"], one["book"]) == (other["verse"], other["label"], other["book"])
        said = [sorted(back[row["domain"]][word] for word in row["text"].split()) for row in (one, other)]
        assert said[0] == said[1]
    for genre in range(GENRES):
        mine = [word for row in rows["xb"] if row["label"] == f"genre{genre}" for word in row["text"].split()]
        topics = [topic for topic, _, _ in map(back["xb"].__getitem__, mine) if topic >= 0]
        assert sum(topic % GENRES == genre for topic in topics) > 0.8 * len(topics)


def test_too_few_sentences_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 100"):
        prepare(tmp_path / "x", sentences=5)
