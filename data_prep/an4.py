"""CMU AN4: read words, spelled letters and numbers; 948 training and 130 test utterances of 74 and 10 speakers.

    python -m data_prep.an4 --out data/an4 [--corpus-dir an4_sphere.tar.gz]

Writes the data directories `train`, `test` (the official split), `train_main`, `train_dev` (the training speakers,
parted for choosing settings without the test set) and `lexicon.txt`. Audio is read where it lies.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder, write_splits, write_wav
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.audio import audio_info, read_audio
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.lexicon import Lexicon

RATE = 16000
LANGUAGE = "en"
_AUDIO = (".sph", ".wav", ".flac")
_TRANSCRIPT = re.compile(r"(?:<s>\s+)?(\S.*?)(?:\s+</s>)?\s+\((\S+)\)")


def prepare(corpus: Path, out: Path, rate: int = RATE, *, dev_speakers: int = 8, seed: int = 0) -> dict[str, Path]:
    """Write AN4's data directories.

    Args:
        corpus: the folder that holds `etc` and `wav`.
        out: where to; a folder that this function wrote earlier is replaced.
        rate: Hz. At 16000 the data directories point at the corpus' own files; at another rate resampled copies are
            written below `out/audio`.
        dev_speakers: training speakers held out as `train_dev`, as many women as men.
        seed: chooses them.

    Returns:
        Split -> data directory.

    Raises:
        InputError: lists utterances without audio or transcript, words without pronunciation, unreadable audio, or
            that `out` holds something else.
    """
    lexicon = Lexicon.read(corpus / "etc" / "an4.dic")
    problems: list[Problem] = []
    train, test = (_read_split(corpus, split, lexicon, problems) for split in ("train", "test"))
    if shared := {u.speaker for u in train} & {u.speaker for u in test}:
        problems.append(Problem(f"speakers {sorted(shared)} are in training and in test", file=corpus / "etc"))
    if problems:
        raise InputError(problems)
    held_out = choose_dev_speakers({u.speaker for u in train}, dev_speakers, seed)
    parameters = {"rate": rate, "dev_speakers": sorted(held_out), "seed": seed}
    with output_folder(out, "an4", parameters) as folder:
        if rate != RATE:
            train, test = (_resample(part, folder, out, rate) for part in (train, test))
        lexicon.write(folder / "lexicon.txt")
        splits = {
            "train": DataDir(train),
            "train_main": DataDir(u for u in train if u.speaker not in held_out),
            "train_dev": DataDir(u for u in train if u.speaker in held_out),
            "test": DataDir(test),
        }
        return write_splits(folder, out, splits)


def choose_dev_speakers(speakers: Iterable[str], count: int, seed: int) -> set[str]:
    """`count` speakers, half of them women (the first letter of an AN4 speaker says so), the odd one a man.

    Speakers whose names differ only in a number (mdcs, mdcs2) may be the same person and are never held out, so that
    dev stays free of training speakers.

    Raises:
        InputError: fewer women or men than asked for, or nobody would be left.
    """
    speakers = sorted(speakers)
    stems = [speaker.rstrip("0123456789") for speaker in speakers]
    single = [speaker for speaker, stem in zip(speakers, stems, strict=True) if stems.count(stem) == 1]
    chosen: set[str] = set()
    for gender, wanted in (("f", count // 2), ("m", count - count // 2)):
        candidates = [speaker for speaker in single if speaker.startswith(gender)]
        if len(candidates) < wanted:
            raise InputError(Problem(f"{wanted} dev speakers of gender {gender} wanted, there are {len(candidates)}"))
        chosen.update(random.Random(f"{seed}-{gender}").sample(candidates, wanted))
    if len(chosen) == len(speakers):
        raise InputError(Problem(f"no training speaker is left beside {count} dev speakers"))
    return chosen


def _read_split(corpus: Path, split: str, lexicon: Lexicon, problems: list[Problem]) -> list[Utterance]:
    """The utterances that `an4_<split>.fileids` lists; what is wrong is added to `problems`."""
    ids_file = corpus / "etc" / f"an4_{split}.fileids"
    transcripts_file = corpus / "etc" / f"an4_{split}.transcription"
    transcripts = _read_transcripts(transcripts_file, problems)
    elsewhere = {path.stem: path for path in sorted((corpus / "wav").rglob("*")) if path.suffix in _AUDIO}
    utterances = []
    for number, line in enumerate(_lines(ids_file), start=1):
        stem = line.rsplit("/", 1)[-1]
        if not re.fullmatch(r"[^-]+-[fm][^-]*-[^-]+", stem):
            problems.append(Problem(f"{stem!r} is not <take>-<speaker>-<session>", file=ids_file, line=number))
            continue
        at_place = (corpus / "wav" / f"{line}{suffix}" for suffix in _AUDIO)
        # some copies of AN4 have other folders than the list says; the file name alone is unique
        audio = next((path for path in at_place if path.is_file()), elsewhere.get(stem))
        transcript_line, words = transcripts.pop(stem, (0, []))
        if audio is None:
            problems.append(Problem(f"utterance {stem} has no audio below {corpus / 'wav'}", ids_file, number))
        if not words:
            problems.append(Problem(f"utterance {stem} has no transcript in {transcripts_file}", ids_file, number))
        elif missing := lexicon.missing(words):
            what = f"words without pronunciation in an4.dic: {' '.join(missing)}"
            problems.append(Problem(what, file=transcripts_file, line=transcript_line))
        if audio is not None and words:
            utterances += _utterance(stem, audio, words, problems)
    for stem, (number, _) in transcripts.items():
        problems.append(Problem(f"transcript of {stem}, which {ids_file} does not list", transcripts_file, number))
    return utterances


def _utterance(stem: str, audio: Path, words: list[str], problems: list[Problem]) -> list[Utterance]:
    """The utterance as a list of one, or of none when its audio cannot be used (then a problem was added)."""
    try:
        rate, _, frames = audio_info(audio)
    except InputError as error:
        problems += error.problems
        return []
    if rate != RATE:
        problems.append(Problem(f"is sampled at {rate} Hz, AN4 at {RATE} Hz", file=audio))
        return []
    speaker = stem.split("-")[1]
    return [
        Utterance(
            id=f"{speaker}-{stem}",  # sorted by speaker, as Kaldi's tools expect
            speaker=speaker,
            audio=str(audio.resolve()),
            text=" ".join(words),
            language=LANGUAGE,
            gender=speaker[0],
            duration=frames / rate,
        )
    ]


def _read_transcripts(path: Path, problems: list[Problem]) -> dict[str, tuple[int, list[str]]]:
    """File id -> line number and words, upper case, without sentence boundaries."""
    transcripts: dict[str, tuple[int, list[str]]] = {}
    for number, line in enumerate(_lines(path), start=1):
        match = _TRANSCRIPT.fullmatch(line)
        if match is None:
            problems.append(Problem("is not 'WORDS (<file id>)'", file=path, line=number))
        elif match[2] in transcripts:
            problems.append(Problem(f"second transcript of {match[2]}", file=path, line=number))
        else:
            transcripts[match[2]] = (number, match[1].upper().split())
    return transcripts


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"cannot be read: {error}", file=path, remedy="get AN4 again")) from error


def _resample(utterances: list[Utterance], folder: Path, out: Path, rate: int) -> list[Utterance]:
    """Copies at `rate` below `folder/audio`; the utterances name them where they are once `folder` is `out`."""
    copies = []
    for utterance in utterances:
        samples = read_audio(utterance.audio, rate, resample=True)
        name = Path("audio", utterance.speaker, f"{utterance.id}.wav")
        write_wav(folder / name, np.round(samples * 32767).astype(np.int16), rate)
        fields = {**utterance.__dict__, "audio": str(out.resolve() / name), "duration": len(samples) / rate}
        copies.append(Utterance(**fields))
    return copies


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--rate", type=int, default=RATE, help=f"sampling rate in Hz (default {RATE}, without copies)")
    parser.add_argument("--dev-speakers", type=int, default=8, help="training speakers held out (default 8)")
    parser.add_argument("--seed", type=int, default=0, help="chooses the dev speakers (default 0)")
    arguments = parser.parse_args()
    run(
        lambda: prepare(
            fetch(CORPORA["an4"], arguments.corpus_dir),
            arguments.out,
            arguments.rate,
            dev_speakers=arguments.dev_speakers,
            seed=arguments.seed,
        )
    )


if __name__ == "__main__":
    main()
