"""Sentence pairs of Tatoeba, English with French, German and Spanish: short sentences of every day (CC BY 2.0).

    python -m data_prep.tatoeba --out data/tatoeba [--languages fr,de,es] [--corpus-dir FOLDER]

Writes `en-<language>/en.txt` and `en-<language>/<language>.txt`, line by line translations of each other, and each
language's sentences, every one once, as `<language>.txt`. English sentences have up to dozens of translations: who
splits the pairs must split them by the English sentence. Attribution: www.manythings.org/anki and tatoeba.org.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data_prep.checksums import find_listed, open_listed
from data_prep.command import corpus_parser, run
from data_prep.fetch import CORPORA, fetch
from data_prep.output import output_folder
from data_prep.sentence_files import word_lines, write_pairs, write_sentences
from speechnlp_tl.errors import InputError, Problem

LANGUAGES = {"fr": "fra", "de": "deu", "es": "spa"}
"""Language -> its name upstream."""
_MOST_LISTED = 20


def prepare(corpora: Mapping[str, Path], out: Path) -> dict[str, Path]:
    """Write the pairs of each language with English.

    Args:
        corpora: language -> the folder that holds `eng-<name>.tsv`, as it is or compressed.
        out: where to; a folder that this function wrote earlier is replaced.

    Returns:
        Language, or `en-<language>`, -> its file or folder.

    Raises:
        InputError: a file that is missing or has lines that are not an English sentence, a tab and its translation, or
            that `out` holds something else.
    """
    problems: list[Problem] = []
    raw = {language: read_pairs(corpus, language, problems) for language, corpus in corpora.items()}
    if problems:
        raise InputError(problems)
    pairs = {language: _words(found, language) for language, found in raw.items()}
    summary: dict[str, dict[str, int]] = {}
    english: dict[str, None] = {}  # a set that keeps the order
    with output_folder(out, "tatoeba", {"languages": list(corpora)}, summary) as folder:
        for language, found in pairs.items():
            english.update(dict.fromkeys(line for line, _ in found))
            once = dict.fromkeys(line for _, line in found)
            summary[language] = {"sentences": write_sentences(folder, language, once)}
            summary[f"en-{language}"] = {"pairs": write_pairs(folder, ("en", language), found)}
        summary["en"] = {"sentences": write_sentences(folder, "en", english)}
    return {name: Path(out) / (name if "-" in name else f"{name}.txt") for name in summary}


def read_pairs(corpus: Path, language: str, problems: list[Problem]) -> list[tuple[str, str]]:
    """English sentences of one file and their translations as they are written; problems are added to `problems`."""
    name = f"eng-{LANGUAGES[language]}.tsv"
    if find_listed(corpus, name) is None:
        problems.append(Problem("file is missing", file=corpus / name))
        return []
    found: list[Problem] = []
    pairs: list[tuple[str, str]] = []
    try:
        with open_listed(corpus, name) as file:
            for number, line in enumerate(file.read().decode("utf-8").split("\n")[:-1], start=1):
                fields = line.rstrip("\r").split("\t")
                if len(fields) < 2 or not all(fields[:2]):
                    found.append(Problem("is not an English sentence, a tab and another", corpus / name, number))
                    continue
                pairs.append((fields[0], fields[1]))
    except (OSError, UnicodeDecodeError) as error:
        found.append(Problem(f"cannot be read: {error}", file=corpus / name))
    problems += found[:_MOST_LISTED]
    return pairs


def _words(pairs: list[tuple[str, str]], language: str) -> list[tuple[str, str]]:
    english, other = ([pair[side] for pair in pairs] for side in (0, 1))
    return list(zip(word_lines(english, "en"), word_lines(other, language), strict=True))


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__)
    parser.add_argument("--languages", default=",".join(LANGUAGES), help=f"of {', '.join(LANGUAGES)}, parted by commas")
    arguments = parser.parse_args()
    languages = arguments.languages.split(",")
    if unknown := [language for language in languages if language not in LANGUAGES]:
        parser.error(f"unknown language {', '.join(unknown)}; known are {', '.join(LANGUAGES)}")

    def work() -> dict[str, Path]:
        corpora = {name: fetch(CORPORA[f"tatoeba-{LANGUAGES[name]}"], arguments.corpus_dir) for name in languages}
        return prepare(corpora, arguments.out)

    run(work)


if __name__ == "__main__":
    main()
