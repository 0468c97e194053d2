"""One run of `speechnlp-tl adapt`: read, adapt, save, and say what was gained and what it cost."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from speechnlp_tl.atomic import atomic_directory, write_text
from speechnlp_tl.core.config import dump_config, load_config
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.summary import summarise
from speechnlp_tl.speech.adaptation import AdaptConfig, Adapted, adapt
from speechnlp_tl.speech.adaptation_method import parse_method
from speechnlp_tl.speech.asr_task import AsrTask
from speechnlp_tl.speech.audio_check import check_audio
from speechnlp_tl.speech.data_dir import Utterance, read_all, untold
from speechnlp_tl.speech.data_split import fisher_speech
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.decoder import Hypothesis
from speechnlp_tl.speech.models import LANGUAGE, load_recogniser, model_folder, write_adapter
from speechnlp_tl.speech.recogniser import Recogniser
from speechnlp_tl.speech.selection import Trial, best_of, cross_validate
from speechnlp_tl.speech.unfinished_run import take_over_records, unfinished_run
from speechnlp_tl.transfer.adapters import attached
from speechnlp_tl.transfer.fisher import estimate_fisher, single_rows

DIGEST = "run.sha256"


@dataclass
class AdaptationRun:
    """Source model, adaptation speech, settings and place of the result."""

    model: Path
    out: Path
    source: Recogniser
    utterances: list[Utterance]
    config: AdaptConfig
    allow_pipes: bool = False
    test: tuple[Path, list[Utterance]] | None = None
    """Speech of the new speaker that measures the gain."""
    old: tuple[str, list[Utterance]] | None = None
    """Where speech of the source's speakers is, and that speech: measures forgetting, and what matters to them."""
    choose: bool = False
    """Choose the strength by cross-validation."""
    language: str | None = None
    """Of a multilingual source model, the one that is adapted."""
    dropped: int = 0
    """Transcripts of the adaptation speech that a method of audio alone does not look at."""
    adapted: Adapted | None = None

    @classmethod
    def prepare(
        cls,
        model: Path,
        data: Path,
        out: Path,
        config: Path | None = None,
        overrides: Sequence[str] = (),
        test_data: Path | None = None,
        source_data: Sequence[Path] = (),
        resample: bool = False,
        allow_pipes: bool = False,
        choose: bool = False,
        language: str | None = None,
    ) -> AdaptationRun:
        """Read everything before anything is computed.

        Raises:
            InputError: no model, unusable data or settings, or something else in the place of the result.
        """
        occupied = out.exists() and (not out.is_dir() or any(out.iterdir()))
        taken = InputError(Problem("holds something already", out, remedy="choose another --out"))
        if occupied and not (out / DIGEST).is_file():
            raise taken
        settings = load_config(config, AdaptConfig, overrides) if config else settings_from(overrides)
        method = parse_method(settings.method)
        problems = []
        if method.needs_source_speech and not source_data:
            problems.append(Problem(method.needs_source_speech, remedy="name some with --source-data"))
        if not method.needs_transcripts:
            what = f"{method.name} learns from audio alone"
            if settings.unsupervised:
                problems.append(
                    Problem(f"{what}, not from hypotheses", remedy="leave --unsupervised or the method out")
                )
            if choose:
                problems.append(Problem(f"{what}, and --select scores transcripts", remedy="leave --select out"))
        if problems:
            raise InputError(problems)
        source = load_recogniser(model, language=language)
        if attached(source.model):
            raise InputError(Problem("is an adapter", model, remedy="adapt its base model, or merge it first"))
        source = source.resampling() if resample else source
        remedy = "add it to text, or adapt with --unsupervised"
        untold_is_fine = settings.unsupervised or not method.needs_transcripts
        utterances, problems = read_all([data], _check(None if untold_is_fine else remedy), allow_pipes)
        tested, more = read_all([test_data] if test_data else [], untold, allow_pipes)
        spoken, others = read_all(source_data, untold, allow_pipes)
        if problems := [*problems, *more, *others]:
            raise InputError(problems)
        test = (test_data, tested) if test_data else None
        old = (", ".join(map(str, source_data)), spoken) if source_data else None
        measured = [utterance for _, some in filter(None, (test, old)) for utterance in some]
        check_audio([*utterances, *measured], source.config.features)
        dropped = 0
        if not method.needs_transcripts:
            dropped = sum(utterance.text is not None for utterance in utterances)
            utterances = [replace(utterance, text=None) for utterance in utterances]
        run = cls(model, out, source, utterances, settings, allow_pipes, test, old, choose, language, dropped)
        if occupied and not run.finished:
            raise taken
        return run

    @property
    def finished(self) -> bool:
        """Whether `out` holds the result of this very run already, which may not have been measured yet."""
        mark = self.out / DIGEST
        return mark.is_file() and mark.read_text(encoding="utf-8") == self._digest(self.config)

    def adapt(self) -> Iterator[str]:
        """Adapt and save; yields what to tell the user."""
        if self.finished:
            yield f"adapted already: {self.out}"
            return
        if self.dropped:
            name = parse_method(self.config.method).name
            yield f"{self.dropped} transcripts in the data are not looked at: {name} learns from audio alone"
        fisher = None
        if "ewc" in parse_method(self.config.method).held_back and self.old is not None:
            fisher = source_fisher(self.source, self.old[1], self.config.seed, self.allow_pipes)
        config: AdaptConfig | None = self.config
        if self.choose:
            trials = []
            for trial in cross_validate(
                self.source, self.utterances, self.config, fisher=fisher, allow_pipes=self.allow_pipes
            ):
                trials.append(trial)
                yield _tell_trial(trial)
            config = best_of(trials).config
        if config is None:
            yield "no strength was better than leaving the model as it is: the source model is saved unchanged"
            with atomic_directory(self.out) as folder:
                self.source.write_files(folder)
                (folder / DIGEST).write_text(self._digest(self.config), encoding="utf-8")
            return
        with unfinished_run(self.out, self._digest(config)) as unfinished:
            spoken = self.old[1] if self.old else ()
            self.adapted = adapt(self.source, self.utterances, config, fisher, self.allow_pipes, unfinished, spoken)
            yield from _describe(self.adapted)
            self._save(self.adapted, unfinished)
        yield f"saved in {self.out}"

    def _digest(self, config: AdaptConfig) -> str:
        """SHA-256 of all that decides the result."""
        return hashlib.sha256(f"{dump_config(config)}{self.choose}{self._inputs}".encode()).hexdigest()

    @cached_property
    def _inputs(self) -> str:
        """SHA-256 of the source model and the speech that is learned from."""
        digest = hashlib.sha256()
        for name, value in self.source.model.state_dict().items():
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        if self.language is not None:  # languages may share all of a model's numbers
            digest.update(f"{self.language} {self.source.lexicon.entries()}".encode())
        learned = self.old[1] if self.old and parse_method(self.config.method).needs_source_speech else []
        for utterance in [*self.utterances, *learned]:
            digest.update(repr(utterance).encode())
        return digest.hexdigest()

    def measure(self) -> Iterator[str]:
        """Error rates before and after on each data directory, with intervals; also written to OUT/scores.json."""
        after = self.adapted.recogniser if self.adapted else load_recogniser(self.out)
        scores = {}
        for what, measured in (("the new speaker", self.test), ("the old speakers", self.old)):
            if measured is None:
                continue
            path, utterances = measured
            reference = {utterance.id: utterance.words for utterance in utterances}
            speakers = {utterance.id: utterance.speaker for utterance in utterances}
            before_words = {name: found.words for name, found in self._transcribe(self.source, utterances)}
            after_words = {name: found.words for name, found in self._transcribe(after, utterances)}
            summary = summarise(reference, after_words, speakers, before_words)
            learned = measured is self.old and parse_method(self.config.method).domain
            yield f"{what} ({path}{', learned from' if learned else ''}), before and after:"
            yield f"  {summary.headline('word')}"
            yield f"  {summary.baseline_line('word')}"
            scores[what] = summary.to_json()
        if scores:
            write_text(self.out / "scores.json", json.dumps(scores, indent=2, ensure_ascii=False) + "\n")

    def _transcribe(self, recogniser: Recogniser, utterances: list[Utterance]) -> Iterable[tuple[str, Hypothesis]]:
        return recogniser.transcribe(utterances, self.allow_pipes).items()

    def _save(self, adapted: Adapted, unfinished: Path) -> None:
        notes = {
            "method": adapted.method.name,
            "utterances": str(adapted.utterances),
            "seconds": f"{adapted.seconds:.1f}",
        }
        notes |= {LANGUAGE: self.language} if self.language is not None else {}
        card = _card(adapted, self.model)
        with atomic_directory(self.out) as folder:
            if adapted.adapter is not None:
                write_adapter(adapted.recogniser, folder, model_folder(self.model), notes, card)
            else:
                adapted.recogniser.write_files(folder, card)
            (folder / "adaptation.yaml").write_text(dump_config(adapted.settings), encoding="utf-8")
            (folder / DIGEST).write_text(self._digest(self.config), encoding="utf-8")
            if adapted.report is not None:
                (folder / "transfer.txt").write_text(adapted.report.table() + "\n", encoding="utf-8")
            take_over_records(unfinished, folder)


def _check(remedy: str | None) -> Callable[[Sequence[Utterance], Path], list[Problem]]:
    """What is wrong with utterances without transcript: nothing without `remedy`, else what to do about them."""
    return lambda read, folder: untold(read, folder, remedy) if remedy else []


def settings_from(overrides: Sequence[str]) -> AdaptConfig:
    """Settings from `key=value` alone."""
    return load_config(os.devnull, AdaptConfig, overrides)


def source_fisher(
    source: Recogniser, utterances: Sequence[Utterance], seed: int = 0, allow_pipes: bool = False
) -> dict[str, Tensor]:
    """Fisher information of the source model on `fisher_speech`."""
    chosen = fisher_speech(utterances)
    dataset = SpeechDataset(chosen, source.config.features, allow_pipes=allow_pipes)
    task = AsrTask(source, chosen, dataset=dataset, keep_prior=True)
    batches = single_rows(task, range(len(task.train)))
    return estimate_fisher(task, source.model, batches, seed=seed)


def _tell_trial(trial: Trial) -> str:
    if trial.config is None:
        return f"cross-validation of {trial.left} strengths; unadapted: {trial.wer:.1f} % WER"
    config = trial.config
    rho = f", rho {config.kld:.2f}" if "kld" in config.method_parts else ""
    strength = f"{config.steps} steps, learning rate {config.learning_rate:g}{rho}"
    return f"  {trial.wer:.1f} % WER with {strength} ({trial.left} left)"


def _describe(adapted: Adapted) -> Iterator[str]:
    settings = adapted.settings
    if not adapted.method.trained:
        yield (
            f"adapted with adabn on {adapted.utterances} utterances, {adapted.seconds:.1f} s of speech; the source's "
            f"statistics count for {settings.domain.source_seconds:g} s"
        )
        return
    yield (
        f"adapted with {adapted.method.name} on {adapted.utterances} utterances, {adapted.seconds:.1f} s of speech: "
        f"{settings.steps} steps, learning rate {settings.learning_rate:g}"
        + (f", rho {settings.kld:.2f}" if "kld" in adapted.method.held_back else "")
    )
    if adapted.left_out:
        some = " ".join(adapted.left_out[:10])
        yield f"left out {len(adapted.left_out)} utterances with uncertain hypotheses: {some}"
    if adapted.guessed:
        yield "learned from words that the model does not recognise, pronounced by espeak-ng:"
        yield from (f"  {word} {' '.join(phones)}" for word, phones in adapted.guessed.items())
    if adapted.report is not None:
        table = adapted.report.table()
        # the whole table, which is also in transfer.txt, says something only when layers were treated differently
        yield table if adapted.method.trained == "layers" else f"tensors: {table.splitlines()[-1]}"
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
