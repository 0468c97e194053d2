"""Single words of many speakers, as connected strings: Arabic commands and Mandarin words.

    python -m data_prep.spoken_words arabic --out data/arabic [--corpus-dir DIR] [--seed 0] [--passes 3]

    arabic     40 words, 30 speakers, 3 takes: github.com/abdulkaderghandoura/arabic-speech-commands-dataset
    mandarin   12 words, 34 speakers, 2 takes: github.com/zhongyuchen/DSPSpeech-20

Takes are trimmed of the silence around the word, and strings of 3 to 7 words put together from those of one speaker
(`connected_words`). `train`, `dev` and `test` share no speaker: Arabic's are the repository's own, Mandarin's are drawn
by `--seed`. `train` has its takes in `--passes` different strings, the others once. Also written: `lexicon.txt` in IPA,
the made audio (8 kHz, 16 bits) in `audio`.

A corpus is a folder with `metadata.tsv` (speaker, word, transcript, path, and Arabic's split), or a checkout of the
repository, of whose takes the first ones are read, resampled.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep.command import corpus_parser, run
from data_prep.connected_words import StringMaker, Take, noise_level, read_takes, trim
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder, write_splits
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.data_split import split_by_speaker
from speechnlp_tl.speech.lexicon import Lexicon, Pronunciation

ARABIC, MANDARIN = "arabic", "mandarin"
LANGUAGES = {ARABIC: "ar", MANDARIN: "zh"}
TAKES = {ARABIC: 3, MANDARIN: 2}
"""Takes of a word and speaker that are read from a checkout of the repository."""
TEST_SHARE, DEV_SHARE = 0.3, 0.2
"""Of the speakers, where the corpus does not part them."""
PARTS = {"train": "train", "val": "dev", "dev": "dev", "test": "test"}

_MANDARIN = {
    "数字": "ʂ u4 ts ɨ4",
    "语音": "y3 i1 n",
    "语言": "y3 j ɛ2 n",
    "识别": "ʂ ɨ2 p j e2",
    "中国": "tʂ ʊ1 ŋ k w o2",
    "总工": "ts ʊ3 ŋ k ʊ1 ŋ",
    "北京": "p ei3 tɕ i1 ŋ",
    "背景": "p ei4 tɕ i3 ŋ",
    "上海": "ʂ a4 ŋ x ai3",
    "商行": "ʂ a1 ŋ x a2 ŋ",
    "复旦": "f u4 t a4 n",
    "饭店": "f a4 n t j ɛ4 n",
}
"""In the order of the corpus' labels; vowels with their tone, which is all that tells some of the words apart."""
_BASE_LETTERS = re.compile(r"(?:t[ʃɕs]|d[ʒʑz]|\w)[ːˤʰʷʲ\u0300-\u036f]*")


@dataclass(frozen=True)
class Recording:
    """One take of one word."""

    speaker: str
    word: str
    """As it is written."""
    number: int
    path: Path
    part: str | None = None


def prepare(corpus: Path, name: str, out: Path, seed: int = 0, *, passes: int = 1) -> dict[str, Path]:
    """Write the strings and data directories of one of the corpora.

    Args:
        corpus: a folder with `metadata.tsv`, or a checkout of the repository.
        name: `arabic` or `mandarin`.
        out: where to; a folder that this function wrote earlier is replaced.
        seed: chooses which takes meet in a string, the pauses, and where the corpus does not part its speakers, theirs.
        passes: how often the takes of `train` are put together anew.

    Returns:
        Split -> data directory.

    Raises:
        InputError: lists takes that are missing or unreadable, words without pronunciation, speakers with fewer than
            three takes, or that `out` holds something else.
    """
    if passes < 1:
        raise InputError(f"passes is {passes}; at least 1 is needed")
    recordings = find_recordings(corpus, name)
    lexicon = Lexicon(_pronunciations(corpus, name, sorted({each.word for each in recordings})))
    words = sorted(lexicon)
    speakers: dict[str, dict[Take, Path]] = {}
    for each in recordings:
        speakers.setdefault(each.speaker, {})[words.index(each.word), each.number] = each.path
    part_of = _parts(recordings, seed)
    with output_folder(out, name, {"seed": seed, "passes": passes}) as folder:
        splits: dict[str, list[Utterance]] = {"train": [], "dev": [], "test": []}
        for speaker, paths in sorted(speakers.items()):
            whole = read_takes(paths, resample=True)
            takes = {take: trim(samples) for take, samples in whole.items()}
            noise = noise_level(whole.values())
            maker = StringMaker(speaker, takes, words, noise, folder, out.resolve(), language=LANGUAGES[name])
            part = part_of[speaker]
            for number in range(passes if part == "train" else 1):
                splits[part] += maker.make(list(takes), part, seed, number)
        lexicon.write(folder / "lexicon.txt")
        return write_splits(folder, out, {part: DataDir(strings) for part, strings in splits.items()})


def find_recordings(corpus: Path, name: str) -> list[Recording]:
    """Every take, from `metadata.tsv` or from the names of a checkout's files.

    Raises:
        InputError: neither is there, or rows of the table are incomplete or name files that are not there; lists all.
    """
    table = corpus / "metadata.tsv"
    found = _from_table(table) if table.is_file() else _FROM_FILES[name](corpus)
    if not found:
        remedy = "name the folder that has metadata.tsv, or a checkout of the repository"
        raise InputError(Problem(f"holds no recordings of {name}", file=corpus, remedy=remedy))
    return found


def split_ipa(text: str) -> Pronunciation:
    """The phones of a word in IPA: a letter, or an affricate, with its length and articulation marks.

    Raises:
        ValueError: something that is no phone.
    """
    phones = _BASE_LETTERS.findall(text)
    if "".join(phones) != text:
        raise ValueError(f"not a word in IPA: {text!r}")
    return tuple(phones)


def _from_table(table: Path) -> list[Recording]:
    found, problems = [], []
    counts: dict[tuple[str, str], int] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=2):
            lacking = [column for column in ("speaker", "transcript", "path") if not row.get(column)]
            if lacking:
                problems.append(Problem(f"has no {' and no '.join(lacking)}", file=table, line=line))
                continue
            path = table.parent / row["path"]
            if not path.is_file():
                problems.append(Problem(f"there is no {row['path']}", file=table, line=line))
            key = (row["speaker"], row["transcript"])
            counts[key] = counts.get(key, 0) + 1
            stated = row.get("split") or ""
            if stated and stated not in PARTS:
                problems.append(Problem(f"split '{stated}' is none of {', '.join(PARTS)}", file=table, line=line))
            found.append(Recording(*key, counts[key], path, PARTS.get(stated)))
    parts: dict[str, set[str | None]] = {}
    for each in found:
        parts.setdefault(each.speaker, set()).add(each.part)
    problems += [
        Problem(f"speaker {name} stands in several splits, or in none at times", file=table)
        for name, named in parts.items()
        if len(named) > 1 and not problems
    ]
    if problems:
        raise InputError(problems)
    return found


def _arabic_files(corpus: Path) -> list[Recording]:
    """`dataset/<word in English>/<speaker>_NO_<number>.wav`; the transcripts are those of `lexicon.tsv`."""
    transcripts = {gloss: word for gloss, word, _ in _arabic_lexicon(corpus)}
    paths = sorted(path for path in corpus.glob("**/*_NO_*.wav") if path.parent.name in transcripts)
    return _first_takes(
        [(path.stem.partition("_NO_")[0], transcripts[path.parent.name], path) for path in paths], TAKES[ARABIC]
    )


def _mandarin_files(corpus: Path) -> list[Recording]:
    """`<student>/<student>-<label>-<number>.wav`; labels from 12 on are English. Students become zh01, zh02, ..."""
    words = list(_MANDARIN)
    named = [(path, re.fullmatch(r"(\d+)-(\d\d)-(\d\d)", path.stem)) for path in sorted(corpus.glob("**/*.wav"))]
    rows = [(match[1], int(match[2]), path) for path, match in named if match and int(match[2]) < len(words)]
    names = {student: f"zh{number:02d}" for number, student in enumerate(sorted({row[0] for row in rows}), start=1)}
    return _first_takes([(names[student], words[label], path) for student, label, path in rows], TAKES[MANDARIN])


def _first_takes(rows: list[tuple[str, str, Path]], most: int) -> list[Recording]:
    counts: dict[tuple[str, str], int] = {}
    found = []
    for speaker, word, path in rows:
        number = counts[speaker, word] = counts.get((speaker, word), 0) + 1
        if number <= most:
            found.append(Recording(speaker, word, number, path))
    return found


_FROM_FILES: Mapping[str, Callable[[Path], list[Recording]]] = {ARABIC: _arabic_files, MANDARIN: _mandarin_files}


def _parts(recordings: list[Recording], seed: int) -> dict[str, str]:
    """Speaker -> train, dev or test: the corpus' own, or by the order of a hash of seed and name."""
    stated = {each.speaker: each.part for each in recordings}
    if all(stated.values()):
        return {speaker: part for speaker, part in stated.items() if part}
    everybody = DataDir(Utterance(speaker, speaker, "") for speaker in stated)
    rest, test = split_by_speaker(everybody, fraction=TEST_SHARE, seed=seed)
    train, dev = split_by_speaker(rest, fraction=DEV_SHARE / (1 - TEST_SHARE), seed=seed)
    parts = {"train": train, "dev": dev, "test": test}
    return {utterance.speaker: part for part, data in parts.items() for utterance in data}


def _pronunciations(corpus: Path, name: str, words: list[str]) -> dict[str, list[Pronunciation]]:
    if name == MANDARIN:
        known = {word: tuple(phones.split()) for word, phones in _MANDARIN.items()}
    else:
        known = {word: phones for _, word, phones in _arabic_lexicon(corpus)}
    missing = [Problem(f"word {word} has no pronunciation", file=corpus) for word in words if word not in known]
    if missing:
        raise InputError(missing)
    return {word: [known[word]] for word in words}


def _arabic_lexicon(corpus: Path) -> list[tuple[str, str, Pronunciation]]:
    """(word in English, as it is written, phones) of `lexicon.tsv`."""
    path = corpus / "lexicon.tsv"
    found, problems = [], []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        remedy = "write one with the columns word, transcript, ipa: the table of keywords in the repository"
        raise InputError(Problem("cannot be read", file=path, remedy=remedy)) from error
    for number, line in enumerate(lines[1:], start=2):
        try:
            gloss, word, ipa = line.split("\t")
            found.append((gloss, word, split_ipa(ipa)))
        except ValueError as error:
            problems.append(Problem(f"is not 'word, transcript, ipa': {error}", file=path, line=number))
    if problems:
        raise InputError(problems)
    return found


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    parser.add_argument("corpus", choices=sorted(LANGUAGES), help="which")
    parser.add_argument("--seed", type=int, default=0, help="chooses strings, pauses and speakers (default 0)")
    parser.add_argument("--passes", type=int, default=3, help="passes over the training takes (default 3)")
    arguments = parser.parse_args()

    def work() -> dict[str, Path]:
        # a checkout has other files than the list: the folder is taken as it is
        folder = arguments.corpus_dir or fetch(CORPORA[arguments.corpus])
        return prepare(folder, arguments.corpus, arguments.out, arguments.seed, passes=arguments.passes)

    run(work)


if __name__ == "__main__":
    main()
