"""`speechnlp-tl transcribe`: speech to text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from speechnlp_tl.speech.data_dir import Utterance
    from speechnlp_tl.speech.decoder import Hypothesis
    from speechnlp_tl.speech.features import FeatureConfig
    from speechnlp_tl.speech.language_choice import Choice


def transcribe(
    model: Annotated[Path, typer.Option(help="Folder of a model, an experiment or an adapter.")],
    audio: Annotated[list[Path] | None, typer.Argument(help="Recordings.")] = None,
    data: Annotated[Path | None, typer.Option(help="Kaldi data directory, instead of recordings.")] = None,
    out: Annotated[Path | None, typer.Option(help="Kaldi text file to write; printed when not given.")] = None,
    lang: Annotated[
        str | None,
        typer.Option(help="Of a multilingual model: the language, or auto. Default: what utt2lang says."),
    ] = None,
    utt2lang: Annotated[
        Path | None,
        typer.Option("--utt2lang", help="With --lang auto: Kaldi utt2lang file of what was chosen, to write."),
    ] = None,
    base: Annotated[Path | None, typer.Option(help="Base model of an adapter that was moved.")] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Print each utterance's confidence, 0 to 1.")
    ] = False,
    resample: Annotated[bool, typer.Option("--resample", help="Convert audio of other sampling rates.")] = False,
    allow_pipes: Annotated[bool, typer.Option("--allow-pipes", help="Run commands that stand in wav.scp.")] = False,
) -> None:
    """Recognise recordings, or the utterances of a data directory."""
    from speechnlp_tl.atomic import write_text
    from speechnlp_tl.errors import InputError, Problem
    from speechnlp_tl.speech.language_choice import choose_language, transcribe_languages
    from speechnlp_tl.speech.models import is_multilingual, load_multilingual, load_recogniser
    from speechnlp_tl.speech.multilingual import check_known

    if confidence and out is not None:
        raise InputError(
            "--confidence is for reading, a Kaldi text file has no place for it; leave --confidence or --out out"
        )
    if utt2lang is not None and lang != "auto":
        raise InputError(Problem("--utt2lang writes down chosen languages", remedy="add --lang auto, or leave it out"))
    if (data is None) == (not audio):
        raise InputError(Problem("give either recordings or --data", remedy="see speechnlp-tl transcribe --help"))
    if base is None and is_multilingual(model):
        recognisers = load_multilingual(model)
        recognisers = recognisers.resampling() if resample else recognisers
        if lang not in (None, "auto"):
            check_known([lang], recognisers.languages)
        utterances = _utterances(audio, data, recognisers.config.features, allow_pipes)
        languages = {utterance.id: lang or utterance.language or "" for utterance in utterances}
        chosen = choose_language(recognisers, utterances, allow_pipes) if lang == "auto" else {}
        languages |= {name: choice.language for name, choice in chosen.items()}
        _tell_languages(chosen, utt2lang, data is None)
        if chosen and not confidence:
            found = {name: choice.hypothesis for name, choice in chosen.items()}
        else:
            found = transcribe_languages(recognisers, utterances, languages, allow_pipes, confidence)
    else:
        recogniser = load_recogniser(model, base, lang)
        recogniser = recogniser.resampling() if resample else recogniser
        utterances = _utterances(audio, data, recogniser.config.features, allow_pipes)
        found = recogniser.transcribe(utterances, allow_pipes, confidence)
    lines = [_line(name, hypothesis, confidence) for name, hypothesis in found.items()]
    if out is None:
        typer.echo("\n".join(lines))
    else:
        write_text(out, "".join(f"{line}\n" for line in lines))
        typer.echo(f"{out}: {len(lines)} utterances")


def _tell_languages(chosen: Mapping[str, Choice], utt2lang: Path | None, each: bool) -> None:
    """Which languages were chosen and how often, with `each` also the utterances', and the file that was asked for."""
    from speechnlp_tl.atomic import write_text

    if chosen:
        counts = Counter(choice.language for choice in chosen.values())
        listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        typer.echo(f"languages chosen: {listed}", err=True)
    for name, choice in chosen.items() if each else ():
        odds = ", ".join(f"{language} {value:+.1f}" for language, value in choice.scores.items())
        typer.echo(f"{name}: {choice.language} (log odds {odds})", err=True)
    if utt2lang is not None:
        lines = sorted(f"{name} {choice.language}\n" for name, choice in chosen.items())
        write_text(utt2lang, "".join(lines))


def _utterances(
    audio: list[Path] | None, data: Path | None, features: FeatureConfig, allow_pipes: bool
) -> list[Utterance]:
    """What to recognise; audio that these features cannot be computed of is an error here."""
    from speechnlp_tl.errors import InputError, Problem
    from speechnlp_tl.speech.audio_check import check_audio
    from speechnlp_tl.speech.data_dir import DataDir, Utterance

    if data is not None:
        utterances = list(DataDir.read(data, allow_pipes))
    else:
        # an utterance id ends at the first space
        named = {"_".join(str(path).split()): str(path) for path in audio or []}
        if len(named) < len(audio or []):
            raise InputError(Problem("two recordings have the same name", remedy="name each recording once"))
        utterances = [Utterance(name, path, path) for name, path in named.items()]
    check_audio(utterances, features)
    return utterances


def _line(name: str, hypothesis: Hypothesis, confidence: bool) -> str:
    scored = [f"{hypothesis.confidence:.3f}"] if confidence else []
    return " ".join([name, *scored, *hypothesis.words])
