"""Classification of documents as a `Task`: labelled rows of one domain beside unlabelled rows of another.

The model is in `classifier`, the methods that make the domains alike in `transfer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from speechnlp_tl.core.task import Step, Task
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.accuracy import accuracy
from speechnlp_tl.text.classifier import ClassifierOutput, DocumentClassifier, Inputs, predict
from speechnlp_tl.text.features import Rows, SparseRows, checked_rows, take
from speechnlp_tl.text.token_rows import TokenRows
from speechnlp_tl.transfer.normalization import domains_of_rows

UNLABELLED = -1


@dataclass(frozen=True)
class Documents:
    """Documents of one domain."""

    rows: Rows
    """(n, features), a numpy array, a scipy sparse matrix or `TokenRows`."""
    labels: NDArray[np.int64] | None = None
    """(n,) numbers of the classes; None without labels."""
    domain: int = 0
    name: str = "documents"
    """For messages."""

    def __len__(self) -> int:
        return int(self.rows.shape[0])


@dataclass
class DocumentBatch:
    """B documents of one or several domains."""

    ids: list[str]
    units: float
    """Labelled documents."""
    inputs: Inputs
    labels: Tensor
    """(B,) int64; UNLABELLED where there is none."""
    domain: Tensor
    """(B,) int64."""
    weights: Tensor | None = None
    """(B,) what each document's loss counts."""

    def to(self, device: torch.device) -> DocumentBatch:
        return replace(
            self,
            inputs=self.inputs.to(device),
            labels=self.labels.to(device),
            domain=self.domain.to(device),
            weights=None if self.weights is None else self.weights.to(device),
        )


class ClassificationTask(Task):
    """Train a classifier on labelled documents, with unlabelled ones of other domains in each step.

    Every step holds `batch_size` labelled documents or a few more (an epoch's are shared out evenly, so that no step is
    tiny) and `unlabelled_per_labelled` times as many unlabelled ones. An epoch shows each labelled document once, and
    an unlabelled one a second time only after all others. Both orders depend on (seed, epoch) alone. The loss is the
    cross-entropy of the labelled documents; the unlabelled ones are there for the terms.

    Args:
        model: trained in place.
        labelled: documents with labels.
        unlabelled: documents without. Labels that they have all the same are dropped here: no term and no loss sees
            them.
        dev: name -> labelled documents that `evaluate` measures.
        weights: (n,) what the loss of each labelled document counts, over all of `labelled` in order; None is 1 each.
        batch_size: labelled documents of one step.
        unlabelled_per_labelled: unlabelled documents of one step, per labelled one.
        seed: of the orders.
        expose_inputs: put the documents themselves, dense (B, features), among the step's features as "inputs", for
            the terms that reconstruct them. It costs time and memory for every zero.

    Raises:
        InputError: no labelled documents, labels that do not fit rows or classes, one class only, a dev set without
            labels or with a class that no labelled document has, other features than the model's; lists all.
    """

    model: nn.Module

    def __init__(
        self,
        model: DocumentClassifier,
        labelled: Sequence[Documents],
        unlabelled: Sequence[Documents] = (),
        dev: Mapping[str, Documents] | None = None,
        weights: NDArray[np.float64] | None = None,
        batch_size: int = 64,
        unlabelled_per_labelled: float = 1.0,
        seed: int = 0,
        expose_inputs: bool = False,
    ) -> None:
        dev = dict(dev or {})
        _check(model, labelled, unlabelled, dev, weights, batch_size, unlabelled_per_labelled)
        self.model = model
        self.dev = {name: replace(part, rows=checked_rows(part.rows, part.name)) for name, part in dev.items()}
        parts = [*labelled, *(replace(part, labels=None) for part in unlabelled)]
        self.rows = _stack([checked_rows(part.rows, part.name) for part in parts])
        self.labels = np.concatenate([_labels(part) for part in parts])
        self.domain = np.repeat([part.domain for part in parts], [len(part) for part in parts])
        self.ids = [f"{part.name}:{number}" for part in parts for number in range(len(part))]
        self.labelled = sum(map(len, labelled))
        self.weights = None if weights is None else np.concatenate([weights, np.zeros(len(self.ids) - len(weights))])
        self.batch_size, self.unlabelled_per_labelled, self.seed = batch_size, unlabelled_per_labelled, seed
        self.expose_inputs = expose_inputs

    def batches(self, epoch: int) -> list[list[int]]:
        random_numbers = np.random.default_rng([self.seed, epoch])
        order = random_numbers.permutation(self.labelled)
        count = max(1, self.labelled // self.batch_size)
        batches = np.array_split(order, count)
        others = len(self.ids) - self.labelled
        wanted = round(self.labelled * self.unlabelled_per_labelled)
        if not others or not wanted:
            return [batch.tolist() for batch in batches]
        rounds = [random_numbers.permutation(others) for _ in range(-(-wanted // others))]
        drawn = np.array_split(self.labelled + np.concatenate(rounds)[:wanted], count)
        return [[*batch.tolist(), *other.tolist()] for batch, other in zip(batches, drawn, strict=True)]

    def load(self, rows: list[int], epoch: int) -> DocumentBatch:
        numbers = np.array(rows, dtype=np.int64)
        labels = self.labels[numbers]
        return DocumentBatch(
            ids=[self.ids[row] for row in rows],
            units=float(np.count_nonzero(labels != UNLABELLED)),
            inputs=take(self.rows, numbers),
            labels=torch.from_numpy(labels),
            domain=torch.from_numpy(self.domain[numbers]),
            weights=None if self.weights is None else torch.from_numpy(self.weights[numbers].astype(np.float32)),
        )

    def step(self, model: nn.Module, batch: DocumentBatch) -> Step:
        with domains_of_rows(model, batch.domain):
            output = cast(ClassifierOutput, model(batch.inputs))
        # an unlabelled row's loss is zero, whatever its logits are
        logits, labels = output.logits.float(), batch.labels
        if batch.weights is None:
            loss = F.cross_entropy(logits, labels, reduction="sum", ignore_index=UNLABELLED)
        else:
            loss = F.cross_entropy(logits, labels, reduction="none", ignore_index=UNLABELLED) @ batch.weights
        mask = torch.ones_like(batch.labels, dtype=torch.bool)
        features = dict(output.hidden)
        if self.expose_inputs:
            inputs = batch.inputs.dense() if isinstance(batch.inputs, SparseRows) else batch.inputs
            if not isinstance(inputs, Tensor):
                raise InputError("documents of tokens have no features that a term could restore")
            features["inputs"] = inputs
        return Step(loss, output.logits, mask, features, batch.domain, batch.labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """`<name>_accuracy` and `<name>_macro_f1` in percent and the mean `<name>_loss` of each dev set."""
        assert isinstance(model, DocumentClassifier)
        found: dict[str, float] = {}
        for name, part in self.dev.items():
            labels = _labels(part)
            probabilities = predict(model, part.rows, part.domain)
            result = accuracy([str(label) for label in labels], [str(best) for best in probabilities.argmax(1)])
            right = probabilities[np.arange(len(labels)), labels]
            found[f"{name}_accuracy"], found[f"{name}_macro_f1"] = result.accuracy, result.macro_f1
            found[f"{name}_loss"] = float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean())
        return found


def _check(
    model: DocumentClassifier,
    labelled: Sequence[Documents],
    unlabelled: Sequence[Documents],
    dev: Mapping[str, Documents],
    weights: NDArray[np.float64] | None,
    batch_size: int,
    unlabelled_per_labelled: float,
) -> None:
    problems: list[Problem | str] = []
    if batch_size < 2 or not 0 <= unlabelled_per_labelled < float("inf"):
        what = f"batch_size={batch_size}, unlabelled_per_labelled={unlabelled_per_labelled}"
        problems.append(f"a step needs at least two labelled documents and a share of 0 or more of others, not {what}")
    width = model.inputs
    for part in [*labelled, *unlabelled, *dev.values()]:
        if part.rows.ndim != 2 or part.rows.shape[1] != width:
            what = f"{part.name}: rows are {part.rows.shape}, the model was made for {width} features"
            problems.append(Problem(what, remedy="make all documents with one vocabulary"))
    for part in [*labelled, *dev.values()]:
        problems += label_problems(part, model.classes)
    if not problems:
        classes = set(np.concatenate([_labels(part) for part in labelled]).tolist()) if labelled else set()
        if len(classes) < 2:
            what = f"the labelled documents have {len(classes)} class(es), a classifier needs at least two"
            problems.append(Problem(what, remedy="add labelled documents of another class"))
        for part in dev.values():
            unseen = sorted(set(_labels(part).tolist()) - classes)
            if unseen:
                what = f"{part.name}: no labelled document has class {', '.join(map(str, unseen))}"
                problems.append(Problem(what, remedy="add labelled documents of that class, or leave these out"))
    count = sum(map(len, labelled))
    if weights is not None and (weights.shape != (count,) or not (np.isfinite(weights).all() and weights.min() >= 0)):
        problems.append(f"{count} labelled documents need {count} weights, finite and not negative")
    if problems:
        raise InputError(problems)


def label_problems(part: Documents, classes: int) -> list[Problem]:
    """What keeps a set from being used with its labels: none, not one for each row, or none of the classes."""
    if not len(part):
        return [Problem(f"{part.name}: there are no documents")]
    if part.labels is None:
        return [Problem(f"{part.name}: the documents have no labels", remedy="give labels, or pass them as unlabelled")]
    if part.labels.shape != (len(part),):
        return [Problem(f"{part.name}: {len(part)} documents and {len(part.labels)} labels")]
    if part.labels.min() < 0 or part.labels.max() >= classes:
        found = f"{part.labels.min()} to {part.labels.max()}"
        return [Problem(f"{part.name}: labels are numbered 0 to {classes - 1}, found {found}")]
    return []


def _labels(part: Documents) -> NDArray[np.int64]:
    return np.full(len(part), UNLABELLED, np.int64) if part.labels is None else part.labels.astype(np.int64)


def _stack(parts: list[Rows]) -> Rows:
    from scipy import sparse

    if any(isinstance(part, TokenRows) for part in parts):
        return TokenRows.joined(parts)
    return (
        sparse.vstack(parts, format="csr")
        if all(map(sparse.issparse, parts))
        else np.concatenate([part.toarray() if sparse.issparse(part) else part for part in parts])
    )
