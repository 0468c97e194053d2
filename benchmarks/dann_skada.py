"""Training with DANN (Ganin et al. 2016) against skada's, in documents per second, on Amazon books -> electronics.

    python benchmarks/dann_skada.py [--python exp/skada/bin/python] [--batch 32 64 128] [--rounds 5]
                                     [--epochs 30] [--threads 1]

Both train the same classifier (5000 -> 50 sigmoid -> 2) and the same domain classifier (50 -> 64 -> 2) by plain SGD, on
as many labelled as unlabelled reviews a step, 32 in the recipe. skada takes dense rows, ours sparse ones; ours also
measures gradient norms, counts what the domain classifier tells and checks that all is finite. The domain classifier
that skada brings ends in a softmax over one output, which is always 1: nothing is learnt. It gets another, whose
gradient is looked at.
Before time is taken both must make the same weights of the same batches. skada need not be installed beside the
package: `--python` names an interpreter that has both (see README.md).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _corpora import prepared
from _harness import ROOT, Timings, commit, interleaved, median, ratio, skip, store, worker
from _report import DANN_CPU_RATIO, DANN_FIRST_RATIO, DANN_RATIO

from speechnlp_tl.evaluation.results import Record

OURS, THEIRS = "speechnlp_tl", "skada"
PAIR = ("books", "electronics")
HIDDEN, DOMAIN_HIDDEN = 50, 64
BATCHES = (32, 64, 128)
REVERSAL, LEARNING_RATE, WEIGHT_DECAY, DOMAIN_RATE = 0.1, 0.1, 0.01, 3.0
"""Lambda; SGD; how many times faster the domain classifier learns: those of the recipe, lambda without a schedule."""
COMPARED_STEPS, TOLERANCE = 50, 1e-5


@dataclass(frozen=True)
class Rows:
    """As many reviews of each domain as fill whole steps."""

    source: Any
    """(n, 5000) scipy CSR."""
    target: Any
    labels: Any
    """(n,) of the source."""

    def __len__(self) -> int:
        """Documents that an epoch shows."""
        return int(self.source.shape[0] + self.target.shape[0])


def whole_steps(source: Any, target: Any, labels: Any, batch: int) -> Rows:
    """The first rows of both: skada drops the rest of an epoch, ours spreads it over the steps."""
    count = min(source.shape[0], target.shape[0]) // batch * batch
    return Rows(source[:count], target[:count], labels[:count])


def read_rows(folder: Path, batch: int) -> Rows:
    from data_prep.amazon import read_prepared
    from speechnlp_tl.text.features import weigh_counts

    source, target = (read_prepared(folder / domain)["train"] for domain in PAIR)
    return whole_steps(weigh_counts(source.counts, "log"), weigh_counts(target.counts, "log"), source.labels, batch)


def our_task(rows: Rows, batch: int) -> Any:
    from speechnlp_tl.text.classification import ClassificationTask, Documents
    from speechnlp_tl.text.classifier import ClassifierConfig, DocumentClassifier

    shape = ClassifierConfig(hidden=[HIDDEN], activation="sigmoid")
    model = DocumentClassifier(rows.source.shape[1], 2, shape)
    labelled, unlabelled = Documents(rows.source, rows.labels, 0), Documents(rows.target, None, 1)
    return ClassificationTask(model, [labelled], [unlabelled], batch_size=batch)


def our_term() -> Any:
    from speechnlp_tl.transfer.adversarial import DANN

    return DANN("hidden.0", HIDDEN, hidden=(DOMAIN_HIDDEN,), weight=REVERSAL, schedule=None, rate=DOMAIN_RATE)


def train_ours(task: Any, term: Any, **length: int) -> None:
    from speechnlp_tl.core.config import TrainConfig
    from speechnlp_tl.core.trainer import Trainer

    config = TrainConfig(
        optimizer="sgd",
        momentum=0.0,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        evaluate_every=None,
        device="cpu",
        **length,
    )
    Trainer(task, config, None, [term], quiet=True).fit()


def their_classifier() -> Any:
    """skada's domain classifier and its reversal layer, with a head that can tell two domains."""
    from skada.deep.modules import DomainClassifier
    from torch import nn

    classifier = DomainClassifier(HIDDEN, alpha=REVERSAL)
    classifier.classifier = nn.Sequential(nn.Linear(HIDDEN, DOMAIN_HIDDEN), nn.ReLU(), nn.Linear(DOMAIN_HIDDEN, 2))
    return classifier


def their_net(inputs: int, epochs: int, batch: int) -> Any:
    import torch
    from skada.deep import DANN
    from torch import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.Sigmoid())
            self.output = nn.Linear(HIDDEN, 2)

        def forward(self, X: Any, sample_weight: Any = None) -> Any:  # noqa: N803 - skada passes it by this name
            return self.output(self.hidden(X))

    entropy = nn.CrossEntropyLoss()
    faster = {"lr": DOMAIN_RATE * LEARNING_RATE}
    return DANN(
        Classifier(),
        "hidden",
        reg=0.5,  # skada adds the two domains' losses, ours is their mean
        domain_classifier=their_classifier(),
        domain_criterion=lambda logits, domain: entropy(logits, domain.long()),
        optimizer=torch.optim.SGD,
        optimizer__weight_decay=WEIGHT_DECAY,
        optimizer__fused=True,  # as ours
        optimizer__param_groups=[
            ("domain_classifier_*.bias", faster | {"weight_decay": 0.0}),
            ("domain_classifier_*", faster),
            ("*.bias", {"weight_decay": 0.0}),
        ],
        lr=LEARNING_RATE,
        max_epochs=epochs,
        batch_size=batch,
        train_split=None,
        verbose=0,
    )


def their_data(rows: Rows) -> tuple[Any, Any, Any]:
    """(dense rows, labels, domains): in skada a target's domain is negative and its labels are masked."""
    import numpy as np

    dense = np.concatenate([rows.source.toarray(), rows.target.toarray()])
    count = len(rows.labels)
    return dense, np.concatenate([rows.labels, np.full(count, -1)]), np.repeat([1, -2], count)


def distance_of_weights(rows: Rows, batch: int) -> float:
    """The largest difference of any weight after some steps on the same batches from the same start."""
    import torch

    task, term = our_task(rows, batch), our_term()
    net = their_net(rows.source.shape[1], 1, batch).initialize()
    pairs = list(corresponding(task.model, term, net.module_))
    with torch.no_grad():
        for own, their in pairs:
            their.copy_(own)
    dense, labels, domains = map(torch.from_numpy, their_data(rows))
    for numbers in task.batches(0)[:COMPARED_STEPS]:
        net.train_step(({"X": dense[numbers], "sample_domain": domains[numbers]}, labels[numbers]))
    train_ours(task, term, steps=min(COMPARED_STEPS, len(task.batches(0))))
    return max(float((own - their).detach().abs().max()) for own, their in pairs)


def corresponding(model: Any, term: Any, module: Any) -> Iterator[tuple[Any, Any]]:
    """Each weight of ours with skada's."""
    hidden = module.base_module_.hidden[0]
    yield model.input.weight, hidden.weight.T
    yield model.input.bias, hidden.bias
    yield from zip(model.output.parameters(), module.base_module_.output.parameters(), strict=True)
    yield from zip(term.classifier.parameters(), module.domain_classifier_.parameters(), strict=True)


def domain_gradient(classifier: Any, criterion: Any) -> float:
    """Norm of the gradient of skada's domain loss on a domain classifier's weights, on features that differ."""
    import torch
    from skada.deep._adversarial import DANNLoss

    features = torch.randn(64, HIDDEN, generator=torch.Generator().manual_seed(0))
    features[32:] += 1
    told = classifier(features)
    DANNLoss(criterion)(told[:32], told[32:]).backward()
    return float(torch.nn.utils.get_total_norm([weight.grad for weight in classifier.parameters()]))


def measure(data: Path, batch: int, epochs: int, rounds: int) -> dict[str, Any]:
    """Both sides in turn: fits of `epochs` epochs, fits of one, and what the last long ones have learnt."""
    import torch
    from skada.deep.modules import DomainClassifier
    from torch.nn.functional import cross_entropy

    rows = read_rows(data, batch)
    apart = distance_of_weights(rows, batch)
    norms = [
        domain_gradient(DomainClassifier(HIDDEN), None),
        domain_gradient(their_classifier(), lambda logits, domain: cross_entropy(logits, domain.long())),
    ]
    trained: dict[str, Any] = {}

    def ours(length: int) -> None:
        task = our_task(rows, batch)
        train_ours(task, our_term(), epochs=length)
        trained[OURS] = task.model

    def theirs(length: int) -> None:
        dense, labels, domains = their_data(rows)
        trained[THEIRS] = (
            their_net(rows.source.shape[1], length, batch).fit(dense, labels, domains).module_.base_module_
        )

    torch.manual_seed(0)
    first = interleaved({OURS: lambda: ours(1), THEIRS: lambda: theirs(1)}, rounds)
    long = interleaved({OURS: lambda: ours(epochs), THEIRS: lambda: theirs(epochs)}, rounds, warm_up=0)
    return {
        "apart": apart,
        "norms": norms,
        "documents": len(rows),
        "first": vars(first),
        "long": vars(long),
        "learnt": {name: learnt(name, model, rows) for name, model in trained.items()},
    }


def learnt(name: str, model: Any, rows: Rows) -> dict[str, float]:
    """Accuracy on the labelled documents in percent, and the proxy A-distance of the hidden layer."""
    import torch

    from speechnlp_tl.evaluation.domain_distance import proxy_a_distance
    from speechnlp_tl.text.classifier import hidden_activations, predict

    parts = (rows.source, rows.target)
    if name == OURS:
        hidden = [hidden_activations(model, part, "hidden.0") for part in parts]
        best = predict(model, rows.source).argmax(1)
    else:
        with torch.no_grad():
            tensors = [model.hidden(torch.from_numpy(part.toarray())) for part in parts]
            best = model.output(tensors[0]).argmax(1).numpy()
        hidden = [tensor.numpy() for tensor in tensors]
    accuracy = 100 * float((best == rows.labels).mean())
    return {"train accuracy": accuracy, "proxy A-distance": proxy_a_distance(*hidden).distance}


def records_of(answer: dict[str, Any], epochs: int, common: dict[str, Any]) -> list[Record]:
    """Records of what `measure` found."""
    first, long = Timings(**answer["first"]), Timings(**answer["long"])
    records = []
    for name in (OURS, THEIRS):
        rates = [epochs * answer["documents"] / seconds for seconds in long.wall[name]]
        value, interval = median(rates)
        records.append(Record(**common, system=name, metric="documents per second", value=value, ci95=interval))
        for metric, found in answer["learnt"][name].items():
            records.append(Record(**common, system=name, metric=metric, value=found))
    for metric, timings in (
        (DANN_RATIO, long.wall),
        (DANN_CPU_RATIO, long.processor),
        (DANN_FIRST_RATIO, first.wall),
    ):
        value, interval = ratio(timings[THEIRS], timings[OURS])
        records.append(Record(**common, system=OURS, metric=metric, value=value, ci95=interval))
    return records


def interpreter() -> str:
    """That of the environment which README.md sets up, or this one."""
    own = ROOT / "exp" / "skada" / "bin" / "python"
    return str(own) if own.is_file() else sys.executable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=interpreter(), help="one that has skada too")
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES, help="labelled reviews of a step")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.data, *arguments.batch, arguments.epochs, arguments.rounds)))
        return
    check = subprocess.run([arguments.python, "-c", "import skada.deep"], capture_output=True, text=True)
    if check.returncode:
        skip(f"{arguments.python} has no skada; README.md says how to set one up ({check.stderr.strip()[-100:]})")
    data = prepared("amazon")
    records = [record for batch in arguments.batch for record in compared(data, batch, arguments)]
    store("dann_skada", records)


def compared(data: Path, batch: int, arguments: argparse.Namespace) -> list[Record]:
    """Records of one size of batch, measured in a process of its own."""
    sizes = ["--batch", str(batch), "--epochs", str(arguments.epochs), "--rounds", str(arguments.rounds)]
    done = worker(__file__, "--data", data, *sizes, threads=arguments.threads, python=arguments.python)
    answer = done.answer
    if answer["apart"] > TOLERANCE:
        raise SystemExit(f"the two sides do not train the same: weights differ by {answer['apart']:.3g}")
    default, given = answer["norms"]
    print(f"gradient norm of skada's domain loss: {default:.3g} on its own classifier, {given:.3g} on the one given")
    if not given:
        raise SystemExit("the domain classifier given to skada has no gradient: nothing adversarial is measured")
    length = f"{arguments.epochs} epochs, {arguments.threads} thread{'s' * (arguments.threads > 1)}"
    budget = f"{batch} + {batch} reviews a step, {length}"
    common = {"recipe": "dann_skada", "corpus": " -> ".join(PAIR), "budget": budget, "commit": commit()}
    return records_of(answer, arguments.epochs, common)


if __name__ == "__main__":
    main()
