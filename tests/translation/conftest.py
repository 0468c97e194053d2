"""Tiny languages: the same numbers said in words of their own, in an order of their own."""

from __future__ import annotations

import random

import pytest
import torch

from speechnlp_tl.translation.subwords import SubwordConfig, Subwords
from speechnlp_tl.translation.transformer import TransformerConfig, TranslationTransformer

LANGUAGES = ("de", "en", "fr")


def say(numbers: list[int], language: str) -> str:
    """`language` puts its first letters before each number's letter; French says the sentence backwards."""
    order = numbers[::-1] if language == "fr" else numbers
    return " ".join(language + "abcdefgh"[number] for number in order)


def sentences(count: int, seed: int = 0) -> list[list[int]]:
    generator = random.Random(seed)
    return [[generator.randrange(8) for _ in range(generator.randint(2, 5))] for _ in range(count)]


def text(languages=LANGUAGES, count: int = 200) -> dict[str, list[str]]:
    return {language: [say(each, language) for each in sentences(count)] for language in languages}


@pytest.fixture(scope="session")
def subwords() -> Subwords:
    return Subwords.train(text(), SubwordConfig(size=60))


@pytest.fixture
def tiny(subwords):
    """Makes a small model with the given settings, its weights spread so that its choices are clear."""

    def make(seed: int = 0, pieces: int | None = None, **settings) -> TranslationTransformer:
        config = TransformerConfig(
            **{"width": 16, "heads": 2, "feedforward": 32, "encoder_layers": 2, "decoder_layers": 2} | settings
        )
        model = TranslationTransformer(config, pieces or len(subwords), len(LANGUAGES), seed)
        with torch.no_grad():
            model.embedding.weight.mul_(3)
        return model

    return make
