"""The corpora of sentences and words: Bible, Tatoeba, Multi30k, dictionaries."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from data_prep import bible, bible_genres, multi30k, tatoeba, word_dictionaries
from data_prep.bible_upstream import BOOKS, EDITIONS, extract_editions
from data_prep.checksums import check_files
from data_prep.fetch import CORPORA, Corpus, fetch
from data_prep.tatoeba_upstream import rename_pairs
from speechnlp_tl.errors import InputError


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def bibles(tmp_path: Path) -> dict[str, Path]:
    """Every edition with three verses; the second edition of French lacks one, Italian counts another."""
    folder = tmp_path / "bibles"
    folder.mkdir()
    for names in EDITIONS.values():
        for name in names:
            last = "Gen.1.4" if name.startswith("it") else "Gen.1.3"
            rows = ["Gen.1.1\tL''un!", f"Gen.1.2\t{name} two.", f"{last}\t..."]
            text = "".join(f"{row}\n" for row in (rows[1:] if name == "fr_martin1744" else rows))
            (folder / f"{name}.tsv.xz").write_bytes(lzma.compress(text.encode()))
    return {name: folder for names in EDITIONS.values() for name in names}


def test_verses_are_matched_by_their_names_and_not_by_their_places(bibles: dict[str, Path], tmp_path: Path) -> None:
    files = bible.prepare(bibles, tmp_path / "out")
    assert lines(files["fr"]) == ["l' un", "fr lsg two"]
    assert lines(tmp_path / "out" / "fr.verses.txt") == ["Gen.1.1", "Gen.1.2"]
    assert lines(files["en-it"] / "it.txt") == ["l' un", "it riveduta two"]
    assert len(files) == 6 + 15
    record = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert record["splits"]["en-fr"] == {"pairs": 2}
    every = bible.prepare(bibles, tmp_path / "every", all_editions=True)
    assert lines(every["en-fr"] / "fr.txt") == ["l' un", "fr lsg two", "fr martin 1744 two", "l' un", "fr darby-fr two"]
    assert lines(every["en-es"] / "es.txt") == ["l'un", "es rv 1909 two"] * 3
    assert len(lines(every["fr"])) == len(lines(tmp_path / "every" / "fr.verses.txt")) == 5


def test_verses_are_documents_with_the_genre_of_their_book(bibles: dict[str, Path], tmp_path: Path) -> None:
    folder = next(iter(bibles.values()))
    rows = ["Gen.1.1\tUn.", "Acts.1.1\tnot taken", "Rev.1.1\tnot taken", "Ruth.1.1\t ", "Jude.1.2\tL''an"]
    (folder / "fr_lsg.tsv.xz").write_bytes(lzma.compress("\n".join([*rows, ""]).encode()))
    files = bible_genres.prepare(bibles, tmp_path / "out")
    assert list(files) == list(EDITIONS)
    first = {"text": "Un.", "label": "law", "domain": "fr", "book": "Gen", "verse": "Gen.1.1"}
    last = {"text": "L''an", "label": "epistle", "domain": "fr", "book": "Jude", "verse": "Jude.1.2"}
    assert [json.loads(line) for line in lines(files["fr"])] == [first, last]
    genres = bible_genres.genre_of_books()
    sizes = {genre: sum(own == genre for own in genres.values()) for genre in bible_genres.GENRES}
    assert sizes == {"law": 5, "history": 12, "wisdom": 5, "prophecy": 17, "gospel": 4, "epistle": 21}
    (folder / "it_riveduta.tsv.xz").unlink()
    with pytest.raises(InputError, match=r"it_riveduta\.tsv"):
        bible_genres.prepare(bibles, tmp_path / "other")


def test_bad_verses_are_named(bibles: dict[str, Path], tmp_path: Path) -> None:
    folder = next(iter(bibles.values()))
    (folder / "de_luth1912.tsv.xz").write_bytes(lzma.compress(b"Gen.1.1\tgood\nGen.1\tbad\nNoBook.1.1\tbad\n"))
    (folder / "it_riveduta.tsv.xz").unlink()
    with pytest.raises(InputError) as error:
        bible.prepare(bibles, tmp_path / "out")
    assert [(Path(str(p.file)).name, p.line) for p in error.value.problems] == [
        ("de_luth1912.tsv", 2),
        ("de_luth1912.tsv", 3),
        ("it_riveduta.tsv", None),
    ]
    assert not (tmp_path / "out").exists()


def test_json_of_either_repository_becomes_a_verse_a_line(tmp_path: Path) -> None:
    books, single, out = tmp_path / "r-1" / "versions/fr/lsg/books", tmp_path / "r-1" / "json", tmp_path / "out"
    for folder in (books, single, out):
        folder.mkdir(parents=True)
    for book in BOOKS:
        chapters = [{"chapter": 1, "verses": [{"number": 1, "text": f" {book}\n  one "}]}]
        (books / f"{book}.json").write_text(json.dumps({"chapters": chapters}))
    content = [{"abbrev": "x", "chapters": [["uno", "dos"], ["tres"]]} for _ in BOOKS]
    (single / "es_rvr.json").write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    extract_editions(tmp_path, out)
    assert lines(out / "fr_lsg.tsv")[:2] == ["Gen.1.1\tGen one", "Exod.1.1\tExod one"]
    assert lines(out / "es_rv1909.tsv")[:3] == ["Gen.1.1\tuno", "Gen.1.2\tdos", "Gen.2.1\ttres"]
    (single / "es_rvr.json").write_text("[]")
    with pytest.raises(InputError, match="is not a Bible in JSON"):
        extract_editions(tmp_path, out)
    with pytest.raises(InputError, match="holds no edition"):
        extract_editions(out, out)


def test_tatoeba_keeps_every_pair_and_each_sentence_once(tmp_path: Path) -> None:
    (tmp_path / "eng-fra.tsv").write_text("Go!\tVa !\nGo!\tAllez !\nHi.\t…\n", encoding="utf-8")
    (tmp_path / "eng-deu.tsv.gz").write_bytes(gzip.compress(b"Go!\tGeh!\textra\r\n"))
    files = tatoeba.prepare({"fr": tmp_path, "de": tmp_path}, tmp_path / "out")
    assert lines(files["en-fr"] / "en.txt") == ["go", "go"]
    assert lines(files["en-fr"] / "fr.txt") == ["va", "allez"]
    assert lines(files["en"]) == ["go", "hi"]
    assert lines(files["de"]) == ["geh"]
    (tmp_path / "eng-fra.tsv").write_text("Go!\n\tVa\n")
    with pytest.raises(InputError) as error:
        tatoeba.prepare({"fr": tmp_path, "es": tmp_path}, tmp_path / "other")
    assert [problem.line for problem in error.value.problems] == [1, 2, None]


def test_captions_of_every_set_stay_matched(tmp_path: Path) -> None:
    raw = tmp_path / "data/task1/raw"
    raw.mkdir(parents=True)
    for split in multi30k.SPLITS:
        for language in multi30k.LANGUAGES:
            text = f"A {language} {split}.\n{'...' if language == 'de' else 'two'}\n"
            (raw / f"{split}.{language}.gz").write_bytes(gzip.compress(text.encode()))
    folders = multi30k.prepare(tmp_path, tmp_path / "out")
    assert folders["train"] == tmp_path / "out"
    assert lines(folders["val"] / "en-fr" / "fr.txt") == ["a fr val", "two"]
    assert lines(folders["train"] / "en-de" / "en.txt") == ["a en train"]
    (raw / "val.de.gz").write_bytes(gzip.compress(b"one\n"))
    (raw / "val.fr.gz").write_bytes(gzip.compress(b"one\n")[:-4])
    with pytest.raises(InputError) as error:
        multi30k.prepare(tmp_path, tmp_path / "out")
    said = str(error.value)
    assert "val.fr" in said
    assert "val has different numbers of captions: en 2, de 1" in said


def test_dictionaries_are_one_file_for_each_use(tmp_path: Path) -> None:
    xling, muse = tmp_path / "xling", tmp_path / "muse"
    for name in CORPORA["xling-eval"].expected():
        (xling / name).parent.mkdir(parents=True, exist_ok=True)
        (xling / f"{name}.gz").write_bytes(gzip.compress(b"of\tde\nof\tde\n"))
    muse.mkdir()
    for name in CORPORA["muse-dictionaries"].expected():
        (muse / name).write_text(f"{name.split('.')[2]}\tx\n")
    corpora = {"xling-eval": xling, "muse-dictionaries": muse}
    files = word_dictionaries.prepare(corpora, tmp_path / "out")
    assert files["xling/en-fr.train"].read_text() == "of\tde\n"
    assert {"xling/en-fr.test", "xling/fr-en.test", "xling/en-it.train-1k"} <= set(files)
    assert set(lines(files["muse/en-de.test"])) == {"n\tx", "v\tx", "a\tx", "o\tx", "pn\tx"}
    (xling / "en-fr/yacle.test.freq.2k.en-fr.tsv.gz").write_bytes(gzip.compress(b"a\tb\nbad\n\n"))
    with pytest.raises(InputError, match=r"en-fr\.tsv:2: is not two words"):
        word_dictionaries.prepare(corpora, tmp_path / "out")


def test_an_archive_is_converted_before_it_is_checked(no_corpora: Path, tmp_path: Path) -> None:
    """As the zip archives of Tatoeba: the listed file is not what the archive calls it."""
    import hashlib

    with zipfile.ZipFile(tmp_path / "fra-eng.zip", "w") as archive:
        archive.writestr("fra.txt", "Go.\tVa.\n")
        archive.writestr("_about.txt", "who made it")
    checksums = tmp_path / "list.sha256"
    checksums.write_text(f"{hashlib.sha256(b'Go.%cVa.%c' % (9, 10)).hexdigest()}  eng-fra.tsv\n")
    corpus = Corpus(
        "tatoeba-fra", "http://127.0.0.1:9/x.zip", "fra-eng.zip", "none", checksums,
        convert=lambda upstream, out: rename_pairs("fra", upstream, out),
    )  # fmt: skip
    root = fetch(corpus, tmp_path / "fra-eng.zip")
    assert [path.name for path in root.iterdir()] == ["eng-fra.tsv"]
    assert root.parent == no_corpora / "tatoeba-fra"
    assert [path.name for path in root.parent.iterdir()] == ["tatoeba-fra"]
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(InputError, match="missing in the archive"):
        rename_pairs("fra", tmp_path / "nowhere", tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/absolute", "top\\..\\evil", "C:/evil"])
def test_a_zip_archive_that_climbs_out_is_refused(name: str, tmp_path: Path) -> None:
    from data_prep.archive import unpack

    (tmp_path / "place").mkdir()
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("good", "x")
        archive.writestr(name, "x")
    with pytest.raises(InputError, match="climbs out"):
        unpack(tmp_path / "bad.zip", tmp_path / "place")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"bad.zip", "good"}
    with pytest.raises(InputError, match="holds more than"):
        unpack(tmp_path / "bad.zip", tmp_path / "place", most=1)
    damaged = bytearray((tmp_path / "bad.zip").read_bytes())
    damaged[31] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(damaged)
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError):
        unpack(tmp_path / "bad.zip", tmp_path / "other")


def test_a_file_compressed_with_gzip_is_checked_by_its_contents(tmp_path: Path) -> None:
    import hashlib

    wanted = {"a.txt": hashlib.sha256(b"one\n").hexdigest()}
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n"))
    check_files(tmp_path, wanted, shown="here", remedy="")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n")[:-3])
    with pytest.raises(InputError, match="cannot be read"):
        check_files(tmp_path, wanted, shown="here", remedy="")


def test_repositories_are_pinned_to_commits() -> None:
    for name in ("bible", "bible-es", "multi30k", "xling-eval", "muse-dictionaries"):
        assert len(CORPORA[name].url.rpartition("/")[2].removesuffix(".tar.gz")) == 40
        assert CORPORA[name].expected()
    assert CORPORA["tatoeba-spa"].url.endswith("/data/spa-eng.zip")


@pytest.mark.parametrize("module", ["bible", "tatoeba", "multi30k", "word_dictionaries"])
def test_the_command_refuses_a_folder_that_is_another(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"data_prep.{module}", "--out", str(tmp_path / "o"), "--corpus-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert "is not" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_the_real_corpora_have_their_known_sizes(real_data: Path, tmp_path: Path) -> None:
    if not (real_data / "text" / "bible").exists():
        pytest.skip("the Bible is not in SPEECHNLP_DATA")
    files = multi30k.prepare(fetch(CORPORA["multi30k"]), tmp_path / "captions")
    assert len(lines(files["train"] / "en-fr" / "fr.txt")) == 29_000
    names = ("xling-eval", "muse-dictionaries")
    dictionaries = word_dictionaries.prepare({name: fetch(CORPORA[name]) for name in names}, tmp_path / "words")
    assert len(lines(dictionaries["xling/en-fr.train"])) == 5000
    assert len(lines(dictionaries["xling/en-fr.test"])) == 2000
    pairs = tatoeba.prepare({"fr": fetch(CORPORA["tatoeba-fra"])}, tmp_path / "sentences")
    assert len(lines(pairs["en-fr"] / "en.txt")) > 167_000
    spanish = fetch(CORPORA["bible-es"])
    places = {name: spanish for names in EDITIONS.values() for name in names}
    verses = bible.prepare(places, tmp_path / "verses")
    assert len(lines(verses["en-fr"] / "en.txt")) == 31_095
