"""Kaldi's yesno: one speaker, 60 recordings of 8 words each, YES or NO (spoken in Hebrew).

    python -m data_prep.yesno --out data/yesno [--corpus-dir waves_yesno.tar.gz] [--trim]

The sorted recordings are halved, as Kaldi's recipe does: the first half is `train`, the second `test` (30 recordings,
240 words). Kaldi halves a listing that also counts the files without audio, which moves one recording from test to
train. `train_main` and `train_dev` part the training half for choosing settings without the test set. `lexicon.txt` has
one phone for each word. With `--trim` an utterance is a segment of its recording without the silence at both ends, 0.6
s on average; where a recording begins with a click, it stays. A flat start of phones from so little speech may take
silence for words.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from data_prep.command import corpus_parser, run
from data_prep.connected_words import RATE, loud_part, read_takes
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder, write_splits
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.audio import audio_info
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.lexicon import Lexicon

SPEAKER, LANGUAGE = "yesno", "he"
LEXICON = {"YES": (("Y",),), "NO": (("N",),)}
_EVERY_NTH_IS_DEV = 5


def prepare(corpus: Path, out: Path, trim: bool = False) -> dict[str, Path]:
    """Write yesno's data directories; audio is read where it lies.

    Args:
        corpus: the folder that holds the recordings.
        out: where to; a folder that this function wrote earlier is replaced.
        trim: leave the silence before the first and after the last word out.

    Returns:
        Split -> data directory.

    Raises:
        InputError: recordings that are unreadable or not named after their words, fewer than 4 of them, or that `out`
            holds something else; with `trim` also recordings of another rate than 8 kHz.
    """
    utterances, problems = [], []
    for path in sorted(corpus.glob("*.wav")):
        if not re.fullmatch(r"[01](_[01])*", path.stem):
            problems.append(Problem("is not named after its words, such as 0_1_1.wav", file=path))
            continue
        try:
            utterances.append(_utterance(path, trim))
        except InputError as error:
            problems += error.problems
    if len(utterances) < 4 and not problems:
        problems.append(Problem(f"{len(utterances)} recordings, at least 4 are needed", file=corpus))
    if problems:
        raise InputError(problems)
    half = len(utterances) // 2
    train = utterances[:half]
    dev = train[_EVERY_NTH_IS_DEV - 1 :: _EVERY_NTH_IS_DEV] or train[-1:]
    splits = {
        "train": DataDir(train),
        "train_main": DataDir(utterance for utterance in train if utterance not in dev),
        "train_dev": DataDir(dev),
        "test": DataDir(utterances[half:]),
    }
    with output_folder(out, "yesno", {"trim": trim} if trim else {}) as folder:
        Lexicon(LEXICON).write(folder / "lexicon.txt")
        return write_splits(folder, out, splits)


def _utterance(path: Path, trim: bool) -> Utterance:
    rate, _, frames = audio_info(path)
    words = " ".join("YES" if letter == "1" else "NO" for letter in path.stem.split("_"))
    name = f"{SPEAKER}-{path.stem}"
    whole = Utterance(name, SPEAKER, str(path.resolve()), words, language=LANGUAGE, duration=frames / rate)
    if not trim:
        return whole
    first, last = (place / RATE for place in loud_part(read_takes({name: path})[name]))
    return replace(whole, recording=f"{name}-whole", start=first, end=last, duration=last - first)


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--trim", action="store_true", help="without the silence before and after the words")
    arguments = parser.parse_args()
    run(lambda: prepare(fetch(CORPORA["yesno"], arguments.corpus_dir), arguments.out, arguments.trim))


if __name__ == "__main__":
    main()
