"""Train the source models: one for each target speaker who must not be in it, or one for all (AN4)."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from settings import SweepConfig

from data_prep.command import run
from speechnlp_tl.core.config import load_config
from speechnlp_tl.speech.experiment import load_experiment, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, SweepConfig)
    conf, data = arguments.conf.parent / config.source, arguments.data
    if arguments.corpus == "an4":
        jobs = [(conf, arguments.out / "all", data / "train_main", data / "train_dev", data / "lexicon.txt")]
    else:
        speakers = sorted(path.name for path in (data / "leave_out").iterdir())[: config.targets or None]
        jobs = [
            (conf, arguments.out / speaker, split / "train", split / "dev", data / "lexicon.txt")
            for speaker in speakers
            for split in [data / "leave_out" / speaker]
        ]
    processes = min(arguments.jobs, len(jobs))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for line in pool.map(_train, jobs, [max(1, arguments.jobs // processes)] * len(jobs)):
            print(line, flush=True)


def _train(job: tuple[Path, Path, Path, Path, Path], threads: int) -> str:
    import torch

    torch.set_num_threads(threads)
    conf, out, training, dev, lexicon = job
    overrides = [f"data.train={training}", f"data.dev={dev}", f"data.lexicon={lexicon}"]
    trained = train(load_experiment(conf, overrides), out, quiet=True)
    minutes = f"{trained.result.wall_s / 60:.1f} min" if trained.result else "finished already"
    return f"{out.name}: {minutes}, WER {trained.dev_wer:.2f} % on held-out speech"


if __name__ == "__main__":
    main()
