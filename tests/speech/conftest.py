"""What the tests of the acoustic rooms share: the made corpus as utterances, and small recognisers not yet trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.encoder import EncoderConfig
from speechnlp_tl.speech.features import FeatureConfig
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.ngram import estimate
from speechnlp_tl.speech.recogniser import DecodeConfig, HmmConfig, Recogniser, RecogniserConfig
from tests.tiny import TinyCorpus

MakeRecogniser = Callable[..., Recogniser]


@pytest.fixture(scope="session")
def utterances(tiny_corpus: TinyCorpus) -> list[Utterance]:
    """The training utterances of the made corpus: ten of each of six speakers."""
    return list(DataDir.read(tiny_corpus.train))


@pytest.fixture(scope="session")
def lexicon(tiny_corpus: TinyCorpus) -> Lexicon:
    return Lexicon.read(tiny_corpus.root / "lexicon.txt")


@pytest.fixture
def make_recogniser(utterances: list[Utterance], lexicon: Lexicon) -> MakeRecogniser:
    """Makes a recogniser of the made language with fresh weights, the same ones for the same arguments.

    Its arguments are settings of the sections features, encoder, hmm and decode, and the seed of the weights.
    """

    def make(seed: int = 0, **sections: dict[str, Any]) -> Recogniser:
        features: dict[str, Any] = {"rate": 8000, "bins": 16}
        encoder: dict[str, Any] = {
            "width": 24,
            "layers": 3,
            "input_kernel": 5,
            "dropout": 0.0,
            "norm": "layer",
            "heads": 2,
        }
        config = RecogniserConfig(
            features=FeatureConfig(**(features | sections.get("features", {}))),
            encoder=EncoderConfig(**(encoder | sections.get("encoder", {}))),
            hmm=HmmConfig(**sections.get("hmm", {})),
            decode=DecodeConfig(**sections.get("decode", {})),
            phones=list(lexicon.phones),
        )
        torch.manual_seed(seed)
        ngram = estimate([utterance.words for utterance in utterances], 1, lexicon.words)
        return Recogniser.create(config, lexicon, ngram)

    return make
