"""A made corpus of a few dozen utterances, on which a model is trained in seconds.

The corpus is a language of six words and five phones, spoken by buzzing formants (vowels), a low hum (M) and hiss (S).
A speaker is a factor on all formants, which is what a vocal tract's length does, and a pitch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from speechnlp_tl.speech.data_dir import DataDir, Utterance

RATE = 8000
FORMANTS = {"A": (700, 1200), "I": (300, 2200), "U": (320, 750), "M": (250, 3400)}
WORDS = {"asi": "A S I", "isu": "I S U", "usa": "U S A", "aim": "A I M", "mui": "M U I", "sam": "S A M"}

CONFIG = """
data: {{train: {root}/train, dev: {root}/dev, lexicon: {root}/lexicon.txt, ngram_order: 1}}
features: {{rate: 8000, bins: 16}}
encoder: {{width: 32, layers: 4, kernel: 3, subsampling: 3, input_kernel: 5, dropout: 0.0}}
tune: {{lm_scales: [0.5, 1.0], insertion_penalties: [0.0, 1.0]}}
batch_seconds: 12
train: {{epochs: 10, learning_rate: 0.006, schedule: onecycle, warmup: 0.2, clip_norm: 5.0, metric: wer,
         evaluate_every: 10, tensorboard: false}}
"""


@dataclass(frozen=True)
class TinyCorpus:
    """Data directories of the made corpus: many speakers, and one whom no model has heard."""

    root: Path

    @property
    def train(self) -> Path:
        return self.root / "train"

    @property
    def dev(self) -> Path:
        return self.root / "dev"

    @property
    def adaptation(self) -> Path:
        """Ten utterances of the new speaker."""
        return self.root / "adaptation"

    @property
    def test(self) -> Path:
        """Other utterances of the new speaker."""
        return self.root / "test"

    @property
    def config(self) -> Path:
        """A training config that makes a usable recogniser of `train` in seconds."""
        return self.root / "config.yaml"


def speak(words: list[str], formants: float, pitch: float, generator: np.random.Generator) -> np.ndarray:
    """Samples (n,) float64 of `words`, with short silences around them."""
    pieces = [np.zeros(generator.integers(600, 1200))]
    for word in words:
        for phone in WORDS[word].split():
            count = int(generator.integers(700, 1100))
            noise = generator.standard_normal(count)
            if phone == "S":
                sound = 0.3 * np.diff(noise, prepend=0.0)
            else:
                harmonics = pitch * np.arange(1, int(3900 / pitch) + 1)
                strength = sum(np.exp(-(((harmonics - f * formants) / 130) ** 2)) for f in FORMANTS[phone])
                strength = np.asarray(strength) * (0.4 if phone == "M" else 1.0) + 0.003
                angle = 2 * np.pi * np.outer(harmonics, np.arange(count) / RATE)
                sound = strength @ np.sin(angle + generator.uniform(0, 6.28, (len(harmonics), 1)))
            pieces.append(sound * np.hanning(count) ** 0.3)
        pieces.append(np.zeros(generator.integers(0, 600)))
    pieces.append(np.zeros(600))
    samples = np.concatenate(pieces)
    return 0.1 * (samples + 0.01 * generator.standard_normal(len(samples)))


def write_speech(
    directory: Path, speakers: dict[str, tuple[float, float]], count: int, seed: int, most_words: int = 4
) -> Path:
    """A data directory with `count` random sentences of each speaker (formant factor, pitch in Hz), audio inside."""
    generator = np.random.default_rng(seed)
    (directory.parent / f"{directory.name}_audio").mkdir(parents=True)
    utterances = []
    for name, (formants, pitch) in speakers.items():
        for number in range(count):
            words = [str(word) for word in generator.choice(list(WORDS), size=generator.integers(2, most_words + 1))]
            path = directory.parent / f"{directory.name}_audio" / f"{name}-{number:02d}.wav"
            soundfile.write(path, speak(words, formants, pitch, generator), RATE)
            utterances.append(Utterance(path.stem, name, str(path), " ".join(words)))
    DataDir(utterances).write(directory)
    return directory


def write_corpus(root: Path) -> TinyCorpus:
    """Eight speakers of the made language, and a ninth with a much shorter vocal tract, below `root`."""
    old = {f"old{n}": (0.92 + 0.03 * n, 95.0 + 12.0 * n) for n in range(6)}
    write_speech(root / "train", old, 10, seed=1)
    write_speech(root / "dev", {"other0": (0.95, 120.0), "other1": (1.05, 140.0)}, 6, seed=2)
    new = {"new": (1.4, 160.0)}
    write_speech(root / "adaptation", new, 10, seed=3)
    write_speech(root / "test", new, 15, seed=4)
    lexicon = "".join(f"{word} {phones}\n" for word, phones in WORDS.items())
    (root / "lexicon.txt").write_text(lexicon, encoding="utf-8")
    (root / "config.yaml").write_text(CONFIG.format(root=root), encoding="utf-8")
    return TinyCorpus(root)
