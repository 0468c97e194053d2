"""Word dictionaries for learning and for testing word translation: XLing-Eval and the test sets of MUSE.

    python -m data_prep.word_dictionaries --out data/dictionaries [--corpus-dir FOLDER]

`xling/<pair>.train.tsv` (5000 pairs), `xling/<pair>.test.tsv` (2000) and, for English, `xling/<pair>.train-1k.tsv`
(Glavas et al. 2019): one translation a word, in the order of frequency, 28 pairs of de, en, fi, fr, hr, it, ru and tr.
`muse/<pair>.test.tsv`: the test sets of MUSE (Conneau et al. 2018) as Kementchedjhieva et al. 2019 sorted them, without
the pairs they found to be invalid; words have several translations. Each line is a word, a tab and its translation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from data_prep.checksums import open_listed
from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder
from speechnlp_tl.errors import InputError, Problem

XLING, MUSE = "xling-eval", "muse-dictionaries"
_PARTS = {"test.freq.2k": "test", "train.freq.5k": "train", "train.freq.1k": "train-1k"}
_VALID = ("n", "v", "a", "o", "pn")
"""Nouns, verbs, adjectives and adverbs, others, names; `nw` are the invalid pairs."""
Lines = list[tuple[str, str]]


def prepare(corpora: Mapping[str, Path], out: Path) -> dict[str, Path]:
    """Write every dictionary.

    Args:
        corpora: `xling-eval` and `muse-dictionaries` -> their folders.
        out: where to; a folder that this function wrote earlier is replaced.

    Returns:
        `xling/en-fr.test`, ... -> its file.

    Raises:
        InputError: a file that is missing or has lines that are not two words parted by a tab, or that `out` holds
            something else.
    """
    problems: list[Problem] = []
    found: dict[str, Lines] = defaultdict(list)
    for name in CORPORA[XLING].expected():
        part, pair = _xling_part(name)
        found[f"xling/{pair}.{part}"] = _read(corpora[XLING], name, problems)
    for name in CORPORA[MUSE].expected():
        pair, _, kind, _ = name.split(".")
        if kind in _VALID:
            found[f"muse/{pair}.test"] += _read(corpora[MUSE], name, problems)
    if problems:
        raise InputError(problems)
    found = {name: list(dict.fromkeys(lines)) for name, lines in sorted(found.items())}
    summary = {name: {"pairs": len(lines), "words": len({word for word, _ in lines})} for name, lines in found.items()}
    with output_folder(out, "word-dictionaries", {}, summary) as folder:
        for name, lines in found.items():
            path = folder / f"{name}.tsv"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(f"{a}\t{b}\n" for a, b in lines), encoding="utf-8", newline="\n")
    return {name: Path(out) / f"{name}.tsv" for name in found}


def _xling_part(name: str) -> tuple[str, str]:
    """(`train`, `en-fr`) for `en-fr/yacle.train.freq.5k.en-fr.tsv`."""
    fields = Path(name).name.split(".")
    return _PARTS[".".join(fields[1:4])], fields[4]


def _read(corpus: Path, name: str, problems: list[Problem]) -> Lines:
    lines = []
    try:
        with open_listed(corpus, name) as file:
            for number, line in enumerate(file.read().decode("utf-8").split("\n"), start=1):
                fields = [field.strip() for field in line.rstrip("\r").split("\t")]
                if len(fields) == 2 and all(fields):
                    lines.append((fields[0], fields[1]))
                elif line.strip():
                    problems.append(Problem("is not two words parted by a tab", file=corpus / name, line=number))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(f"cannot be read: {error}", file=corpus / name))
    return lines


def main() -> None:
    """The command line."""
    arguments = corpus_parser(__doc__).parse_args()
    run(lambda: prepare({name: fetch(CORPORA[name], arguments.corpus_dir) for name in (XLING, MUSE)}, arguments.out))


if __name__ == "__main__":
    main()
