"""One run of `speechnlp-tl adapt`: read, adapt, save, and say what was gained and what it cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from speechnlp_tl.atomic import write_text
from speechnlp_tl.core.config import dump_config, load_config
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.summary import summarise
from speechnlp_tl.speech.adaptation import AdaptConfig, Adapted, adapt, parse_method
from speechnlp_tl.speech.asr_task import AsrTask
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.models import load_recogniser, model_folder, save_adapted
from speechnlp_tl.speech.recogniser import Recogniser
from speechnlp_tl.speech.selection import select
from speechnlp_tl.transfer.adapters import attached
from speechnlp_tl.transfer.fisher import estimate_fisher, single_rows

FISHER_UTTERANCES = 200


@dataclass
class AdaptationRun:
    """Source model, adaptation speech, settings and place of the result."""

    model: Path
    out: Path
    source: Recogniser
    utterances: list[Utterance]
    config: AdaptConfig
    adapted: Adapted | None = None

    @classmethod
    def prepare(
        cls, model: Path, data: Path, out: Path, config: Path | None, overrides: Sequence[str], allow_pipes: bool = False
    ) -> AdaptationRun:
        """Read everything before anything is computed.

        Raises:
            InputError: no model, unusable data or settings, or something else in the place of the result.
        """
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(Problem("holds something already", out, remedy="choose another --out"))
        settings = load_config(config, AdaptConfig, overrides) if config else settings_from(overrides)
        parse_method(settings.method)
        utterances = list(DataDir.read(data, allow_pipes))
        if not settings.unsupervised:
            silent = [utterance.id for utterance in utterances if utterance.text is None]
            remedy = "add it to text, or adapt with --unsupervised"
            problems = [Problem(f"utterance {name} has no transcript", data, remedy=remedy) for name in silent]
            if problems:
                raise InputError(problems)
        source = load_recogniser(model)
        if attached(source.model):
            raise InputError(Problem("is an adapter", model, remedy="adapt its base model, or merge it first"))
        return cls(model, out, source, utterances, settings)

    def adapt(self, choose: bool = False, source_data: Path | None = None) -> Iterator[str]:
        """Adapt and save; yields what to tell the user."""
        fisher = self._fisher(source_data)
        config: AdaptConfig | None = self.config
        if choose:
            config, trials = select(self.source, self.utterances, self.config, fisher=fisher)
            best = min(trial.wer for trial in trials)
            yield f"cross-validation: {trials[0].wer:.1f} % WER unadapted, {best:.1f} % with the best of {len(trials) - 1}"
        if config is None:
            yield "no strength was better than leaving the model as it is: the source model is saved unchanged"
            self.source.save(self.out)
            return
        self.adapted = adapt(self.source, self.utterances, config, fisher, quiet=True)
        yield from _describe(self.adapted)
        self._save(self.adapted)
        yield f"saved in {self.out}"

    def measure(self, test_data: Path | None, source_data: Path | None) -> Iterator[str]:
        """Error rates before and after on each data directory, with intervals; also written to OUT/scores.json."""
        after = self.adapted.recogniser if self.adapted else self.source
        scores = {}
        for what, path in (("the new speaker", test_data), ("the old speakers", source_data)):
            if path is None:
                continue
            utterances = list(DataDir.read(path))
            reference = {utterance.id: utterance.words for utterance in utterances}
            speakers = {utterance.id: utterance.speaker for utterance in utterances}
            before_words = {name: found.words for name, found in self.source.transcribe(utterances).items()}
            after_words = {name: found.words for name, found in after.transcribe(utterances).items()}
            summary = summarise(reference, after_words, speakers, before_words)
            yield f"{what} ({path}), before and after:"
            yield f"  {summary.headline('word')}"
            yield f"  {summary.baseline_line('word')}"
            scores[what] = summary.to_json()
        if scores:
            write_text(self.out / "scores.json", json.dumps(scores, indent=2, ensure_ascii=False) + "\n")

    def _fisher(self, source_data: Path | None) -> dict[str, Tensor] | None:
        if "ewc" not in parse_method(self.config.method).held_back:
            return None
        if source_data is None:
            raise InputError(Problem("ewc weighs parameters by source speech", remedy="name some with --source-data"))
        return source_fisher(self.source, list(DataDir.read(source_data)), self.config.seed)

    def _save(self, adapted: Adapted) -> None:
        notes = {
            "method": adapted.method.name,
            "utterances": str(adapted.utterances),
            "seconds": f"{adapted.seconds:.1f}",
        }
        card = _card(adapted, self.model)
        if adapted.adapter is not None:
            save_adapted(adapted.recogniser, self.out, model_folder(self.model), notes, card)
        else:
            adapted.recogniser.save(self.out, card)
        write_text(self.out / "adaptation.yaml", dump_config(adapted.settings))
        if adapted.report is not None:
            write_text(self.out / "transfer.txt", adapted.report.table() + "\n")


def settings_from(overrides: Sequence[str]) -> AdaptConfig:
    """Settings from `key=value` alone."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "settings"
        empty.write_text("{}\n", encoding="utf-8")
        return load_config(empty, AdaptConfig, overrides)


def source_fisher(source: Recogniser, utterances: Sequence[Utterance], seed: int = 0) -> dict[str, Tensor]:
    """Fisher information of the source model on up to `FISHER_UTTERANCES` utterances spread over `utterances`."""
    stride = max(1, len(utterances) // FISHER_UTTERANCES)
    task = AsrTask(source, list(utterances)[::stride][:FISHER_UTTERANCES], keep_prior=True)
    batches = single_rows(task, range(len(task.train)))
    return estimate_fisher(task, source.model, batches, seed=seed)


def _describe(adapted: Adapted) -> Iterator[str]:
    settings = adapted.settings
    yield (
        f"adapted with {adapted.method.name} on {adapted.utterances} utterances, {adapted.seconds:.1f} s of speech: "
        f"{settings.steps} steps, learning rate {settings.learning_rate:g}"
        + (f", rho {settings.kld:.2f}" if "kld" in adapted.method.held_back else "")
    )
    if adapted.left_out:
        yield f"left out {len(adapted.left_out)} utterances with uncertain hypotheses: {' '.join(adapted.left_out[:10])}"
    if adapted.report is not None:
        yield adapted.report.table()
    if adapted.adapter is not None:
        trained = sum(p.numel() for name, p in adapted.recogniser.model.named_parameters() if ".adapter_" in name)
        yield f"adapter: {trained} parameters, {trained * 4 / 1000:.0f} kB"


def _card(adapted: Adapted, source: Path) -> str:
    return (
        "# Adapted speech recogniser\n\n"
        f"Source: `{source}`. Method: {adapted.method.name}, {adapted.utterances} utterances, {adapted.seconds:.1f} s. "
        "Settings in adaptation.yaml; written by speechnlp_tl.\n\n"
        "    speechnlp-tl transcribe --model THIS_FOLDER recording.wav\n"
    )
