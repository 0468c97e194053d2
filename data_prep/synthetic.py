"""Made speech: espeak-ng speaks in any of its languages, in many voices; no corpus and no network are needed.

    python -m data_prep.synthetic --out data/synthetic [--language de --text sentences.txt] [--speakers 8]

The default is a small-vocabulary task of connected words, like digit strings and commands in English, digit strings in
any other language. Layout as for `fsdd`: `<speaker>/train|dev|pool|test`, `leave_out/<speaker>/train|dev|test`, and
here also `train|dev|test` of all speakers together; `lexicon.txt` in IPA phones, `phones.txt` with the phones of each
utterance. Of a speaker's utterances a quarter are `test`, a tenth `dev`, the others `train`; `pool` is train and dev.

The same arguments give the same bytes (with the same versions of espeak-ng and soxr). Numbers measured on made speech
say that a program works, not how well it does on people.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.command import corpus_parser, run
from data_prep.output import output_folder, write_splits, write_wav
from data_prep.splits import SOURCE_PARTS, leave_one_out
from speechnlp_tl.atomic import write_text
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.espeak import Espeak, EspeakVoice
from speechnlp_tl.speech.lexicon import Lexicon, Pronunciation

_DIGITS = ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]
_ACTIONS = ["OPEN", "CLOSE", "START", "STOP", "CHECK"]
_THINGS = ["DOOR", "WINDOW", "LIGHT", "RADIO", "MUSIC", "HEATER"]
_SHORTEST, _LONGEST = 3, 6

# Voice variants that sound like people; robots, whispers and the like are left out.
_WOMEN = ("f1", "f2", "f3", "f4", "f5", "Annie", "belinda", "linda", "steph", "Alicia", "aunty")
_MEN = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "adam", "Alex", "Andy", "Michael", "robert")
_NOISE = 8.0
"""Root mean square of the noise added, in 16-bit steps: real rooms are not silent, and log energies stay finite."""


@dataclass(frozen=True)
class Speaker:
    """A made speaker: a voice under a name."""

    id: str
    gender: str
    voice: EspeakVoice


def prepare(
    out: Path,
    language: str = "en-us",
    speakers: int = 8,
    utterances: int = 40,
    seed: int = 0,
    sentences: Sequence[str] | None = None,
    rate: int = 16000,
    prefix: str = "",
    skip: int = 0,
) -> dict[str, Path]:
    """Make a corpus.

    Args:
        out: where to; a folder that this function wrote earlier is replaced.
        language: one of espeak-ng's codes ('en-us', 'de', 'cmn', ...).
        speakers: how many; the first ones stay as they are when there are more.
        utterances: how many each speaker says, at least 4.
        seed: chooses voices, sentences and noise.
        sentences: what may be said, one text each; None takes the small grammar. Every speaker draws them in an order
            of their own, and again from the start when there are too few.
        rate: Hz.
        prefix: before the speakers' names: where corpora of several languages are trained on together, utterances
            need names of their own.
        skip: speakers that come before the first one: what one corpus leaves to another.

    Returns:
        Split -> data directory.

    Raises:
        InputError: `espeakng-loader` is not installed, espeak-ng lacks the language, a word has no pronunciation, an
            argument is out of bounds, or `out` holds something else.
    """
    problems = [
        Problem(f"{name} is {value}; at least {least} wanted")
        for name, value, least in (
            ("speakers", speakers, 1),
            ("utterances", utterances, 4),
            ("rate", rate, 4000),
            ("skip", skip, 0),
        )
        if value < least
    ]
    if problems:
        raise InputError(problems)
    espeak = Espeak(language)
    texts = None if sentences is None else [text for text in map(_plain, sentences) if text]
    if texts is not None and not texts:
        raise InputError("no sentence has a word")
    said = {
        speaker: _draw_texts(espeak.language, texts, utterances, seed, speaker.id)
        for speaker in make_speakers(skip + speakers, seed, prefix)[skip:]
    }
    lexicon, phones = _pronounce(espeak, sorted({text for drawn in said.values() for text in drawn}))
    parameters = {"language": espeak.language, "speakers": speakers, "utterances": utterances, "seed": seed}
    parameters |= {name: value for name, value in (("prefix", prefix), ("skip", skip)) if value}
    with output_folder(out, "synthetic", {**parameters, "rate": rate, "grammar": sentences is None}) as folder:
        spoken = {s.id: _speak(espeak, s, drawn, seed, rate, folder, out.resolve()) for s, drawn in said.items()}
        lexicon.write(folder / "lexicon.txt")
        lines = [f"{u.id} {' '.join(phones[u.text or ''])}\n" for own in spoken.values() for u in own]
        write_text(folder / "phones.txt", "".join(lines))
        parts = {speaker: _part(own) for speaker, own in spoken.items()}
        everybody = {part: DataDir(u for own in parts.values() for u in own[part]) for part in SOURCE_PARTS}
        # the names that an4 and yesno use: one config fits them all
        main = {"train_main": everybody["train"], "train_dev": everybody["dev"]}
        return write_splits(folder, out, {**everybody, **main, **leave_one_out(parts)})


def make_speakers(count: int, seed: int, prefix: str = "") -> list[Speaker]:
    """Women and men in turn, with a voice variant, pitch, melody and speed each; `count` does not change the first."""
    order = {gender: list(names) for gender, names in (("f", _WOMEN), ("m", _MEN))}
    for gender, names in order.items():
        random.Random(f"{seed}-{gender}").shuffle(names)
    speakers = []
    for number in range(count):
        gender = "fm"[number % 2]
        name = f"s{number + 1:02d}"
        chance = random.Random(f"{seed}-{name}")
        voice = EspeakVoice(
            variant=order[gender][number // 2 % len(order[gender])],
            speed=chance.randint(130, 190),
            pitch=chance.randint(35, 65),
            pitch_range=chance.randint(30, 70),
        )
        speakers.append(Speaker(f"{prefix}{name}", gender, voice))
    return speakers


def make_sentence(chance: random.Random, english: bool = True) -> str:
    """One sentence of the small grammar: 3 to 6 digits, or in English a command about a thing and a digit or two."""
    digits = _DIGITS if english else [str(digit) for digit in range(10)]
    if not english or chance.random() < 0.6:
        return " ".join(chance.choice(digits) for _ in range(chance.randint(_SHORTEST, _LONGEST)))
    numbers = [chance.choice(digits) for _ in range(chance.randint(1, 2))]
    return " ".join([chance.choice(_ACTIONS), chance.choice(_THINGS), *numbers])


def _draw_texts(language: str, texts: Sequence[str] | None, count: int, seed: int, speaker: str) -> list[str]:
    chance = random.Random(f"{seed}-{speaker}-texts")
    if texts is None:
        return [make_sentence(chance, language.split("-")[0] == "en") for _ in range(count)]
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += chance.sample(texts, len(texts))
    return drawn[:count]


def _plain(text: str) -> str:
    """The words of `text` without the punctuation around them; marks inside a word (don't, e-mail) stay."""

    def is_edge(letter: str) -> bool:
        return unicodedata.category(letter)[0] in "PSZC"

    words = []
    for word in unicodedata.normalize("NFC", text).split():
        kept = [index for index, letter in enumerate(word) if not is_edge(letter)]
        if kept:
            words.append(word[kept[0] : kept[-1] + 1])
    return " ".join(words)


def _pronounce(espeak: Espeak, texts: Sequence[str]) -> tuple[Lexicon, dict[str, list[str]]]:
    """The lexicon of all words, spoken alone and, where espeak-ng keeps words apart, as they sound in the sentences;
    and text -> its phones."""
    entries: dict[str, list[Pronunciation]] = {}
    problems = []
    for word in sorted({word for text in texts for word in text.split()}):
        alone = tuple(espeak.phonemes(word))
        entries[word] = [alone]
        if not alone:
            problems.append(Problem(f"espeak-ng ({espeak.language}) says nothing for {word!r}"))
    if problems:
        raise InputError(problems)
    phones = {}
    for text in texts:
        words = espeak.phonemes_by_word(text)
        phones[text] = [phone for word in words for phone in word]
        if len(words) == len(text.split()):
            for word, spoken in zip(text.split(), words, strict=True):
                entries[word].append(spoken)
    return Lexicon(entries), phones


def _speak(
    espeak: Espeak, speaker: Speaker, texts: Sequence[str], seed: int, rate: int, folder: Path, out: Path
) -> list[Utterance]:
    """Audio into `folder`, named by the path it has once `folder` has become `out`."""
    import soxr

    rendered, espeak_rate = espeak.render(texts, speaker.voice)
    utterances = []
    for number, (text, samples) in enumerate(zip(texts, rendered, strict=True)):
        name = f"{speaker.id}-{number:04d}"
        resampled = soxr.resample(samples.astype(np.float64), espeak_rate, rate)
        noise = np.random.default_rng(list(f"{seed}-{name}".encode())).standard_normal(len(resampled))
        audio: npt.NDArray[np.int16] = np.clip(np.round(resampled + _NOISE * noise), -32768, 32767).astype(np.int16)
        file = Path("audio", speaker.id, f"{name}.wav")
        write_wav(folder / file, audio, rate)
        utterances.append(
            Utterance(
                id=name,
                speaker=speaker.id,
                audio=str(out / file),
                text=text,
                language=espeak.language,
                gender=speaker.gender,
                duration=len(audio) / rate,
            )
        )
    return utterances


def _part(utterances: list[Utterance]) -> dict[str, list[Utterance]]:
    """A speaker's `train`, `dev`, `test` and `pool`; each has at least one utterance."""
    test, dev = max(1, len(utterances) // 4), max(1, len(utterances) // 10)
    pool = utterances[test:]
    return {"test": utterances[:test], "dev": pool[:dev], "train": pool[dev:], "pool": pool}


def main() -> None:
    """The command line."""
    parser = corpus_parser(__doc__, corpus_dir=False)
    parser.add_argument("--language", default="en-us", help="espeak-ng's code of the language (default en-us)")
    parser.add_argument("--speakers", type=int, default=8, help="how many (default 8)")
    parser.add_argument("--utterances", type=int, default=40, help="how many each speaker says (default 40)")
    parser.add_argument("--seed", type=int, default=0, help="chooses voices, sentences and noise (default 0)")
    parser.add_argument("--text", type=Path, help="a text file, one sentence a line (default: the small grammar)")
    parser.add_argument("--prefix", default="", help="before the speakers' names, such as de- (default none)")
    parser.add_argument("--rate", type=int, default=16000, help="sampling rate in Hz (default 16000)")
    arguments = parser.parse_args()

    def work() -> dict[str, Path]:
        sentences = None if arguments.text is None else _read_sentences(arguments.text)
        return prepare(
            arguments.out,
            arguments.language,
            arguments.speakers,
            arguments.utterances,
            arguments.seed,
            sentences,
            arguments.rate,
            arguments.prefix,
        )

    run(work)


def _read_sentences(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read: {error}"
        raise InputError(Problem(what, file=path, remedy="give a text file in UTF-8, one sentence a line")) from error


if __name__ == "__main__":
    main()
