"""One YAML file is one experiment: strict schemas, safe YAML, every mistake named with its line.

YAML is read by the 1.2 core rules: only `true` and `false` are booleans (`precision: no` stays a word), `1e-3` is a
number, dates stay text. What a recipe or a task configures beyond training is defined where it is used.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic import ValidationError as SchemaError

from speechnlp_tl.errors import InputError, Problem

ModelT = TypeVar("ModelT", bound=BaseModel)
Place = tuple[str | int, ...]
"""Where a value stands in a config: keys and list positions from the root."""

Decay = Annotated[float, Field(ge=0, lt=1)]


class StrictModel(BaseModel):
    """Base of every config section: unknown keys are errors, assignments are checked, infinity is not a setting."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class TrainConfig(StrictModel):
    """How a task is trained; what is trained is the task's own section."""

    seed: NonNegativeInt = 0
    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    """Length of the run: exactly one of `epochs` and `steps` (optimiser steps) is given."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: PositiveFloat = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Never applied to 1-d parameters (biases, normalisation scales)."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    momentum: Decay = 0.9
    schedule: Literal["constant", "linear", "cosine", "inverse-sqrt", "onecycle"] = "constant"
    warmup: NonNegativeInt | Annotated[float, Field(ge=0, lt=1)] = 0
    """Steps (int) or a fraction of the run (float)."""
    clip_norm: PositiveFloat | None = None
    accumulate: PositiveInt = 1
    """Micro-batches that each process makes of its share of a step. Changes memory, not the result."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    workers: NonNegativeInt = 0
    evaluate_every: PositiveInt | None = 1
    """Epochs between evaluations; None evaluates only at the end."""
    metric: str | None = None
    """Dev metric that chooses the weights; None keeps the last."""
    mode: Literal["min", "max"] = "min"
    patience: PositiveInt | None = None
    """Evaluations without a better metric before the run ends."""
    checkpoint_every: PositiveInt | None = None
    """Steps between checkpoints; one is also written after every evaluation."""
    checkpoint_minutes: PositiveFloat | None = 5.0
    log_every: PositiveInt = 20
    average: Decay | None = None
    """Decay of the exponential moving average of the weights, which is then what is evaluated and kept."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    gradient_check: bool = True
    """Measure each loss term's gradient norm every `log_every` steps and end the run when a term has none."""
    tensorboard: bool = True

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of 'epochs' and 'steps'")
        if self.patience is not None and self.metric is None:
            raise ValueError("'patience' needs a 'metric' to wait for")
        return self


def load_config(path: str | Path, schema: type[ModelT], overrides: Sequence[str] = ()) -> ModelT:
    """Read a YAML file into `schema`, after applying overrides such as `train.learning_rate=1e-4`.

    Raises:
        InputError: unreadable file or YAML, unknown or duplicated keys, wrong values; all of them at once, each with
            its file and line (or its override) and, for an unknown key, the nearest known one.
    """
    path = Path(path)
    data, lines, problems = _read(path)
    overridden: dict[Place, str] = {}
    for override in overrides:
        problem = _apply(data, override, overridden)
        if problem is not None:
            problems.append(problem)
    try:
        model = schema.model_validate(data)
    except SchemaError as error:
        problems += [_explain(item, schema, data, path, lines, overridden) for item in error.errors(include_url=False)]
    if problems:
        raise InputError(problems)
    return model


def read_key(path: str | Path, key: str) -> tuple[Any, int | None]:
    """A top-level value of a YAML file and its line, (None, None) where it is not there: to tell whose config it is.

    Raises:
        InputError: unreadable file or YAML.
    """
    data, lines, _ = _read(Path(path))
    return data.get(key), lines.get((key,))


def dump_config(model: BaseModel) -> str:
    """The resolved config as YAML that `load_config` reads back."""
    data = model.model_dump(mode="json")
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


class _Loader(yaml.SafeLoader):
    """Safe YAML by the 1.2 core rules."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _yaml in (_Loader, _Dumper):
    _yaml.yaml_implicit_resolvers = {}
    for _tag, _pattern, _first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?[0-9]+", "-+0123456789"),
        (
            "float",
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
            "-+.0123456789",
        ),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("merge", r"<<", "<"),
    ):
        _yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))  # YAML 1.1 would read 010 as eight


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


def _read(path: Path) -> tuple[dict[str, Any], dict[Place, int], list[Problem]]:
    """The file's data, the line of every key in it, and its duplicated keys."""
    lines: dict[Place, int] = {(): 1}
    problems: list[Problem] = []
    try:
        loader = _Loader(path.read_text(encoding="utf-8-sig"))
        node = loader.get_single_node()
        if node is not None:
            _locate(node, (), path, lines, problems)
        data = {} if node is None else loader.construct_document(node)
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", file=path)) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem("is not UTF-8 text", file=path)) from error
    except RecursionError as error:
        raise InputError(Problem("is not valid YAML: an anchor refers to itself", file=path)) from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        what = f"is not valid YAML: {getattr(error, 'problem', None) or error}"
        raise InputError(Problem(what, file=path, line=None if mark is None else mark.line + 1)) from error
    if not isinstance(data, dict):
        raise InputError(Problem("must hold 'key: value' lines", file=path, line=1))
    return data, lines, problems


def _locate(node: yaml.Node, place: Place, path: Path, lines: dict[Place, int], problems: list[Problem]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            inner = (*place, index)
            lines[inner] = item.start_mark.line + 1
            _locate(item, inner, path, lines, problems)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":
                for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    _locate(merged, place, path, lines, problems)
                continue
            if key.value in seen:
                problems.append(Problem(f"key '{key.value}' stands twice", file=path, line=line, remedy="keep one"))
            seen.add(key.value)
            inner = (*place, key.value)
            lines[inner] = line
            _locate(value, inner, path, lines, problems)


def _apply(data: dict[str, Any], override: str, overridden: dict[Place, str]) -> Problem | None:
    """Put one `a.b=value` into `data`; returns what is wrong with it."""
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        return Problem(f"override '{override}' is not of the form key=value", remedy="write for example train.seed=1")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        return Problem(f"override '{override}': the value is not YAML: {getattr(error, 'problem', error)}")
    inner: Any = data
    for key in keys[:-1]:
        if inner.get(key) is None:
            inner[key] = {}
        inner = inner[key]
        if not isinstance(inner, dict):
            return Problem(f"override '{override}': '{key}' holds a value, not further keys")
    inner[keys[-1]] = value
    overridden[tuple(keys)] = override
    return None


def _explain(
    item: Mapping[str, Any],
    schema: type[BaseModel],
    data: dict[str, Any],
    path: Path,
    lines: dict[Place, int],
    overridden: dict[Place, str],
) -> Problem:
    """One pydantic error as a Problem: its key in words, the override or the line it came from, the nearest key."""
    place = _in_file(tuple(item["loc"]), data, item["type"] == "missing")
    name = ".".join(str(key) for key in place)
    remedy = None
    if item["type"] == "extra_forbidden":
        known = sorted(_known_keys(schema, place[:-1]))
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
        what = f"unknown key '{name}'"
        remedy = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
    elif item["type"] == "missing":
        what = f"key '{name}' is missing"
    else:
        message = item["msg"].removeprefix("Value error, ")
        shown = "" if isinstance(item["input"], dict | BaseModel) else f" (got {item['input']!r})"
        what = f"'{name}': {message[0].lower()}{message[1:]}{shown}" if name else message
    for key, override in overridden.items():
        inside = bool(place) and place[: len(key)] == key
        unknown_section = item["type"] == "extra_forbidden" and key[: len(place)] == place
        if inside or unknown_section:
            return Problem(f"override '{override}': {what}", remedy=remedy)
    line = next((lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in lines), None)
    return Problem(what, file=path, line=line, remedy=remedy)


def _in_file(place: Place, data: Any, missing: bool) -> Place:
    """An error's place without the names that pydantic gives the members of a union, which are no keys.

    Args:
        data: what was read.
        missing: the last key is the one that is not there.
    """
    found: list[str | int] = []
    inner = data
    for number, key in enumerate(place):
        known = key in inner if isinstance(inner, Mapping) else isinstance(inner, list) and key in range(len(inner))
        if known:
            inner = inner[key]
        if known or (missing and number == len(place) - 1):
            found.append(key)
    return tuple(found)


def _known_keys(schema: type[BaseModel], place: Place) -> set[str]:
    """Keys that `schema` has at `place`, over all members where a section is a union."""
    models = [schema]
    for key in place:
        fields = [model.model_fields[str(key)] for model in models if str(key) in model.model_fields]
        if fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
