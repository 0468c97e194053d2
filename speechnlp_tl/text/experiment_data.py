"""The documents of a text experiment by what they are for: labelled source, unlabelled target, validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.text.document_file import Document, FieldNames, listed, read_documents

Selection = Literal["source validation", "last epoch", "oracle"]


def _as_list(given: object) -> object:
    return [] if given is None else given if isinstance(given, list) else [given]


Paths = Annotated[list[Path], BeforeValidator(_as_list)]
Names = Annotated[list[str], BeforeValidator(_as_list)]


class TextDataConfig(StrictModel):
    """What to learn from. A document without a domain is of the one that its file is named after."""

    train: Paths = Field(min_length=1, description="JSON Lines files")
    source: Names = Field([], description="domains whose labels are learnt from; not given: all but the target")
    target: Names = Field([], description="domains to work on; of their training documents no label is used")
    dev: Paths = Field([], description="JSON Lines files to measure and to choose the weights on")
    dev_share: float = Field(
        0.1, ge=0, lt=1, description="of the documents, held out of `train` where there is no `dev`; 0: none"
    )
    fields: FieldNames = FieldNames()

    @model_validator(mode="after")
    def _apart(self) -> TextDataConfig:
        if both := sorted(set(self.source) & set(self.target)):
            raise ValueError(f"source and target have {', '.join(both)} in common")
        return self

    @property
    def validates(self) -> bool:
        """Whether there are documents to choose the weights on."""
        return bool(self.dev) or self.dev_share > 0


@dataclass
class TextCorpus:
    """Documents by purpose."""

    labelled: list[Document]
    """Of the source."""
    unlabelled: list[Document]
    """Of the target, their labels dropped."""
    dev: list[Document]
    """Of the source, or with the oracle of the target."""
    labels: tuple[str, ...]
    """Of the source, numbers in their order, names by the alphabet."""
    notes: list[str] = field(default_factory=list)
    """What the user should know of what is used and what is not."""


def read_corpus(config: TextDataConfig, selection: Selection = "source validation", seed: int = 0) -> TextCorpus:
    """Read and part the documents.

    Without `dev` files a share is held out at random, of each class alike and copies of a text together: of the
    source, or with the oracle of the target.

    Raises:
        InputError: files that cannot be used, domains that are not there, documents without a label where one is
            needed, one class only, or a label for validation that the source does not have. Lists all.
    """
    training, dev_files = _read(config.train, config.fields), _read(config.dev, config.fields)
    domains = list(dict.fromkeys(domain_of(document) for document in training))
    source = config.source or [domain for domain in domains if domain not in config.target]
    problems: list[Problem] = []
    for domain in [*config.source, *config.target]:
        if domain not in domains:
            what = f"domain '{domain}' is in none of the training files"
            problems.append(Problem(what, remedy=f"they have: {', '.join(domains)}"))
    labelled = [document for document in training if domain_of(document) in source]
    unlabelled = [document for document in training if domain_of(document) in config.target]
    if not labelled and not problems:
        problems.append(Problem("there is no source domain", remedy="name domains with labels under data.source"))
    problems += _without_labels(labelled, "name its domain under data.target")
    notes = _notes(config, training, domains, source, selection)
    dev_domains, side = (config.target, "target") if selection == "oracle" else (source, "source")
    dev = [document for document in dev_files if domain_of(document) in dev_domains]
    if config.dev and not dev:
        problems.append(Problem(f"data.dev has no documents of the {side}", remedy=f"wanted: {', '.join(dev_domains)}"))
    if not config.dev:
        if selection == "oracle":
            unlabelled, dev = hold_out(unlabelled, config.dev_share, seed)
        else:
            labelled, dev = hold_out(labelled, config.dev_share, seed)
    elif left := len(dev_files) - len(dev):
        notes.append(f"data.dev: {left} documents are not of the {side} and are not used")
    if selection != "last epoch" and config.validates and not dev and not problems:
        what = f"selection: {selection} has no {side} documents to choose on, of each label there is one text only"
        problems.append(Problem(what, remedy="give more documents, or data.dev"))
    problems += _without_labels(dev, "validation needs them: leave them out")
    labels = _label_names(labelled)
    problems += _label_problems(labelled, dev, labels)
    if problems:
        raise InputError(problems)
    return TextCorpus(labelled, [replace(document, label=None) for document in unlabelled], dev, labels, notes)


def domain_of(document: Document) -> str:
    """Its domain, or what its file is named after."""
    return document.domain or document.file.name.partition(".")[0]


def hold_out(documents: Sequence[Document], share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """Part the documents, of each label alike, copies of a text on one side; the first part has some of each label.

    Copies of one text whose labels contradict each other count as a label of their own.
    """
    copies: dict[str, list[int]] = {}
    for number, document in enumerate(documents):
        copies.setdefault(document.text, []).append(number)
    alike: dict[tuple[str, ...], list[list[int]]] = {}
    for numbers in copies.values():
        labels = sorted({str(documents[number].label) for number in numbers})
        alike.setdefault(tuple(labels), []).append(numbers)
    random_numbers = np.random.default_rng(seed)
    held: set[int] = set()
    for _, groups in sorted(alike.items()):
        count = min(max(round(share * len(groups)), int(share > 0)), len(groups) - 1)
        for chosen in random_numbers.permutation(len(groups))[:count]:
            held.update(groups[chosen])
    kept = [document for number, document in enumerate(documents) if number not in held]
    return kept, [documents[number] for number in sorted(held)]


def data_digest(config: TextDataConfig) -> str:
    """SHA-256 of everything in the files.

    Raises:
        InputError: files that cannot be read; lists all.
    """
    digest = hashlib.sha256()
    problems = []
    for path in [*config.train, *config.dev]:
        try:
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
        except OSError as error:
            problems.append(Problem(f"cannot be read: {error.strerror or error}", file=path))
    if problems:
        raise InputError(problems)
    return digest.hexdigest()


def _read(paths: Sequence[Path], fields: FieldNames) -> list[Document]:
    documents, problems = [], []
    for path in paths:
        try:
            documents += read_documents(path, fields)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return documents


def _without_labels(documents: Sequence[Document], otherwise: str) -> list[Problem]:
    """One problem for a domain that has no labels at all, else one for each document without."""
    problems: list[Problem] = []
    labelled = Counter(domain_of(document) for document in documents if document.label is not None)
    for domain in dict.fromkeys(map(domain_of, documents)):
        lacking = [d for d in documents if d.label is None and domain_of(d) == domain]
        if lacking and not labelled[domain]:
            first = lacking[0]
            what = f"none of the {len(lacking)} documents of domain '{domain}' has a label, and they are needed"
            problems.append(Problem(what, first.file, first.line, f"label them, or {otherwise}"))
            continue
        for file in dict.fromkeys(document.file for document in lacking):
            mine = [document for document in lacking if document.file == file]
            what, remedy = f"a document of domain '{domain}' has no label", f"label it, or {otherwise}"
            problems += listed([Problem(what, file, document.line, remedy) for document in mine], file)
    return problems


def _label_names(documents: Iterable[Document]) -> tuple[str, ...]:
    names = {document.label for document in documents if document.label is not None}
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))


def _label_problems(labelled: Sequence[Document], dev: Sequence[Document], labels: tuple[str, ...]) -> list[Problem]:
    problems: list[Problem] = []
    if len(labels) == 1:
        first = labelled[0]
        what = f"all {len(labelled)} labelled documents are '{labels[0]}', a classifier needs two classes"
        problems.append(Problem(what, first.file, first.line, "add documents of another class"))
    unseen = [document for document in dev if document.label is not None and document.label not in labels]
    for file in dict.fromkeys(document.file for document in unseen):
        remedy = f"the source has: {', '.join(labels[:20])}; correct it, or leave the document out"
        mine = [document for document in unseen if document.file == file] if len(labels) > 1 else []
        what = "no document of the source has the label"
        problems += listed([Problem(f"{what} '{d.label}'", file, d.line, remedy) for d in mine], file)
    return problems


def _notes(
    config: TextDataConfig, training: Sequence[Document], domains: Sequence[str], source: Sequence[str], rule: Selection
) -> list[str]:
    notes = []
    for domain in config.target:
        dropped = sum(domain_of(d) == domain and d.label is not None for d in training)
        if dropped:
            use = "none is trained on" if rule == "oracle" else "they are dropped, nothing sees them"
            notes.append(f"{dropped} documents of target domain '{domain}' have labels: {use}")
    left = [domain for domain in domains if domain not in source and domain not in config.target]
    if left:
        notes.append(f"domains that are neither source nor target are not used: {', '.join(left)}")
    return notes
