"""Documents as n-gram counts in the layout of `data_prep.amazon`, for corpora that are text."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np

from data_prep import amazon_reviews
from data_prep.amazon import LABEL_NAMES, SPLITS, VOCABULARY
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder
from data_prep.text_split import split_of
from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.document_file import Document, listed, read_documents
from speechnlp_tl.text.experiment_data import domain_of
from speechnlp_tl.text.ngrams import NgramConfig, NgramFeatures

NGRAMS = NgramConfig(longest=2, min_documents=2, max_features=5000, weighting="count")
"""As many as the counts of Ganin et al. 2016 have."""

Split = dict[str, list[Document]]
"""Split -> documents."""


def amazon_documents() -> Split:
    """The raw Amazon reviews in the split of `data_prep.amazon_reviews`."""
    with tempfile.TemporaryDirectory() as folder:
        files = amazon_reviews.prepare(fetch(CORPORA[amazon_reviews.NAME]), Path(folder) / "text")
        return {split: read_documents(path) for split, path in files.items()}


def own_documents(path: Path) -> Split:
    """A user's documents; about a fifth is the test, copies of a text on one side.

    Raises:
        InputError: lines that are no documents, documents without a label, or another number of classes than two.
    """
    documents = read_documents(path)
    lacking = [document for document in documents if document.label is None]
    remedy = "label it or leave it out: the recipe scores every domain"
    problems = listed([Problem("has no label", path, document.line, remedy) for document in lacking], path)
    domains = sorted({domain_of(document) for document in documents})
    labels = {document.label for document in documents} - {None}
    if len(labels) != 2:
        what = f"the recipe compares classifiers of two classes, this has {len(labels)}"
        problems.append(Problem(what, path, remedy="'speechnlp-tl train' takes any number of classes"))
    if len(domains) < 2:
        problems.append(
            Problem("has documents of one domain only", path, remedy="give the field 'domain' to each line")
        )
    if odd := [domain for domain in domains if not re.fullmatch(r"[\w &,+-][\w &,.+-]*", domain)]:
        remedy = "use letters, digits, spaces and -"
        problems.append(Problem(f"domains become folders, and {odd[0]!r} is no name for one", path, remedy=remedy))
    if problems:
        raise InputError(problems)
    split: Split = {name: [] for name in SPLITS}
    for document in documents:
        split[split_of(document.text)].append(document)
    for name in SPLITS:
        for domain in domains:
            found = {document.label for document in split[name] if domain_of(document) == domain}
            if found != labels:
                what = f"the {name} part of domain '{domain}' has {len(found)} class(es)"
                problems.append(Problem(what, path, remedy="give more documents of that domain and class"))
    if problems:
        raise InputError(problems)
    return split


def write_counts(split: Split, out: Path, corpus: str) -> dict[str, Path]:
    """Counts over the n-grams of the training texts of all domains, without their labels.

    Returns:
        Domain -> its folder.
    """
    from scipy import sparse

    features = NgramFeatures.fit([document.text for document in split["train"]], NGRAMS)
    domains = sorted({domain_of(document) for document in split["train"]})
    labels = sorted({str(document.label) for documents in split.values() for document in documents})
    parts = {
        (domain, name): [document for document in split[name] if domain_of(document) == domain]
        for domain in domains
        for name in SPLITS
    }
    summary = {f"{domain}/{name}": {"reviews": len(part)} for (domain, name), part in parts.items()}
    with output_folder(out, corpus, {"features": features.width}, summary) as folder:
        for (domain, name), part in parts.items():
            (folder / domain).mkdir(exist_ok=True)
            counts = features.rows([document.text for document in part])
            sparse.save_npz(folder / domain / f"{name}.npz", sparse.csr_matrix(counts, dtype=np.float32))
            write_text(folder / domain / f"{name}.labels.txt", "".join(f"{document.label}\n" for document in part))
        write_text(folder / LABEL_NAMES, "".join(f"{label}\n" for label in labels))
        write_text(folder / VOCABULARY, "".join(f"{ngram}\n" for ngram in features.vocabulary))
    return {domain: Path(out) / domain for domain in domains}
