"""One run of `speechnlp-tl classify`: read, predict, write, and score where labels are known."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from speechnlp_tl.core.device import usual_device
from speechnlp_tl.core.progress import shown
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.accuracy import Accuracy, accuracy, macro_f1_interval
from speechnlp_tl.text.classifier import predict
from speechnlp_tl.text.document_file import Document, FieldNames, listed, parse_documents, parse_plain_text, read_lines
from speechnlp_tl.text.document_model import DocumentModel
from speechnlp_tl.text.experiment_data import domain_of
from speechnlp_tl.text.ngrams import NgramFeatures
from speechnlp_tl.text.word_vector_features import WordVectorFeatures

Format = Literal["auto", "jsonl", "text"]
JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
STANDARD_INPUT = Path("-")
AT_ONCE = 1024
"""Documents whose features are in memory together."""


@dataclass(frozen=True)
class Classified:
    """Documents and what the model says of them, in the order of the input."""

    documents: list[Document]
    probabilities: NDArray[np.float32]
    """(n, labels)."""
    labels: tuple[str, ...]
    unknown: int = 0
    """Documents without one n-gram or word that the model knows, which are all alike to it."""

    @property
    def predicted(self) -> list[str]:
        return [self.labels[number] for number in self.probabilities.argmax(1)]

    def lines(self) -> Iterator[str]:
        """One JSON object a document: the label, and every label's probability."""
        for label, row in zip(self.predicted, self.probabilities.tolist(), strict=True):
            named = {name: round(value, 6) for name, value in zip(self.labels, row, strict=True)}
            yield json.dumps({"label": label, "probabilities": named}, ensure_ascii=False) + "\n"

    def score_lines(self) -> Iterator[str]:
        """Accuracy and macro-F1 with 95 % intervals, by domain and, where there are several, of all.

        Raises:
            InputError: no document has a label, or one has a label that the model does not know.
        """
        rows = [number for number, document in enumerate(self.documents) if document.label is not None]
        check_labels(self.documents, self.labels)
        predicted = self.predicted
        if len(rows) < len(self.documents):
            yield f"{len(self.documents) - len(rows)} documents have no label and are not scored"
        domains = sorted({domain_of(self.documents[number]) for number in rows})
        for domain in domains:
            mine = [number for number in rows if domain_of(self.documents[number]) == domain]
            yield f"{domain}: {self._score(mine, predicted)}"
        if len(domains) > 1:
            yield f"all: {self._score(rows, predicted)}"

    def _score(self, rows: Sequence[int], predicted: Sequence[str]) -> str:
        reference = [str(self.documents[number].label) for number in rows]
        found = accuracy(reference, [predicted[number] for number in rows])
        return _line(found)


def read_input(path: Path, form: Format = "auto", fields: FieldNames | None = None) -> list[Document]:
    """Documents of a JSON Lines file, or of plain text with one document a line; `-` is the standard input.

    With "auto" a file is JSON Lines when its name ends in .jsonl, .ndjson or .json, the standard input when it begins
    with `{`.

    Raises:
        InputError: nothing there, or lines that are no documents.
    """
    if path == STANDARD_INPUT:
        lines, path = sys.stdin.buffer.read().splitlines(keepends=True), Path("standard input")
        is_json = form == "jsonl" or (form == "auto" and bool(lines) and lines[0].lstrip().startswith(b"{"))
    else:
        lines = read_lines(path)
        is_json = form == "jsonl" or (form == "auto" and path.suffix.lower() in JSON_ENDINGS)
    return parse_documents(lines, path, fields or FieldNames()) if is_json else parse_plain_text(lines, path)


def classify_documents(model: DocumentModel, documents: list[Document]) -> Classified:
    """The probabilities of every document, on a GPU where there is one; shows progress on a terminal."""
    model.to(usual_device())
    texts, domains = [document.text for document in documents], [domain_of(document) for document in documents]
    begins = shown(range(0, len(texts), AT_ONCE), "classifying", True)
    parts, unknown = [], 0
    for begin in begins:
        part = slice(begin, begin + AT_ONCE)
        rows = model.rows(texts[part], domains[part])
        if isinstance(model.features, NgramFeatures):
            unknown += int((np.diff(rows.indptr) == 0).sum())
        elif isinstance(model.features, WordVectorFeatures):
            unknown += int((~rows.any(axis=1)).sum())
        parts.append(predict(model.classifier, rows))
    return Classified(documents, np.concatenate(parts), model.labels, unknown)


def check_labels(documents: Sequence[Document], labels: Sequence[str]) -> None:
    """Raise InputError where no document has a label, or some have one that the model does not know."""
    with_label = [document for document in documents if document.label is not None]
    if not with_label:
        remedy = "leave --score out, or give documents with labels"
        raise InputError(Problem("no document has a label to score against", documents[0].file, remedy=remedy))
    unknown = [document for document in with_label if document.label not in labels]
    if unknown:
        file, remedy = unknown[0].file, f"the model has: {', '.join(labels[:20])}; correct it or leave the document out"
        what = "the model does not know the label"
        raise InputError(listed([Problem(f"{what} '{d.label}'", file, d.line, remedy) for d in unknown], file))


def _line(found: Accuracy) -> str:
    assert found.ci95 is not None
    low, high = found.ci95
    f1_low, f1_high = macro_f1_interval(found)
    return (
        f"accuracy {found.accuracy:.2f} % [{low:.2f}, {high:.2f}], "
        f"macro-F1 {found.macro_f1:.2f} % [{f1_low:.2f}, {f1_high:.2f}], {found.n} documents"
    )
