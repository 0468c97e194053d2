"""The made corpus as two languages: the same sounds, each with words of its own, so that heads can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.encoder import EncoderConfig
from speechnlp_tl.speech.features import FeatureConfig
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.multilingual import HeadKind, MultilingualRecogniser, Words
from speechnlp_tl.speech.ngram import estimate
from speechnlp_tl.speech.recogniser import HmmConfig

SMALL = {"width": 24, "layers": 3, "input_kernel": 5, "dropout": 0.0, "norm": "layer", "heads": 2}


def spoken(utterances: Sequence[Utterance], language: str) -> list[Utterance]:
    """The utterances in a language whose words are written `<language>_<word>`."""
    return [
        replace(each, id=f"{language}-{each.id}", language=language, text=" ".join(words_of(each, language)))
        for each in utterances
    ]


def words_of(utterance: Utterance, language: str) -> list[str]:
    return [f"{language}_{word}" for word in utterance.words]


def words(lexicon: Lexicon, language: str) -> Words:
    """The lexicon of `spoken`, with a phone of the language's own (that nobody says), and equally likely words."""
    entries = {f"{language}_{word}": lexicon.pronunciations(word) for word in lexicon}
    entries[f"{language}_own"] = ((f"{language}_phone",),)
    own = Lexicon(entries)
    return Words(own, estimate([[word] for word in own], 1, own.words))


def recognisers(
    lexicon: Lexicon,
    languages: Sequence[str] = ("xa", "xb"),
    heads: HeadKind = "separate",
    seed: int = 0,
    **encoder: object,
) -> MultilingualRecogniser:
    """Fresh weights, the same for the same arguments."""
    torch.manual_seed(seed)
    return MultilingualRecogniser.create(
        FeatureConfig(rate=8000, bins=16),
        EncoderConfig.model_validate(SMALL | encoder),
        HmmConfig(),
        {name: words(lexicon, name) for name in languages},
        heads,
    )
