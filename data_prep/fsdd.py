"""Free Spoken Digit Dataset, as connected digit strings for leave-one-speaker-out adaptation.

    python -m data_prep.fsdd --out data/fsdd [--corpus-dir free-spoken-digit-dataset.tar.gz] [--seed 0] [--passes 3]

Upstream has 50 takes of each digit from each of 6 speakers. Strings of 3 to 7 digits are put together from single
takes of one speaker, with short pauses of faint noise; a take is never used twice in a pass. Takes are parted first,
so that no take is on two sides:

    takes  0-14  <speaker>/test    150 takes, about 30 strings: the target's test, and what a source must not forget
    takes 15-45  <speaker>/train   310 takes, about 62 strings: the source model's training data
    takes 46-49  <speaker>/dev      40 takes, about 8 strings: the source model's held-out data
    takes 15-49  <speaker>/pool    train and dev together: what a target speaker may adapt with

    leave_out/<speaker>/train, dev, test    those three of the five other speakers

and `lexicon.txt`, the made audio (8 kHz, 16 bits) in `audio`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from data_prep.command import corpus_parser, run
from data_prep.connected_words import StringMaker, noise_level, read_takes
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder, write_splits
from data_prep.splits import leave_one_out
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.lexicon import Lexicon

LANGUAGE = "en"
PARTS = {"test": range(15), "train": range(15, 46), "dev": range(46, 50)}
"""Which takes of each digit belong to which part."""

# ARPAbet without stress, as in the CMU dictionary's notation.
DIGITS = {
    "ZERO": (("Z", "IH", "R", "OW"), ("Z", "IY", "R", "OW")),
    "ONE": (("W", "AH", "N"),),
    "TWO": (("T", "UW"),),
    "THREE": (("TH", "R", "IY"),),
    "FOUR": (("F", "AO", "R"),),
    "FIVE": (("F", "AY", "V"),),
    "SIX": (("S", "IH", "K", "S"),),
    "SEVEN": (("S", "EH", "V", "AH", "N"),),
    "EIGHT": (("EY", "T"),),
    "NINE": (("N", "AY", "N"),),
}
_WORDS = tuple(DIGITS)
Takes = dict[tuple[int, int], Path]


def prepare(corpus: Path, out: Path, seed: int = 0, *, passes: int = 1) -> dict[str, Path]:
    """Write FSDD's strings and data directories.

    Args:
        corpus: the folder that holds `recordings`.
        out: where to; a folder that this function wrote earlier is replaced.
        seed: chooses which takes meet in a string, and the pauses.
        passes: how often the takes of `train` are put together anew, for a source model with more contexts. `pool`,
            `dev` and `test` always hold each take once.

    Returns:
        Split -> data directory.

    Raises:
        InputError: lists takes that are missing or unreadable, or that `out` holds something else.
    """
    if passes < 1:
        raise InputError(f"passes is {passes}; at least 1 is needed")
    recordings = corpus / "recordings"
    speakers = _find_takes(recordings)
    genders = _read_genders(corpus / "metadata.py", speakers)
    with output_folder(out, "fsdd", {"seed": seed, "passes": passes}) as folder:
        parts: dict[str, dict[str, list[Utterance]]] = {}
        for speaker, takes in speakers.items():
            audio = read_takes(takes)
            noise = noise_level(audio.values())
            strings = StringMaker(speaker, audio, _WORDS, noise, folder, out.resolve(), genders[speaker], LANGUAGE)
            of_part = {part: [take for take in takes if take[1] in numbers] for part, numbers in PARTS.items()}
            first = {part: strings.make(own, part, seed, 0) for part, own in of_part.items()}
            more = [
                string
                for number in range(1, passes)
                for string in strings.make(of_part["train"], "train", seed, number)
            ]
            # further passes would let a budget of utterances hold a take twice, so the pool has the first only
            pool = first["train"] + first["dev"]
            parts[speaker] = {**first, "train": first["train"] + more, "pool": pool}
        Lexicon(DIGITS).write(folder / "lexicon.txt")
        return write_splits(folder, out, leave_one_out(parts))


def _find_takes(recordings: Path) -> dict[str, Takes]:
    """Speaker -> (digit, take) -> file; every speaker must have all 50 takes of all digits."""
    speakers: dict[str, Takes] = {}
    for path in sorted(recordings.glob("*.wav")):
        if match := re.fullmatch(r"(\d)_([^_]+)_(\d+)", path.stem):
            speakers.setdefault(match[2], {})[int(match[1]), int(match[3])] = path
    wanted = [(digit, take) for digit in range(10) for indices in PARTS.values() for take in indices]
    problems = [
        Problem("take is missing", file=recordings / f"{digit}_{speaker}_{take}.wav", remedy="get FSDD again")
        for speaker, takes in speakers.items()
        for digit, take in wanted
        if (digit, take) not in takes
    ]
    if len(speakers) < 2:
        remedy = "files are named <digit>_<speaker>_<take>.wav"
        problems.append(Problem(f"recordings of {len(speakers)} speakers; 2 are needed", recordings, remedy=remedy))
    if problems:
        raise InputError(problems)
    return {speaker: {take: takes[take] for take in wanted} for speaker, takes in sorted(speakers.items())}


def _read_genders(metadata: Path, speakers: Mapping[str, Takes]) -> dict[str, str | None]:
    """Speaker -> 'f' or 'm' from upstream's metadata.py, which is read as data and not run; None without one."""
    try:
        module = ast.parse(metadata.read_text(encoding="utf-8"))
        values = [node.value for node in module.body if isinstance(node, ast.Assign)]
        stated = ast.literal_eval(values[0])
        genders = {speaker: str(stated[speaker]["gender"])[0] for speaker in speakers}
    except (OSError, ValueError, SyntaxError, LookupError, TypeError):
        return dict.fromkeys(speakers)
    return dict(genders)


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0, help="chooses strings and pauses (default 0)")
    parser.add_argument("--passes", type=int, default=3, help="passes over the training takes (default 3)")
    arguments = parser.parse_args()
    run(
        lambda: prepare(
            fetch(CORPORA["fsdd"], arguments.corpus_dir), arguments.out, arguments.seed, passes=arguments.passes
        )
    )


if __name__ == "__main__":
    main()
