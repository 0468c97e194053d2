"""Alignment of two embedding spaces with a dictionary, in closed form: every step a switch, presets set defaults.

    alignment = fit_alignment(source, target, pairs, preset("vecmap"))
    mapped = alignment.map_source(source), alignment.map_target(target)      # compare by cosine

The steps are those of Artetxe, Labaka and Agirre (2018, AAAI), who show that least squares, Procrustes and CCA are
choices among them. Methods that find a map by other ways (`ranking`, `adversarial`, `self_learning`, `hub`) return the
same `Alignment`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from speechnlp_tl.core.config import StrictModel, dump_config, load_config
from speechnlp_tl.embeddings.closed_forms import Matrix, inner, least_squares, whitening
from speechnlp_tl.embeddings.normalisation import (
    Normalisation,
    NormalisationStep,
    Vectors,
    blocks,
    check_pairs,
    check_vectors,
)
from speechnlp_tl.errors import InputError, Problem

Side = Literal["source", "target"]
NotNegative = Annotated[float, Field(ge=0)]


class AlignmentSettings(StrictModel):
    """The switches, in the order in which the steps happen. X, Y are the normalised rows of the dictionary's pairs."""

    normalise: tuple[NormalisationStep, ...] = ("unit", "centre", "unit")
    """Of all words, before anything else."""
    mapping: Literal["orthogonal", "least-squares"] = "orthogonal"
    """`orthogonal` maps X by U and Y by V of X^T Y = U S V^T; `least-squares` maps X onto Y and leaves Y."""
    ridge: NotNegative = 0.0
    """Of least squares, and added to X^T X and Y^T Y before whitening, as a multiple of the mean of their diagonal."""
    whiten: bool = False
    """Orthogonal mapping of X (X^T X)^-1/2 and Y (Y^T Y)^-1/2: the dimensions of each side made uncorrelated."""
    source_reweight: NotNegative = 0.0
    target_reweight: NotNegative = 0.0
    """Each dimension times its singular value (after whitening, its correlation) to this power."""
    source_dewhiten: Side | None = None
    target_dewhiten: Side | None = None
    """Give the mapped vectors back the covariance of this side."""
    dimensions: PositiveInt | None = None
    """Keep the dimensions of the largest singular values; None keeps all."""

    @model_validator(mode="after")
    def _fit_together(self) -> AlignmentSettings:
        if (self.source_dewhiten or self.target_dewhiten) and not self.whiten:
            raise ValueError("'source_dewhiten' and 'target_dewhiten' undo 'whiten', which is off")
        steps = self.whiten or self.source_reweight or self.target_reweight or self.dimensions
        if self.mapping == "least-squares" and steps:
            raise ValueError("least squares takes no whitening, re-weighting or reduction of dimensions")
        if self.ridge and self.mapping == "orthogonal" and not self.whiten:
            raise ValueError("'ridge' has no effect on an orthogonal mapping without whitening")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    # Mikolov, Le and Sutskever 2013
    "least-squares": {"normalise": (), "mapping": "least-squares"},
    # Artetxe, Labaka and Agirre 2016, with a second scaling to unit length as in 2018
    "procrustes": {},
    # Faruqui and Dyer 2014
    "cca": {"whiten": True},
    # the same with a ridge and each canonical variable times its correlation, on both sides: for little text
    "regularised-cca": {"whiten": True, "ridge": 0.6, "source_reweight": 1.0, "target_reweight": 1.0},
    # the recommended steps of Artetxe, Labaka and Agirre 2018, symmetric
    "vecmap": {
        "whiten": True,
        "source_reweight": 0.5,
        "target_reweight": 0.5,
        "source_dewhiten": "source",
        "target_dewhiten": "target",
    },
}
"""Name -> what differs from the defaults of `AlignmentSettings`."""


def preset(name: str, **changes: Any) -> AlignmentSettings:
    """The settings of a preset, some of them changed: `preset("vecmap", dimensions=150)`.

    Raises:
        InputError: no such preset or setting, or settings that do not fit together.
    """
    if name not in PRESETS:
        raise InputError(Problem(f"no preset '{name}'", remedy=f"there are: {', '.join(PRESETS)}"))
    try:
        return AlignmentSettings.model_validate(PRESETS[name] | changes)
    except ValueError as error:
        raise InputError(f"preset '{name}' with {changes}: {error}") from error


@dataclass(frozen=True)
class Alignment:
    """Takes the vectors of two languages to one space, where translations have a high cosine."""

    source: Normalisation
    target: Normalisation
    source_map: Matrix
    """(d, k), float32: normalised source rows times this."""
    target_map: Matrix | None
    """(e, k), float32; None leaves the normalised target rows as they are."""
    singular_values: Matrix = field(default_factory=lambda: np.zeros(0, np.float32))
    """What the dimensions of an orthogonal mapping were weighted with, largest first; after whitening, correlations."""

    @property
    def dimensions(self) -> int:
        """Of the common space."""
        return int(self.source_map.shape[1])

    def map_source(self, vectors: Vectors) -> NDArray[np.float32]:
        """Source rows (n, d), of the fitted words or others, -> (n, k) float32, not of unit length.

        Raises:
            InputError: another number of dimensions than was fitted.
        """
        return _mapped(vectors, self.source, self.source_map, len(self.source_map), "source")

    def map_target(self, vectors: Vectors) -> NDArray[np.float32]:
        """Target rows (n, e) -> (n, k), as `map_source`."""
        width = self.dimensions if self.target_map is None else len(self.target_map)
        return _mapped(vectors, self.target, self.target_map, width, "target")

    def save(self, folder: str | Path) -> None:
        """Write `config.yaml` and `model.safetensors`; no word and no vector is in it.

        Raises:
            InputError: the folder exists and is not empty, or cannot be written.
        """
        from safetensors.numpy import save_file

        from speechnlp_tl.atomic import atomic_directory

        config = _Config(
            source_dimensions=len(self.source_map),
            target_dimensions=self.dimensions if self.target_map is None else len(self.target_map),
            common_dimensions=self.dimensions,
            source_steps=self.source.steps,
            target_steps=self.target.steps,
            target_mapped=self.target_map is not None,
        )
        tensors = {"source_map": self.source_map, "singular_values": self.singular_values}
        tensors |= {} if self.target_map is None else {"target_map": self.target_map}
        tensors |= {f"source_mean.{i}": mean for i, mean in enumerate(self.source.means)}
        tensors |= {f"target_mean.{i}": mean for i, mean in enumerate(self.target.means)}
        with atomic_directory(folder) as temporary:
            (temporary / "config.yaml").write_text(dump_config(config), encoding="utf-8")
            contiguous = {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in tensors.items()}
            save_file(contiguous, temporary / "model.safetensors")

    @classmethod
    def load(cls, folder: str | Path) -> Alignment:
        """What `save` wrote.

        Raises:
            InputError: a file is missing, damaged, or the two do not fit together.
        """
        config = load_config(Path(folder) / "config.yaml", _Config)
        path = Path(folder) / "model.safetensors"
        tensors = _read(path)
        shapes = config.shapes()
        wrong = [
            f"'{name}' should be {shape} and is {tensors[name].shape if name in tensors else 'missing'}"
            for name, shape in shapes.items()
            if name not in tensors or tensors[name].shape != shape
        ]
        if wrong:
            remedy = "copy the folder again, or align again"
            raise InputError([Problem(f"does not fit config.yaml: {what}", file=path, remedy=remedy) for what in wrong])
        means = {
            side: tuple(tensors[name] for name in shapes if name.startswith(f"{side}_mean."))
            for side in ("source", "target")
        }
        return cls(
            Normalisation(config.source_steps, means["source"]),
            Normalisation(config.target_steps, means["target"]),
            tensors["source_map"],
            tensors["target_map"] if config.target_mapped else None,
            tensors.get("singular_values", np.zeros(0, np.float32)),
        )


def fit_alignment(
    source: Vectors, target: Vectors, pairs: NDArray[np.int64], settings: AlignmentSettings | None = None
) -> Alignment:
    """Align two languages with a dictionary.

    Args:
        source: (n, d), rows are words, most frequent first.
        target: (m, e).
        pairs: (p, 2), row of a source word and row of its translation; a word may have several.
        settings: which steps; the preset "procrustes" when None.

    Returns:
        The maps. They are rotated such that the target's map is the identity wherever the settings leave the target
        space as it was, which changes no similarity.

    Raises:
        InputError: vectors or pairs that cannot be used, too few pairs to whiten, more dimensions asked for than there
            are.
    """
    settings = settings or AlignmentSettings()
    pairs = check_pairs(pairs, (len(source), len(target)))
    source_norm = Normalisation.fit(source, settings.normalise, "source")
    target_norm = Normalisation.fit(target, settings.normalise, "target")
    if not settings.normalise:
        check_vectors(source, "source")
        check_vectors(target, "target")
    x, y = source_norm(source[pairs[:, 0]]), target_norm(target[pairs[:, 1]])
    source_map, target_map, singular_values = fit_maps(x, y, settings)
    return Alignment(source_norm, target_norm, source_map, target_map, singular_values)


def fit_maps(x: Vectors, y: Vectors, settings: AlignmentSettings) -> tuple[Matrix, Matrix | None, Matrix]:
    """The maps of matched rows that are normalised already: `fit_alignment` without its first step.

    Args:
        x: (p, d).
        y: (p, e), the translations.

    Returns:
        (d, k) for the source, (e, k) or None (the identity) for the target, (min(d, e),) singular values; float32.
    """
    if settings.mapping == "least-squares":
        return _narrow(least_squares(x, y, _ridge(x, settings))), None, np.zeros(0, np.float32)
    cross = inner(x, y)
    most = min(cross.shape)
    kept = settings.dimensions or most
    if kept > most:
        raise InputError(Problem(f"dimensions={kept}, but the vectors have {most}", remedy="ask for fewer"))
    white = unwhite = {}
    if settings.whiten:
        both = {side: whitening(rows, _ridge(rows, settings)) for side, rows in (("source", x), ("target", y))}
        white, unwhite = ({side: pair[i] for side, pair in both.items()} for i in (0, 1))
        cross = white["source"] @ cross @ white["target"]
    u, s, vt = np.linalg.svd(cross, full_matrices=False)
    rotations = {"source": u, "target": vt.T}

    def finished(side: str, power: float, dewhiten: Side | None) -> Matrix:
        result = rotations[side] * s**power
        if settings.whiten:
            result = white[side] @ result
        if dewhiten is not None:
            result = result @ (rotations[dewhiten].T @ unwhite[dewhiten] @ rotations[dewhiten])
        return result[:, :kept]

    source_map = finished("source", settings.source_reweight, settings.source_dewhiten)
    target_map: Matrix | None = finished("target", settings.target_reweight, settings.target_dewhiten)
    assert target_map is not None
    if kept == len(vt.T):  # a rotation of the common space that changes no similarity
        source_map, target_map = source_map @ vt, target_map @ vt
        untouched = not settings.target_reweight and settings.target_dewhiten == ("target" if settings.whiten else None)
        target_map = None if untouched else target_map
    return _narrow(source_map), None if target_map is None else _narrow(target_map), _narrow(s)


def _ridge(rows: Vectors, settings: AlignmentSettings) -> float:
    """The settings' ridge in the units of X^T X."""
    return settings.ridge * float(np.sum(np.square(rows, dtype=np.float64))) / rows.shape[1]


class _Config(StrictModel):
    """`config.yaml` of a saved alignment."""

    format: Literal["alignment 1"] = "alignment 1"
    source_dimensions: PositiveInt
    target_dimensions: PositiveInt
    common_dimensions: PositiveInt
    source_steps: tuple[NormalisationStep, ...]
    target_steps: tuple[NormalisationStep, ...]
    target_mapped: bool

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the tensors beside it."""
        shapes: dict[str, tuple[int, ...]] = {"source_map": (self.source_dimensions, self.common_dimensions)}
        if self.target_mapped:
            shapes["target_map"] = (self.target_dimensions, self.common_dimensions)
        for i in range(self.source_steps.count("centre")):
            shapes[f"source_mean.{i}"] = (self.source_dimensions,)
        for i in range(self.target_steps.count("centre")):
            shapes[f"target_mean.{i}"] = (self.target_dimensions,)
        return shapes


def _mapped(
    vectors: Vectors, normalisation: Normalisation, matrix: Matrix | None, width: int, side: str
) -> NDArray[np.float32]:
    if vectors.ndim != 2 or vectors.shape[1] != width:
        what = f"{side}: vectors are {vectors.shape}, the alignment was fitted on {width} dimensions"
        raise InputError(Problem(what, remedy="map the vectors of the fit, and mind which side is the source"))
    result = np.empty((len(vectors), width if matrix is None else matrix.shape[1]), np.float32)
    for place, rows in blocks(vectors):
        normalised = normalisation(rows)
        if matrix is None:
            result[place] = normalised
        else:
            np.matmul(normalised, matrix, out=result[place])
    return result


def _narrow(matrix: NDArray[np.floating]) -> Matrix:
    return np.ascontiguousarray(matrix, dtype=np.float32)


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    import safetensors.numpy

    try:
        return safetensors.numpy.load(path.read_bytes())
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror or error}", file=path)) from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise InputError(Problem(f"is damaged or no safetensors file: {error}", file=path)) from error
