"""Amazon reviews of four kinds of products as 5000 n-gram counts, the exact files of Ganin et al. 2016.

    python -m data_prep.amazon --out data/amazon [--corpus-dir FOLDER_OR_ARCHIVE]

For each of books, dvd, electronics and kitchen, `train` has 2000 labelled reviews (Blitzer et al. 2007) and `test` the
official test set, 3586 to 5945 reviews. A domain's folder has `<split>.npz` (counts, scipy CSR, no pickle) and
`<split>.labels.txt` (`positive` or `negative`, one a line). Upstream does not say which n-gram a feature is; where
the corpus' folder holds the `vocabulary.txt` that was recovered from the reviews, it is copied beside the domains.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.checksums import digest, find_listed, open_listed
from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder
from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem

DOMAINS = ("books", "dvd", "electronics", "kitchen")
SPLITS = ("train", "test")
LABELS = ("negative", "positive")
LABEL_NAMES = "labels.txt"
FEATURES = 5000
VOCABULARY = "vocabulary.txt"
VOCABULARY_SHA256 = "58769f7f7cbc38fd394102fe413cb16a0f85d2cc16f3555bb6c273a532debbb7"
_MOST_LISTED = 20


@dataclass(frozen=True)
class Reviews:
    """One split of one domain."""

    counts: Any
    """(n, FEATURES) scipy CSR matrix, float32."""
    labels: NDArray[np.int64]
    """(n,) numbers of LABELS: 0 negative, 1 positive."""


def prepare(corpus: Path, out: Path) -> dict[str, Path]:
    """Write each domain's splits.

    Args:
        corpus: the folder that holds `<domain>_<split>.svmlight`, as it is or compressed with xz.
        out: where to; a folder that this function wrote earlier is replaced.

    Returns:
        Domain -> its folder.

    Raises:
        InputError: a file that is missing or has lines that are not `±1 id:count ...` with ascending ids below 5000, a
            vocabulary other than the recovered one, or that `out` holds something else.
    """
    from scipy import sparse

    problems: list[Problem] = []
    reviews = {(domain, split): _read_split(corpus, domain, split, problems) for domain in DOMAINS for split in SPLITS}
    vocabulary = corpus / VOCABULARY
    if vocabulary.is_file() and digest(vocabulary) != VOCABULARY_SHA256:
        problems.append(Problem("is not the recovered vocabulary", file=vocabulary, remedy="remove it or get it again"))
    if problems:
        raise InputError(problems)
    summary = {
        f"{domain}/{split}": {"reviews": len(part.labels), "positive": int(part.labels.sum())}
        for (domain, split), part in reviews.items()
    }
    with output_folder(out, "amazon", {"vocabulary": vocabulary.is_file()}, summary) as folder:
        for (domain, split), part in reviews.items():
            (folder / domain).mkdir(exist_ok=True)
            sparse.save_npz(folder / domain / f"{split}.npz", part.counts)
            write_text(folder / domain / f"{split}.labels.txt", "".join(f"{LABELS[y]}\n" for y in part.labels))
        if vocabulary.is_file():
            shutil.copyfile(vocabulary, folder / VOCABULARY)
    return {domain: Path(out) / domain for domain in DOMAINS}


def label_names(folder: Path) -> list[str]:
    """The names of the labels by their numbers: those in `labels.txt` of prepared reviews, or LABELS without it."""
    named = folder / LABEL_NAMES
    return named.read_text(encoding="utf-8").split("\n")[:-1] if named.is_file() else list(LABELS)


def read_prepared(folder: Path, features: int | None = FEATURES) -> dict[str, Reviews]:
    """The splits (`train`, `test`) in a domain's folder that `prepare` wrote, or another module in the same layout.

    Labels are numbered as in LABELS, or as in the file `labels.txt` beside the domains where there is one.

    Args:
        features: width of the counts; None takes any.

    Raises:
        InputError: a file that is missing, damaged, or does not fit its neighbour; all of them are listed.
    """
    from scipy import sparse

    splits, problems = {}, []
    known = label_names(folder.parent)
    for split in SPLITS:
        counts_file, labels_file = folder / f"{split}.npz", folder / f"{split}.labels.txt"
        try:
            counts = sparse.csr_matrix(sparse.load_npz(counts_file), dtype=np.float32)  # refuses pickles by itself
            names = labels_file.read_text(encoding="utf-8").split("\n")[:-1]
            labels = np.array([known.index(name) for name in names], dtype=np.int64)
        except (OSError, ValueError, KeyError, EOFError) as error:
            remedy = "prepare the corpus again"
            problems.append(Problem(f"{split} cannot be read: {error}", file=folder, remedy=remedy))
            continue
        if counts.shape != (len(labels), features or counts.shape[1]):
            problems.append(Problem(f"counts are {counts.shape} for {len(labels)} labels", file=counts_file))
        splits[split] = Reviews(counts, labels)
    if problems:
        raise InputError(problems)
    return splits


def read_vocabulary(out: Path) -> list[str] | None:
    """The n-gram of each feature (`a_b` is a bigram, `<num>` a number), or None where it was not to be had."""
    path = out / VOCABULARY
    return path.read_text(encoding="utf-8").split("\n")[:FEATURES] if path.is_file() else None


def _read_split(corpus: Path, domain: str, split: str, problems: list[Problem]) -> Reviews:
    """The reviews of one svmlight file with zero-based ids; what is wrong is added to `problems`."""
    from scipy import sparse

    name = f"{domain}_{split}.svmlight"
    labels, ids, counts, ends = [], [], [], [0]
    found: list[Problem] = []
    if find_listed(corpus, name) is None:
        problems.append(Problem("file is missing", file=corpus / name))
    else:
        try:
            with open_listed(corpus, name) as file:
                for number, line in enumerate(file, start=1):
                    try:
                        label, places, values = _parse(line)
                    except ValueError as error:
                        found.append(Problem(f"{error}", file=corpus / name, line=number))
                        continue
                    labels.append(label)
                    ids.append(places)
                    counts.append(values)
                    ends.append(ends[-1] + len(places))
        except OSError as error:
            found.append(Problem(f"cannot be read: {error.strerror or error}", file=corpus / name))
        if not found and not labels:
            found.append(Problem("holds no reviews", file=corpus / name))
        problems += found[:_MOST_LISTED]
    flat = [np.concatenate(parts) if parts else np.zeros(0) for parts in (counts, ids)]
    matrix = sparse.csr_matrix(
        (flat[0].astype(np.float32), flat[1].astype(np.int32), ends), shape=(len(labels), FEATURES)
    )
    return Reviews(matrix, np.array(labels, dtype=np.int64))


def _parse(line: bytes) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """(number of the label, ascending ids, counts); ValueError says what is wrong."""
    fields = line.split()
    if not fields or fields[0] not in (b"1", b"-1", b"+1"):
        raise ValueError("does not start with a label, 1 or -1")
    pairs = b":".join(fields[1:]).split(b":") if len(fields) > 1 else []
    try:
        numbers = np.array(pairs, dtype="S").astype(np.int64) if pairs else np.zeros(0, np.int64)
        ids, counts = numbers.reshape(-1, 2).T
    except ValueError:
        raise ValueError("has something other than <id>:<count> after the label") from None
    if len(ids) and not (ids[0] >= 0 and ids[-1] < FEATURES and np.all(np.diff(ids) > 0)):
        raise ValueError(f"has ids that do not ascend from 0 to {FEATURES - 1}")
    if np.any(counts < 1):
        raise ValueError("has a count below 1")
    return int(fields[0] != b"-1"), ids, counts


def main() -> None:
    """The command line."""
    arguments = corpus_parser(__doc__).parse_args()
    run(lambda: prepare(fetch(CORPORA["amazon"], arguments.corpus_dir), arguments.out))


if __name__ == "__main__":
    main()
