from __future__ import annotations

import pytest

from data_prep import made_translations, multi30k_translation, tatoeba_translation
from data_prep.translation_halves import NewLanguage, write_halves
from speechnlp_tl.errors import InputError


def read(folder, language):
    return (folder / f"{language}.txt").read_text(encoding="utf-8").splitlines()


def sides(count, start=0):
    return {language: [f"{language}{n}" for n in range(start, start + count)] for language in ("de", "en", "fr")}


def test_no_sentence_of_one_pair_stands_in_the_other(tmp_path):
    found = write_halves(tmp_path / "out", "x", ("de", "en", "fr"), sides(11), {"test": sides(3, 50)}, leaky=False)
    left, right = (set(read(found[name], "en")) for name in ("train/de-en", "train/en-fr"))
    assert not left & right
    assert left | right == set(sides(11)["en"])
    for name, pair in (("train/de-en", ("de", "en")), ("train/en-fr", ("en", "fr")), ("train/de-fr", ("de", "fr"))):
        numbers = [[line[2:] for line in read(found[name], language)] for language in pair]
        assert numbers[0] == numbers[1]
    assert read(found["train/de-fr"], "de") == read(found["train/de-en"], "de")
    assert read(found["test"], "fr") == ["fr50", "fr51", "fr52"]


def test_leaky_gives_both_pairs_everything(tmp_path):
    found = write_halves(tmp_path / "out", "x", ("de", "en", "fr"), sides(11), {}, leaky=True)
    assert set(read(found["train/de-en"], "en")) == set(read(found["train/en-fr"], "en")) == set(sides(11)["en"])


def test_a_cut_is_the_first_rows_of_a_training_set(tmp_path):
    cut = {"de-fr-3": 3}
    found = write_halves(tmp_path / "out", "x", ("de", "en", "fr"), sides(11), {}, leaky=False, cuts=cut)
    for language in ("de", "fr"):
        assert read(found["train/de-fr-3"], language) == read(found["train/de-fr"], language)[:3]
    for wrong in ({"de-xx-3": 3}, {"de-fr-9": 9}):
        with pytest.raises(InputError, match=r"is no part of a training set; there are de-en \(5\)"):
            write_halves(tmp_path / "no", "x", ("de", "en", "fr"), sides(11), {}, leaky=False, cuts=wrong)


def test_what_is_kept_for_a_new_language_stands_nowhere_else(tmp_path):
    new = NewLanguage("cs", 4)
    train, held_out = (
        {**sides(count, 7 * count), "cs": [f"cs{7 * count + n}" for n in range(count)]} for count in (14, 3)
    )
    for leaky in (False, True):
        found = write_halves(
            tmp_path / f"out{leaky}", "x", ("de", "en", "fr"), train, {"test": held_out}, leaky, new=new
        )
        kept = set(read(found["train/cs-en"], "en"))
        assert len(kept) == 4
        assert [line[2:] for line in read(found["train/cs-en"], "cs")] == [
            line[2:] for line in read(found["train/cs-en"], "en")
        ]
        others = {name: set(read(found[name], "en")) for name in ("train/de-en", "train/en-fr")}
        assert not any(kept & other for other in others.values())
        assert set().union(*others.values()) | kept == set(train["en"])
        assert read(found["test"], "cs") == held_out["cs"]
        assert sorted(read(found["train/en-fr-all"], "en")) == sorted(train["en"])
    with pytest.raises(InputError, match=r"the same number, 16 at least"):
        write_halves(tmp_path / "no", "x", ("de", "en", "fr"), train, {}, leaky=False, new=NewLanguage("cs", 14))


def test_sides_of_different_length_are_refused(tmp_path):
    with pytest.raises(InputError, match="the same number"):
        write_halves(tmp_path / "out", "x", ("de", "en", "fr"), sides(5) | {"fr": ["a"]}, {}, leaky=False)


def test_made_sentences_have_one_translation_and_stand_in_one_set(tmp_path):
    found = made_translations.prepare(tmp_path / "out", 400)
    pairs = {}
    english = []
    for name in ("train/xa-xb", "train/xb-xc", "dev", "test"):
        english += read(found[name], "xb")
    assert len(set(english)) == len(english) == 700
    for one, other in zip(read(found["test"], "xa"), read(found["test"], "xc"), strict=True):
        assert pairs.setdefault(one, other) == other
    again = made_translations.prepare(tmp_path / "again", 400)
    assert read(again["test"], "xa") == read(found["test"], "xa")
    with pytest.raises(InputError, match="were asked for"):
        made_translations.prepare(tmp_path / "more", 10**6)


def test_multi30k_is_read_as_it_is_written(tmp_path):
    raw = tmp_path / "corpus" / "data" / "task1" / "raw"
    raw.mkdir(parents=True)
    for split, count in (("train", 6), ("val", 2), ("test_2016_flickr", 2)):
        for language in ("de", "en", "fr"):
            lines = [f"A {language} dog, no. {n}." for n in range(count)]
            if (split, language) == ("train", "fr"):
                lines[2] = ""
            (raw / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines))
    found = multi30k_translation.prepare(tmp_path / "corpus", tmp_path / "out")
    both = read(found["train/de-en"], "en") + read(found["train/en-fr"], "en")
    assert sorted(both) == [f"A en dog, no. {n}." for n in (0, 1, 3, 4, 5)]
    (raw / "val.fr").unlink()
    with pytest.raises(InputError, match=r"val\.fr: file is missing"):
        multi30k_translation.prepare(tmp_path / "corpus", tmp_path / "other")


def english_spanish_german(folder, count):
    """Files of `count` English sentences with both translations, two of them twice, and ten with one."""
    rows = {"spa": [], "deu": []}
    for n in range(count):
        rows["spa"] += [f"Go {n}!\tVe {n}.\tCC-BY", *([f"Go {n}!\tAnda {n}.\tCC-BY"] if n < 2 else [])]
        rows["deu"] += [f"Go {n}!\tGeh {n}.\tCC-BY"]
    for n in range(10):
        rows["spa"].append(f"Only {n}.\tSolo {n}.\tCC-BY")
        rows["deu"].append(f"Just {n}.\tNur {n}.\tCC-BY")
    rows["spa"].append("Proceed 0!\tVe 0.\tCC-BY")  # a paraphrase whose translation another sentence has
    for name, lines in rows.items():
        (folder / f"eng-{name}.tsv").write_text("".join(f"{line}\n" for line in lines))
    return {"es": folder, "de": folder}


def test_tatoeba_is_split_by_the_english_sentence(tmp_path):
    corpora = english_spanish_german(tmp_path, 40)
    sizes = {"dev": 5, "test": 10}
    found = tatoeba_translation.prepare(corpora, tmp_path / "out", held_out=sizes, cuts={"es-de-3": 3})
    assert {name: len(read(found[name], "en")) for name in sizes} == sizes
    english = {name: set(read(found[name], "en")) for name in ("train/es-en", "train/en-de", *sizes)}
    assert not english["train/es-en"] & english["train/en-de"]
    assert {f"Only {n}." for n in range(10)} <= english["train/es-en"]
    assert {f"Just {n}." for n in range(10)} <= english["train/en-de"]
    for name in sizes:
        for pair, language in (("train/es-en", "es"), ("train/en-de", "de")):
            assert not english[name] & english[pair]
            assert not set(read(found[name], language)) & set(read(found[pair], language))
        for one, other in zip(read(found[name], "es"), read(found[name], "de"), strict=True):
            assert one.split()[1] == other.split()[1]
    assert set(read(found["train/es-de"], "es")) <= set(read(found["train/es-en"], "es"))
    assert read(found["train/es-de-3"], "de") == read(found["train/es-de"], "de")[:3]
    leaky = tatoeba_translation.prepare(corpora, tmp_path / "leaky", leaky=True, held_out=sizes)
    assert len(set(read(leaky["train/es-en"], "en")) & set(read(leaky["train/en-de"], "en"))) == 25
    with pytest.raises(InputError, match="40 sentences have both translations, 102 at least"):
        tatoeba_translation.prepare(corpora, tmp_path / "no", held_out={"dev": 100})
