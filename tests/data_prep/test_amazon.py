from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from data_prep.amazon import DOMAINS, FEATURES, SPLITS, prepare, read_prepared, read_vocabulary
from data_prep.checksums import check_files
from data_prep.fetch import CORPORA, fetch
from speechnlp_tl.errors import InputError

LINES = "-1 0:3 7:1\n1 4999:61\n1\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three reviews in each file: half of the files are compressed."""
    folder = tmp_path / "data"
    folder.mkdir()
    for domain in DOMAINS:
        (folder / f"{domain}_train.svmlight").write_text(LINES)
        (folder / f"{domain}_test.svmlight.xz").write_bytes(lzma.compress(f"+1 {len(domain)}:2\n".encode()))
    return folder


def test_counts_labels_and_the_official_split_come_out_as_they_went_in(corpus: Path, tmp_path: Path) -> None:
    folders = prepare(corpus, tmp_path / "out")
    assert list(folders) == list(DOMAINS)
    for domain, folder in folders.items():
        splits = read_prepared(folder)
        expected = np.zeros((3, FEATURES), np.float32)
        expected[0, [0, 7]], expected[1, 4999] = [3, 1], 61
        assert np.array_equal(splits["train"].counts.toarray(), expected)
        assert splits["train"].labels.tolist() == [0, 1, 1]
        assert splits["test"].counts.shape == (1, FEATURES)
        assert splits["test"].counts[0, len(domain)] == 2
        assert splits["test"].labels.tolist() == [1]
        assert (folder / "train.labels.txt").read_text() == "negative\npositive\npositive\n"
    record = json.loads((tmp_path / "out/prepared.json").read_text())
    assert record["splits"]["dvd/train"] == {"reviews": 3, "positive": 2}
    assert read_vocabulary(tmp_path / "out") is None


def test_the_same_corpus_gives_the_same_bytes_and_replaces_what_was_there(corpus: Path, tmp_path: Path) -> None:
    def contents() -> dict[str, bytes]:
        prepare(corpus, tmp_path / "out")
        files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
        return {path.name: path.read_bytes() for path in files}

    assert contents() == contents()


def test_no_pickle_is_written_or_read(corpus: Path, tmp_path: Path) -> None:
    folder = prepare(corpus, tmp_path / "out")["dvd"]
    with np.load(folder / "train.npz", allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays} <= set("fiS")
    np.savez(folder / "train.npz", data=np.array([{"a": 1}], dtype=object), format=np.array([b"csr"]))
    with pytest.raises(InputError, match="train cannot be read"):
        read_prepared(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 1:1", "does not start with a label"),
        ("", "does not start with a label"),
        ("1 1:1 2", "something other than <id>:<count>"),
        ("1 1:x", "something other than <id>:<count>"),
        ("1 1:0.5", "something other than <id>:<count>"),
        ("1 5000:1", "do not ascend from 0 to 4999"),
        ("1 3:1 3:1", "do not ascend"),
        ("1 -1:1", "do not ascend"),
        ("1 3:0", "a count below 1"),
    ],
)
def test_a_bad_line_is_named_with_its_number(line: str, message: str, corpus: Path, tmp_path: Path) -> None:
    (corpus / "dvd_train.svmlight").write_text(f"{LINES}{line}\n1 0:1\n")
    with pytest.raises(InputError, match=message) as error:
        prepare(corpus, tmp_path / "out")
    (problem,) = error.value.problems
    assert (Path(str(problem.file)).name, problem.line) == ("dvd_train.svmlight", 4)
    assert not (tmp_path / "out").exists()


def test_everything_wrong_with_the_files_is_listed(corpus: Path, tmp_path: Path) -> None:
    (corpus / "books_train.svmlight").unlink()
    compressed = corpus / "dvd_test.svmlight.xz"
    compressed.write_bytes(compressed.read_bytes()[:-20])
    (corpus / "kitchen_train.svmlight").write_text("")
    (corpus / "vocabulary.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError) as error:
        prepare(corpus, tmp_path / "out")
    files = [Path(str(problem.file)).name for problem in error.value.problems]
    assert files == ["books_train.svmlight", "dvd_test.svmlight", "kitchen_train.svmlight", "vocabulary.txt"]


def test_a_compressed_file_is_checked_by_its_contents(corpus: Path) -> None:
    import hashlib

    good = hashlib.sha256(b"+1 3:2\n").hexdigest()
    check_files(corpus, {"dvd_test.svmlight": good}, shown="here", remedy="")
    (corpus / "dvd_test.svmlight.xz").write_bytes(lzma.compress(b"+1 3:3\n"))
    with pytest.raises(InputError, match=r"here/dvd_test\.svmlight: file is damaged"):
        check_files(corpus, {"dvd_test.svmlight": good}, shown="here", remedy="")
    (corpus / "dvd_test.svmlight.xz").write_bytes(b"no xz file")
    with pytest.raises(InputError, match=r"dvd_test\.svmlight: file cannot be read"):
        check_files(corpus, {"dvd_test.svmlight": good}, shown="here", remedy="")


def test_prepared_files_that_do_not_belong_together_are_refused(corpus: Path, tmp_path: Path) -> None:
    folder = prepare(corpus, tmp_path / "out")["dvd"]
    (folder / "train.labels.txt").write_text("positive\n")
    (folder / "test.labels.txt").write_text("good\n")
    with pytest.raises(InputError) as error:
        read_prepared(folder)
    assert len(error.value.problems) == 2


def test_the_command_lists_its_folders(corpus: Path, tmp_path: Path) -> None:
    """With a folder that is not upstream's, the checksums speak first."""
    command = [sys.executable, "-m", "data_prep.amazon", "--out", str(tmp_path / "o"), "--corpus-dir", str(corpus)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert result.stderr.count("its SHA-256 is not upstream's") == 8


def test_the_real_corpus_has_the_numbers_of_the_paper(real_data: Path, tmp_path: Path) -> None:
    if not any((real_data / place).exists() for place in CORPORA["amazon"].places):
        pytest.skip("amazon is not in SPEECHNLP_DATA")
    folders = prepare(fetch(CORPORA["amazon"]), tmp_path / "out")
    found = {domain: read_prepared(folder) for domain, folder in folders.items()}
    assert {domain: len(splits["test"].labels) for domain, splits in found.items()} == {
        **{"books": 4465, "dvd": 3586},
        **{"electronics": 5681, "kitchen": 5945},
    }
    for splits in found.values():
        assert (len(splits["train"].labels), splits["train"].labels.sum()) == (2000, 1000)
        for split in SPLITS:
            assert sparse.issparse(splits[split].counts)
            assert splits[split].counts.has_canonical_format
    assert max(splits["train"].counts.max() for splits in found.values()) == 61
    # zero-based: were the ids one-based, feature 0 would be empty; it is 'i'
    assert all(splits["train"].counts[:, 0].nnz > 1000 for splits in found.values())
    vocabulary = read_vocabulary(tmp_path / "out")
    if vocabulary is not None:
        assert (len(vocabulary), len(set(vocabulary)), vocabulary[0]) == (FEATURES, FEATURES, "i")
        great = vocabulary.index("great")
        positive = [splits["train"].labels == 1 for splits in found.values()]
        pairs = zip(found.values(), positive, strict=True)
        assert all(s["train"].counts[p][:, great].sum() > s["train"].counts[~p][:, great].sum() for s, p in pairs)
