"""Networks of the recipe: one classifier, with every term of `transfer` that makes domains alike."""

from __future__ import annotations

from pairs import Features, Pair, held_out
from run_record import Outcome
from settings import RecipeConfig, SystemConfig

from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.evaluation.domain_distance import ProxyADistance, proxy_a_distance
from speechnlp_tl.text.classification import ClassificationTask, Documents
from speechnlp_tl.text.classifier import DocumentClassifier, hidden_activations, predict
from speechnlp_tl.transfer.domain_methods import DomainMethod, domain_terms
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
    methods = [] if system.method == "none" else [DomainMethod(name=system.method, weight=_weight(system))]
    terms = domain_terms(methods, model.hidden_layers, seed)
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


def _weight(system: SystemConfig) -> float | None:
    return None if system.method == "adabn" else system.weight


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
