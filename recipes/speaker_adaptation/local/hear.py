"""Telephone copies of the target's speech, where the configuration names a channel; an empty folder elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from settings import SweepConfig

from data_prep import telephone
from data_prep.command import run
from speechnlp_tl.core.config import load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> dict[str, Path] | None:
    channel = load_config(arguments.conf, SweepConfig).channel
    if channel is None:
        arguments.out.mkdir(parents=True, exist_ok=True)  # the next stage's input, empty
        print(f"{arguments.conf}: no channel, nothing to do")
        return None
    if arguments.corpus == "an4":
        splits = ["train_dev", "test"]
    else:
        speakers = sorted(path.name for path in (arguments.data / "leave_out").iterdir())
        splits = [f"{speaker}/{part}" for speaker in speakers for part in ("pool", "test")]
    return telephone.prepare(arguments.data, arguments.out, splits, channel)


if __name__ == "__main__":
    main()
