"""What `AsrTask` and `Trainer` cost on top of a bare PyTorch loop: one epoch of AN4, the same model and batches.

    python benchmarks/trainer_overhead.py [--utterances 1000] [--rounds 6] [--threads 1]

The bare loop has all batches collated in memory and does the training method's own arithmetic (model, full-sum loss,
running prior, clipping, AdamW) and nothing else. The trainer runs as it does for a user, with metrics, TensorBoard and
a checkpoint; features have been computed before. Both must end with the same weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from _corpora import speech_of_an4
from _harness import commit, interleaved, median, ratio, store, worker

from speechnlp_tl.evaluation.results import Record

BARE, TRAINER = "bare PyTorch loop", "AsrTask and Trainer"
ENCODER = {"width": 256, "layers": 6, "dilations": [1, 2]}


def measure(data: Path, utterances: int, rounds: int) -> dict[str, Any]:
    """Seconds of both sides in each round, the seconds of speech in an epoch, and how far the weights are apart."""
    import torch

    task, config = make_task(data, utterances)
    start = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    # one load fills the dataset's memory with features, and these are the batches of the bare loop
    batches = [task.load(rows, 0) for rows in task.batches(0)]
    ends: dict[str, torch.Tensor] = {}

    def side(name: str, train: Any) -> Any:
        def run() -> None:
            task.model.load_state_dict(start)
            train()
            ends[name] = torch.cat([tensor.flatten().double() for tensor in task.model.state_dict().values()])

        return run

    with tempfile.TemporaryDirectory() as folder:
        sides = {
            BARE: side(BARE, lambda: bare_epoch(task, batches, config)),
            TRAINER: side(TRAINER, lambda: trainer_epoch(task, config, Path(tempfile.mkdtemp(dir=folder)))),
        }
        timings = interleaved(sides, rounds)
    apart = float((ends[BARE] - ends[TRAINER]).abs().max())
    speech = 0.01 * sum(task.train.frames)
    return {"wall": timings.wall, "processor": timings.processor, "speech": speech, "apart": apart}


def make_task(data: Path, utterances: int) -> tuple[Any, Any]:
    """A fresh recogniser on an even choice of `utterances` of the data, and the training settings."""
    from speechnlp_tl.speech.asr_task import AsrTask
    from speechnlp_tl.speech.data_dir import DataDir
    from speechnlp_tl.speech.experiment import AsrExperiment, build

    speech = list(DataDir.read(data))
    chosen = speech[:: max(1, len(speech) // utterances)][:utterances]
    experiment = AsrExperiment.model_validate(
        {
            "data": {"train": data, "lexicon": data.parent / "lexicon.txt"},
            "encoder": ENCODER,
            "train": {"epochs": 1, "learning_rate": 1e-3, "clip_norm": 5.0, "evaluate_every": None},
        }
    )
    return AsrTask(build(experiment, chosen), chosen), experiment.train


def bare_epoch(task: Any, batches: list[Any], config: Any) -> None:
    import torch

    from speechnlp_tl.core.optimizer import make_optimizer
    from speechnlp_tl.speech.hmm import full_sum

    torch.manual_seed(config.seed)
    model, head = task.model, task.model.head()
    optimizer = make_optimizer(model, config)
    model.train()
    for batch in batches:
        output = model(batch.inputs, batch.lengths)
        log_posteriors = output.logits.log_softmax(-1)
        likelihoods = task.recogniser.log_likelihoods(log_posteriors)
        loss = -full_sum(likelihoods, output.lengths, batch.graphs).sum() / batch.units
        mask = torch.arange(log_posteriors.shape[1]) < output.lengths.unsqueeze(1)
        head.observe(log_posteriors.detach(), mask)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        head.update_prior(head.take_observed(), task.recogniser.config.hmm.prior_decay)
    model.eval()


def trainer_epoch(task: Any, config: Any, folder: Path) -> None:
    from speechnlp_tl.core.trainer import Trainer

    Trainer(task, config, folder, quiet=True).fit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.data, arguments.utterances, arguments.rounds)))
        return
    corpus, data = speech_of_an4()
    sizes = ["--utterances", str(arguments.utterances), "--rounds", str(arguments.rounds)]
    done = worker(__file__, "--data", data, *sizes, threads=arguments.threads)
    answer = done.answer
    if answer["apart"] > 1e-5:
        raise SystemExit(f"the two sides do not train the same: weights differ by {answer['apart']:.3g}")
    common = {"recipe": "trainer_overhead", "corpus": corpus, "synthetic": corpus == "synthetic", "commit": commit()}
    records = []
    for name in (BARE, TRAINER):
        value, interval = median([answer["speech"] / seconds for seconds in answer["wall"][name]])
        records.append(Record(**common, system=name, metric="times real time", value=value, ci95=interval))
    for clock, metric in (("wall", "overhead"), ("processor", "overhead in CPU time")):
        value, ends = ratio(answer[clock][TRAINER], answer[clock][BARE])
        low, high = (100 * (end - 1) for end in ends)
        percent = Record(**common, system=TRAINER, metric=metric, value=100 * (value - 1), ci95=(low, high))
        records.append(percent.model_copy(update={"peak_mb": done.peak_mb}) if clock == "wall" else percent)
    store("trainer_overhead", records)


if __name__ == "__main__":
    main()
