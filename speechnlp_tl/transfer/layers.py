"""Layer transfer: copy, freeze and re-initialise groups of layers, and report by tensor what happened.

Layers are counted in groups, from the input to the output. A model offers them as
`layer_groups() -> list[tuple[str, nn.Module]]`, the output layer last. Which groups to copy, freeze and train in which
order is a `LayerPlan` (layer_plans.py).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.batch_statistics import hold_statistics, release_statistics

LayerGroups = Sequence[tuple[str, nn.Module]]


@dataclass(frozen=True)
class TransferRow:
    """What became of one tensor of the target model."""

    tensor: str
    shape: tuple[int, ...]
    action: Literal["copied", "skipped", "fresh"]
    """skipped: to be copied, but the source's has another shape. fresh: not to be copied, or not in the source."""
    source_shape: tuple[int, ...] | None = None
    frozen: bool = False


@dataclass
class TransferReport:
    """What became of every tensor of the target model."""

    rows: list[TransferRow] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Number of tensors copied, skipped, fresh and frozen."""
        actions = Counter(row.action for row in self.rows)
        return {
            **{action: actions[action] for action in ("copied", "skipped", "fresh")},  # type: ignore[index]
            "frozen": sum(row.frozen for row in self.rows),
        }

    def names(self, action: str) -> list[str]:
        """The tensors that were copied, skipped, fresh or frozen."""
        return [row.tensor for row in self.rows if row.action == action or (action == "frozen" and row.frozen)]

    def copied_from(self, source: nn.Module) -> dict[str, Tensor]:
        """The source's tensors that were copied: what a model may be held to. What began afresh has nothing to stay
        near."""
        copied = set(self.names("copied"))
        return {name: tensor for name, tensor in source.state_dict().items() if name in copied}

    def with_frozen(self, names: Iterable[str]) -> TransferReport:
        """The same report with exactly these tensors marked as frozen."""
        frozen = set(names)
        return TransferReport([replace(row, frozen=row.tensor in frozen) for row in self.rows])

    def table(self) -> str:
        """One line per tensor and a line of counts, as plain text."""
        width = max((len(row.tensor) for row in self.rows), default=6)
        lines = [f"{'tensor':<{width}}  {'shape':<16}  action"]
        for row in self.rows:
            action = f"skipped (source has {_shape(row.source_shape)})" if row.action == "skipped" else row.action
            frozen = ", frozen" if row.frozen else ""
            lines.append(f"{row.tensor:<{width}}  {_shape(row.shape):<16}  {action}{frozen}")
        return "\n".join([*lines, ", ".join(f"{number} {action}" for action, number in self.counts().items())])


def _shape(shape: tuple[int, ...] | None) -> str:
    return "x".join(map(str, shape)) if shape else "scalar"


def layer_groups(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The model's own `layer_groups()`, or its direct children when it has none."""
    groups = getattr(model, "layer_groups", None)
    return list(groups()) if callable(groups) else list(model.named_children())


def select_layers(groups: LayerGroups, which: str | Sequence[str]) -> list[str]:
    """Names of the groups that `which` means, from input to output.

    Args:
        which: "all", "none", "first:N", "last:N", or group names, as a list or separated by commas.

    Raises:
        InputError: unknown names, or N is no number from 0 to the number of groups.
    """
    names = [name for name, _ in groups]
    if which == "all":
        return names
    if which == "none":
        return []
    if isinstance(which, str) and which.startswith(("first:", "last:")):
        side, _, text = which.partition(":")
        if not (text.isdecimal() and int(text) <= len(names)):
            raise InputError(f"layers '{which}': N must be a number from 0 to {len(names)}, the layers of this model")
        number = int(text)
        return names[:number] if side == "first" else names[len(names) - number :]
    wanted = [name.strip() for name in which.split(",")] if isinstance(which, str) else list(which)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise InputError(Problem(f"no layer '{name}'", remedy=_nearest(name, names)) for name in unknown)
    return [name for name in names if name in wanted]


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{near[0]}'?" if near else f"the layers are {', '.join(names)}; or first:N, last:N, all, none"


def group_tensors(model: nn.Module, names: Iterable[str]) -> list[str]:
    """Full names of the model's parameters and saved buffers in the named groups, in the model's order."""
    wanted = set(names)
    inside = {
        id(tensor)
        for name, module in layer_groups(model)
        if name in wanted
        for tensor in module.state_dict(keep_vars=True).values()
    }
    return [name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in inside]


@torch.no_grad()
def copy_layers(source: nn.Module, target: nn.Module, names: Sequence[str]) -> TransferReport:
    """Copy the parameters and buffers of the named groups from `source` into `target`.

    Tensors correspond by group and by their name inside the group. Those whose shapes differ (an output layer of
    another size) are skipped; both cases are in the report.

    Raises:
        InputError: a group that either model lacks, or nothing at all was copied although groups were named.
    """
    sources, targets = dict(layer_groups(source)), dict(layer_groups(target))
    problems = [
        Problem(f"the {which} model has no layer '{name}'", remedy=_nearest(name, list(groups)))
        for which, groups in (("source", sources), ("target", targets))
        for name in names
        if name not in groups
    ]
    if problems:
        raise InputError(problems)
    theirs: dict[int, Tensor] = {}
    for name in names:
        given = sources[name].state_dict()
        for inner, tensor in targets[name].state_dict(keep_vars=True).items():
            if inner in given:
                theirs[id(tensor)] = given[inner]
    report = TransferReport()
    for full, tensor in target.state_dict(keep_vars=True).items():
        value = theirs.get(id(tensor))
        shape = tuple(tensor.shape)
        if value is None:
            report.rows.append(TransferRow(full, shape, "fresh"))
        elif value.shape != tensor.shape:
            report.rows.append(TransferRow(full, shape, "skipped", tuple(value.shape)))
        else:
            tensor.copy_(value)
            report.rows.append(TransferRow(full, shape, "copied"))
    if names and not report.names("copied"):
        problem = f"no tensor of the layers {', '.join(names)} could be copied:\n{report.table()}"
        raise InputError(Problem(problem, remedy="the two models must have layers of the same kind and size"))
    return report


def set_frozen(model: nn.Module, tensors: Iterable[str]) -> None:
    """Freeze exactly these parameters and buffers (full names); everything else is trained.

    A normalisation layer whose running statistics are among them keeps them (batch_statistics.py).
    """
    frozen = set(tensors)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    suffix = ".running_mean"
    release_statistics(model, owner="frozen layers")
    hold_statistics(model, [n.removesuffix(suffix) for n in frozen if n.endswith(suffix)], owner="frozen layers")


def freeze(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Freeze the named groups and train all others. Returns the frozen tensors' full names."""
    tensors = group_tensors(model, names)
    set_frozen(model, tensors)
    return tensors


@torch.no_grad()
def reinitialise(module: nn.Module, seed: int) -> None:
    """Draw all of a module's parameters anew, and reset its buffers, by each layer's `reset_parameters`.

    The global random state is left as it was.

    Raises:
        InputError: layers with tensors of their own and no `reset_parameters`, all of them; nothing was changed.
    """
    resets = []
    problems = []
    # children first: nn.MultiheadAttention sets its output projection's bias after that has reset itself
    for name, layer in reversed(list(module.named_modules())):
        saved = {key for key in layer.state_dict() if "." not in key}
        reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
        if callable(reset):
            resets.append(reset)
        elif saved:
            what = f"{type(layer).__name__} {name or '(the layer itself)'}"
            problems.append(Problem(f"{what} cannot be re-initialised", remedy="give its class a reset_parameters()"))
    if problems:
        raise InputError(problems)
    devices = sorted({tensor.device.index or 0 for tensor in module.state_dict().values() if tensor.is_cuda})
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for reset in resets:
            reset()
