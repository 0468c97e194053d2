"""Back-translation while training: the model writes the sources that it learns from (Zhang et al. 2020, algorithm 1).

A sentence of language t is translated into a language s by the model as it is now, greedily, and the model then learns
to translate what came out, however broken, into the true sentence. So a pair without parallel text gets true targets
under noisy sources, and sources that are better with every step. Where the sentence is known in a third language too,
the source may be written from that one, in a direction that has parallel text (Firat et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from speechnlp_tl.translation.inputs import decoder_start, encoder_input, padded
from speechnlp_tl.translation.search import beam_search
from speechnlp_tl.translation.subwords import PAD, Vocabulary
from speechnlp_tl.translation.translator import Translator


def back_translated(
    model: Translator, source: Tensor, languages: Sequence[str | None], wanted: Sequence[str], subwords: Vocabulary
) -> Tensor:  # fmt: skip
    """Encoder inputs in which marked rows hold the model's own translations.

    Args:
        model: translates greedily, in eval mode and without gradients; left in the mode it was in.
        source: (B, S) encoder inputs. A marked row holds what is to be translated and asks for the language to write.
        languages: of each row, the language to write in, or None for a row that stays as it is.
        wanted: of each row, the language that what was written is then to be translated into.
        subwords: of the model.

    Returns:
        (B, S') encoder inputs, PAD behind the end. A sentence of which nothing comes out is empty.
    """
    where = model.language_token
    rows = [[piece for piece in row if piece != PAD] for row in source.tolist()]
    for language in sorted({each for each in languages if each is not None}):
        places = [place for place, each in enumerate(languages) if each == language]
        given = source[torch.tensor(places, device=source.device)]
        # about as long as the sentence: a model that does not stop must not cost a search to the end
        limits = [n + n // 2 + 2 for n in (given != PAD).sum(1).tolist()]
        start = decoder_start(language, subwords, where)
        number = subwords.languages.index(language)
        found = beam_search(model, given, start, number, beam=1, limits=limits, forbidden=subwords.silent(language))
        for place, hypothesis in zip(places, found, strict=True):
            rows[place] = encoder_input(hypothesis.pieces, language, wanted[place], subwords, where)
    return padded(rows).to(source.device)
