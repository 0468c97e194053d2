"""Seed a new language's head with the states that other languages have already (Schultz & Waibel 2001, section 4).

A head of random weights does not know silence from speech, and a flat start on an encoder that tells all sounds apart
finds alignments that it never leaves: words fill the pauses, or are said late. Silence is the same in all
languages, and so are, nearly, phones that are written alike in one alphabet, such as IPA.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from speechnlp_tl.speech.acoustic_model import AcousticModel
from speechnlp_tl.speech.topology import SILENCE, Topology

Place = tuple[str, int]
"""A head and one of its pdfs."""


@torch.no_grad()
def borrow_states(model: AcousticModel, head: str, topology: Topology, others: Mapping[str, Topology]) -> list[str]:
    """Give the states of `head` the mean weights of the same states of other heads.

    Silence, and each phone that another head has, become the mean of those states, place by place. A phone that none
    has becomes the mean of all states of speech, and differs from others like it by the random weights it had.

    Args:
        model: with the new head; its other heads are left as they are.
        topology: which pdfs of the new head are which phone.
        others: the same of heads that read the same layer, by name; several languages may share one.

    Returns:
        The phones that were borrowed, silence not counted.
    """
    known: dict[str, list[list[Place]]] = {}
    for other, own in others.items():
        for phone in (SILENCE, *own.phones):
            known.setdefault(phone, []).append([(other, pdf) for pdf in own.pdfs(phone)])
    speech = [place for phone, places in known.items() if phone != SILENCE for states in places for place in states]
    if not speech:
        return []
    linear = model.head(head).linear
    average = _mean(model, speech)
    for phone in (SILENCE, *topology.phones):
        for number, pdf in enumerate(topology.pdfs(phone)):
            if phone in known:
                weight, bias = _mean(model, [states[number] for states in known[phone]])
            else:
                weight, bias = average[0] + linear.weight[pdf], average[1]
            linear.weight[pdf], linear.bias[pdf] = weight, bias
    return [phone for phone in topology.phones if phone in known]


def _mean(model: AcousticModel, places: list[Place]) -> tuple[Tensor, Tensor]:
    """Weights and bias."""
    layers = [(model.head(head).linear, pdf) for head, pdf in places]
    weight = torch.stack([linear.weight[pdf] for linear, pdf in layers]).mean(dim=0)
    return weight, torch.stack([linear.bias[pdf] for linear, pdf in layers]).mean(dim=0)
