"""Pronunciations for the words at hand: the dictionary's first, then what espeak-ng says, and what is still unknown.

espeak-ng speaks IPA. English dictionaries are mostly written in ARPAbet, so guesses for them are translated
(`ARPABET`); for any other phone set give a map of your own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from speechnlp_tl.speech.lexicon import Lexicon, Pronunciation

PhoneMap = Mapping[str, Sequence[str]]

_VOWELS = {
    # monophthongs
    "ɑ": "AA", "ɒ": "AA", "a": "AA", "æ": "AE", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɔ": "AO", "ɛ": "EH", "e": "EH",
    "ɜ": "ER", "ɚ": "ER", "ɝ": "ER", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "ʊ": "UH", "u": "UW", "o": "OW",
    # diphthongs
    "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY",
    # two sounds of ARPAbet
    "iə": "IY AH", "ɪə": "IH R", "eə": "EH R", "ʊə": "UH R", "aɪə": "AY AH", "aʊə": "AW AH",
    "əl": "AH L", "l̩": "AH L", "n̩": "AH N", "m̩": "AH M", "ɑ̃": "AA N", "ɔ̃": "AO N",
}  # fmt: skip
_CONSONANTS = {
    "b": "B", "tʃ": "CH", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "g": "G", "h": "HH", "dʒ": "JH", "k": "K", "x": "K",
    "l": "L", "ɫ": "L", "ɬ": "L", "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R", "s": "S", "ʃ": "SH",
    "t": "T", "ʔ": "T", "ɾ": "T", "θ": "TH", "v": "V", "w": "W", "ʍ": "W", "j": "Y", "z": "Z", "ʒ": "ZH",
}  # fmt: skip
ARPABET: PhoneMap = {ipa: tuple(arpabet.split()) for ipa, arpabet in {**_VOWELS, **_CONSONANTS}.items()}
"""espeak-ng's English IPA -> ARPAbet as the CMU dictionary writes it, without stress."""

IPA: Mapping[str, str] = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AY": "aɪ", "B": "b", "CH": "tʃ", "D": "d", "DH": "ð",
    "EH": "ɛ", "ER": "ɝ", "EY": "eɪ", "F": "f", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "i", "JH": "dʒ", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "ŋ", "OW": "oʊ", "OY": "ɔɪ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ",
    "T": "t", "TH": "θ", "UH": "ʊ", "UW": "u", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
"""ARPAbet's phones without stress -> IPA, one phone each."""

_ARPABET_VOWELS = frozenset(phone for ipa in _VOWELS for phone in ARPABET[ipa]) - {"R", "L", "N", "M"}
_ARPABET_PHONES = frozenset(phone for phones in ARPABET.values() for phone in phones)
_STRESS_DIGIT = {"ˈ": "1", "ˌ": "2"}
_NO_WORD = re.compile(r"[<\[({].*|[\W_]*")


class Completion(NamedTuple):
    """Pronunciations of the words asked for.

    Args:
        lexicon: the words asked for that have a pronunciation, and no others.
        unknown: word -> why it has none, sorted by word.
        guessed: word -> the pronunciation that espeak-ng gave it (they are in `lexicon` as well).
    """

    lexicon: Lexicon
    unknown: dict[str, str]
    guessed: dict[str, Pronunciation]


def complete(
    lexicon: Lexicon,
    words: Iterable[str],
    language: str | None = None,
    phone_map: PhoneMap | None = None,
    allowed_phones: Collection[str] | None = None,
) -> Completion:
    """Find pronunciations for `words`: in `lexicon`, then by espeak-ng.

    Args:
        lexicon: the dictionary; may be empty.
        words: what must be said.
        language: espeak-ng's code ('en-us', 'de', ...) for words the dictionary lacks; None guesses nothing.
        phone_map: IPA phone -> phones of the dictionary. By default English guesses are translated to ARPAbet when the
            dictionary (or allowed_phones) is written in it, with stress digits where it has them; else IPA stays.
        allowed_phones: the phones the acoustic model knows; pronunciations with others are not used.

    Raises:
        InputError: a word must be guessed, and espeak-ng is not installed or does not know the language.
    """
    wanted = sorted(set(words))
    allowed = None if allowed_phones is None else frozenset(allowed_phones)
    entries: dict[str, list[Pronunciation]] = {}
    unknown: dict[str, str] = {}
    for word in wanted:
        variants = lexicon.pronunciations(word) if word in lexicon else ()
        entries[word] = [variant for variant in variants if allowed is None or allowed.issuperset(variant)]
        if variants and not entries[word]:
            unknown[word] = _foreign(variants[0], allowed or frozenset(), "the dictionary's")
    guesses = [word for word in lexicon.missing(wanted) if not _NO_WORD.fullmatch(word)]
    for word in lexicon.missing(wanted):
        unknown[word] = "not in the dictionary" if word in guesses else "not in the dictionary and not a written word"
    guessed: dict[str, Pronunciation] = {}
    if language is not None and guesses:
        inventory = frozenset(lexicon.phones) | (allowed or frozenset())
        for word, (phones, reason) in _guess(guesses, language, phone_map, inventory).items():
            if not reason and allowed is not None and not allowed.issuperset(phones):
                reason = _foreign(phones, allowed, "espeak-ng's")
            if reason:
                unknown[word] = reason
            else:
                guessed[word] = phones
                del unknown[word]
    found = {word: variants for word, variants in entries.items() if variants}
    found.update({word: [phones] for word, phones in guessed.items()})
    return Completion(Lexicon(found), dict(sorted(unknown.items())), guessed)


def is_arpabet(phones: Iterable[str]) -> bool:
    """Whether the phones, of which some have two letters, are all ARPAbet's, with or without stress digits."""
    plain = {phone.rstrip("012") for phone in phones}
    return _ARPABET_PHONES.issuperset(plain) and any(len(phone) == 2 for phone in plain)


def to_ipa(phones: Sequence[str]) -> Pronunciation:
    """A pronunciation in ARPAbet, with or without stress, in IPA without; raises KeyError for an unknown phone."""
    return tuple(IPA[phone.rstrip("012")] for phone in phones)


def to_arpabet(ipa: Sequence[str], word: str, inventory: Collection[str] = ()) -> Pronunciation:
    """Translate English IPA, stress marks before their phone ('ˈɪ') or absent; raises KeyError for an unknown phone.

    The stress digit is the one marked where `inventory` has digits ('AH0'), dropped where it has none. A flap is T or,
    in a word written without t, D. R after ER is ER's own, as in the CMU dictionary ('hurry': HH ER IY).

    Args:
        word: as written.
        inventory: the phones of the dictionary the translation is for.
    """
    digits = {phone for phone in inventory if phone[-1:] in "012" and phone[:-1] in _ARPABET_VOWELS}
    phones: list[str] = []
    for symbol in ipa:
        sound = symbol.lstrip("ˈˌ")
        sound = sound.replace("ː", "") if sound not in ARPABET else sound
        translated = ("D",) if sound == "ɾ" and "t" not in word.lower() else ARPABET[sound]
        for position, phone in enumerate(translated):
            if phone == "R" and phones and phones[-1].rstrip("012") == "ER":
                continue
            if digits and phone in _ARPABET_VOWELS:
                marked = _STRESS_DIGIT.get(symbol[0], "0") if position == 0 else "0"
                choices = [phone + digit for digit in (marked, "1", "0", "2")]
                phone = next((choice for choice in choices if choice in digits), choices[0])
            phones.append(phone)
    return tuple(phones)


def _guess(
    words: list[str], language: str, phone_map: PhoneMap | None, inventory: frozenset[str]
) -> dict[str, tuple[Pronunciation, str]]:
    """word -> (phones, '') or ((), the reason why there are none)."""
    from speechnlp_tl.speech.espeak import phonemes  # loads a GPL library, wanted only when a word is missing

    arpabet = phone_map is None and is_arpabet(inventory)
    if arpabet and not language.lower().startswith("en"):
        reason = f"not in the dictionary, which is ARPAbet; give a phone_map for espeak-ng's '{language}'"
        return {word: ((), reason) for word in words}
    result: dict[str, tuple[Pronunciation, str]] = {}
    for word, ipa in zip(words, phonemes(words, language, stress=arpabet), strict=True):
        if language.lower().startswith("en") and not _is_latin(word):  # espeak-ng would say "Chinese letter"
            result[word] = ((), "not in the dictionary; not written in Latin letters")
            continue
        try:
            if arpabet:
                phones = to_arpabet(ipa, word, inventory)
            elif phone_map is not None:
                phones = tuple(phone for symbol in ipa for phone in phone_map[symbol])
            else:
                phones = ipa
        except KeyError as error:
            result[word] = ((), f"not in the dictionary; no translation of espeak-ng's phone '{error.args[0]}'")
            continue
        result[word] = (phones, "" if phones else "not in the dictionary; espeak-ng says nothing")
    return result


def _is_latin(word: str) -> bool:
    return all(unicodedata.name(letter, "").startswith("LATIN") for letter in word if letter.isalpha())


def _foreign(phones: Pronunciation, allowed: frozenset[str], whose: str) -> str:
    foreign = " ".join(dict.fromkeys(phone for phone in phones if phone not in allowed))
    return f"{whose} pronunciation '{' '.join(phones)}' uses phones the model does not know: {foreign}"
