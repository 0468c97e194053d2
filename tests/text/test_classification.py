"""Labelled source and unlabelled target documents in one task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.task import Term
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError
from speechnlp_tl.text.classification import UNLABELLED, ClassificationTask, Documents
from speechnlp_tl.text.classifier import ClassifierConfig, DocumentClassifier, hidden_activations, predict
from speechnlp_tl.transfer.adversarial import DANN, DomainConfusion
from speechnlp_tl.transfer.discrepancy import CORAL, MMD, JointMMD
from speechnlp_tl.transfer.normalization import adapt_batch_norm, use_autodial
from speechnlp_tl.transfer.separation import DomainSeparation
from speechnlp_tl.transfer.supervised_autoencoder import LabelReconstruction, MeanDivergence

WIDTH = 40


def made_documents(domain: int, count: int = 300, seed: int = 0, shift: str = "mean") -> Documents:
    """Counts in which words 0-9 name the class in both domains, weakly, and words 10-19 in the source strongly. In the
    target the latter do not, but half of them are frequent ("mean") or come in lumps ("scale"). Words 30-39 are the
    target's."""
    random_numbers = np.random.default_rng([seed, domain])
    labels = random_numbers.integers(0, 2, count)
    side = 2.0 * (labels == 1) - 1
    rates = np.full((count, WIDTH), 0.3)
    rates[:, :10] += 0.25 * (1 + np.outer(side, np.resize([1, -1], 10)))
    strong = 0.4 * (1 + np.outer(side, np.resize([1, -1], 10)))
    rates[:, 10:20] += strong if domain == 0 else 1.2 * np.resize([1, 0], 10) * (shift == "mean")
    rates[:, 30:] += 1.0 * domain
    counts = random_numbers.poisson(rates).astype(np.float32)
    if domain and shift == "scale":
        counts[:, 10:20] *= 5
    return Documents(sparse.csr_matrix(counts), labels, domain, f"domain {domain}")


def made_task(seed: int = 0, norm: str = "none", shift: str = "mean", **options: object) -> ClassificationTask:
    model = DocumentClassifier(WIDTH, 2, ClassifierConfig(hidden=[16, 8], norm=norm), seed)
    settings: dict = {"unlabelled": [made_documents(1, shift=shift)], "seed": seed} | options
    return ClassificationTask(model, [made_documents(0)], dev={"source": made_documents(0, seed=9)}, **settings)


def fit(task: ClassificationTask, terms: Sequence[Term] = (), epochs: int = 30) -> DocumentClassifier:
    config = TrainConfig(epochs=epochs, learning_rate=5e-3, betas=(0.0, 0.99), device="cpu", evaluate_every=None)
    Trainer(task, config, None, terms, quiet=True).fit()
    assert isinstance(task.model, DocumentClassifier)
    return task.model


@given(st.integers(2, 60), st.integers(0, 30), st.integers(2, 20), st.floats(0, 3), st.integers(0, 3))
def test_an_epoch_shows_every_labelled_document_once_and_others_evenly(labelled, others, batch_size, share, epoch):
    source = Documents(np.zeros((labelled, 3)), np.arange(labelled) % 2)
    target = [Documents(np.zeros((others, 3)), domain=1)] if others else []
    task = ClassificationTask(
        DocumentClassifier(3), [source], target, batch_size=batch_size, unlabelled_per_labelled=share
    )
    batches = task.batches(epoch)
    seen = Counter(row for batch in batches for row in batch)
    assert [seen[row] for row in range(labelled)] == [1] * labelled
    times = [seen[labelled + row] for row in range(others)]
    assert sum(times) == (round(labelled * share) if others else 0)
    assert max(times, default=0) - min(times, default=0) <= 1
    sizes = [sum(row < labelled for row in batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= min(2, batch_size)
    assert batches == task.batches(epoch)


def test_epochs_and_seeds_have_orders_of_their_own():
    assert made_task().batches(0) != made_task().batches(1)
    assert made_task().batches(0) != made_task(seed=1).batches(0)


def test_only_labelled_rows_have_a_loss_and_all_rows_have_a_domain():
    task = made_task()
    rows = task.batches(0)[0]
    batch = task.load(rows, 0)
    known = np.array(rows) < 300
    step = task.step(task.model, batch)
    assert (batch.labels.numpy() == UNLABELLED).tolist() == (~known).tolist()
    assert batch.units == known.sum()
    assert step.domain is not None
    assert step.domain.tolist() == (~known).astype(int).tolist()
    expected = torch.nn.functional.cross_entropy(
        step.logits[torch.from_numpy(known)], batch.labels[torch.from_numpy(known)], reduction="sum"
    )
    torch.testing.assert_close(step.loss, expected)
    assert step.mask.all()
    assert step.mask.shape == step.domain.shape
    assert set(step.features) == {"hidden.0", "hidden.1"}


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_terms_see_the_labels_that_are_known_and_the_documents_when_asked(kind):
    source, target = made_documents(0), made_documents(1)
    rows = sparse.vstack([source.rows, target.rows]).toarray()
    if kind == "dense":
        source, target = (replace(part, rows=part.rows.toarray()) for part in (source, target))
    model = DocumentClassifier(WIDTH)
    task = ClassificationTask(model, [source], [target], expose_inputs=True)
    chosen = [310, 2, 5, 2, 599]
    step = task.step(model, task.load(chosen, 0))
    np.testing.assert_array_equal(step.features["inputs"], rows[chosen])
    assert step.labels.tolist() == [UNLABELLED, *source.labels[[2, 5, 2]], UNLABELLED]
    plain = ClassificationTask(model, [source], [target])
    assert list(plain.step(model, plain.load(chosen, 0)).features) == ["hidden.0"]


def test_labels_of_the_unlabelled_change_nothing():
    labelled, lied = made_documents(1), made_documents(1)
    lied.labels[:] = 1 - lied.labels
    bare = Documents(labelled.rows, None, 1, labelled.name)
    models = [fit(made_task(unlabelled=[part]), [MMD("hidden.1")], epochs=2) for part in (labelled, lied, bare)]
    for other in models[1:]:
        assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), other.parameters(), strict=True))


def test_a_weight_of_two_is_a_document_that_stands_twice():
    source = made_documents(0, 20)
    weights = np.random.default_rng(0).integers(0, 3, 20).astype(float)
    model = DocumentClassifier(WIDTH)
    task = ClassificationTask(model, [source], weights=weights, batch_size=20)
    loss = task.step(model, task.load(task.batches(0)[0], 0)).loss
    repeated = np.repeat(np.arange(20), weights.astype(int))
    logits = model(torch.from_numpy(source.rows[repeated].toarray())).logits
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(source.labels[repeated]), reduction="sum")
    torch.testing.assert_close(loss, expected)


def test_dev_sets_are_measured_under_their_names():
    task = made_task()
    model = fit(task, epochs=5)
    found = task.evaluate(model)
    labels, part = task.dev["source"].labels, task.dev["source"]
    assert set(found) == {"source_accuracy", "source_macro_f1", "source_loss"}
    assert found["source_accuracy"] == pytest.approx(100 * np.mean(predict(model, part.rows).argmax(1) == labels))
    assert found["source_accuracy"] > 80


def target_accuracy(model: DocumentClassifier, shift: str = "mean") -> float:
    unseen = made_documents(1, 1000, seed=5, shift=shift)
    return float(np.mean(predict(model, unseen.rows).argmax(1) == unseen.labels))


def domain_told(model: DocumentClassifier, shift: str = "mean") -> float:
    """Accuracy of a fresh domain classifier on unseen documents."""
    from sklearn.linear_model import LogisticRegression

    def activations(seed: int) -> np.ndarray:
        parts = [made_documents(domain, 500, seed, shift) for domain in (0, 1)]
        return np.concatenate([hidden_activations(model, part.rows, "hidden.1") for part in parts])

    sides = np.repeat([0, 1], 500)
    return float(LogisticRegression(max_iter=1000).fit(activations(0), sides).score(activations(5), sides))


TERMS = {
    "dann": lambda weight: DANN("hidden.1", 8, weight=weight),
    "confusion": lambda weight: DomainConfusion("hidden.1", 8, weight=weight),
    "mmd": lambda weight: MMD("hidden.1", weight=weight, multiples=(1.0,)),
    "mkmmd": lambda weight: MMD(["hidden.0", "hidden.1"], weight=weight),
    "jmmd": lambda weight: JointMMD(["hidden.1", "posteriors"], weight=weight),
    "coral": lambda weight: CORAL("hidden.1", weight=30 * weight),
    "divergence": lambda weight: MeanDivergence("hidden.1", weight=20 * weight),
}


@pytest.mark.parametrize("method", TERMS)
def test_every_term_of_transfer_plugs_in_and_makes_the_domain_harder_to_tell(method):
    shift = "scale" if method == "coral" else "mean"  # CORAL does not see means
    without, weightless = fit(made_task(shift=shift)), fit(made_task(shift=shift), [TERMS[method](0.0)])
    assert all(torch.equal(a, b) for a, b in zip(without.parameters(), weightless.parameters(), strict=True))
    adapted = fit(made_task(shift=shift), [TERMS[method](1.0)])
    assert domain_told(adapted, shift) < domain_told(without, shift) - 0.05
    if method != "confusion":  # forgets the domain here, and the class with it
        assert target_accuracy(adapted, shift) > target_accuracy(without, shift) + 0.01


@pytest.mark.parametrize(
    "make",
    [
        lambda weight: DomainSeparation("hidden.1", 8, "inputs", WIDTH, weight=weight),
        lambda weight: LabelReconstruction("inputs", WIDTH, 2, 8, weight=weight),
    ],
)
def test_terms_that_restore_the_documents_plug_in(make):
    without = fit(made_task(), epochs=3)
    weightless = fit(made_task(expose_inputs=True), [make(0.0)], epochs=3)
    assert all(torch.equal(a, b) for a, b in zip(without.parameters(), weightless.parameters(), strict=True))
    term = make(1.0)
    task = made_task(expose_inputs=True)
    batch = task.load(task.batches(0)[0], 0)
    before = term(task.step(task.model, batch), None)
    fit(task, [term], epochs=3)
    assert term(task.step(task.model, batch), None) < 0.8 * before


def test_batch_normalisations_adapt_to_the_target_without_training():
    model = fit(made_task(norm="batch", unlabelled=()))
    task = made_task(norm="batch", unlabelled=())
    target = ClassificationTask(model, [made_documents(0)], [made_documents(1)])
    adapted = adapt_batch_norm(target, model, [target.load(list(range(300, 600)), 0)])
    assert isinstance(adapted, DocumentClassifier)
    assert target_accuracy(adapted) > target_accuracy(model) + 0.01
    assert len(use_autodial(task.model)) == 2
    fit(task, epochs=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 1}, "at least two labelled documents"),
        ({"unlabelled": [Documents(np.zeros((3, 2)))]}, "rows are (3, 2), the model was made for 40 features"),
        ({"labelled": [Documents(np.zeros((3, WIDTH)), name="books")]}, "books: the documents have no labels"),
        ({"labelled": [Documents(np.zeros((3, WIDTH)), np.ones(3, int))]}, "have 1 class(es)"),
        ({"labelled": [Documents(np.zeros((3, WIDTH)), np.array([0, 1, 2]))]}, "numbered 0 to 1, found 0 to 2"),
        ({"labelled": [Documents(np.zeros((3, WIDTH)), np.array([0, 1]))]}, "3 documents and 2 labels"),
        ({"labelled": []}, "have 0 class(es)"),
        ({"dev": {"d": Documents(np.zeros((0, WIDTH)), np.zeros(0, int), name="held out")}}, "held out: there are no"),
        ({"weights": np.ones(3)}, "300 labelled documents need 300 weights"),
    ],
)
def test_input_that_does_not_fit_is_refused_by_name(options, said):
    settings: dict = {"labelled": [made_documents(0)]} | options
    with pytest.raises(InputError) as refused:
        ClassificationTask(DocumentClassifier(WIDTH), **settings)
    assert said in str(refused.value)


def test_a_class_that_no_labelled_document_has_is_named():
    model = DocumentClassifier(WIDTH, 3)
    dev = Documents(np.zeros((2, WIDTH)), np.array([0, 2]), name="held out")
    with pytest.raises(InputError, match="held out: no labelled document has class 2"):
        ClassificationTask(model, [made_documents(0)], dev={"dev": dev})
