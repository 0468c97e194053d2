"""Stage 4: train every classifier and let it judge the target's verses of the test books. Labels of the target are read
for ceilings only, and none of the test books."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from documents import Labelled, PairData
from numpy.typing import NDArray
from runs import Runs, read_arguments
from settings import RecipeConfig, SystemConfig

from data_prep.command import run
from recipes.run_records import in_parallel, write_record
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.evaluation.results import peak_mb
from speechnlp_tl.text.baselines import fit_linear, majority, self_train
from speechnlp_tl.text.classification import ClassificationTask, Documents
from speechnlp_tl.text.classifier import DocumentClassifier, predict
from speechnlp_tl.text.experiment import with_target_statistics
from speechnlp_tl.transfer.domain_methods import NEED_INPUTS, domain_terms
from speechnlp_tl.transfer.normalization import use_autodial

SOURCE, TARGET = 0, 1


@dataclass(frozen=True)
class Judged:
    """What a system says of the test verses."""

    predictions: NDArray[np.int64]
    selection: str
    """What was chosen on what."""


def _work() -> None:
    runs, jobs = read_arguments(__doc__)
    config = runs.config
    work = []
    for split in range(config.splits):
        for target in config.targets:
            left = [name for name in config.systems if not runs.predictions(name, target, split).is_file()]
            work += [(runs, target, split, left)] if left else []
    in_parallel(_classify, work, jobs)


def _classify(item: tuple[Runs, str, int, Sequence[str]]) -> str:
    """All systems of one pair and division: they share what their documents are made of."""
    runs, target, split, names = item
    began, pair = time.monotonic(), PairData(runs, target, split)
    for name in names:
        begin = time.monotonic()
        judged = judge(runs.config, runs.config.systems[name], pair)
        record = {
            "selection": judged.selection,
            "wall_s": round(time.monotonic() - begin, 2),
            "peak_mb": round(peak_mb(), 1),
            "predictions": " ".join(map(str, judged.predictions.tolist())),
        }
        write_record(runs.predictions(name, target, split), record)
    seconds = time.monotonic() - began
    return f"{runs.config.source}-{target}, division {split}: {len(names)} systems: {seconds:.0f} s"


def judge(config: RecipeConfig, system: SystemConfig, pair: PairData) -> Judged:
    """Train one system and let it judge the test verses of the pair's target."""
    if system.kind == "network":
        return _network(config, system, pair)
    classes = len(pair.source_verses.genres)
    if system.kind == "majority":
        seen = pair.source_verses.of(pair.division.seen)
        labels = Documents(np.zeros((len(seen), 1), np.float32), pair.source_verses.labels[seen])
        return Judged(majority(labels, classes).predict(np.zeros((len(pair.test), 1))), "fixed")
    data = _documents(system, pair)
    model = fit_linear(config.linear, data.documents, data.held_out, classes, config.candidates, seed=pair.split)
    if system.kind == "self-trained":
        # taught further by its own answers on target verses; genres are not equally frequent
        rounds = self_train(config.linear, model, data.documents, data.unlabelled, balanced=False, seed=pair.split)
        model = rounds[-1].model
    return Judged(model.predict(data.test), f"{system.labels}'s held-out books")


def _documents(system: SystemConfig, pair: PairData) -> Labelled:
    if system.kind == "words":
        return pair.words(system.labels)
    if system.kind == "word by word":
        return pair.words("source", pair.translated(system.space))
    assert system.space is not None
    return pair.vectors(system.space, system.labels)


def _network(config: RecipeConfig, system: SystemConfig, pair: PairData) -> Judged:
    """A network on documents of both languages, with every term of `transfer` that makes domains alike.

    Its last weights are kept: the epoch best on the source is often one before a term has done anything.
    """
    assert system.space is not None
    data = pair.vectors(system.space, "source")
    shape = config.classifier.model_copy(update={"norm": system.norm})
    classes, width = len(pair.source_verses.genres), data.documents.rows.shape[1]
    model = DocumentClassifier(width, classes, shape, pair.split)
    names = [method.name for method in system.method]
    if "autodial" in names:
        use_autodial(model)
    terms = domain_terms(system.method, model.hidden_layers, pair.split, target=TARGET, inputs=width, classes=classes)
    unlabelled = Documents(data.unlabelled, None, TARGET, "target")
    train = np.setdiff1d(np.arange(len(data.documents)), data.held_out)
    assert data.documents.labels is not None
    known = replace(data.documents, rows=data.documents.rows[train], labels=data.documents.labels[train])
    task = ClassificationTask(
        model,
        [known],
        [unlabelled] if terms else [],
        batch_size=config.batch_size,
        seed=pair.split,
        expose_inputs=any(name in NEED_INPUTS for name in names),
    )
    settings = config.train.model_copy(update={"seed": pair.split})
    Trainer(task, settings, None, terms, quiet=True).fit()
    if "adabn" in names:
        model = with_target_statistics(model, unlabelled)
    return Judged(predict(model, data.test, TARGET).argmax(1).astype(np.int64), "last epoch")


if __name__ == "__main__":
    run(_work)
