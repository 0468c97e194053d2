"""Frames of the last shared layer with their language and phone, and how well languages can be told apart by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from speechnlp_tl.speech.asr_task import AsrTask
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.data_split import spread
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.multilingual import MultilingualRecogniser
from speechnlp_tl.speech.topology import SILENCE

UTTERANCES, FRAMES = 60, 1000
"""Of each language, at most."""


@dataclass(frozen=True)
class Frames:
    """Rows of one layer."""

    rows: NDArray[np.float32]
    """(n, width)."""
    language: list[str]
    phone: list[str]
    """By alignment with the transcript, silence among them."""


def frames_of(
    recognisers: MultilingualRecogniser, data: Path, languages: Sequence[str], part: str, seed: int = 0
) -> Frames:
    """Up to `FRAMES` frames of each language, drawn from utterances spread over a data directory."""
    rows, named, phones = [], [], []
    for language in languages:
        folders = sorted(path for path in (data / language).glob(f"{part}*") if path.is_dir())
        speech = [utterance for path in folders for utterance in DataDir.read(path)]
        hidden, spoken = _aligned(recognisers, language, spread(speech, UTTERANCES))
        chosen = np.random.default_rng(seed).permutation(len(hidden))[:FRAMES]
        rows.append(hidden[chosen])
        named += [language] * len(chosen)
        phones += [spoken[place] for place in chosen]
    return Frames(np.concatenate(rows), named, phones)


def language_accuracy(train: Frames, test: Frames) -> float:
    """Percent of test frames, averaged over languages, whose language a logistic regression on train frames tells."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, class_weight="balanced"))
    classifier.fit(train.rows, train.language)
    return 100 * float(balanced_accuracy_score(test.language, classifier.predict(test.rows)))


@torch.no_grad()
def _aligned(
    recognisers: MultilingualRecogniser, language: str, speech: Sequence[Utterance]
) -> tuple[NDArray[np.float32], list[str]]:
    own = recognisers.language(language)
    data = SpeechDataset(speech, own.config.features)
    task = AsrTask(own, speech, dataset=data)
    task.align()
    assert task.alignments is not None
    phone_of = {pdf: phone for phone in (SILENCE, *own.topology.phones) for pdf in own.topology.pdfs(phone)}
    rows, phones = [], []
    for row in range(len(data)):
        features = data.plain(row).unsqueeze(0)
        output = own.model.eval()(features, torch.tensor([features.shape[1]]), own.head)
        layer = list(output.hidden.values())[-1][0]
        pdfs = task.alignments[row].tolist()
        kept = [place for place, pdf in enumerate(pdfs) if pdf >= 0]
        rows.append(layer[kept].numpy())
        phones += [phone_of[pdfs[place]] for place in kept]
    return np.concatenate(rows), phones
