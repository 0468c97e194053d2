"""Names of adaptation methods: their parts, and which of them go together.

finetune | layers | lhuc | lin | lora      what is trained: all weights, some layers, or an adapter's few parameters
kld | l2sp | ewc                           stay close to the source's outputs or parameters
dann | mmd | mkmmd | coral                 no transcripts: make the target's features look like the source's
adabn                                      no transcripts, nothing trained: the target's batch statistics; behind one
                                           of the four above, of the model that they trained
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
    """One of `TRAINED`; "" for `adabn` alone."""
    held_back: tuple[str, ...] = ()
    domain: str | None = None
    """One of `DOMAIN`."""
    statistics: bool = False
    """Whether batch normalisation gets the target's statistics in the end."""

    @property
    def name(self) -> str:
        others = [self.domain, *self.held_back, STATISTICS if self.statistics else None]
        named = [part for part in others if part]
        return "+".join(named if named and self.trained in ("", "finetune") else [self.trained, *named])

    @property
    def needs_transcripts(self) -> bool:
        """False: the method learns from audio alone, and transcripts are not looked at."""
        return self.domain is None and not self.statistics

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
    for kinds in (TRAINED, DOMAIN):
        named = [part for part in dict.fromkeys(parts) if part in kinds]
        if len(named) > 1:
            problems.append(Problem(f"{' and '.join(named)} cannot be combined", remedy="name one of them"))
    if len(set(parts)) < len(parts):
        problems.append(Problem(f"a part of '{name}' is named twice", remedy="name it once"))
    problems += _contradictions(parts)
    if problems:
        raise InputError(problems)
    domain = next((part for part in parts if part in DOMAIN), None)
    trained = next((part for part in parts if part in TRAINED), "" if parts == [STATISTICS] else "finetune")
    return Method(trained, tuple(part for part in parts if part in HELD_BACK), domain, STATISTICS in parts)


def _contradictions(parts: list[str]) -> list[Problem]:
    """Parts that are known but make no sense beside each other."""
    problems = []
    adapters = [part for part in parts if part in ADAPTERS]
    domains = [part for part in parts if part in DOMAIN]
    held_back = [part for part in parts if part in HELD_BACK]
    if "ewc" in parts and adapters:
        what = f"ewc holds back the source's own parameters, which {adapters[0]} never changes"
        problems.append(Problem(what, remedy="take kld or l2sp with an adapter"))
    trained = [part for part in parts if part in (*TRAINED, *HELD_BACK)]
    if STATISTICS in parts and trained and not domains:
        what = f"adabn looks at audio alone and {' and '.join(trained)} at transcripts"
        problems.append(Problem(what, remedy="take adabn alone, and adapt its result once more"))
    if STATISTICS in parts and adapters and domains:
        what = f"adabn changes the source's statistics, which an adapter such as {adapters[0]} leaves as they are"
        problems.append(Problem(what, remedy=f"leave adabn or {adapters[0]} out"))
    if domains and {"kld", "ewc"} & set(held_back):
        what = f"{domains[0]} trains on source speech, which holds the model to its task by itself"
        problems.append(Problem(what, remedy=f"leave kld and ewc out, or take {domains[0]}+l2sp"))
    return problems
