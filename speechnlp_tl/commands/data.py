"""`speechnlp-tl data`: check, mend, describe, import and split Kaldi data directories."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Check, mend, describe, import and split Kaldi data directories.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Kaldi data directory.", show_default=False)]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Data directory to write.", show_default=False)]
AllowPipes = Annotated[
    bool, typer.Option("--allow-pipes", help="Run wav.scp entries that are shell commands. Only for data you trust.")
]
Seed = Annotated[int, typer.Option(help="Seed of the choice.")]
AudioColumn = Annotated[str | None, typer.Option(help="Column of audio (guessed).")]
TextColumn = Annotated[str | None, typer.Option(help="Column of transcripts (guessed).")]
SpeakerColumn = Annotated[str | None, typer.Option(help="Column of speakers (guessed).")]
IdColumn = Annotated[str | None, typer.Option(help="Column of utterance ids (guessed, else made of the path).")]
Language = Annotated[str | None, typer.Option(help="Language of all rows (else a language column).")]
Speaker = Annotated[str | None, typer.Option(help="Speaker of all rows, for recordings of one person.")]
Lower = Annotated[bool, typer.Option("--lower", help="Transcripts in lower case.")]
Punctuation = Annotated[bool, typer.Option("--strip-punctuation", help="Remove punctuation around words.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and list them.")]


class By(str, Enum):
    """What a split is made by."""

    speaker = "speaker"
    budget = "budget"
    folds = "folds"
    speaker_folds = "speaker-folds"


@app.command()
def validate(
    directory: Directory,
    read_audio: Annotated[bool, typer.Option("--audio/--no-audio", help="Read all audio, too.")] = True,
    allow_pipes: AllowPipes = False,
) -> None:
    """List everything wrong with a data directory. Exit code 2 when there are errors."""
    from speechnlp_tl.speech.data_checks import validate as check

    findings = check(directory, read_audio, allow_pipes, _track)
    errors = sum(finding.severity == "error" for finding in findings)
    for finding in findings:
        typer.echo(f"{finding.severity}: {finding}")
    typer.echo(f"{directory}: {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(2)


@app.command()
def fix(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="Write here; default: in place, with a backup.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Drop even more than half of the utterances.")] = False,
    allow_pipes: AllowPipes = False,
) -> None:
    """Sort and clean the files, rebuild spk2utt and utt2dur, drop utterances that cannot be used."""
    from speechnlp_tl.speech.data_fix import fix as mend

    typer.echo(mend(directory, out, force, allow_pipes, _track).summary())


@app.command()
def stats(
    directory: Directory,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers here as JSON.")] = None,
    allow_pipes: AllowPipes = False,
) -> None:
    """Count utterances, speakers, hours and words; show sampling rates and durations."""
    import json

    from speechnlp_tl.atomic import write_text
    from speechnlp_tl.speech.data_dir import DataDir
    from speechnlp_tl.speech.data_stats import stats as count

    numbers = count(DataDir.read(directory, allow_pipes), allow_pipes)
    _print_stats(directory, numbers)
    if json_file is not None:
        write_text(json_file, json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")


@app.command("import-tsv")
def import_tsv(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TSV or CSV file with a header.", show_default=False)],
    out: Out,
    audio_root: Annotated[Path | None, typer.Option(help="Folder of relative audio paths.")] = None,
    audio_column: AudioColumn = None,
    text_column: TextColumn = None,
    speaker_column: SpeakerColumn = None,
    id_column: IdColumn = None,
    language: Language = None,
    speaker: Speaker = None,
    lower: Lower = False,
    strip_punctuation: Punctuation = False,
    skip_bad: SkipBad = False,
) -> None:
    """Make a data directory of a table of audio files and transcripts (Common Voice, or any TSV or CSV)."""
    from speechnlp_tl.speech import data_import

    imported = data_import.import_tsv(
        file,
        out,
        audio_column=audio_column,
        text_column=text_column,
        speaker_column=speaker_column,
        id_column=id_column,
        language=language,
        speaker=speaker,
        lower=lower,
        strip_punctuation=strip_punctuation,
        skip_bad=skip_bad,
        audio_root=audio_root,
    )
    _print_import(imported)


@app.command("import-hf")
def import_hf(
    dataset: Annotated[str, typer.Argument(metavar="NAME", help="Hub id or local folder.", show_default=False)],
    out: Out,
    split: Annotated[str, typer.Option(help="Split of the data set.")] = "train",
    name: Annotated[str | None, typer.Option(help="Configuration of the data set.")] = None,
    audio_column: AudioColumn = None,
    text_column: TextColumn = None,
    speaker_column: SpeakerColumn = None,
    id_column: IdColumn = None,
    language: Language = None,
    speaker: Speaker = None,
    lower: Lower = False,
    strip_punctuation: Punctuation = False,
    skip_bad: SkipBad = False,
) -> None:
    """Make a data directory of a data set of the Hugging Face hub or of a local folder."""
    from speechnlp_tl.speech import data_import

    imported = data_import.import_hf(
        dataset,
        out,
        split,
        name,
        audio_column=audio_column,
        text_column=text_column,
        speaker_column=speaker_column,
        id_column=id_column,
        language=language,
        speaker=speaker,
        lower=lower,
        strip_punctuation=strip_punctuation,
        skip_bad=skip_bad,
    )
    _print_import(imported)


@app.command()
def split(
    directory: Directory,
    out: Annotated[Path, typer.Option(help="Folder for the new data directories.", show_default=False)],
    by: Annotated[By, typer.Option(help="speaker: rest, held_out; budget: adaptation, rest; folds: N/rest, N/fold.")],
    speakers: Annotated[str | None, typer.Option(help="Speakers to hold out, separated by commas.")] = None,
    fraction: Annotated[float | None, typer.Option(help="Share of speakers to hold out.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Adaptation audio per speaker.")] = None,
    utterances: Annotated[int | None, typer.Option(help="Adaptation utterances per speaker.")] = None,
    k: Annotated[int, typer.Option("--folds", help="Number of folds.")] = 5,
    seed: Seed = 0,
) -> None:
    """Split by speaker, by a budget per speaker, or into folds. The same seed always makes the same choice."""
    from speechnlp_tl.speech.data_dir import DataDir
    from speechnlp_tl.speech.data_split import folds, split_by_budget, split_by_speaker

    data = DataDir.read(directory)
    parts: dict[str, Any]
    if by is By.speaker:
        named = None if speakers is None else [name.strip() for name in speakers.split(",") if name.strip()]
        parts = dict(zip(("rest", "held_out"), split_by_speaker(data, named, fraction, seed), strict=True))
    elif by is By.budget:
        parts = dict(zip(("adaptation", "rest"), split_by_budget(data, seconds, utterances, seed), strict=True))
    else:
        pairs = folds(data, k, seed, "utterance" if by is By.folds else "speaker")
        parts = {f"{n}/{part}": pair[i] for n, pair in enumerate(pairs) for i, part in enumerate(("rest", "fold"))}
    _write_parts(out, parts)


def _write_parts(out: Path, parts: dict[str, Any]) -> None:
    """Write all data directories of a split: whole or not at all, so that no old part stands beside a new one."""
    from speechnlp_tl.atomic import atomic_directory

    with atomic_directory(out) as temporary:
        for name, data in parts.items():
            data.write(temporary / name)
    for name, data in parts.items():
        typer.echo(f"{out / name}: {len(data)} utterances, {len(data.by_speaker())} speakers")


def _print_stats(directory: Path, numbers: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(directory), show_header=False)
    for name in ("utterances", "speakers", "recordings", "hours", "words", "vocabulary"):
        table.add_row(name, f"{numbers[name]:,}")
    if numbers["languages"]:
        table.add_row("languages", " ".join(numbers["languages"]))
    table.add_row("rate", ", ".join(f"{rate} Hz ({count:,})" for rate, count in numbers["rates"].items()))
    for percentile, seconds in numbers["duration_percentiles"].items():
        table.add_row(f"duration, {percentile} %", f"{seconds:.2f} s")
    Console().print(table)


def _print_import(imported: Any) -> None:
    for problem in imported.skipped:
        typer.echo(f"skipped: {problem}")
    data = imported.data
    typer.echo(
        f"{data.path}: {len(data)} utterances, {len(data.by_speaker())} speakers, {len(imported.skipped)} skipped"
    )
    typer.echo(f"check the audio with: speechnlp-tl data validate {data.path}")


def _track(items: Iterable[Any], total: int) -> Iterable[Any]:
    """A progress bar on the error stream, so that findings can be piped."""
    from rich.console import Console
    from rich.progress import track

    return track(items, "reading audio", total=total, console=Console(stderr=True), transient=True)
