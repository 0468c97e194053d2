"""Multi30k for zero-shot translation: captions as they are written, German-English and English-French in halves.

    python -m data_prep.multi30k_translation --out data/multi30k_translation [--corpus-dir FOLDER] [--leaky]

The sets are those of `translation_halves`; `dev` is upstream's `val`, `test` its `test_2016_flickr`. Of the training
captions, those that lack a language are left out. For the words of the captions see `multi30k`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data_prep.checksums import find_listed, open_listed
from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.translation_halves import write_halves
from speechnlp_tl.errors import InputError, Problem

LANGUAGES = ("de", "en", "fr")
SPLITS = {"train": "train", "dev": "val", "test": "test_2016_flickr"}


def prepare(corpus: Path, out: Path, leaky: bool = False, cuts: Mapping[str, int] | None = None) -> dict[str, Path]:
    """Write every set; `cuts` as `write_halves` takes them.

    Raises:
        InputError: files that are missing, damaged or of different lengths, or that `out` holds something else.
    """
    problems: list[Problem] = []
    sides = {name: _read(corpus, upstream, problems) for name, upstream in SPLITS.items()}
    if problems:
        raise InputError(problems)
    train = sides.pop("train")
    return write_halves(out, "multi30k-translation", LANGUAGES, train, sides, leaky, cuts=cuts)


def _read(corpus: Path, split: str, problems: list[Problem]) -> dict[str, list[str]]:
    """Language -> captions that all languages have; what is wrong is added to `problems`."""
    sides: dict[str, list[str]] = {}
    for language in LANGUAGES:
        name = f"data/task1/raw/{split}.{language}"
        if find_listed(corpus, name) is None:
            problems.append(Problem("file is missing", file=corpus / name))
            continue
        try:
            with open_listed(corpus, name) as file:
                lines = file.read().decode("utf-8").removesuffix("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(f"cannot be read: {error}", file=corpus / name))
            continue
        sides[language] = [" ".join(line.split()) for line in lines]
    if len({len(lines) for lines in sides.values()}) > 1:
        shown = ", ".join(f"{language} {len(lines)}" for language, lines in sides.items())
        problems.append(Problem(f"{split} has different numbers of captions: {shown}", file=corpus))
        return sides
    whole = [row for row in zip(*sides.values(), strict=True) if all(row)]
    return {language: [row[place] for row in whole] for place, language in enumerate(sides)}


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--leaky", action="store_true", help="give both pairs all captions")
    arguments = parser.parse_args()
    run(lambda: prepare(fetch(CORPORA["multi30k"], arguments.corpus_dir), arguments.out, arguments.leaky))


if __name__ == "__main__":
    main()
