"""Making data directories of tables (TSV, CSV) and of `datasets` data sets.

Column names are guessed from Common Voice's and other usual ones, and can be named. Corpora with a layout of their own
are the business of `data_prep`.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile

from speechnlp_tl.atomic import atomic_directory
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.audio import AudioError, audio_info, read_audio_and_rate
from speechnlp_tl.speech.data_dir import DataDir, Utterance

COLUMNS = {
    "audio": ("audio", "path", "audio_path", "audio_file", "audio_filepath", "file", "filename", "file_name", "wav"),
    "text": ("text", "transcript", "transcription", "sentence", "normalized_text", "words", "word"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk", "spk_id", "speaker_name"),
    "language": ("language", "locale", "lang"),
    "gender": ("gender", "sex"),
    "id": ("utt_id", "utterance_id", "utterance", "utt", "id"),
}
"""The usual names of each column, the more telling first; upper and lower case do not matter."""

_GENDERS = {"m": "m", "male": "m", "male_masculine": "m", "f": "f", "female": "f", "female_feminine": "f"}


@dataclass(frozen=True)
class ImportOptions:
    """How to read the rows of a table. Columns that are None are guessed from the header."""

    audio_column: str | None = None
    text_column: str | None = None
    speaker_column: str | None = None
    id_column: str | None = None
    language: str | None = None
    """Language of all rows; None takes a language column when there is one."""
    speaker: str | None = None
    """Speaker of all rows, for recordings of one person; None takes the speaker column."""
    lower: bool = False
    strip_punctuation: bool = False
    """Remove punctuation around words (`don't` keeps its apostrophe)."""
    skip_bad: bool = False
    """Leave bad rows out and report them, instead of refusing the table."""


@dataclass
class Imported:
    """A data directory as it was written, and the rows that were left out."""

    data: DataDir
    skipped: list[Problem]


@dataclass
class _Rows:
    """Utterances so far, and what is wrong with the others."""

    place: Path | str
    options: ImportOptions
    columns: Mapping[str, str]
    utterances: list[Utterance] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    speakers: dict[str, str] = field(default_factory=dict)

    def fail(self, line: int, what: str, remedy: str | None = None) -> None:
        self.problems.append(Problem(what, self.place, line, remedy))

    def describe(self, line: int, row: Mapping[str, Any], name: str) -> Utterance | None:
        """The utterance of a row without its audio; None, with the problem kept, when the row is unusable."""
        values = {kind: " ".join(str(row.get(column) or "").split()) for kind, column in self.columns.items()}
        text = clean_text(values["text"], self.options)
        spoken_by = self.options.speaker or values.get("speaker", "")
        if not text:
            self.fail(line, "the transcript is empty", "transcribe the row or remove it")
            return None
        if not spoken_by:
            self.fail(line, "the speaker is empty", "name the speaker or remove the row")
            return None
        speaker = _as_id(spoken_by)
        if self.speakers.setdefault(speaker, spoken_by) != spoken_by:
            what = f"speakers '{spoken_by}' and '{self.speakers[speaker]}' would both be called {speaker}"
            self.fail(line, what, "rename one of them")
            return None
        identity = _as_id(values.get("id") or name)
        if not identity.startswith(speaker):
            # Kaldi sorts by utterance and by speaker at once, which works when the speaker comes first.
            identity = f"{speaker}-{identity}"
        if identity in self.lines:
            what = f"utterance {identity} stands already in line {self.lines[identity]}"
            self.fail(line, what, "remove one of the rows, or name a column of ids")
            return None
        self.lines[identity] = line
        language = self.options.language or values.get("language") or None
        gender = _GENDERS.get(values.get("gender", "").lower())
        return Utterance(identity, speaker, "", text, language=language and _as_id(language), gender=gender)

    def add(self, utterance: Utterance, audio: str | Path) -> None:
        self.utterances.append(Utterance(**{**vars(utterance), "audio": str(audio)}))

    def finish(self) -> DataDir:
        """All utterances, one gender per speaker.

        Raises:
            InputError: there are bad rows, and they may not be skipped, or there is nothing else.
        """
        if self.problems and not self.options.skip_bad:
            raise InputError(self.problems)
        if not self.utterances:
            raise InputError(self.problems or [Problem("has no rows", file=self.place)])
        genders: dict[str, set[str | None]] = {}
        for u in self.utterances:
            genders.setdefault(u.speaker, set()).add(u.gender)
        # Common Voice's speakers filled in a form, some of them only now and then.
        one = {
            speaker: known.pop() if len(known := found - {None}) == 1 else None for speaker, found in genders.items()
        }
        return DataDir([Utterance(**{**vars(u), "gender": one[u.speaker]}) for u in self.utterances])


def import_tsv(
    file: str | Path,
    out: str | Path,
    audio_column: str | None = None,
    text_column: str | None = None,
    speaker_column: str | None = None,
    id_column: str | None = None,
    language: str | None = None,
    speaker: str | None = None,
    lower: bool = False,
    strip_punctuation: bool = False,
    skip_bad: bool = False,
    audio_root: str | Path | None = None,
) -> Imported:
    """Make a data directory of a table of audio files and transcripts; the audio stays where it is.

    Args:
        file: tab-separated, or comma- or semicolon-separated when its name ends in .csv; UTF-8, with a header.
        out: the data directory to write.
        audio_column, ..., skip_bad: as in `ImportOptions`.
        audio_root: folder of relative audio paths; None is the folder of `file`, or `clips` in it (Common Voice).

    Raises:
        InputError: lists every bad row (no or unreadable audio, several channels, empty transcript or speaker, ids
            that stand twice) with its line, columns that cannot be found, or `out` exists.
    """
    options = ImportOptions(
        audio_column, text_column, speaker_column, id_column, language, speaker, lower, strip_punctuation, skip_bad
    )
    file = Path(file)
    header, rows = _read_table(file)
    found = _Rows(file, options, _choose_columns(header, options, file))
    for line, cells in rows:
        if len(cells) != len(header):
            found.fail(line, f"has {len(cells)} columns, the header has {len(header)}", "check its separators")
            continue
        row = dict(zip(header, cells, strict=True))
        entry = row[found.columns["audio"]].strip()
        if not entry:
            found.fail(line, "the audio path is empty", "add it or remove the row")
            continue
        utterance = found.describe(line, row, str(Path(entry).with_suffix("")))
        if utterance is None:
            continue
        audio = _locate(entry, file.parent, audio_root)
        try:
            _, channels, _ = audio_info(audio)
        except AudioError as error:
            problem = error.problems[0]
            found.fail(line, f"{problem.file}: {problem.what}", problem.remedy)
            continue
        if channels > 1:
            found.fail(line, f"{audio} has {channels} channels", "write one channel to a file of its own")
            continue
        found.add(utterance, audio)
    return Imported(found.finish().write(out), found.problems)


def import_hf(
    dataset: str,
    out: str | Path,
    split: str = "train",
    name: str | None = None,
    audio_column: str | None = None,
    text_column: str | None = None,
    speaker_column: str | None = None,
    id_column: str | None = None,
    language: str | None = None,
    speaker: str | None = None,
    lower: bool = False,
    strip_punctuation: bool = False,
    skip_bad: bool = False,
) -> Imported:
    """Make a data directory of a data set of the `datasets` library.

    Audio inside the data set is written to `out/audio` as 16-bit wav; audio files on disk stay where they are.

    Args:
        dataset: a name for `datasets.load_dataset` (a hub id or a local folder of parquet or similar files), or a
            folder of `save_to_disk`.
        out: the data directory to write.
        split: the split, such as `train` or `train[:100]`.
        name: the data set's configuration, when it has several.
        audio_column, ..., skip_bad: as in `ImportOptions`.

    Raises:
        InputError: the data set or split cannot be loaded, columns cannot be found, bad rows (all are listed, with
            their number from 1), or `out` exists.
    """
    options = ImportOptions(
        audio_column, text_column, speaker_column, id_column, language, speaker, lower, strip_punctuation, skip_bad
    )
    table = _load_dataset(dataset, split, name)
    columns = _choose_columns(table.column_names, options, dataset)
    table, names = _without_decoding(table, columns)
    out = Path(out).absolute()
    found = _Rows(f"{dataset}[{split}]", options, columns)
    with atomic_directory(out) as temporary:
        (temporary / "audio").mkdir()
        for line, row in enumerate(table, 1):
            entry = row[columns["audio"]]
            entry = entry if isinstance(entry, dict) else {"path": entry}
            row = {
                key: names[key](value) if key in names and value is not None else value for key, value in row.items()
            }
            # Inside a data set file names repeat, or name a folder that only its author has.
            utterance = found.describe(line, row, f"{line:08d}")
            if utterance is None:
                continue
            target = Path("audio") / f"{utterance.id}.wav"
            try:
                written = _write_audio(entry, temporary / target, Path(dataset))
            except AudioError as error:
                found.fail(line, error.problems[0].what, error.problems[0].remedy)
                continue
            found.add(utterance, written or out / target)
        data = found.finish()
        for file, content in data.contents(out).items():
            (temporary / file).write_text(content, encoding="utf-8", newline="\n")
        if not any((temporary / "audio").iterdir()):
            (temporary / "audio").rmdir()
    return Imported(DataDir(data, out), found.problems)


def clean_text(text: str, options: ImportOptions) -> str:
    """A transcript with single spaces, and lower case or without punctuation when the options say so."""
    words = text.lower().split() if options.lower else text.split()
    if options.strip_punctuation:
        words = [re.sub(r"^[\W_]+|[\W_]+$", "", word) for word in words]
    return " ".join(word for word in words if word)


def _read_table(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and the (line number, cells) of a table.

    Raises:
        InputError: no such file, not UTF-8, empty, or a quote that is never closed.
    """
    try:
        content = file.read_bytes()
        # utf-8-sig: spreadsheets put a byte-order mark before the first column's name
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", file=file)) from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(Problem("is not UTF-8", file, line, "convert it with iconv")) from error
    first = text.split("\n", 1)[0]
    if file.suffix.lower() == ".csv" and "\t" not in first:
        delimiter = ";" if first.count(";") > first.count(",") else ","
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    else:
        # In TSV files a quotation mark is a quotation mark.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        rows = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise InputError(Problem(f"is not a table: {error}", file, reader.line_num)) from error
    if not rows:
        raise InputError(Problem("is empty", file=file, remedy="it needs a header line and rows"))
    return [cell.strip() for cell in rows[0][1]], rows[1:]


def _choose_columns(header: Sequence[str], options: ImportOptions, place: Path | str) -> dict[str, str]:
    """Which column holds what: {"audio": name, "text": name, ...}.

    Raises:
        InputError: named columns that are not there, or needed ones that cannot be guessed.
    """
    given = {
        "audio": options.audio_column,
        "text": options.text_column,
        "speaker": options.speaker_column,
        "id": options.id_column,
    }
    by_lower = {column.lower(): column for column in reversed(header)}
    columns: dict[str, str] = {}
    problems = []
    for kind, guesses in COLUMNS.items():
        named = given.get(kind)
        guess = next((by_lower[name] for name in guesses if name in by_lower), None)
        if named is not None and named not in header:
            near = difflib.get_close_matches(named, header, 1)
            remedy = f"did you mean {near[0]}?" if near else f"its columns are: {', '.join(header)}"
            problems.append(Problem(f"has no column '{named}'", place, remedy=remedy))
        elif named or guess:
            columns[kind] = named or guess or ""
        elif kind in ("audio", "text") or (kind == "speaker" and options.speaker is None):
            remedy = f"name it with --{kind}-column" + (", or give --speaker NAME" if kind == "speaker" else "")
            what = f"cannot tell which column holds the {kind}: its columns are {', '.join(header)}"
            problems.append(Problem(what, place, remedy=remedy))
    if problems:
        raise InputError(problems)
    return columns


def _locate(entry: str, folder: Path, audio_root: str | Path | None) -> Path:
    """The file of a table's audio entry: absolute, under the root, beside the table, or in its `clips`."""
    roots = [Path(audio_root)] if audio_root is not None else [folder, folder / "clips"]
    candidates = [(root / entry).absolute() for root in roots]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _load_dataset(dataset: str, split: str, name: str | None) -> Any:
    """A `datasets.Dataset`.

    Raises:
        InputError: it cannot be loaded, with the library's reason.
    """
    import datasets

    try:
        folder = Path(dataset)
        if (folder / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(dataset)
            if split not in found:
                raise InputError(Problem(f"has no split '{split}': it has {', '.join(found)}", file=dataset))
            return found[split]
        if (folder / "state.json").is_file():
            return datasets.load_from_disk(dataset)
        return datasets.load_dataset(dataset, name, split=split)
    except (OSError, ValueError, RuntimeError, ImportError, datasets.exceptions.DatasetsError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = str(cause).strip().split("\n")[0]
        remedy = "check the name, the split and, for data sets of the hub, the network"
        if "torchcodec" in str(cause):
            # The library needs it to build a data set from loose audio files, even when nothing is decoded.
            reason = "'datasets' builds data sets of loose audio files only when torchcodec is installed"
            remedy = "import the folder's table with 'speechnlp-tl data import-tsv metadata.csv', or install torchcodec"
        raise InputError(Problem(f"cannot be loaded: {reason}", file=dataset, remedy=remedy)) from error


def _without_decoding(table: Any, columns: Mapping[str, str]) -> tuple[Any, dict[str, Any]]:
    """The table with audio as bytes or path, only its needed columns, and the names of class labels."""
    import datasets

    table = table.select_columns(list(dict.fromkeys(columns.values())))
    names = {key: f.int2str for key, f in table.features.items() if isinstance(f, datasets.ClassLabel)}
    if isinstance(table.features[columns["audio"]], datasets.Audio):
        # Decoding through the library would need torchcodec; soundfile reads the same bytes.
        table = table.cast_column(columns["audio"], datasets.Audio(decode=False))
    return table, names


def _write_audio(entry: Mapping[str, Any], target: Path, folder: Path) -> Path | None:
    """Write the audio of a row to `target`; for audio that is a file already, check it and return its path.

    Raises:
        AudioError: there is none, or it cannot be read as one channel.
    """
    content, path = entry.get("bytes"), entry.get("path")
    if not content and not path:
        raise AudioError("missing", "has no audio", target.stem)
    if not content:
        named = Path(str(path))
        file = next((candidate for candidate in (named, folder / named) if candidate.is_file()), named).absolute()
        read_audio_and_rate(file)
        return file
    source = target.with_suffix(".source")
    source.write_bytes(content)
    try:
        samples, rate = read_audio_and_rate(source)
    finally:
        source.unlink()
    soundfile.write(target, samples, rate, subtype="PCM_16")
    return None


def _as_id(text: str) -> str:
    """Text as one id: letters, digits, `.`, `-` and `_`."""
    return re.sub(r"[^\w.\-]+", "_", text).strip("_") or "_"
