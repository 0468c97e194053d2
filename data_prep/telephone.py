"""Data directories heard over a telephone: band-pass 300 to 3400 Hz, line noise, G.711 codec.

    python -m data_prep.telephone data/an4 --splits train_dev test --out data/an4_telephone [--snr 20] [--seed 0]

Made from data that are prepared already; transcripts and speakers stay as they are. The wav files are written below
`--out` at the recordings' own sampling rate, so that a model of the original speech can hear them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.command import corpus_parser, run
from data_prep.output import output_folder, write_splits, write_wav
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.audio import read_audio_and_rate
from speechnlp_tl.speech.channel import ChannelConfig, telephone
from speechnlp_tl.speech.data_dir import DataDir, Utterance


def prepare(data: Path, out: Path, splits: Sequence[str], channel: ChannelConfig) -> dict[str, Path]:
    """Write telephone copies of data directories.

    Args:
        data: the folder that holds the splits.
        out: where to; a folder that this function wrote earlier is replaced.

    Returns:
        Split -> data directory.

    Raises:
        InputError: a split is missing or outside `data`, its audio cannot be read, or `out` holds something else.
    """
    problems = [Problem("there is no such split", data / split) for split in splits if not (data / split).is_dir()]
    problems += [
        Problem(f"split '{split}' is not a folder below {data}", remedy="name it without '..', relative to the data")
        for split in splits
        if ".." in Path(split).parts or Path(split).is_absolute()
    ]
    if problems:
        raise InputError(problems)
    parameters = {"data": str(data), "splits": list(splits), **channel.model_dump()}
    with output_folder(out, "telephone", parameters) as folder:
        made = {}
        for split in splits:
            utterances = DataDir.read(data / split)
            made[split] = DataDir(
                _over_telephone(one, Path("audio", split, f"{number:06d}.wav"), folder, out, channel)
                for number, one in enumerate(utterances, start=1)
            )
        return write_splits(folder, out, made)


def _over_telephone(utterance: Utterance, name: Path, folder: Path, out: Path, channel: ChannelConfig) -> Utterance:
    """A copy whose audio is `name` below `folder` and will be so below `out`. An id may be no file name."""
    samples, rate = read_audio_and_rate(utterance.audio, start=utterance.start, end=utterance.end)
    heard = telephone(samples, rate, channel, utterance.id)
    write_wav(folder / name, np.round(heard * 32767).astype(np.int16), rate)
    audio, seconds = str(out.resolve() / name), len(heard) / rate
    return replace(utterance, audio=audio, start=None, end=None, recording=None, duration=seconds)


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__, corpus_dir=False)
    parser.add_argument("data", type=Path, help="folder of the data directories")
    parser.add_argument("--splits", nargs="+", required=True, help="which of them")
    parser.add_argument("--snr", type=float, default=20.0, help="speech to noise in dB (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
    arguments = parser.parse_args()
    channel = ChannelConfig(snr=arguments.snr, seed=arguments.seed)
    run(lambda: prepare(arguments.data, arguments.out, arguments.splits, channel))


if __name__ == "__main__":
    main()
