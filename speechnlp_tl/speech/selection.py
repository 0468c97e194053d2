"""Choose the strength of adaptation by cross-validation inside the adaptation data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.wer import score
from speechnlp_tl.speech.adaptation import AdaptConfig, adapt, fill_defaults
from speechnlp_tl.speech.adaptation_method import parse_method
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.recogniser import Recogniser

STEP_FACTORS = (0.5, 1.0, 2.0)
RATE_FACTORS = (0.3, 1.0)
RHOS = (0.25, 0.5, 0.8)


@dataclass(frozen=True)
class Trial:
    """One candidate and its error rate on the folds it was not adapted on, in percent."""

    config: AdaptConfig | None
    """None is the unadapted model."""
    wer: float
    left: int = 0
    """How many candidates are still to be tried."""


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial with the fewest errors. Ties go to the earlier one, which changes less."""
    return min(trials, key=lambda trial: trial.wer)


def cross_validate(
    recogniser: Recogniser,
    utterances: Sequence[Utterance],
    config: AdaptConfig,
    folds: int = 4,
    fisher: Mapping[str, Tensor] | None = None,
    allow_pipes: bool = False,
) -> Iterator[Trial]:
    """Adapt on all folds but one, score the one, for every candidate strength; nothing else is looked at.

    Yields each trial when it is done. The first is not to adapt at all; then weakest first.

    Raises:
        InputError: fewer than two utterances, or adaptation without transcripts, which has nothing to score.
    """
    if len(utterances) < 2:
        raise InputError(Problem("cross-validation needs at least two utterances", remedy="leave --select out"))
    if config.unsupervised or not parse_method(config.method).needs_transcripts:
        raise InputError(Problem("cross-validation needs transcripts", remedy="leave --select out"))
    count = min(folds, len(utterances))
    parts = [list(utterances[part::count]) for part in range(count)]
    tried = candidates(config, seconds=sum(_seconds(recogniser, utterances, allow_pipes)))
    # fold by fold, as the candidates are scored: speaker normalisation sees one fold at a time in both
    unadapted = _error(utterances, {"": recogniser}, [("", part) for part in parts], allow_pipes)
    yield Trial(None, unadapted, len(tried))
    for done, candidate in enumerate(tried, start=1):
        models, held_out = {}, []
        for number, part in enumerate(parts):
            rest = [utterance for other in parts if other is not part for utterance in other]
            models[str(number)] = adapt(recogniser, rest, candidate, fisher, allow_pipes=allow_pipes).recogniser
            held_out.append((str(number), part))
        yield Trial(candidate, _error(utterances, models, held_out, allow_pipes), len(tried) - done)


def candidates(config: AdaptConfig, seconds: float) -> list[AdaptConfig]:
    """Strengths around the defaults, weakest first; what the user fixed stays fixed."""
    default = fill_defaults(config, seconds)
    steps, rate = default.steps, default.learning_rate
    assert steps is not None
    assert rate is not None
    rhos = (default.kld,) if config.kld is not None or "kld" not in default.method_parts else RHOS[::-1]
    found = [
        default.model_copy(update={"steps": max(1, round(steps * longer)), "learning_rate": rate * faster, "kld": rho})
        for rho in rhos
        for longer in (STEP_FACTORS if config.steps is None else (1.0,))
        for faster in (RATE_FACTORS if config.learning_rate is None else (1.0,))
    ]
    return sorted(found, key=lambda one: (one.steps or 0) * (one.learning_rate or 0.0) * (1.0 - (one.kld or 0.0)))


def _seconds(recogniser: Recogniser, utterances: Sequence[Utterance], allow_pipes: bool) -> list[float]:
    from speechnlp_tl.speech.dataset import SpeechDataset

    dataset = SpeechDataset(utterances, recogniser.config.features, allow_pipes=allow_pipes)
    return [frames / 100.0 for frames in dataset.frames]


def _error(
    utterances: Sequence[Utterance],
    models: Mapping[str, Recogniser],
    parts: Sequence[tuple[str, list[Utterance]]],
    allow_pipes: bool,
) -> float:
    hypotheses: dict[str, list[str]] = {}
    for name, part in parts:
        hypotheses |= {key: found.words for key, found in models[name].transcribe(part, allow_pipes).items()}
    return score({utterance.id: utterance.words for utterance in utterances}, hypotheses).wer
