"""Plans of layer transfer: which groups to copy, freeze and re-initialise, and in which phases to train.

`LayerPlan` is the general form; `yosinski` gives the four plans of Yosinski et al. 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.layers import (
    TransferReport,
    copy_layers,
    group_tensors,
    layer_groups,
    reinitialise,
    select_layers,
    set_frozen,
)

Kind = Literal["AnB", "AnB+", "BnB", "BnB+"]


@dataclass(frozen=True)
class Phase:
    """A stretch of training with the same tensors frozen throughout."""

    name: str
    frozen: tuple[str, ...]


@dataclass(frozen=True)
class LayerPlan:
    """Copy some groups, train the rest, then optionally fine-tune everything.

    `copy`, `freeze` and `reinitialise` are what `select_layers` takes; `reinitialise` may also be "rest": every group
    that is not copied. Only tensors that were really copied are ever frozen: a new output layer inside a frozen group
    is trained.

    The rule for speech is `LayerPlan(copy="last:3", freeze="last:3", then_finetune_all=True)`: speakers differ near the
    signal, words do not. The rule for images is `first:3`.
    """

    copy: str | Sequence[str] = "all"
    freeze: str | Sequence[str] = "none"
    reinitialise: str | Sequence[str] = "none"
    then_finetune_all: bool = False
    source_task: Literal["source", "target"] = "source"
    """Whose model is copied: the source task's, or, as a control, one trained on the target task itself."""


def apply_plan(
    plan: LayerPlan, source: nn.Module, target: nn.Module, seed: int = 0
) -> tuple[TransferReport, list[Phase]]:
    """Re-initialise and copy as the plan says, and enter its first phase.

    Returns:
        the report, with the tensors frozen in the first phase marked, and the phases; `enter_phase` begins a later one.

    Raises:
        InputError: unknown layers, a layer to be both copied and re-initialised, frozen layers that are not copied,
            nothing left to train, or what `copy_layers` and `reinitialise` raise.
    """
    groups = layer_groups(target)
    copied, frozen = select_layers(groups, plan.copy), select_layers(groups, plan.freeze)
    rest = [name for name, _ in groups if name not in copied]
    fresh = rest if plan.reinitialise == "rest" else select_layers(groups, plan.reinitialise)
    problems = [f"layer '{name}' is to be copied and re-initialised" for name in fresh if name in copied]
    problems += [
        f"layer '{name}' is to be frozen but not copied: it would stay random" for name in frozen if name in rest
    ]
    if problems:
        raise InputError(problems)
    for index, (name, module) in enumerate(groups):
        if name in fresh:
            reinitialise(module, seed + index)
    report = copy_layers(source, target, copied)
    in_frozen_groups = set(group_tensors(target, frozen))
    fixed = tuple(name for name in report.names("copied") if name in in_frozen_groups)
    left = any(name not in fixed for name, _ in target.named_parameters())
    phases = [Phase("train the rest" if fixed else "train all", fixed)] if left else []
    if fixed and plan.then_finetune_all:
        phases.append(Phase("fine-tune all", ()))
    if not phases:
        raise InputError("every layer is copied and frozen: nothing is left to train")
    enter_phase(target, phases[0])
    return report.with_frozen(phases[0].frozen), phases


def enter_phase(model: nn.Module, phase: Phase) -> None:
    """Freeze what the phase freezes and train everything else."""
    set_frozen(model, phase.frozen)


def yosinski(kind: Kind, n: int) -> LayerPlan:
    """The transfer experiments of Yosinski et al. 2014, on a model with N layers, 1 <= n < N.

    AnB: the first n layers are copied from a model of task A and frozen, the rest is random and trained on task B; what
    it loses against a plain model of B is the price of the n layers being specific to A, plus that of broken
    co-adaptation. AnB+: the copied layers are fine-tuned as well. BnB and BnB+: the same with layers from a model of B
    itself (`source_task="target"`), which isolates co-adaptation.

    Raises:
        InputError: unknown kind, or n below 1.
    """
    if kind not in ("AnB", "AnB+", "BnB", "BnB+") or n < 1:
        raise InputError(f"yosinski needs AnB, AnB+, BnB or BnB+ and n >= 1, not '{kind}' and {n}")
    first = f"first:{n}"
    return LayerPlan(
        copy=first,
        freeze="none" if kind.endswith("+") else first,
        reinitialise="rest",
        source_task="source" if kind.startswith("A") else "target",
    )
