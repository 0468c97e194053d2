"""Multi30k for zero-shot translation: captions as they are written, German-English and English-French in halves.

    python -m data_prep.multi30k_translation --out data/multi30k_translation [--corpus-dir FOLDER] [--leaky]
                                      [--new cs --new-captions 4000]

The sets are those of `translation_halves`; `dev` is upstream's `val`, `test` its `test_2016_flickr`. Of the training
captions, those that lack a language are left out. For the words of the captions see `multi30k`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.multi30k import read_split
from data_prep.translation_halves import NewLanguage, write_halves
from speechnlp_tl.errors import InputError, Problem

LANGUAGES = ("de", "en", "fr")
SPLITS = {"train": "train", "dev": "val", "test": "test_2016_flickr"}


def prepare(
    corpus: Path, out: Path, leaky: bool = False, cuts: Mapping[str, int] | None = None, new: NewLanguage | None = None
) -> dict[str, Path]:
    """Write every set; `cuts` and `new` as `write_halves` takes them.

    Raises:
        InputError: files that are missing, damaged or of different lengths, or that `out` holds something else.
    """
    problems: list[Problem] = []
    languages = (*LANGUAGES, *([new.name] if new else []))
    sides = {name: _whole(read_split(corpus, upstream, languages, problems)) for name, upstream in SPLITS.items()}
    if problems:
        raise InputError(problems)
    train = sides.pop("train")
    return write_halves(out, "multi30k-translation", LANGUAGES, train, sides, leaky, cuts=cuts, new=new)


def _whole(sides: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Captions that all languages have, with single blanks."""
    rows = [[" ".join(line.split()) for line in row] for row in zip(*sides.values(), strict=False)]
    return {language: [row[place] for row in rows if all(row)] for place, language in enumerate(sides)}


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--leaky", action="store_true", help="give both pairs all captions")
    parser.add_argument("--new", default="cs", help="language to be added to a finished model")
    parser.add_argument("--new-captions", type=int, default=0, help="captions that are kept for it; 0 leaves it out")
    arguments = parser.parse_args()
    new = NewLanguage(arguments.new, arguments.new_captions) if arguments.new_captions else None
    run(lambda: prepare(fetch(CORPORA["multi30k"], arguments.corpus_dir), arguments.out, arguments.leaky, new=new))


if __name__ == "__main__":
    main()
