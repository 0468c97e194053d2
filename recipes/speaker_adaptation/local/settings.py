"""The recipe's own config: which methods, budgets and seeds are run."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from speechnlp_tl.core.config import StrictModel
from speechnlp_tl.speech.channel import ChannelConfig


class LayerSweep(StrictModel):
    """How many layers to copy, from the input and from the output; the rest starts afresh."""

    budget: PositiveInt
    seeds: PositiveInt = 1
    counts: list[PositiveInt]
    steps: PositiveInt
    learning_rate: float = Field(gt=0)


class SweepConfig(StrictModel):
    """conf/*.yaml of the adaptation stage."""

    source: str = Field(description="training config of the source models, beside this file")
    methods: dict[str, list[str]] = Field(
        description="name in the tables -> overrides of AdaptConfig; `then` adapts once more"
    )
    budgets: list[PositiveInt]
    seeds: PositiveInt = 3
    targets: int = Field(0, ge=0, description="target speakers; 0 is all")
    folds: PositiveInt = 3
    old_utterances: PositiveInt = Field(75, description="of the source speakers' test speech, spread over speakers")
    on_development: bool = Field(False, description="choose settings: keep off the test speech")
    layer_sweep: LayerSweep | None = None
    channel: ChannelConfig | None = Field(None, description="the target is heard over this telephone line")
    edition: str = Field("", description="results stand in files of their own: RESULTS-<edition>.md")

    @property
    def labels(self) -> tuple[str, str]:
        """What the tables call the target's speech and the source's."""
        return ("over the telephone", "clean") if self.channel else ("new speaker", "old speakers")
