"""Stages 0 and 1: data directories, lexicon in IPA and language model of each language, at 8 kHz; speakers disjoint."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from settings import ALL, RECIPE, UNTAUGHT, RecipeConfig

from data_prep import an4, fsdd, spoken_words, synthetic, yesno
from data_prep.bible import read_edition
from data_prep.bible_upstream import EDITIONS
from data_prep.command import run
from data_prep.fetch import fetch_all
from data_prep.multi30k import read_split
from data_prep.output import output_folder
from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.ngram import estimate
from speechnlp_tl.speech.pronunciation import to_ipa

RATE = 8000
REAL = {"en": ("an4", "fsdd"), "ar": ("arabic",), "zh": ("mandarin",), "he": ("yesno",)}
"""Real languages -> their corpora."""
FSDD_TEST = ("lucas", "yweweler")
"""FSDD's speakers that are heard in no training."""
HEBREW = Lexicon({"YES": (("k", "e", "n"),), "NO": (("l", "o"),)})
NGRAM_ORDER = 2
MULTI30K, BIBLE = ("en", "de", "fr", "cs"), ("es", "it", "pt")
FRAME, STATES = 0.03, 2
"""Seconds of an output frame, and states of a phone."""
LONGEST = 12
"""Words of a sentence that is read out."""


@dataclass
class Speech:
    """What a language has."""

    train: list[Utterance]
    pool: list[Utterance]
    """Speech in which no take stands twice: what a new language is learned from."""
    dev: list[Utterance]
    tests: dict[str, list[Utterance]]
    lexicon: Lexicon


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=("real", "made", "synthetic"), required=True)
    for name in ("conf", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--download-only", action="store_true")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> Mapping[str, Path]:
    config = load_config(arguments.conf, RecipeConfig)
    unknown = [name for name, code in config.languages.items() if code is None and name not in REAL]
    if unknown:
        remedy = f"real languages are {', '.join(REAL)}; made ones name espeak-ng's code"
        raise InputError([Problem(f"there is no speech of {name}", arguments.conf, remedy=remedy) for name in unknown])
    needed = [corpus for name, code in config.languages.items() if code is None for corpus in REAL[name]]
    sources = fetch_all([*needed, *_texts(config)])
    if arguments.download_only:
        return sources
    corpora = arguments.out.with_name("corpora")
    made: dict[str, Path] = {}
    with output_folder(arguments.out, RECIPE, {"conf": config.model_dump(mode="json")}) as folder:
        for name, code in config.languages.items():
            speech = _READERS[name](sources, corpora) if code is None else _made(name, code, config, sources, corpora)
            _write(folder / name, name, speech, config)
            made[name] = arguments.out / name
    return made


def _write(folder: Path, name: str, speech: Speech, config: RecipeConfig) -> None:
    """One language: what it learns from, its minutes, its tests, its words."""
    folder.mkdir(parents=True)
    speech.lexicon.write(folder / "lexicon.txt")
    said = [utterance.words for utterance in speech.train]
    estimate(said, NGRAM_ORDER, speech.lexicon.words).write_arpa(folder / "lm.arpa")
    parts = {"train": speech.train, "dev": speech.dev}
    parts |= {f"test-{test}": utterances for test, utterances in speech.tests.items()}
    budgets = {each for method in (*UNTAUGHT, *config.methods) for each in config.budgets(method)}
    for minutes in sorted(each for each in budgets if each != ALL):
        for seed in range(config.seeds):
            chosen = _minutes(speech.pool, float(minutes), seed)
            if chosen is not None:
                parts[f"minutes-{minutes:g}-{seed}"] = chosen
    for part, utterances in parts.items():
        DataDir(replace(utterance, language=name) for utterance in utterances).write(folder / part)


def _minutes(pool: Sequence[Utterance], minutes: float, seed: int) -> list[Utterance] | None:
    """Utterances in the order of a hash, up to so many minutes: fewer minutes of a seed are the beginning of more. None
    where there are not so many."""
    if sum(utterance.duration or 0.0 for utterance in pool) < 60 * minutes:
        return None
    chosen: list[Utterance] = []
    left = 60 * minutes
    for utterance in sorted(pool, key=lambda one: hashlib.sha256(f"{seed}:{one.id}".encode()).digest()):
        left -= utterance.duration or 0.0
        if left < 0:
            break
        chosen.append(utterance)
    return chosen or None


def _english(sources: Mapping[str, Path], corpora: Path) -> Speech:
    read_words, digits = (
        an4.prepare(sources["an4"], corpora / "an4", RATE),
        fsdd.prepare(sources["fsdd"], corpora / "fsdd", passes=3),
    )
    speakers = sorted({name.partition("/")[0] for name in digits if not name.startswith("leave_out")})
    heard = [name for name in speakers if name not in FSDD_TEST]
    strings = [utterance for name in heard for utterance in DataDir.read(digits[f"{name}/train"])]
    tested = [
        each for name in FSDD_TEST for part in ("pool", "test") for each in DataDir.read(digits[f"{name}/{part}"])
    ]
    words = list(DataDir.read(read_words["train_main"]))
    return Speech(
        train=[*words, *strings],
        pool=[*words, *_first_pass(strings)],
        dev=list(DataDir.read(read_words["train_dev"])),
        tests={"an4": list(DataDir.read(read_words["test"])), "fsdd": tested},
        lexicon=_in_ipa(Lexicon.read(corpora / "an4" / "lexicon.txt")).merge(
            _in_ipa(Lexicon.read(corpora / "fsdd" / "lexicon.txt"))
        ),
    )


def _in_ipa(arpabet: Lexicon) -> Lexicon:
    return Lexicon({word: [to_ipa(phones) for phones in arpabet.pronunciations(word)] for word in arpabet})


def _spoken_words(name: str) -> Callable[[Mapping[str, Path], Path], Speech]:
    def read(sources: Mapping[str, Path], corpora: Path) -> Speech:
        splits = spoken_words.prepare(sources[name], name, corpora / name, passes=3)
        train, dev, test = (list(DataDir.read(splits[part])) for part in ("train", "dev", "test"))
        return Speech(train, _first_pass(train), dev, {name: test}, Lexicon.read(corpora / name / "lexicon.txt"))

    return read


def _hebrew(sources: Mapping[str, Path], corpora: Path) -> Speech:
    """One speaker: the only language whose test has a voice that was heard."""
    splits = yesno.prepare(sources["yesno"], corpora / "yesno", trim=True)
    train, dev, test = (list(DataDir.read(splits[part])) for part in ("train_main", "train_dev", "test"))
    return Speech(train, train, dev, {"yesno": test}, HEBREW)


_READERS: Mapping[str, Callable[[Mapping[str, Path], Path], Speech]] = {
    "en": _english,
    "ar": _spoken_words("arabic"),
    "zh": _spoken_words("mandarin"),
    "he": _hebrew,
}


def _first_pass(strings: Sequence[Utterance]) -> list[Utterance]:
    return [utterance for utterance in strings if "-train-0-" in utterance.id]


def _made(name: str, code: str, config: RecipeConfig, sources: Mapping[str, Path], corpora: Path) -> Speech:
    """A language read by espeak-ng: a quarter of the voices is the test, one more the dev set; what they read, too, is
    not what is trained on."""
    count, utterances = config.made.speakers, config.made.utterances
    tested = max(1, count // 4)
    voices = {"train": count - tested - 1, "dev": 1, "test": tested}
    skipped = 0
    sentences = _sentences(code, sources, config)
    parts: dict[str, list[Utterance]] = {}
    lexicon = Lexicon({})
    for part, speakers in voices.items():
        own = None if sentences is None else sentences[part]
        folder = corpora / name / part
        splits = synthetic.prepare(
            folder, code, speakers, utterances, sentences=own, rate=RATE, prefix=f"{name}-", skip=skipped
        )
        skipped += speakers
        own_words = Lexicon.read(folder / "lexicon.txt")
        sides = [splits[side] for side in ("train", "dev", "test")]
        spoken = [utterance for path in sides for utterance in DataDir.read(path)]
        parts[part] = [utterance for utterance in spoken if _can_be_aligned(utterance, own_words)]
        lexicon = lexicon.merge(own_words)
    test = sorted(parts["test"], key=lambda one: hashlib.sha256(one.id.encode()).digest())
    test = test[: config.made.test_utterances]
    return Speech(parts["train"], parts["train"], parts["dev"], {"made": test}, lexicon)


def _can_be_aligned(utterance: Utterance, lexicon: Lexicon) -> bool:
    """Whether there is a frame for each state, even a tenth faster: some of espeak-ng's voices gabble."""
    phones = sum(min(map(len, lexicon.pronunciations(word))) for word in utterance.words)
    return (utterance.duration or 0.0) / 1.1 > FRAME * STATES * phones


def _texts(config: RecipeConfig) -> list[str]:
    """Corpora whose sentences are read out."""
    if not config.made.sentences:
        return []
    codes = [code.split("-")[0] for code in config.languages.values() if code]
    return [
        *(["multi30k"] if set(codes) & set(MULTI30K) else []),
        *(["bible"] if set(codes) & {"it", "pt"} else []),
        *(["bible-es"] if "es" in codes else []),
    ]


def _sentences(code: str, sources: Mapping[str, Path], config: RecipeConfig) -> dict[str, list[str]] | None:
    """Short sentences of a language that there is text of, each for one part alone; None is digit strings."""
    most, language = config.made.sentences, code.split("-")[0]
    if not most:
        return None
    problems: list[Problem] = []
    if language in MULTI30K:
        found = read_split(sources["multi30k"], "train", (language,), problems).get(language, [])
    elif language in BIBLE:
        corpus = sources["bible-es" if language == "es" else "bible"]
        found = list(read_edition(corpus, EDITIONS[language][0], problems).values())
    else:
        return None
    if problems:
        raise InputError(problems)
    short = list(dict.fromkeys(line for line in found if 2 < len(line.split()) <= LONGEST))[:most]
    return {"test": short[0::5], "dev": short[1::5], "train": [line for n, line in enumerate(short) if n % 5 > 1]}


if __name__ == "__main__":
    main()
