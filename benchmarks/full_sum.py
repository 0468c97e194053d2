"""The full-sum loss against PyTorch's `ctc_loss` on the same shapes, forward and backward, with one and two threads.

    python benchmarks/full_sum.py [--rounds 15]

The HMM graphs are those of training: words with one or two pronunciations, optional silence in between. On CTC graphs
full_sum does what `ctc_loss` does, number for number, which is checked before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from _harness import commit, interleaved, median, ratio, store, worker
from _report import CTC_GRAPH, CTC_LOSS, HMM, SHAPES, shape_name

from speechnlp_tl.evaluation.results import Record

if TYPE_CHECKING:
    from speechnlp_tl.speech.hmm import HmmGraph

PHONES = tuple(f"phone{index}" for index in range(39))
"""With two states each and silence, 79 pdfs; CTC's blank stands at 79."""
BLANK = 79


def measure(rounds: int) -> list[dict[str, Any]]:
    """Seconds of every side in every round, for each shape."""
    import torch

    torch.manual_seed(0)
    found = []
    for rows, frames, states in SHAPES:
        logits = torch.randn(rows, frames, BLANK + 1)
        labels = [random.Random(row).sample(range(BLANK), BLANK) * 3 for row in range(rows)]
        labels = [some[:states] for some in labels]
        hmm = [transcript_graph(states, row) for row in range(rows)]
        sides = {
            HMM: full_sum_side(logits, hmm),
            CTC_GRAPH: full_sum_side(logits, [ctc_graph(some) for some in labels]),
            CTC_LOSS: ctc_loss_side(logits, labels),
        }
        (ours, gradient), (theirs, expected) = sides[CTC_GRAPH](), sides[CTC_LOSS]()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=5e-3)
        # the small shapes take a millisecond: more rounds for them
        count = rounds * max(1, 200_000 // (rows * frames * states))
        found.append({"shape": [rows, frames, states], "seconds": interleaved(sides, count, warm_up=3).wall})
    return found


def full_sum_side(logits: Any, graphs: Sequence[HmmGraph]) -> Any:
    import torch

    from speechnlp_tl.speech.hmm import full_sum, pack_graphs

    batch, lengths = pack_graphs(graphs), torch.full((len(logits),), logits.shape[1])

    def run() -> tuple[Any, Any]:
        leaf = logits.clone().requires_grad_()
        loss = -full_sum(leaf.log_softmax(-1), lengths, batch).sum()
        loss.backward()
        return loss.detach(), leaf.grad

    return run


def ctc_loss_side(logits: Any, labels: Sequence[Sequence[int]]) -> Any:
    import torch
    from torch.nn.functional import ctc_loss

    targets, lengths = torch.tensor(labels), torch.full((len(logits),), logits.shape[1])
    sizes = torch.full((len(logits),), targets.shape[1])

    def run() -> tuple[Any, Any]:
        leaf = logits.clone().requires_grad_()
        scores = leaf.log_softmax(-1).transpose(0, 1)
        loss = ctc_loss(scores, targets, lengths, sizes, blank=BLANK, reduction="sum")
        loss.backward()
        return loss.detach(), leaf.grad

    return run


def transcript_graph(states: int, seed: int) -> HmmGraph:
    """The training graph of words of three to five phones, a quarter with two pronunciations: up to `states` states."""
    from speechnlp_tl.speech.hmm import utterance_graph
    from speechnlp_tl.speech.topology import Topology

    choose = random.Random(seed)
    words: dict[str, list[list[str]]] = {}
    while True:
        word = [choose.choices(PHONES, k=choose.randint(3, 5)) for _ in range(1 if choose.random() < 0.75 else 2)]
        longer = words | {f"word{len(words)}": word}
        graph = utterance_graph(list(longer), longer, Topology(PHONES))
        if words and len(graph.pdf) > states:
            return utterance_graph(list(words), words, Topology(PHONES))
        words = longer


def ctc_graph(labels: Sequence[int]) -> HmmGraph:
    """Connectionist temporal classification (Graves et al. 2006): blanks around labels, transitions cost nothing."""
    from speechnlp_tl.speech.hmm import HmmGraph

    pdf = [BLANK]
    for label in labels:
        pdf += [label, BLANK]
    last = len(pdf) - 1
    arcs = [(state, state, 0.0) for state in range(len(pdf))] + [(state, state + 1, 0.0) for state in range(last)]
    arcs += [(state - 2, state, 0.0) for state in range(3, last, 2) if pdf[state] != pdf[state - 2]]
    return HmmGraph(pdf, arcs, [(0, 0.0), (1, 0.0)], [(last, 0.0), (last - 1, 0.0)], [-1] * len(pdf), len(labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="of the largest shape")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.rounds)))
        return
    records = []
    for threads in (1, 2):
        done = worker(__file__, "--rounds", str(arguments.rounds), threads=threads)
        cases = done.answer
        for case in cases:
            shape = shape_name(case["shape"], threads)
            common = {"recipe": "full_sum", "corpus": "random scores", "budget": shape, "commit": commit()}
            for name, seconds in case["seconds"].items():
                value, interval = median([1000 * second for second in seconds])
                peak = done.peak_mb if name == HMM and case is cases[-1] else None
                records.append(Record(**common, system=name, metric="ms", value=value, ci95=interval, peak_mb=peak))
                if name != CTC_LOSS:
                    value, interval = ratio(seconds, case["seconds"][CTC_LOSS])
                    records.append(Record(**common, system=name, metric="ratio", value=value, ci95=interval))
    store("full_sum", records)


if __name__ == "__main__":
    main()
