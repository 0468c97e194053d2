"""Names of adaptation methods: their parts, and which of them go together.

finetune | layers | lhuc | lin | lora      what is trained: all weights, some layers, or an adapter's few parameters
kld | l2sp | ewc                           stay close to the source's outputs or parameters
dann | mmd | mkmmd | coral                 no transcripts: make the speaker's features look like the source's
adabn                                      no transcripts, nothing trained: the speaker's batch statistics
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from speechnlp_tl.errors import InputError, Problem

TRAINED = ("finetune", "layers", "lhuc", "lin", "lora")
HELD_BACK = ("kld", "l2sp", "ewc")
DOMAIN = ("dann", "mmd", "mkmmd", "coral")
STATISTICS = "adabn"
ADAPTERS = ("lhuc", "lin", "lora")
AUTO = "kld"
"""What `auto` stands for."""
PARTS = (*TRAINED, *HELD_BACK, *DOMAIN, STATISTICS)


@dataclass(frozen=True)
class Method:
    """A parsed method name."""

    trained: str
    """One of `TRAINED`, or `STATISTICS`, which trains nothing."""
    held_back: tuple[str, ...] = ()
    domain: str | None = None
    """One of `DOMAIN`."""

    @property
    def name(self) -> str:
        others = (*((self.domain,) if self.domain else ()), *self.held_back)
        return "+".join(others if self.trained == "finetune" and others else (self.trained, *others))

    @property
    def needs_transcripts(self) -> bool:
        """False: the method learns from audio alone, and transcripts are not looked at."""
        return self.domain is None and self.trained != STATISTICS

    @property
    def needs_source_speech(self) -> str | None:
        """What the method wants transcribed speech of the source for; None when it does not."""
        if self.domain:
            return f"{self.domain} compares the audio with transcribed source speech"
        return "ewc weighs parameters by source speech" if "ewc" in self.held_back else None


def parse_method(name: str) -> Method:
    """Read a method name such as `layers+kld`.

    Raises:
        InputError: an unknown part (with the nearest known one), or parts that do not go together.
    """
    parts = (AUTO if name == "auto" else name).split("+")
    problems = []
    for part in parts:
        if part not in PARTS:
            near = difflib.get_close_matches(part, [*PARTS, "auto"], n=1)
            known = f"did you mean '{near[0]}'?" if near else f"known are auto, {', '.join(PARTS)}"
            problems.append(Problem(f"there is no adaptation method '{part}'", remedy=known))
    for kinds in ((*TRAINED, STATISTICS), DOMAIN):
        named = [part for part in dict.fromkeys(parts) if part in kinds]
        if len(named) > 1:
            problems.append(Problem(f"{' and '.join(named)} cannot be combined", remedy="name one of them"))
    if len(set(parts)) < len(parts):
        problems.append(Problem(f"a part of '{name}' is named twice", remedy="name it once"))
    problems += _contradictions(parts)
    if problems:
        raise InputError(problems)
    trained = next((part for part in parts if part in (*TRAINED, STATISTICS)), "finetune")
    domain = next((part for part in parts if part in DOMAIN), None)
    return Method(trained, tuple(part for part in parts if part in HELD_BACK), domain)


def _contradictions(parts: list[str]) -> list[Problem]:
    """Parts that are known but make no sense beside each other."""
    problems = []
    adapters = [part for part in parts if part in ADAPTERS]
    domains = [part for part in parts if part in DOMAIN]
    held_back = [part for part in parts if part in HELD_BACK]
    if "ewc" in parts and adapters:
        what = f"ewc holds back the source's own parameters, which {adapters[0]} never changes"
        problems.append(Problem(what, remedy="take kld or l2sp with an adapter"))
    if STATISTICS in parts and (held_back or domains):
        what = f"adabn trains nothing, so {' and '.join([*held_back, *domains])} would have nothing to act on"
        problems.append(Problem(what, remedy="take adabn alone, or adapt its result once more"))
    if domains and {"kld", "ewc"} & set(held_back):
        what = f"{domains[0]} trains on source speech, which holds the model to its task by itself"
        problems.append(Problem(what, remedy=f"leave kld and ewc out, or take {domains[0]}+l2sp"))
    return problems
