"""Free Spoken Digit Dataset, as connected digit strings for leave-one-speaker-out adaptation.

    python -m data_prep.fsdd --out data/fsdd [--corpus-dir free-spoken-digit-dataset.tar.gz] [--seed 0] [--passes 3]

Upstream has 50 takes of each digit from each of 6 speakers. Strings of 3 to 7 digits are put together from single
takes of one speaker, with short pauses of faint noise; a take is never used twice in a pass. Takes are parted first,
so that no take is on two sides:

    takes  0-14  <speaker>/test    150 takes, about 30 strings: the target's test, and what a source must not forget
    takes 15-45  <speaker>/train   310 takes, about 62 strings: the source model's training data
    takes 46-49  <speaker>/dev      40 takes, about 8 strings: the source model's held-out data
    takes 15-49  <speaker>/pool    train and dev together: what a target speaker may adapt with

    leave_out/<speaker>/train, dev, test    those three of the five other speakers

and `lexicon.txt`, the made audio (8 kHz, 16 bits) in `audio`.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder, write_splits, write_wav
from data_prep.splits import leave_one_out
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.audio import read_audio
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.lexicon import Lexicon

RATE = 8000
SHORTEST, LONGEST = 3, 7
PARTS = {"test": range(15), "train": range(15, 46), "dev": range(46, 50)}
"""Which takes of each digit belong to which part."""

# ARPAbet without stress, as in the CMU dictionary's notation.
DIGITS = {
    "ZERO": (("Z", "IH", "R", "OW"), ("Z", "IY", "R", "OW")),
    "ONE": (("W", "AH", "N"),),
    "TWO": (("T", "UW"),),
    "THREE": (("TH", "R", "IY"),),
    "FOUR": (("F", "AO", "R"),),
    "FIVE": (("F", "AY", "V"),),
    "SIX": (("S", "IH", "K", "S"),),
    "SEVEN": (("S", "EH", "V", "AH", "N"),),
    "EIGHT": (("EY", "T"),),
    "NINE": (("N", "AY", "N"),),
}
_WORDS = tuple(DIGITS)
_EDGE_SECONDS, _PAUSE_SECONDS = (0.08, 0.20), (0.03, 0.20)
_FRAME = RATE // 100
_QUIETEST, _LOUDEST = 1.0, 60.0

Samples = npt.NDArray[np.int16]
Takes = dict[tuple[int, int], Path]


def prepare(corpus: Path, out: Path, seed: int = 0, *, passes: int = 1) -> dict[str, Path]:
    """Write FSDD's strings and data directories.

    Args:
        corpus: the folder that holds `recordings`.
        out: where to; a folder that this function wrote earlier is replaced.
        seed: chooses which takes meet in a string, and the pauses.
        passes: how often the takes of `train` are put together anew, for a source model with more contexts. `pool`,
            `dev` and `test` always hold each take once.

    Returns:
        Split -> data directory.

    Raises:
        InputError: lists takes that are missing or unreadable, or that `out` holds something else.
    """
    if passes < 1:
        raise InputError(f"passes is {passes}; at least 1 is needed")
    recordings = corpus / "recordings"
    speakers = _find_takes(recordings)
    genders = _read_genders(corpus / "metadata.py", speakers)
    with output_folder(out, "fsdd", {"seed": seed, "passes": passes}) as folder:
        parts: dict[str, dict[str, list[Utterance]]] = {}
        for speaker, takes in speakers.items():
            audio = _read_takes(takes)
            strings = _Strings(speaker, genders[speaker], audio, _noise_level(audio.values()), folder, out.resolve())
            first = {part: strings.make(part, seed, 0) for part in PARTS}
            more = [string for number in range(1, passes) for string in strings.make("train", seed, number)]
            # further passes would let a budget of utterances hold a take twice, so the pool has the first only
            pool = first["train"] + first["dev"]
            parts[speaker] = {**first, "train": first["train"] + more, "pool": pool}
        Lexicon(DIGITS).write(folder / "lexicon.txt")
        return write_splits(folder, out, leave_one_out(parts))


def compose(takes: Sequence[tuple[int, int]], chance: random.Random) -> list[list[tuple[int, int]]]:
    """Part `takes` into strings of 3 to 7, every take in exactly one, in random order.

    Raises:
        InputError: fewer than 3 takes.
    """
    if len(takes) < SHORTEST:
        raise InputError(f"{len(takes)} takes do not make a string of {SHORTEST}")
    takes = sorted(takes)
    chance.shuffle(takes)
    strings, position = [], 0
    while position < len(takes):
        left = len(takes) - position
        # a length is allowed when what stays behind can be parted again
        lengths = [n for n in range(SHORTEST, LONGEST + 1) if n == left or left - n >= SHORTEST]
        length = chance.choice(lengths)
        strings.append(takes[position : position + length])
        position += length
    return strings


def _find_takes(recordings: Path) -> dict[str, Takes]:
    """Speaker -> (digit, take) -> file; every speaker must have all 50 takes of all digits."""
    speakers: dict[str, Takes] = {}
    for path in sorted(recordings.glob("*.wav")):
        if match := re.fullmatch(r"(\d)_([^_]+)_(\d+)", path.stem):
            speakers.setdefault(match[2], {})[int(match[1]), int(match[3])] = path
    wanted = [(digit, take) for digit in range(10) for indices in PARTS.values() for take in indices]
    problems = [
        Problem("take is missing", file=recordings / f"{digit}_{speaker}_{take}.wav", remedy="get FSDD again")
        for speaker, takes in speakers.items()
        for digit, take in wanted
        if (digit, take) not in takes
    ]
    if len(speakers) < 2:
        remedy = "files are named <digit>_<speaker>_<take>.wav"
        problems.append(Problem(f"recordings of {len(speakers)} speakers; 2 are needed", recordings, remedy=remedy))
    if problems:
        raise InputError(problems)
    return {speaker: {take: takes[take] for take in wanted} for speaker, takes in sorted(speakers.items())}


def _read_genders(metadata: Path, speakers: Mapping[str, Takes]) -> dict[str, str | None]:
    """Speaker -> 'f' or 'm' from upstream's metadata.py, which is read as data and not run; None without one."""
    try:
        module = ast.parse(metadata.read_text(encoding="utf-8"))
        values = [node.value for node in module.body if isinstance(node, ast.Assign)]
        stated = ast.literal_eval(values[0])
        genders = {speaker: str(stated[speaker]["gender"])[0] for speaker in speakers}
    except (OSError, ValueError, SyntaxError, LookupError, TypeError):
        return dict.fromkeys(speakers)
    return dict(genders)


def _read_takes(takes: Takes) -> dict[tuple[int, int], Samples]:
    audio, problems = {}, []
    for take, path in takes.items():
        try:
            audio[take] = np.round(read_audio(path, RATE) * 32768).astype(np.int16)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return audio


def _noise_level(takes: Iterable[Samples]) -> float:
    """Root mean square of a speaker's background, in 16-bit steps.

    The quietest 10 ms of each take hold little speech; a tenth of the way up from the quietest take is robust to
    digital silence and to takes cut too tightly. Bounded, because where takes are all speech it is no background.
    """
    quietest = []
    for take in takes:
        frames = take[: len(take) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
        if len(frames):
            quietest.append(float(np.sqrt((frames**2).mean(axis=1)).min()))
    return float(np.clip(np.quantile(quietest, 0.1) if quietest else 0.0, _QUIETEST, _LOUDEST))


def _join(takes: Sequence[Samples], noise: float, chance: random.Random) -> Samples:
    """The takes as they are, with noise before, between and after them."""
    generator = np.random.default_rng(chance.getrandbits(64))

    def pause(bounds: tuple[float, float]) -> Samples:
        count = round(chance.uniform(*bounds) * RATE)
        return np.round(noise * generator.standard_normal(count)).astype(np.int16)

    pieces = [pause(_EDGE_SECONDS)]
    for take in takes:
        pieces += [take, pause(_PAUSE_SECONDS)]
    pieces[-1] = pause(_EDGE_SECONDS)
    return np.concatenate(pieces)


@dataclass(frozen=True)
class _Strings:
    """Makes the strings of one speaker: audio into `folder`, under the path it has once `folder` has become `out`."""

    speaker: str
    gender: str | None
    takes: Mapping[tuple[int, int], Samples]
    noise: float
    folder: Path
    out: Path

    def make(self, part: str, seed: int, number: int) -> list[Utterance]:
        """Pass `number` over the takes of `part`. It has random numbers of its own: other passes, parts and speakers
        leave it as it is."""
        chance = random.Random(f"{seed}-{self.speaker}-{part}-{number}")
        utterances = []
        for order, string in enumerate(compose([take for take in self.takes if take[1] in PARTS[part]], chance)):
            name = f"{self.speaker}-{part}-{number}-{order:03d}"
            file = Path("audio", self.speaker, f"{name}.wav")
            samples = _join([self.takes[take] for take in string], self.noise, chance)
            write_wav(self.folder / file, samples, RATE)
            text = " ".join(_WORDS[digit] for digit, _ in string)
            seconds = len(samples) / RATE
            utterances.append(
                Utterance(name, self.speaker, str(self.out / file), text, gender=self.gender, duration=seconds)
            )
        return utterances


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0, help="chooses strings and pauses (default 0)")
    parser.add_argument("--passes", type=int, default=3, help="passes over the training takes (default 3)")
    arguments = parser.parse_args()
    run(
        lambda: prepare(
            fetch(CORPORA["fsdd"], arguments.corpus_dir), arguments.out, arguments.seed, passes=arguments.passes
        )
    )


if __name__ == "__main__":
    main()
