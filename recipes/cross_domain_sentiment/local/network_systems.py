"""Networks of the recipe: one classifier, with every term of `transfer` that makes domains alike."""

from __future__ import annotations

from collections.abc import Sequence

from pairs import Features, Pair, held_out
from run_record import Outcome
from settings import RecipeConfig, SystemConfig

from speechnlp_tl.core.task import Term
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.evaluation.domain_distance import ProxyADistance, proxy_a_distance
from speechnlp_tl.text.classification import ClassificationTask, Documents
from speechnlp_tl.text.classifier import DocumentClassifier, hidden_activations, predict
from speechnlp_tl.transfer.adversarial import DANN, DomainConfusion
from speechnlp_tl.transfer.discrepancy import CORAL, MMD, JointMMD
from speechnlp_tl.transfer.normalization import adapt_batch_norm


def run_network(system: SystemConfig, config: RecipeConfig, pair: Pair, source: str, seed: int) -> Outcome:
    """Train one network on one pair; its weights are those of the epoch with the best source validation."""
    if system.features == "msda":
        features = pair.denoised(source)
    else:
        features = pair.counts(source, system.weighting, system.unit_length)
    documents = features.source
    assert documents.labels is not None
    chosen_on = held_out(len(documents), config.held_out, seed)
    rest = [number for number in range(len(documents)) if number not in set(chosen_on.tolist())]
    train = Documents(documents.rows[rest], documents.labels[rest], 0, documents.name)
    validation = Documents(documents.rows[chosen_on], documents.labels[chosen_on], 0, f"{documents.name}, held out")
    target = Documents(features.target, None, 1, "target")

    shape = config.classifier.model_copy(update={"norm": system.norm})
    model = DocumentClassifier(documents.rows.shape[1], 2, shape, seed)
    terms = make_terms(system, model, seed)
    task = ClassificationTask(
        model,
        [train],
        [target] if terms else [],  # without a term they would only move batch statistics
        {"source": validation},
        batch_size=config.batch_size,
        seed=seed,
    )
    changes = {"seed": seed} | ({"learning_rate": system.learning_rate} if system.learning_rate else {})
    result = Trainer(task, config.train.model_copy(update=changes), None, terms, quiet=True).fit()
    if system.method == "adabn":
        loaded = ClassificationTask(model, [train], [target])
        model = _of_target(loaded, model, len(train), len(target))
    distance = _distance(model, features, seed) if system.distance else None
    predictions = predict(model, features.test).argmax(1)
    return Outcome(predictions, "source validation", result.best, distance)


def make_terms(system: SystemConfig, model: DocumentClassifier, seed: int) -> Sequence[Term]:
    """The terms of a method, on the last hidden layer where there is a choice."""
    layers = list(model.hidden_layers)
    last, width, weight = layers[-1], model.hidden_layers[layers[-1]], system.weight
    if system.method == "dann":
        return [DANN(last, width, weight=weight, seed=seed)]
    if system.method == "confusion":
        return [DomainConfusion(last, width, weight=weight, seed=seed)]
    if system.method == "mmd":  # one kernel: DaNN and DDC
        return [MMD(last, weight, multiples=(1.0,))]
    if system.method == "mkmmd":  # five kernels, every layer: DAN
        return [MMD([*layers, "logits"], weight)]
    if system.method == "jmmd":
        return [JointMMD([last, "posteriors"], weight)]
    if system.method == "coral":
        return [CORAL(last, weight)]
    return []


def _of_target(task: ClassificationTask, model: DocumentClassifier, begin: int, count: int) -> DocumentClassifier:
    """The model with the target's statistics in its batch normalisations."""
    numbers = range(begin, begin + count)
    batches = [task.load(list(numbers[first : first + 512]), 0) for first in range(0, count, 512)]
    adapted = adapt_batch_norm(task, model, batches)
    assert isinstance(adapted, DocumentClassifier)
    return adapted


def _distance(model: DocumentClassifier, features: Features, seed: int) -> ProxyADistance:
    """Of the last hidden layer's activations."""
    last = list(model.hidden_layers)[-1]
    rows = [hidden_activations(model, part, last) for part in (features.source.rows, features.target)]
    return proxy_a_distance(*rows, seed)
