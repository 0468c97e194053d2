"""Multi30k, task 1: captions of photos in English and their German and French translations (Elliott et al. 2016).

    python -m data_prep.multi30k --out data/multi30k [--corpus-dir FOLDER_OR_ARCHIVE]

Writes the words of the training captions as `<language>.txt`, and those of each two languages once more in
`<first>-<second>/`; the official dev and test sets have the same layout in folders of their own: `val`,
`test_2016_flickr`, `test_2017_flickr`, `test_2017_mscoco`, `test_2018_flickr`. Line n of every language of a set is the
same photo. The licence is not stated upstream: treat it as non-commercial.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from data_prep.checksums import find_listed, open_listed
from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder
from data_prep.sentence_files import word_lines, write_pairs, write_sentences
from speechnlp_tl.errors import InputError, Problem

LANGUAGES = ("en", "de", "fr")
SPLITS = ("train", "val", "test_2016_flickr", "test_2017_flickr", "test_2017_mscoco", "test_2018_flickr")


def prepare(corpus: Path, out: Path) -> dict[str, Path]:
    """Write every set.

    Args:
        corpus: the folder that holds `data/task1/raw/<set>.<language>`, as they are or compressed.
        out: where to; a folder that this function wrote earlier is replaced.

    Returns:
        Set -> its folder; that of `train` is `out` itself.

    Raises:
        InputError: files that are missing, damaged or of different lengths, or that `out` holds something else.
    """
    problems: list[Problem] = []
    raw = {split: read_split(corpus, split, LANGUAGES, problems) for split in SPLITS}
    if problems:
        raise InputError(problems)
    captions = {
        split: {language: word_lines(lines, language) for language, lines in sides.items()}
        for split, sides in raw.items()
    }
    summary: dict[str, dict[str, int]] = {}
    with output_folder(out, "multi30k", {}, summary) as folder:
        for split, sides in captions.items():
            place = folder if split == "train" else folder / split
            place.mkdir(exist_ok=True)
            summary[split] = {language: write_sentences(place, language, lines) for language, lines in sides.items()}
            for pair in combinations(LANGUAGES, 2):
                write_pairs(place, pair, zip(*(sides[language] for language in pair), strict=True))
    return {split: Path(out) if split == "train" else Path(out) / split for split in SPLITS}


def read_split(corpus: Path, split: str, languages: Sequence[str], problems: list[Problem]) -> dict[str, list[str]]:
    """Language -> its captions as they are written; what is wrong is added to `problems`."""
    sides = {}
    for language in languages:
        name = f"data/task1/raw/{split}.{language}"
        if find_listed(corpus, name) is None:
            problems.append(Problem("file is missing", file=corpus / name))
            continue
        try:
            with open_listed(corpus, name) as file:
                sides[language] = file.read().decode("utf-8").removesuffix("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(f"cannot be read: {error}", file=corpus / name))
    lengths = {language: len(lines) for language, lines in sides.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{language} {length}" for language, length in lengths.items())
        problems.append(Problem(f"{split} has different numbers of captions: {shown}", file=corpus))
    return sides


def main() -> None:
    """The command line."""
    arguments = corpus_parser(__doc__).parse_args()
    run(lambda: prepare(fetch(CORPORA["multi30k"], arguments.corpus_dir), arguments.out))


if __name__ == "__main__":
    main()
