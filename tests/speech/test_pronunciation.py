from collections.abc import Iterable

import pytest

from speechnlp_tl.speech.lexicon import Lexicon, Pronunciation
from speechnlp_tl.speech.pronunciation import ARPABET, IPA, complete, is_arpabet, to_arpabet, to_ipa

SPOKEN = {
    "MEASURE": ("m", "ˈɛ", "ʒ", "ɚ"),
    "HURRY": ("h", "ˈɜ", "ɹ", "i"),
    "LADDER": ("l", "ˈæ", "ɾ", "ɚ"),
    "WATER": ("w", "ˈɔ", "ɾ", "ɚ"),
    "LITTLE": ("l", "ˈɪ", "ɾ", "əl"),
    "CLICK": ("ǃ", "a"),
    "HM": (),
}
CMU = Lexicon({"HELLO": [("HH", "AH", "L", "OW")], "AM": [("AE", "M"), ("AH", "M")]})


@pytest.fixture(autouse=True)
def spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What espeak-ng says, without espeak-ng; `test_espeak_...` asks the real one."""

    def phonemes(words: Iterable[str], language: str, *, stress: bool = False) -> list[Pronunciation]:
        said = [SPOKEN.get(word, ("ʃ", "ˈø", "n")) for word in words]
        return said if stress else [tuple(phone.lstrip("ˈˌ") for phone in phones) for phones in said]

    monkeypatch.setattr("speechnlp_tl.speech.espeak.phonemes", phonemes)


def test_the_dictionary_comes_before_espeak() -> None:
    lexicon, unknown, guessed = complete(CMU, ["HELLO", "AM", "MEASURE", "HELLO"], "en-us")
    assert lexicon.words == ("AM", "HELLO", "MEASURE")
    assert lexicon.pronunciations("AM") == (("AE", "M"), ("AH", "M"))
    assert guessed == {"MEASURE": ("M", "EH", "ZH", "ER")}
    assert unknown == {}


def test_without_a_language_nothing_is_guessed() -> None:
    lexicon, unknown, guessed = complete(CMU, ["HELLO", "MEASURE"])
    assert lexicon.words == ("HELLO",)
    assert list(unknown) == ["MEASURE"]
    assert guessed == {}


def test_what_stays_unknown_is_listed_sorted_with_its_reason() -> None:
    words = ["HM", "CLICK", "<noise>", "--", "中文", "HELLO"]
    _, unknown, _ = complete(CMU, words, "en-us")
    assert list(unknown) == ["--", "<noise>", "CLICK", "HM", "中文"]
    assert "'ǃ'" in unknown["CLICK"]
    assert "says nothing" in unknown["HM"]
    assert "Latin" in unknown["中文"]
    assert "not a written word" in unknown["<noise>"]


def test_pronunciations_with_phones_the_model_lacks_are_not_used() -> None:
    lexicon, unknown, guessed = complete(
        CMU.merge(Lexicon({"OH": [("OW",)]})),
        ["AM", "OH", "MEASURE", "LADDER"],
        "en-us",
        allowed_phones=["AH", "M", "ER", "L", "AE", "D"],
    )
    assert lexicon.pronunciations("AM") == (("AE", "M"), ("AH", "M"))
    assert guessed == {"LADDER": ("L", "AE", "D", "ER")}
    assert unknown["OH"].endswith("does not know: OW")
    assert unknown["MEASURE"].endswith("does not know: EH ZH")


def test_arpabet_of_a_language_that_is_not_english_needs_a_map() -> None:
    _, unknown, _ = complete(CMU, ["SCHÖN"], "de")
    assert "phone_map" in unknown["SCHÖN"]
    phone_map = {"ʃ": ["SH"], "ø": ["ER"], "n": ["N"]}
    assert complete(CMU, ["SCHÖN"], "de", phone_map=phone_map).guessed == {"SCHÖN": ("SH", "ER", "N")}


def test_ipa_stays_ipa_where_the_dictionary_is_not_arpabet() -> None:
    empty = complete(Lexicon({}), ["schön"], "de")
    assert empty.guessed == {"schön": ("ʃ", "ø", "n")}
    german = Lexicon({"neu": [("n", "ɔø")]})
    assert complete(german, ["schön"], "de", allowed_phones=["n", "ɔø"]).unknown["schön"].endswith("know: ʃ ø")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("MEASURE", "M EH1 ZH ER0"),
        ("HURRY", "HH ER1 IY0"),
        ("LADDER", "L AE1 D ER0"),
        ("WATER", "W AO1 T ER0"),
        ("LITTLE", "L IH1 T AH0 L"),
    ],
)
def test_stress_follows_the_dictionary(word: str, expected: str) -> None:
    vowels = ["AE", "AH", "AO", "EH", "ER", "IH", "IY"]
    inventory = [vowel + digit for vowel in vowels for digit in "012"]
    assert " ".join(to_arpabet(SPOKEN[word], word, inventory)) == expected
    plain = "".join(letter for letter in expected if letter not in "012")
    assert " ".join(to_arpabet(SPOKEN[word], word)) == plain


def test_a_stress_the_dictionary_lacks_becomes_one_it_has() -> None:
    assert to_arpabet(SPOKEN["MEASURE"], "MEASURE", ["EH2", "ER1", "M"]) == ("M", "EH2", "ZH", "ER1")


def test_phone_sets_are_told_apart() -> None:
    assert is_arpabet(["AH0", "B", "CH"])
    assert is_arpabet(CMU.phones)
    assert not is_arpabet(["h", "aʊ", "s"])
    assert not is_arpabet([])
    assert len({phone for phones in ARPABET.values() for phone in phones}) == 39


def test_espeak_agrees_with_the_dictionary_on_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    monkeypatch.undo()
    known = {"SEVEN": "S EH V AH N", "THREE": "TH R IY", "CHURCH": "CH ER CH", "YESTERDAY": "Y EH S T ER D EY"}
    allowed = [phone for phones in ARPABET.values() for phone in phones]
    found = complete(Lexicon({}), known, "en-us", allowed_phones=allowed)
    assert {word: " ".join(phones) for word, phones in found.guessed.items()} == known
    assert found.unknown == {}


def test_arpabet_and_back() -> None:
    assert to_ipa(("HH", "AH0", "L", "OW1")) == ("h", "ʌ", "l", "oʊ")
    # every phone comes back through the map of espeak-ng's phones
    assert {phone: ARPABET[ipa] for phone, ipa in IPA.items()} == {phone: (phone,) for phone in IPA}
    assert len(set(IPA.values())) == len(IPA) == 39
    with pytest.raises(KeyError):
        to_ipa(("QQ",))
