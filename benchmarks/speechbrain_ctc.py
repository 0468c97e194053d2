"""Training throughput against SpeechBrain's CTC recipe (Brain, DynamicItemDataset, Fbank, ctc_loss) on AN4.

    python benchmarks/speechbrain_ctc.py [--python exp/speechbrain/bin/python] [--rounds 4] [--threads 1]

Both train the same encoder from the same weights on the same batches with AdamW; SpeechBrain with CTC on the states
that our full-sum training has in its graphs. Ours writes metrics and a checkpoint, SpeechBrain's nothing. SpeechBrain
need not be installed beside the package: `--python` names an interpreter that has both (see README.md).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _corpora import speech_of_an4
from _harness import ROOT, commit, interleaved, median, ratio, skip, store, worker
from _report import TEN_RATIO
from trainer_overhead import make_task, trainer_epoch

from speechnlp_tl.evaluation.results import Record

OURS_FIRST, OURS_LATER, OURS_TEN = (
    f"speechnlp_tl, {epochs}" for epochs in ("first epoch", "later epochs", "ten epochs")
)
THEIRS = "SpeechBrain, every epoch"


def measure(data: Path, utterances: int, rounds: int) -> dict[str, Any]:
    from speechnlp_tl.speech.dataset import SpeechDataset

    task, config = make_task(data, utterances)
    start = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    warm = task.train
    brain, loader = speechbrain_recipe(task)

    def ours(first: bool) -> None:
        task.model.load_state_dict(start)
        task.train = SpeechDataset(warm.utterances, warm.config) if first else warm
        trainer_epoch(task, config, Path(tempfile.mkdtemp(dir=folder)))

    def theirs() -> None:
        task.model.load_state_dict(start)
        brain.optimizer = None
        brain.fit(range(1), loader, progressbar=False)

    with tempfile.TemporaryDirectory() as folder:
        sides = {OURS_FIRST: lambda: ours(True), OURS_LATER: lambda: ours(False), THEIRS: theirs}
        timings = interleaved(sides, rounds)
    return {"wall": timings.wall, "speech": 0.01 * sum(warm.frames), "loss": brain.avg_train_loss}


def speechbrain_recipe(task: Any) -> tuple[Any, Any]:
    """SpeechBrain's side, laid out like its TIMIT recipe, around the task's own model and batches."""
    import speechbrain as sb
    import torch
    from speechbrain.dataio.batch import PaddedBatch
    from speechbrain.dataio.dataloader import SaveableDataLoader
    from speechbrain.dataio.dataset import DynamicItemDataset
    from speechbrain.lobes.features import Fbank
    from speechbrain.processing.features import InputNormalization

    class Ctc(sb.Brain):
        def compute_forward(self, batch: Any, stage: Any) -> Any:
            waveforms, lengths = batch.to(self.device).sig
            features = self.modules.normalize(self.hparams.features(waveforms), lengths)
            output = self.modules.model(features, (lengths * features.shape[1]).round().long())
            return output.logits.log_softmax(-1), lengths

        def compute_objectives(self, predictions: Any, batch: Any, stage: Any) -> Any:
            log_posteriors, lengths = predictions
            labels, label_lengths = batch.labels
            # silence serves as the blank, so that both sides have the same outputs
            return sb.nnet.losses.ctc_loss(log_posteriors, labels, lengths, label_lengths, blank_index=0)

    @sb.utils.data_pipeline.takes("audio")
    @sb.utils.data_pipeline.provides("sig")
    def read(audio: str) -> Any:
        return sb.dataio.dataio.read_audio(audio)

    @sb.utils.data_pipeline.takes("states")
    @sb.utils.data_pipeline.provides("labels")
    def label(states: list[int]) -> Any:
        return torch.tensor(states)

    rows = {str(row): entry(task, utterance) for row, utterance in enumerate(task.train.utterances)}
    dataset = DynamicItemDataset(rows, [read, label], ["id", "sig", "labels"])
    loader = SaveableDataLoader(dataset, batch_sampler=task.batches(0), collate_fn=PaddedBatch)
    config = task.recogniser.config.features
    brain = Ctc(
        modules={"model": task.model, "normalize": InputNormalization(norm_type="sentence")},
        opt_class=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01),
        hparams={"features": Fbank(sample_rate=config.rate, n_mels=config.bins)},
        run_opts={"device": "cpu", "max_grad_norm": 5.0},
    )
    return brain, loader


def entry(task: Any, utterance: Any) -> dict[str, Any]:
    """An utterance with the states of its words' first pronunciations as labels."""
    topology, lexicon = task.recogniser.topology, task.recogniser.lexicon
    phones = [phone for word in utterance.words for phone in lexicon.pronunciations(word)[0]]
    return {"audio": utterance.audio, "states": [pdf for phone in phones for pdf in topology.pdfs(phone)]}


def interpreter() -> str:
    """That of the environment which README.md sets up, or this one."""
    own = ROOT / "exp" / "speechbrain" / "bin" / "python"
    return str(own) if own.is_file() else sys.executable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=interpreter(), help="one that has SpeechBrain too")
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measure(arguments.data, arguments.utterances, arguments.rounds)))
        return
    check = subprocess.run([arguments.python, "-c", "import speechbrain"], capture_output=True, text=True)
    if check.returncode:
        skip(f"{arguments.python} has no SpeechBrain; README.md says how to set one up ({check.stderr.strip()[-100:]})")
    corpus, data = speech_of_an4()
    sizes = ["--utterances", str(arguments.utterances), "--rounds", str(arguments.rounds)]
    done = worker(__file__, "--data", data, *sizes, threads=arguments.threads, python=arguments.python)
    answer = done.answer
    wall, speech = answer["wall"], answer["speech"]
    common = {"recipe": "speechbrain_ctc", "corpus": corpus, "synthetic": corpus == "synthetic", "commit": commit()}
    records = []
    for name, seconds in wall.items():
        value, interval = median([speech / one for one in seconds])
        records.append(Record(**common, system=name, metric="times real time", value=value, ci95=interval))
    ten_epochs = [first + 9 * later for first, later in zip(wall[OURS_FIRST], wall[OURS_LATER], strict=True)]
    ratios = {
        (OURS_FIRST, "ratio"): ratio(wall[THEIRS], wall[OURS_FIRST]),
        (OURS_LATER, "ratio"): ratio(wall[THEIRS], wall[OURS_LATER]),
        (OURS_TEN, TEN_RATIO): ratio([10 * seconds for seconds in wall[THEIRS]], ten_epochs),
    }
    for (name, metric), (value, interval) in ratios.items():
        records.append(Record(**common, system=name, metric=metric, value=value, ci95=interval))
    store("speechbrain_ctc", records)


if __name__ == "__main__":
    main()
