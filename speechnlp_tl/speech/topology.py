"""HMM topology: which pdfs each phone is made of, shared by the training graphs and the decoding graph.

A phone is a left-to-right chain of `states_per_phone` states, each with its own pdf, a self-loop of probability
`self_loop` and a step to the next state of probability 1 - `self_loop`. The silence phone is such a chain of
`silence_states`. Silence is optional, with probability `silence_probability`, before the first word, between words
and after the last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

SILENCE = "SIL"


@dataclass(frozen=True)
class Topology:
    """Phones and their pdf-ids.

    Args:
        phones: the non-silence phones; silence is added by the topology itself and owns the first pdfs.
        states_per_phone: HMM states of every phone.
        silence_states: HMM states of silence.
        self_loop: probability of staying in a state for one more frame.
        silence_probability: probability that a silence stands at a word boundary.
    """

    phones: tuple[str, ...]
    states_per_phone: int = 2
    silence_states: int = 1
    self_loop: float = 0.5
    silence_probability: float = 0.5

    @cached_property
    def _first(self) -> dict[str, int]:
        first = {SILENCE: 0}
        for index, phone in enumerate(self.phones):
            first[phone] = self.silence_states + index * self.states_per_phone
        return first

    @property
    def num_pdfs(self) -> int:
        return self.silence_states + len(self.phones) * self.states_per_phone

    def pdfs(self, phone: str) -> list[int]:
        """The pdf-ids of a phone's states, in order. Raises KeyError for a phone the topology does not have."""
        first = self._first[phone]
        return list(range(first, first + (self.silence_states if phone == SILENCE else self.states_per_phone)))

    @property
    def log_stay(self) -> float:
        return math.log(self.self_loop)

    @property
    def log_leave(self) -> float:
        return math.log1p(-self.self_loop)

    @property
    def log_silence(self) -> float:
        return math.log(self.silence_probability)

    @property
    def log_no_silence(self) -> float:
        return math.log1p(-self.silence_probability)
