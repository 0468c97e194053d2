"""One run of `speechnlp-tl adapt --method new-language`: read, learn, save, and say what was gained and forgotten."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from speechnlp_tl.atomic import atomic_directory, write_text
from speechnlp_tl.core.config import dump_config
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.evaluation.summary import summarise
from speechnlp_tl.speech.adaptation_run import DIGEST
from speechnlp_tl.speech.audio_check import check_audio
from speechnlp_tl.speech.data_dir import Utterance, read_all, untold
from speechnlp_tl.speech.experiment import known_words
from speechnlp_tl.speech.models import load_multilingual
from speechnlp_tl.speech.multilingual import MultilingualRecogniser, Words, refuse_name
from speechnlp_tl.speech.multilingual_task import told_of
from speechnlp_tl.speech.new_language import (
    Learned,
    NewLanguageConfig,
    learn_language,
    old_fisher,
    parse_new_language,
    usual_search,
)
from speechnlp_tl.speech.ngram import format_arpa
from speechnlp_tl.speech.unfinished_run import take_over_records, unfinished_run


@dataclass
class NewLanguageRun:
    """Source model, speech of the new language, settings and place of the result."""

    model: Path
    out: Path
    source: MultilingualRecogniser
    language: str
    utterances: list[Utterance]
    words: Words
    config: NewLanguageConfig
    allow_pipes: bool = False
    test: tuple[Path, list[Utterance]] | None = None
    """Speech of the new language that measures the gain."""
    old: tuple[str, list[Utterance]] | None = None
    """Where speech of the model's languages is, and that speech: measures forgetting, and what matters to them."""
    dev: tuple[Path, list[Utterance]] | None = None
    """Speech of the new language that search weights are chosen on."""
    learned: Learned | None = None

    @classmethod
    def prepare(
        cls,
        model: Path,
        data: Path,
        out: Path,
        language: str,
        config: NewLanguageConfig,
        test_data: Path | None = None,
        source_data: Sequence[Path] = (),
        resample: bool = False,
        allow_pipes: bool = False,
        dev_data: Path | None = None,
    ) -> NewLanguageRun:
        """Read everything before anything is computed.

        Raises:
            InputError: no multilingual model, unusable data or settings, or something else in the place of the result.
        """
        occupied = out.exists() and (not out.is_dir() or any(out.iterdir()))
        taken = InputError(Problem("holds something already", out, remedy="choose another --out"))
        if occupied and not (out / DIGEST).is_file():
            raise taken
        method = parse_new_language(config.method)
        if method.needs_old_speech and not source_data:
            what = "ewc weighs parameters by speech of the old languages"
            raise InputError(Problem(what, remedy="name some with --source-data"))
        source = load_multilingual(model)
        source = source.resampling() if resample else source
        if language in source.languages:
            remedy = "choose another --lang, or remove or rename that language first"
            raise InputError(Problem(f"the model has a language {language} already", model, remedy=remedy))
        refuse_name(language)
        new = [data, test_data, dev_data]
        (utterances, tested, tried), spoken = _read(language, source.languages, new, source_data, allow_pipes)
        test = (test_data, tested) if test_data else None
        dev = (dev_data, tried) if dev_data else None
        old = (", ".join(map(str, source_data)), spoken) if source_data else None
        measured = [utterance for _, some in filter(None, (test, dev, old)) for utterance in some]
        check_audio([*utterances, *measured], source.config.features)
        lexicon, ngram = known_words(config.words, utterances, setting="words")
        words = Words(lexicon, ngram, config.words.language, usual_search(source))
        run = cls(model, out, source, language, utterances, words, config, allow_pipes, test, old, dev)
        if occupied and not run.finished:
            raise taken
        return run

    @property
    def finished(self) -> bool:
        """Whether `out` holds the result of this very run already, which may not have been measured yet."""
        mark = self.out / DIGEST
        return mark.is_file() and mark.read_text(encoding="utf-8") == self._digest

    def learn(self) -> Iterator[str]:
        """Learn and save; yields what to tell the user."""
        if self.finished:
            yield f"learned already: {self.out}"
            return
        fisher = None
        if parse_new_language(self.config.method).needs_old_speech and self.old is not None:
            spoken = {utterance.language for utterance in self.old[1]}
            if unheard := [name for name in self.source.languages if name not in spoken]:
                yield f"ewc does not protect {', '.join(unheard)}: --source-data has no speech of it"
            fisher = old_fisher(self.source, self.old[1], self.config.seed, self.allow_pipes)
        with unfinished_run(self.out, self._digest) as unfinished:
            self.learned = learn_language(
                self.source,
                self.language,
                self.utterances,
                self.words,
                self.config,
                fisher,
                self.allow_pipes,
                unfinished,
                self.old[1] if self.old else (),
                self.dev[1] if self.dev else (),
            )
            yield from _describe(
                self.learned, "as chosen on dev speech" if self.dev else "the mean of the old languages'"
            )
            self._save(self.learned, unfinished)
        yield f"saved in {self.out}"
        languages = self.learned.recognisers.config.languages
        if unscored := [name for name, own in languages.items() if own.scores is None]:
            listed = ", ".join(unscored)
            yield f"--lang auto needs scores of {listed}: they are measured on speech that --source-data names"

    def measure(self) -> Iterator[str]:
        """Error rates with intervals: of the new language, and of each old one before and after; also in
        OUT/scores.json."""
        after = self.learned.recognisers if self.learned else MultilingualRecogniser.load(self.out)
        after = after.resampling() if self.source.config.features.resample else after
        scores = {}
        if self.test is not None:
            path, utterances = self.test
            summary = summarise(*_scored(after, self.language, utterances, self.allow_pipes))
            yield f"{self.language} ({path}):"
            yield f"  {summary.headline('word')}"
            scores[self.language] = summary.to_json()
        if self.old is not None:
            place, everybody = self.old
            for name in self.source.languages:
                own = [utterance for utterance in everybody if utterance.language == name]
                if not own:
                    continue
                _, before, _ = _scored(self.source, name, own, self.allow_pipes)
                summary = summarise(*_scored(after, name, own, self.allow_pipes), before)
                yield f"{name} ({place}), before and after:"
                yield f"  {summary.headline('word')}"
                yield f"  {summary.baseline_line('word')}"
                scores[name] = summary.to_json()
        if scores:
            write_text(self.out / "scores.json", json.dumps(scores, indent=2, ensure_ascii=False) + "\n")

    @cached_property
    def _digest(self) -> str:
        """SHA-256 of all that decides the result."""
        digest = hashlib.sha256(f"{dump_config(self.config)}{self.language}".encode())
        digest.update(f"{self.words.lexicon.entries()}{dump_config(self.words.decode)}".encode())
        digest.update(format_arpa(self.words.ngram).encode())
        features = self.source.config.features.model_copy(update={"resample": False})  # measuring may need it
        digest.update(dump_config(self.source.config.model_copy(update={"features": features})).encode())
        for own in self.source.languages.values():
            digest.update(f"{own.lexicon.entries()}{format_arpa(own.ngram)}".encode())
        for name, value in self.source.model.state_dict().items():
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        for utterance in [*self.utterances, *(self.old[1] if self.old else [])]:
            digest.update(repr(utterance).encode())
        for utterance in self.dev[1] if self.dev else []:
            digest.update(f"dev {utterance!r}".encode())
        return digest.hexdigest()

    def _save(self, learned: Learned, unfinished: Path) -> None:
        with atomic_directory(self.out) as folder:
            learned.recognisers.write_files(folder)
            (folder / "adaptation.yaml").write_text(dump_config(learned.settings), encoding="utf-8")
            (folder / DIGEST).write_text(self._digest, encoding="utf-8")
            (folder / "transfer.txt").write_text(learned.report.table() + "\n", encoding="utf-8")
            take_over_records(unfinished, folder)


def _told_in(language: str) -> Callable[[Sequence[Utterance], Path], list[Problem]]:
    """What is wrong with a data directory of one language: utterances without transcript, or of another language. That
    of an utterance need not be told."""

    def check(read: Sequence[Utterance], directory: Path) -> list[Problem]:
        return untold(read, directory) + [
            Problem(
                f"utterance {utterance.id} is of language {utterance.language}, not {language}",
                directory / "utt2lang",
                remedy="correct utt2lang or --lang, or take a directory of one language",
            )
            for utterance in read
            if utterance.language not in (None, language)
        ]

    return check


def _read(
    language: str,
    known: Collection[str],
    new: Sequence[Path | None],
    old: Sequence[Path],
    allow_pipes: bool,
) -> tuple[list[list[Utterance]], list[Utterance]]:
    """The speech of each directory of the new language, and of the old ones. Raises InputError, which lists all."""
    problems: list[Problem] = []
    of_new: list[list[Utterance]] = []
    for folder in new:
        read, wrong = read_all([folder] if folder else [], _told_in(language), allow_pipes)
        of_new.append([replace(utterance, language=language) for utterance in read])
        problems += wrong
    of_old, wrong = read_all(old, told_of(known), allow_pipes)
    if problems := [*problems, *wrong]:
        raise InputError(problems)
    return of_new, of_old


def _scored(
    recognisers: MultilingualRecogniser, language: str, utterances: Sequence[Utterance], allow_pipes: bool
) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, str]]:
    """References, hypotheses and speakers by utterance."""
    found = recognisers.language(language).transcribe(utterances, allow_pipes)
    return (
        {utterance.id: utterance.words for utterance in utterances},
        {name: hypothesis.words for name, hypothesis in found.items()},
        {utterance.id: utterance.speaker for utterance in utterances},
    )


def _describe(learned: Learned, search: str) -> Iterator[str]:
    settings = learned.settings
    own = learned.recognisers.language(learned.language)
    yield (
        f"learned {learned.language} with {learned.method.name} from {learned.utterances} utterances, "
        f"{learned.seconds:.1f} s of speech: {len(own.lexicon)} words, {len(own.config.phones)} phones, "
        f"{learned.steps} steps, learning rate {settings.learning_rate:g}, {learned.trained} parameters trained"
    )
    decode = own.config.decode
    yield f"search weights: lm_scale {decode.lm_scale:g}, insertion_penalty {decode.insertion_penalty:g}, {search}"
    yield f"tensors: {learned.report.table().splitlines()[-1]}"
