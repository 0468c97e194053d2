"""Networks of the recipe: one classifier, with every term of `transfer` that makes domains alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pairs import Pair, held_out, told
from run_record import Outcome
from settings import RecipeConfig, SystemConfig

from speechnlp_tl.core.task import Term
from speechnlp_tl.core.trainer import Trainer, TrainResult
from speechnlp_tl.evaluation.domain_distance import ProxyADistance, proxy_a_distance
from speechnlp_tl.evaluation.selection_scores import mutual_information
from speechnlp_tl.text.classification import ClassificationTask, Documents
from speechnlp_tl.text.classifier import DocumentClassifier, hidden_activations, predict
from speechnlp_tl.text.compact import CompactRows
from speechnlp_tl.text.experiment import with_target_statistics
from speechnlp_tl.transfer.domain_methods import NEED_INPUTS, domain_terms
from speechnlp_tl.transfer.normalization import use_autodial
from speechnlp_tl.transfer.soft_labels import SoftLabels, soft_label_matrix

SOURCE, TARGET = 0, 1
"""Numbers of the domains."""


@dataclass(frozen=True)
class Trained:
    """A network after training."""

    model: DocumentClassifier
    result: TrainResult
    accuracy: float
    """In percent, on the source's held-out documents."""


def run_network(system: SystemConfig, config: RecipeConfig, pair: Pair, source: str, seed: int) -> Outcome:
    """Train one network on one pair.

    Its weights are the last ones where the config names no metric: the epoch with the best source validation is often
    an early one, before a term with a rising schedule has done anything.
    """
    features = pair.features(system, source)
    documents, target = features.source, features.target
    if features.compact is not None:
        # gradients lie in the span of the rows: the same network, smaller
        own, target = (rows.astype(np.float32) for rows in features.compact_rows)
        documents = replace(documents, rows=own)
    train, validation = parted(documents, config.held_out, seed)
    known, rest = None, Documents(target, None, 1, "target")
    if system.known is not None:
        known, rest = told(target, pair.target_labels(source), system.known, seed)
    trained = train_network(system, config, train, validation, rest, seed, known)
    model, seen = trained.model, [documents.rows, target]
    distance = _distance(model, seen, seed) if system.distance else None
    scores = _scores(system, config, trained, train, validation, target, seed) if system.scored else None
    if features.compact is not None:
        model = expanded(model, features.compact)
    predictions = predict(model, features.test).argmax(1)
    rule = "last epoch" if config.train.metric is None else "source validation"
    rule += f", {system.known} target labels" if system.known else ""
    return Outcome(predictions, rule, trained.accuracy, distance, scores=scores)


def parted(documents: Documents, share: float, seed: int) -> tuple[Documents, Documents]:
    """The source's documents to train on, and those to choose on."""
    assert documents.labels is not None
    chosen_on = held_out(len(documents), share, seed)
    rest = np.setdiff1d(np.arange(len(documents)), chosen_on)
    train, validation = (
        replace(documents, rows=documents.rows[numbers], labels=documents.labels[numbers], domain=0)
        for numbers in (rest, chosen_on)
    )
    return train, replace(validation, name=f"{documents.name}, held out")


def train_network(
    system: SystemConfig,
    config: RecipeConfig,
    train: Documents,
    validation: Documents,
    unlabelled: Documents,
    seed: int,
    known: Documents | None = None,
) -> Trained:
    """Train a network on labelled and unlabelled documents, and on the few labelled target documents if there are."""
    shape = config.classifier.model_copy(update={"norm": system.norm})
    model = DocumentClassifier(train.rows.shape[1], 2, shape, seed)
    if system.method == "autodial":
        use_autodial(model)
    terms = make_terms(system, model, seed)
    if system.soft_labels is not None:
        terms.append(_soft_labels(system, config, train, validation, unlabelled, seed))
    task = ClassificationTask(
        model,
        [train] if known is None else [train, known],
        [unlabelled] if terms else [],  # without a term they would only move batch statistics
        {"source": validation},
        batch_size=config.batch_size,
        seed=seed,
        expose_inputs=system.method in NEED_INPUTS,
    )
    changes = {"seed": seed} | ({"learning_rate": system.learning_rate} if system.learning_rate else {})
    changes |= {"epochs": system.epochs} if system.epochs else {}
    result = Trainer(task, config.train.model_copy(update=changes), None, terms, quiet=True).fit()
    if system.method == "adabn":
        model = with_target_statistics(model, unlabelled)
    accuracy = 100 * float((predict(model, validation.rows, SOURCE).argmax(1) == validation.labels).mean())
    return Trained(model, result, accuracy)


def _soft_labels(
    system: SystemConfig,
    config: RecipeConfig,
    train: Documents,
    validation: Documents,
    unlabelled: Documents,
    seed: int,
) -> SoftLabels:
    """What the same network, trained on the source alone, answers on average for the source's rows of each class."""
    alone = {"method": "none", "weight": None, "rate": None, "domain_classifier": None}
    plain = system.model_copy(update=alone | {"known": None, "soft_labels": None})
    teacher = train_network(plain, config, train, validation, unlabelled, seed).model
    assert train.labels is not None
    # logarithms of posteriors are logits, up to what softmax takes off
    logits = torch.from_numpy(predict(teacher, train.rows, SOURCE)).clamp_min(1e-30).log()
    matrix = soft_label_matrix(logits, torch.from_numpy(train.labels), teacher.classes)
    assert system.soft_labels is not None
    return SoftLabels(matrix, system.soft_labels, TARGET)


def make_terms(system: SystemConfig, model: DocumentClassifier, seed: int) -> list[Term]:
    """The terms of a system's method."""
    return domain_terms(
        system.methods, model.hidden_layers, seed, inputs=len(model.input.weight), classes=model.classes
    )


def expanded(model: DocumentClassifier, compact: CompactRows) -> DocumentClassifier:
    """A network of compact rows, for the rows behind them."""
    found = DocumentClassifier(compact.width, model.classes, model.config)
    state = model.state_dict()
    weight = compact.expand(state["input.weight"].numpy().T).T
    found.load_state_dict(state | {"input.weight": torch.from_numpy(np.ascontiguousarray(weight, np.float32))})
    return found


def _scores(
    system: SystemConfig,
    config: RecipeConfig,
    trained: Trained,
    train: Documents,
    validation: Documents,
    target: Any,
    seed: int,
) -> dict[str, float]:
    """What a network could be chosen by, without a label of the target."""
    probabilities = predict(trained.model, target)
    return {
        "source validation": trained.accuracy,
        "reverse validation": _reverse_accuracy(system, config, probabilities, train, validation, target, seed),
        "mutual information": mutual_information(probabilities),
    }


def _reverse_accuracy(
    system: SystemConfig,
    config: RecipeConfig,
    probabilities: NDArray[np.float32],
    train: Documents,
    validation: Documents,
    target: Any,
    seed: int,
) -> float:
    """Reverse validation (Zhong et al. 2010, as in Ganin et al. 2016): the same system, learnt from the target with the
    labels that the network gave it and the source without any, in percent on the source's held-out documents."""
    given = probabilities.argmax(1)
    if len(set(given.tolist())) < 2:
        return 50.0  # one class for all: nothing to learn from
    own, checked = parted(Documents(target, given.astype(np.int64), 0, "target, as judged"), config.held_out, seed)
    back = train_network(system, config, own, checked, replace(train, labels=None, domain=TARGET), seed).model
    return 100 * float((predict(back, validation.rows, TARGET).argmax(1) == validation.labels).mean())


def _distance(model: DocumentClassifier, seen: list[Any], seed: int) -> ProxyADistance:
    """Of the last hidden layer's activations."""
    last = list(model.hidden_layers)[-1]
    return proxy_a_distance(*(hidden_activations(model, rows, last) for rows in seen), seed)
