"""Connected speech put together from recordings of single words, so that a word error rate means something.

A string is some takes of one speaker with short pauses of faint noise between them; a take is never used twice in a
pass.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from data_prep.output import write_wav
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.audio import read_audio
from speechnlp_tl.speech.data_dir import Utterance

RATE = 8000
SHORTEST, LONGEST = 3, 7
_EDGE_SECONDS, _PAUSE_SECONDS = (0.08, 0.20), (0.03, 0.20)
_FRAME = RATE // 100
_QUIETEST, _LOUDEST = 1.0, 60.0
_SPEECH_DB, _MARGIN_FRAMES = 30.0, 5

Samples = npt.NDArray[np.int16]
Take = tuple[int, int]
"""Number of the word, number of the take."""
KeyT = TypeVar("KeyT")


def compose(takes: Sequence[Take], chance: random.Random) -> list[list[Take]]:
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


def read_takes(takes: Mapping[KeyT, Path], resample: bool = False) -> dict[KeyT, Samples]:
    """16-bit samples of every take, at 8 kHz.

    Raises:
        InputError: takes that cannot be read, or have another rate and `resample` is not given; lists all.
    """
    audio, problems = {}, []
    for take, path in takes.items():
        try:
            samples = np.round(read_audio(path, RATE, resample=resample) * 32768)
            audio[take] = np.clip(samples, -32768, 32767).astype(np.int16)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return audio


def trim(samples: Samples) -> Samples:
    """The take without the silence around it; one of digital silence is left as it is."""
    first, last = loud_part(samples)
    return samples[first:last]


def loud_part(samples: Samples) -> tuple[int, int]:
    """First and one past the last sample of what is said: from the first to the last 10 ms that are within 30 dB of the
    loudest, and 50 ms on both sides. All of a recording of digital silence."""
    energy = _frame_energy(samples)
    if not len(energy) or not energy.max():
        return 0, len(samples)
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (-_SPEECH_DB / 10))
    first, last = max(0, int(loud[0]) - _MARGIN_FRAMES), int(loud[-1]) + 1 + _MARGIN_FRAMES
    return first * _FRAME, min(last * _FRAME, len(samples))


def noise_level(takes: Iterable[Samples]) -> float:
    """Root mean square of a speaker's background, in 16-bit steps.

    The quietest 10 ms of each take hold little speech; a tenth of the way up from the quietest take is robust to
    digital silence and to takes cut too tightly. Bounded, because where takes are all speech it is no background.
    """
    quietest = [float(np.sqrt(energy.min())) for energy in map(_frame_energy, takes) if len(energy)]
    return float(np.clip(np.quantile(quietest, 0.1) if quietest else 0.0, _QUIETEST, _LOUDEST))


def join(takes: Sequence[Samples], noise: float, chance: random.Random) -> Samples:
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
class StringMaker:
    """Makes the strings of one speaker: audio into `folder`, under the path it has once `folder` has become `out`."""

    speaker: str
    takes: Mapping[Take, Samples]
    words: Sequence[str]
    """How each word is written."""
    noise: float
    folder: Path
    out: Path
    gender: str | None = None
    language: str | None = None

    def make(self, takes: Sequence[Take], part: str, seed: int, number: int) -> list[Utterance]:
        """Pass `number` over the takes of `part`. It has random numbers of its own: other passes, parts and speakers
        leave it as it is."""
        chance = random.Random(f"{seed}-{self.speaker}-{part}-{number}")
        utterances = []
        for order, string in enumerate(compose(takes, chance)):
            name = f"{self.speaker}-{part}-{number}-{order:03d}"
            file = Path("audio", self.speaker, f"{name}.wav")
            samples = join([self.takes[take] for take in string], self.noise, chance)
            write_wav(self.folder / file, samples, RATE)
            utterances.append(
                Utterance(
                    name,
                    self.speaker,
                    str(self.out / file),
                    " ".join(self.words[word] for word, _ in string),
                    language=self.language,
                    gender=self.gender,
                    duration=len(samples) / RATE,
                )
            )
        return utterances


def _frame_energy(samples: Samples) -> npt.NDArray[np.float64]:
    """Mean square of each whole 10 ms."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    energy: npt.NDArray[np.float64] = (frames**2).mean(axis=1)
    return energy
