"""Adapters: small trainable additions to a frozen base model, removable without trace.

`attach`, `detach` and `merge` work for every method in `METHODS` (LHUC, LIN, LoRA), one or several at a time. Files
are in `adapter_files.py`, the methods in `hidden_units.py`, `input_network.py` and `low_rank.py`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.transfer.adapter_method import AdapterMethod
from speechnlp_tl.transfer.batch_statistics import hold_statistics, release_statistics
from speechnlp_tl.transfer.hidden_units import LHUC
from speechnlp_tl.transfer.input_network import LIN
from speechnlp_tl.transfer.low_rank import LoRA

# in the order in which adapters of one layer are folded: LoRA changes its weights, LHUC scales their rows or columns,
# LIN, which stands before LHUC's scaling of the inputs, transforms their columns
METHODS: dict[str, type[AdapterMethod]] = {"lora": LoRA, "lhuc": LHUC, "lin": LIN}


@dataclass(frozen=True)
class Adapter:
    """An adapter that is attached to a model: its method, with options, and the names of the adapted modules."""

    method: AdapterMethod
    sites: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.method.kind

    def prefixes(self) -> tuple[str, ...]:
        """What the names of this adapter's tensors begin with in the model's state dict."""
        return tuple(f"{site}.{self.method.child}." if site else f"{self.method.child}." for site in self.sites)


@dataclass
class BaseRecord:
    """What must be known to give the base model back as it was. Kept on the model as `model.adapter_base`."""

    adapters: list[Adapter]
    trainable: list[str]
    held: list[str]
    buffers: dict[str, Tensor]


def attached(model: nn.Module) -> list[Adapter]:
    """The adapters of `model`, in the order in which they were attached."""
    record = getattr(model, "adapter_base", None)
    return list(record.adapters) if isinstance(record, BaseRecord) else []


def attach(model: nn.Module, method: AdapterMethod | str, **options: Any) -> Adapter:
    """Give `model` an adapter that changes nothing until it is trained, and freeze everything but adapters.

    Running statistics of normalisation layers are frozen with the base. Adapters of different kinds compose: LIN
    before the layer, LoRA beside it, LHUC on the result (or on the inputs, after LIN). Outputs are bit for bit those of
    the frozen base; of the base before it was frozen, up to torch's rounding, which depends on what needs a gradient.

    Args:
        method: an `LHUC(...)`, `LIN(...)` or `LoRA(...)`, or a kind ("lhuc", "lin", "lora") with its options.

    Raises:
        InputError: unknown kind or options, nothing to adapt, or an adapter of this kind is attached already.
    """
    chosen = make_method(method, options) if isinstance(method, str) else method
    if chosen.kind in [adapter.kind for adapter in attached(model)]:
        raise InputError(Problem(f"the model has a {chosen.kind} adapter", remedy="detach or merge it first"))
    chosen = chosen.for_model(model)
    adapter = Adapter(chosen, tuple(chosen.sites(model)))
    if not attached(model):
        _freeze_base(model)
    for index, site in enumerate(adapter.sites):
        chosen.insert(model, site, index)
    _record(model).adapters.append(adapter)
    return adapter


def make_method(kind: str, options: dict[str, Any]) -> AdapterMethod:
    """The adapter method of that kind. Raises InputError that names every unknown option and the nearest known one."""
    if kind not in METHODS:
        raise InputError(Problem(f"no adapter '{kind}'", remedy=f"there are {', '.join(METHODS)}"))
    known = [field.name for field in dataclasses.fields(METHODS[kind])]
    problems = []
    for name in sorted(set(options) - set(known)):
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean '{near[0]}'?" if near else f"its options are {', '.join(known)}"
        problems.append(Problem(f"{kind} has no option '{name}'", remedy=remedy))
    if problems:
        raise InputError(problems)
    return METHODS[kind](**options)


def detach(model: nn.Module, kind: str | None = None) -> None:
    """Remove the adapter of that kind, or all. With the last one gone the base model is bit for bit what it was.

    Raises:
        InputError: there is no such adapter.
    """
    going = [adapter for adapter in attached(model) if kind in (None, adapter.kind)]
    if not going:
        raise InputError(f"the model has no {kind + ' ' if kind else ''}adapter to detach")
    record = _record(model)
    for adapter in going:
        _remove(model, adapter)
    if not record.adapters:
        now = model.state_dict()
        for name, value in record.buffers.items():
            now[name].copy_(value)
        _release_base(model)


def merge(model: nn.Module) -> None:
    """Fold all adapters into the base model's own weights: same outputs, no adapters. Not to be undone.

    Raises:
        InputError: an adapter that cannot be folded exactly, with the reason, for each; nothing was changed.
    """
    adapters = sorted(attached(model), key=lambda adapter: list(METHODS).index(adapter.kind))
    problems = ["the model has no adapter to merge"] if not adapters else []
    uses = Counter(id(p) for module in model.modules() for p in module._parameters.values() if p is not None)
    for adapter in adapters:
        for site in adapter.sites:
            layer = model.get_submodule(site)
            tied = any(uses[id(p)] > 1 for p in layer._parameters.values() if p is not None)
            reason = "its weights are shared with another layer" if tied else adapter.method.obstacle(layer)
            if reason:
                problems.append(f"the {adapter.kind} adapter of '{site}' cannot be merged exactly: {reason}")
    if problems:
        raise InputError(Problem(problem, remedy="keep the adapter" if adapters else None) for problem in problems)
    for adapter in adapters:
        for site in adapter.sites:
            adapter.method.fold(model.get_submodule(site))
    for adapter in adapters:
        _remove(model, adapter)
    _release_base(model)


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The adapters' own tensors, by their names in the model's state dict."""
    prefixes = tuple(prefix for adapter in attached(model) for prefix in adapter.prefixes())
    return {name: value for name, value in model.state_dict().items() if prefixes and name.startswith(prefixes)}


def base_state(model: nn.Module) -> dict[str, Tensor]:
    """The base model's state dict, without adapters and with its buffers as they were when the first was attached."""
    state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    for name in adapter_state(model):
        del state[name]
    return {**state, **_record(model).buffers} if attached(model) else state


def _record(model: nn.Module) -> BaseRecord:
    record = model.adapter_base
    assert isinstance(record, BaseRecord)
    return record


def _freeze_base(model: nn.Module) -> None:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    state = model.state_dict()
    model.adapter_base = BaseRecord(  # type: ignore[assignment]
        adapters=[],
        trainable=[name for name, parameter in parameters.items() if parameter.requires_grad],
        held=hold_statistics(model, owner="adapters"),
        # not only normalisation layers keep running values: an acoustic model's prior follows the data too
        buffers={n: v.clone() for n, v in state.items() if n not in parameters and isinstance(v, Tensor)},
    )
    for parameter in parameters.values():
        parameter.requires_grad_(False)


def _release_base(model: nn.Module) -> None:
    record = _record(model)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(name in record.trainable)
    release_statistics(model, record.held, owner="adapters")
    del model.adapter_base


def _remove(model: nn.Module, adapter: Adapter) -> None:
    for site in adapter.sites:
        adapter.method.remove(model.get_submodule(site))
    _record(model).adapters.remove(adapter)
