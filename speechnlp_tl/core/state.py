"""Where a run stands, apart from its tensors, and what it reports at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from speechnlp_tl.core.alarms import InertTerms, SkippedSteps
from speechnlp_tl.core.config import TrainConfig


@dataclass(frozen=True)
class TrainResult:
    """What came out of a run, over all its resumptions. The weights are in the task's model."""

    steps: int
    epochs: int
    """Completed epochs."""
    metric: str | None
    best: float | None
    """Value of `metric` for the weights that were kept."""
    history: list[dict[str, Any]]
    """One record per evaluation: `step`, `epoch` and the task's metrics under `dev`."""
    skipped: int
    """Steps without a finite loss and gradient."""
    wall_s: float
    peak_mb: float
    """Peak memory of the GPU where there is one, otherwise of the process."""
    stopped: str
    """Why the run ended: `steps`, `epochs` or `patience`."""


@dataclass
class State:
    """A run's position, its best evaluation so far and its alarms; `state.json` of a checkpoint."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    """Finished steps of this epoch."""
    epoch_steps: int = 0
    """Steps that this epoch has."""
    best: float | None = None
    best_step: int | None = None
    waited: int = 0
    """Evaluations since the best one."""
    history: list[dict[str, Any]] = field(default_factory=list)
    skips: SkippedSteps = field(default_factory=SkippedSteps)
    inert: InertTerms = field(default_factory=InertTerms)
    elapsed: float = 0.0
    stopped: str | None = None

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> State:
        skips, inert = SkippedSteps(**document["skips"]), InertTerms(**document["inert"])
        return cls(**{**document, "skips": skips, "inert": inert})

    def progress(self, config: TrainConfig) -> float:
        """Of the whole run, 0 to 1; a function of the position alone, so that a resumed run continues it exactly."""
        if config.steps is not None:
            return self.step / config.steps
        assert config.epochs is not None
        return (self.epoch + self.position / self.epoch_steps) / config.epochs

    def length_reached(self, config: TrainConfig) -> str | None:
        """Why the run is long enough, or None."""
        if config.steps is not None and self.step >= config.steps:
            return "steps"
        if config.epochs is not None and self.epoch >= config.epochs:
            return "epochs"
        return None
