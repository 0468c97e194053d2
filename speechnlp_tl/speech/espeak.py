"""espeak-ng, the only binding to it: pronunciations in IPA and made speech in more than a hundred languages.

The library comes with the wheel `espeakng-loader` (GPL, therefore an optional extra that is loaded at run time).
What is done with pronunciations lives in `pronunciation.py`, the corpus of made speech in `data_prep/synthetic.py`.

espeak-ng keeps its state in global variables. Two consequences: it is called under one lock, and what it says
depends on everything it said before in the process (the flutter of the voice runs on). `Espeak.render` therefore
speaks in a process of its own, and only there is the same text in the same voice the same array, bit by bit.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speechnlp_tl.errors import InputError, Problem

__all__ = ["Espeak", "EspeakVoice", "languages", "phonemes", "variants"]

_SYNCHRONOUS, _DO_NOT_EXIT = 2, 0x8000
_UTF8, _IPA, _SEPARATOR = 1, 0x02, "_"
_SPEED, _PITCH, _PITCH_RANGE, _WORD_GAP = 1, 3, 4, 7
_STRESS, _LENGTH, _TIES = "ˈˌ", "ːˑ", "͜͡"
_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class EspeakVoice:
    """How one made speaker sounds, apart from the language.

    Args:
        variant: a voice variant (formants, roughness), one of `variants()`; empty for the language's own voice.
        speed: words per minute, 80 to 450.
        pitch: 0 to 100; 50 is the variant's own.
        pitch_range: 0 (monotone) to 100; 50 is the variant's own.
        word_gap: extra pause between words in units of 10 ms.
    """

    variant: str = ""
    speed: int = 160
    pitch: int = 50
    pitch_range: int = 50
    word_gap: int = 0

    def problems(self) -> list[Problem]:
        """What is out of bounds; an empty list when the voice can be spoken with."""
        bounds = {"speed": (80, 450), "pitch": (0, 100), "pitch_range": (0, 100), "word_gap": (0, 1000)}
        found = [
            Problem(f"{name} {getattr(self, name)} is outside {low} to {high}")
            for name, (low, high) in bounds.items()
            if not low <= getattr(self, name) <= high
        ]
        if self.variant and self.variant not in variants():
            found.append(Problem(f"unknown voice variant {self.variant!r}", remedy=f"take one of {variants()}"))
        return found


class _Voice(ctypes.Structure):
    """`espeak_VOICE` of speak_lib.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class _Engine:
    """The loaded library. One per process; every call holds the lock."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise InputError(
                Problem("espeak-ng is not installed", remedy="install it with 'pip install \"speechnlp_tl[espeak]\"'")
            ) from error
        self.data = Path(espeakng_loader.get_data_path())
        try:
            library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise InputError(Problem(f"espeak-ng cannot be loaded: {error}")) from error
        library.espeak_Initialize.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
        library.espeak_SetVoiceByName.argtypes = (ctypes.c_char_p,)
        library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        library.espeak_TextToPhonemes.argtypes = (ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int)
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        unsigned, pointer = ctypes.c_uint, ctypes.c_void_p
        library.espeak_Synth.argtypes = (
            *(ctypes.c_char_p, ctypes.c_size_t, unsigned, ctypes.c_int),
            *(unsigned, unsigned, pointer, pointer),
        )
        library.espeak_ng_SetRandSeed.argtypes = (ctypes.c_long,)
        self.library = library
        self.rate: int = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(self.data), _DO_NOT_EXIT)
        if self.rate <= 0:
            raise InputError(
                Problem(
                    "espeak-ng does not start from its data",
                    file=self.data,
                    remedy="reinstall espeakng-loader; if that folder's path is longer than 150 letters, move it",
                )
            )
        self.lock = threading.RLock()
        self._chunks: list[npt.NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._keep)  # held here: the library keeps only the address
        library.espeak_SetSynthCallback(self._callback)
        self.voices = self._list_voices()

    def _keep(self, samples: Any, count: int, events: Any) -> int:
        if count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0

    def _list_voices(self) -> dict[str, str]:
        """Language code -> voice file. A voice lists several codes, each after a byte that holds its priority.

        A few voices of the wheel have no dictionary, so they can say nothing: they are left out.
        """
        ranked: dict[str, tuple[int, str]] = {}
        listed = self.library.espeak_ListVoices(None)
        for index in itertools.count():
            if not listed[index]:
                break
            voice = listed[index].contents
            address, identifier = voice.languages, os.fsdecode(voice.identifier)
            if not self._has_dictionary(identifier):
                continue
            while (priority := ctypes.string_at(address, 1)[0]) != 0:
                code = ctypes.string_at(address + 1)
                address += len(code) + 2
                name = code.decode("utf-8").lower()
                if name != "variant" and (name not in ranked or priority < ranked[name][0]):
                    ranked[name] = (priority, Path(identifier).name)
        return {name: file for name, (_, file) in sorted(ranked.items())}

    def _has_dictionary(self, identifier: str) -> bool:
        definition = (self.data / "lang" / identifier).read_text(encoding="utf-8", errors="replace")
        named = re.search(r"^dictionary\s+(\w+)", definition, re.MULTILINE)
        named = named or re.search(r"^language\s+(\w+)", definition, re.MULTILINE)
        return named is not None and (self.data / f"{named[1]}_dict").is_file()

    def select(self, language: str, variant: str = "") -> None:
        name = self.voices[language] + (f"+{variant}" if variant else "")
        if self.library.espeak_SetVoiceByName(name.encode("utf-8")) != 0:
            raise InputError(Problem(f"espeak-ng cannot load its voice {name!r}", file=self.data))

    def speak(self, text: str, language: str, voice: EspeakVoice) -> npt.NDArray[np.int16]:
        with self.lock:
            self.select(language, voice.variant)
            for parameter, value in (
                (_SPEED, voice.speed),
                (_PITCH, voice.pitch),
                (_PITCH_RANGE, voice.pitch_range),
                (_WORD_GAP, voice.word_gap),
            ):
                self.library.espeak_SetParameter(parameter, value, 0)
            encoded = text.encode("utf-8") + b"\0"
            self._chunks.clear()
            if self.library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _UTF8, None, None) != 0:
                raise InputError(Problem(f"espeak-ng cannot speak {text!r}"))
            self.library.espeak_Synchronize()
            return np.concatenate(self._chunks) if self._chunks else np.zeros(0, dtype=np.int16)

    def transcribe(self, text: str, language: str) -> str:
        """IPA of `text` with '_' between the phones of a word and blanks between words."""
        with self.lock:
            self.select(language)
            rest, clauses = ctypes.c_char_p(text.encode("utf-8")), []
            while rest.value:
                spoken = self.library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA | ord(_SEPARATOR) << 8)
                clauses.append((spoken or b"").decode("utf-8", errors="replace"))
            return " ".join(clauses)


@functools.cache
def _engine() -> _Engine:
    return _Engine()


def languages() -> tuple[str, ...]:
    """Every language code that espeak-ng speaks, sorted, in lower case ('en-us', 'cmn', 'fr-fr', ...).

    Raises:
        InputError: `espeakng-loader` is not installed.
    """
    return tuple(_engine().voices)


@functools.cache
def variants() -> tuple[str, ...]:
    """Every voice variant for `EspeakVoice`, sorted ('f1', ..., 'm8', and named ones).

    Raises:
        InputError: `espeakng-loader` is not installed.
    """
    return tuple(sorted(path.name for path in (_engine().data / "voices" / "!v").glob("*")))


class Espeak:
    """One language of espeak-ng.

    Raises:
        InputError: `espeakng-loader` is not installed, or `language` is not one of `languages()`.
    """

    def __init__(self, language: str = "en-us") -> None:
        self.language = language.lower()
        known = languages()
        if self.language not in known:
            near = [code for code in known if code.split("-")[0] == self.language.split("-")[0]] or known
            raise InputError(
                Problem(f"espeak-ng has no language {language!r}", remedy=f"take one of {', '.join(near)}")
            )

    def phonemes(self, text: str, *, stress: bool = False, length: bool = False, tones: bool = False) -> list[str]:
        """IPA phones of `text`, without word boundaries.

        Affricates and diphthongs are one phone each, without tie bar ('tʃ', 'aɪ'); a vowel with r-colour is two
        ('ɑːɹ' gives 'ɑ', 'ɹ'; 'aɪɚ' gives 'aɪ', 'ɚ'), which keeps the inventory small. Words in all capitals are
        read as words, not spelled. Letters of a foreign script are read as espeak-ng names them.

        Args:
            text: words of the language.
            stress: keep 'ˈ' and 'ˌ' on the phone they stand before.
            length: keep 'ː', so that 'iː' and 'i' differ.
            tones: keep tone numbers and tone letters on their vowel.
        """
        words = self.phonemes_by_word(text, stress=stress, length=length, tones=tones)
        return [phone for word in words for phone in word]

    def phonemes_by_word(
        self, text: str, *, stress: bool = False, length: bool = False, tones: bool = False
    ) -> list[tuple[str, ...]]:
        """The phones of each word of `text`, in its context. Where espeak-ng runs words together ('of the'), they are
        one, so that there may be fewer than in the text. Arguments and splitting as `phonemes`."""
        spoken = _engine().transcribe(_readable(text), self.language)
        spoken = unicodedata.normalize("NFC", _LANGUAGE_SWITCH.sub("", spoken))
        dropped = _TIES + ("" if stress else _STRESS) + ("" if length else _LENGTH)
        words = []
        for word in spoken.split():
            phones: list[str] = []
            for unit in word.split(_SEPARATOR):
                kept = (letter for letter in unit if letter not in dropped and _is_phonetic(letter, tones))
                phones.extend(_split_r_colour("".join(kept)))
            if phones:
                words.append(tuple(phones))
        return words

    def synthesize(self, text: str, voice: EspeakVoice | None = None) -> tuple[npt.NDArray[np.int16], int]:
        """Speak `text`: samples (n,) and their rate in Hz. Fast, but what was said before shifts the voice's flutter:
        use `render` where the same bytes are wanted again.

        Raises:
            InputError: the voice is out of bounds, or the text cannot be spoken.
        """
        voice = voice or EspeakVoice()
        if problems := voice.problems():
            raise InputError(problems)
        return _engine().speak(_readable(text), self.language, voice), _engine().rate

    def render(self, texts: Sequence[str], voice: EspeakVoice) -> tuple[list[npt.NDArray[np.int16]], int]:
        """Speak `texts` one after the other in a process of its own: the same arguments give the same samples, and
        more texts at the end leave the first ones as they are.

        Returns:
            One array (n,) for each text, and their rate in Hz.

        Raises:
            InputError: the voice is out of bounds, or the text cannot be spoken.
        """
        if problems := voice.problems():
            raise InputError(problems)
        request = {"language": self.language, "voice": asdict(voice), "texts": [_readable(text) for text in texts]}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
        finished = subprocess.run(
            # not '-m speechnlp_tl.speech.espeak': with -m the module would exist twice, as __main__ and by name
            [sys.executable, "-c", "from speechnlp_tl.speech import espeak; espeak._worker()"],
            input=json.dumps(request).encode("utf-8"),
            capture_output=True,
            env=environment,
            check=False,
        )
        if finished.returncode != 0:
            said = finished.stderr.decode("utf-8", errors="replace").strip().splitlines() or ["no message"]
            raise InputError(Problem(f"espeak-ng failed with code {finished.returncode}: {said[-1]}"))
        arrays, position = [], 0
        while position < len(finished.stdout):
            (count,) = struct.unpack_from("<Q", finished.stdout, position)
            arrays.append(np.frombuffer(finished.stdout, dtype="<i2", count=count, offset=position + 8))
            position += 8 + 2 * count
        return arrays, _engine().rate


def phonemes(
    words: Iterable[str],
    language: str,
    *,
    stress: bool = False,
    length: bool = False,
    tones: bool = False,
) -> list[tuple[str, ...]]:
    """The IPA pronunciation of each word, spoken alone; an empty tuple where espeak-ng says nothing.

    Arguments, splitting and errors as `Espeak.phonemes`.
    """
    espeak = Espeak(language)
    return [tuple(espeak.phonemes(word, stress=stress, length=length, tones=tones)) for word in words]


def _readable(text: str) -> str:
    """`text` with words in all capitals in small letters, because espeak-ng spells some of them; 'A' is the letter."""
    words = text.replace("\0", " ").split()
    return " ".join(word.lower() if len(word) > 1 and word.isupper() else word for word in words)


def _is_phonetic(letter: str, tones: bool) -> bool:
    category = unicodedata.category(letter)
    return category[0] in "LM" or (tones and category in ("Nd", "Sk"))


def _split_r_colour(phone: str) -> list[str]:
    """['ɑ', 'ɹ'] for 'ɑɹ', ['aɪ', 'ɚ'] for 'aɪɚ'; a phone of one letter stays."""
    for tail in "ɹɚ":
        if len(phone.lstrip(_STRESS)) > 1 and phone.endswith(tail):
            return [phone.removesuffix(tail), tail]
    return [phone] if phone.strip(_STRESS) else []


def _worker() -> None:
    """Speak what standard input asks for (JSON); write each length (64-bit) and its samples (16-bit) to stdout."""
    request = json.load(sys.stdin)
    voice = EspeakVoice(**request["voice"])
    _engine().library.espeak_ng_SetRandSeed(1)  # otherwise breathy voices take their noise from the clock
    for text in request["texts"]:
        samples = _engine().speak(text, request["language"], voice)
        sys.stdout.buffer.write(struct.pack("<Q", len(samples)) + samples.astype("<i2").tobytes())
    sys.stdout.buffer.flush()
