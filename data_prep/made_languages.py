"""Made languages: the same things said in words of their own, from a seeded grammar and a lexicon.

    python -m data_prep.made_languages --out data/made_languages

The layout is that of the real corpora: `text/made/<language>.txt` (sentences of one language, no two languages say the
same), `text/made/<first>-<second>/` (matched sentences), below `dictionaries/made` the training and test dictionary of
every pair of languages, and `documents/<language>.jsonl` as `bible_genres` writes them, the same verses in every
language, of made books whose genres have topics of their own. Things belong to topics, and a few are said much more
often than the others; each language has an order of its own for subject, verb and object. Names and numbers are the
same in all of them. The same arguments give the same bytes. Numbers measured on made text say that a program works, not
how well.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path

from data_prep.command import corpus_parser, run
from data_prep.output import output_folder
from speechnlp_tl.errors import InputError

LANGUAGES = ("xa", "xb", "xc")
TOPICS = 12
KINDS = {"subject": 8, "verb": 10, "object": 14, "how": 8}
"""Kind of word -> how many of it each topic has."""
COMMON = 30
"""Words that any sentence may have."""
ORDERS = (
    ("subject", "verb", "object", "how"),
    ("subject", "object", "how", "verb"),
    ("how", "verb", "subject", "object"),
)
SYLLABLES = (("pbtdk", "aeiou", "n"), ("mslrv", "aou", "rs"), ("gzfhj", "eiuy", "lt"))
"""First and second letters, and last letters of a word, of each language."""
NAMES = 60
"""Concepts that every language calls the same."""
GENRES, BOOKS, VERSES = 4, 5, 30
"""Genres of made books, books of each genre, and verses of each book."""


def concepts() -> list[tuple[int, str, int]]:
    """(topic, kind, number) of every concept; -1 is no topic."""
    of_topics = [(topic, kind, n) for topic in range(TOPICS) for kind, count in KINDS.items() for n in range(count)]
    return [*of_topics, *((-1, "common", n) for n in range(COMMON))]


def lexicon(language: int, seed: int = 0) -> dict[tuple[int, str, int], str]:
    """Concept -> the word of a language; no word means two things."""
    generator = random.Random(f"{seed} lexicon {language}")
    first, second, last = SYLLABLES[language]
    syllables = ["".join(letters) for letters in product(first, second)]
    same = set(random.Random(f"{seed} names").sample(concepts(), NAMES))
    words: dict[tuple[int, str, int], str] = {}
    taken: set[str] = set()
    for number, concept in enumerate(concepts()):
        word = str(1000 + number) if number % 2 else f"n{number}ame"
        while concept not in same and (word in taken or not word.isalpha() or word.endswith("ame")):
            parts = [generator.choice(syllables) for _ in range(generator.randint(2, 3))]
            word = "".join(parts) + generator.choice(last)
        words[concept] = word
        taken.add(word)
    return words


def say(generator: random.Random, topics: Sequence[int] = range(TOPICS)) -> list[tuple[int, str, int]]:
    """One sentence about one of the topics, as concepts in no language's order."""
    topic = topics[generator.randrange(len(topics))]
    sentence = []
    for kind, count in KINDS.items():
        for _ in range(2 if kind == "object" else 1):
            # as in real text, the second word of a list is said half as often as the first, and so on
            place = min(int(generator.paretovariate(0.8)) - 1, 10**6) % count
            around = topic if generator.random() < 0.85 else (topic + 1) % TOPICS
            sentence.append((around, kind, place))
    common = [(-1, "common", min(int(generator.paretovariate(0.6)) - 1, 10**6) % COMMON) for _ in range(2)]
    return sentence + common


def in_words(sentence: Sequence[tuple[int, str, int]], language: int, words: dict[tuple[int, str, int], str]) -> str:
    """A sentence in a language, in its order."""
    order = {kind: place for place, kind in enumerate(ORDERS[language])}
    return " ".join(words[concept] for concept in sorted(sentence, key=lambda each: order.get(each[1], 1.5)))


def prepare(out: Path, sentences: int = 6000, matched: int = 3000, seed: int = 0) -> dict[str, Path]:
    """Write text and dictionaries.

    Args:
        out: where to; a folder that this function wrote earlier is replaced.
        sentences: of each language.
        matched: of each pair of languages.

    Returns:
        Language or pair -> its file or folder.

    Raises:
        InputError: fewer than 100 sentences, or `out` holds something else.
    """
    if min(sentences, matched) < 100:
        raise InputError(f"made languages need at least 100 sentences of each kind, not {sentences} and {matched}")
    words = {name: lexicon(number, seed) for number, name in enumerate(LANGUAGES)}
    summary: dict[str, dict[str, int]] = {name: {"sentences": sentences} for name in LANGUAGES}
    with output_folder(out, "made-languages", {"seed": seed}, summary) as folder:
        text, dictionaries = folder / "text" / "made", folder / "dictionaries" / "made"
        text.mkdir(parents=True)
        dictionaries.mkdir(parents=True)
        for number, name in enumerate(LANGUAGES):
            generator = random.Random(f"{seed} {name}")
            _write(text / f"{name}.txt", [in_words(say(generator), number, words[name]) for _ in range(sentences)])
        for one, other in combinations(range(len(LANGUAGES)), 2):
            pair = f"{LANGUAGES[one]}-{LANGUAGES[other]}"
            generator = random.Random(f"{seed} {pair}")
            said = [say(generator) for _ in range(matched)]
            (text / pair).mkdir()
            for number in (one, other):
                name = LANGUAGES[number]
                _write(text / pair / f"{name}.txt", [in_words(sentence, number, words[name]) for sentence in said])
            entries = [f"{words[LANGUAGES[one]][each]}\t{words[LANGUAGES[other]][each]}" for each in concepts()]
            different = [entry for entry in entries if len(set(entry.split("\t"))) == 2]
            random.Random(f"{seed} {pair} dictionary").shuffle(different)
            parts = {"test": different[:150], "train": different[150:]}
            for part, lines in parts.items():
                _write(dictionaries / f"{pair}.{part}.tsv", lines)
            summary[pair] = {"sentences": matched, **{part: len(lines) for part, lines in parts.items()}}
        _write_documents(folder / "documents", words, seed)
    return {name: Path(out) / "text" / "made" / (name if "-" in name else f"{name}.txt") for name in summary}


def _write_documents(folder: Path, words: Mapping[str, dict[tuple[int, str, int], str]], seed: int) -> None:
    """Books of every genre, verse by verse the same in all languages."""
    folder.mkdir()
    generator = random.Random(f"{seed} documents")
    rows: dict[str, list[str]] = {name: [] for name in words}
    for genre, book in product(range(GENRES), range(BOOKS)):
        for verse in range(VERSES):
            said = say(generator, range(genre, TOPICS, GENRES))
            name_of_book = f"Book{genre}{book}"
            place = {"label": f"genre{genre}", "book": name_of_book, "verse": f"{name_of_book}.1.{verse + 1}"}
            for number, name in enumerate(words):
                row = {"text": in_words(said, number, words[name]), "domain": name} | place
                rows[name].append(json.dumps(row))
    for name, lines in rows.items():
        _write(folder / f"{name}.jsonl", lines)


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__, corpus_dir=False)
    parser.add_argument("--sentences", type=int, default=6000, help="of each language")
    parser.add_argument("--matched", type=int, default=3000, help="of each pair of languages")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run(lambda: prepare(arguments.out, arguments.sentences, arguments.matched, arguments.seed))


if __name__ == "__main__":
    main()
