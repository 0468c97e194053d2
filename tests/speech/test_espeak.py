from __future__ import annotations

import threading

import numpy as np
import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.espeak import Espeak, EspeakVoice, languages, phonemes, variants

pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")


@pytest.mark.parametrize(
    ("word", "language", "expected"),
    [
        ("church", "en-us", ("tʃ", "ɜ", "tʃ")),
        ("car", "en-us", ("k", "ɑ", "ɹ")),
        ("fire", "en-us", ("f", "aɪ", "ɚ")),
        ("FIVE", "en-us", ("f", "aɪ", "v")),
        ("A", "en-us", ("eɪ",)),
        ("Pfennig", "de", ("pf", "ɛ", "n", "ɪ", "ç")),
        ("bonjour", "fr-fr", ("b", "ɔ̃", "ʒ", "u", "ʁ")),
    ],
)
def test_words_fall_into_the_phones_of_their_language(word: str, language: str, expected: tuple[str, ...]) -> None:
    assert phonemes([word], language) == [expected]


def test_stress_length_and_tones_are_kept_on_request() -> None:
    assert phonemes(["schöne"], "de", stress=True, length=True) == [("ʃ", "ˈøː", "n", "ə")]
    assert phonemes(["schöne"], "de") == [("ʃ", "ø", "n", "ə")]
    with_tones, without = (phonemes(["你"], "cmn", tones=tones)[0] for tones in (True, False))
    assert "".join(letter for letter in "".join(with_tones) if not letter.isdigit()) == "".join(without)
    assert with_tones != without


def test_every_word_gets_one_answer_even_when_nothing_is_said() -> None:
    assert [bool(word) for word in phonemes(["yes", "...", "don't", "", "e-mail"], "en-us")] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_foreign_words_carry_no_marks_of_the_language_switch() -> None:
    assert all(phone.isalpha() or "\u0303" in phone for phone in phonemes(["computer", "weekend"], "fr-fr")[0])


def test_word_boundaries_of_a_sentence() -> None:
    assert Espeak("en-us").phonemes_by_word("TWO THREE") == [("t", "u"), ("θ", "ɹ", "i")]
    assert Espeak("en-us").phonemes("two three") == ["t", "u", "θ", "ɹ", "i"]


def test_every_listed_language_speaks() -> None:
    listed = languages()
    assert len(listed) > 100
    assert {"en-us", "de", "fr-fr", "cmn", "ar"} <= set(listed)
    for language in listed:
        assert Espeak(language).phonemes("a") is not None


def test_an_unknown_language_names_its_relatives() -> None:
    with pytest.raises(InputError, match="fr-be, fr-ch, fr-fr"):
        Espeak("fr-xx")


def test_a_voice_out_of_bounds_lists_all_its_problems() -> None:
    with pytest.raises(InputError) as error:
        Espeak("en-us").synthesize("yes", EspeakVoice("nobody", speed=5, pitch=101))
    assert len(error.value.problems) == 3


def test_variants_hold_women_and_men() -> None:
    assert {"f1", "f5", "m1", "m7"} <= set(variants())


def test_speech_is_longer_when_slower_and_silent_for_nothing() -> None:
    espeak = Espeak("en-us")
    fast, rate = espeak.synthesize("one two three four", EspeakVoice(speed=300))
    slow, _ = espeak.synthesize("one two three four", EspeakVoice(speed=100))
    assert fast.dtype == np.int16
    assert rate == 22050
    assert len(slow) > 1.5 * len(fast)
    assert np.abs(fast.astype(int)).max() > 5000


def test_render_gives_the_same_samples_whatever_was_said_before() -> None:
    espeak, voice = Espeak("en-us"), EspeakVoice("f2", pitch=60)
    first, rate = espeak.render(["one two", "three"], voice)
    espeak.synthesize("something else", EspeakVoice("m3"))
    again, _ = espeak.render(["one two", "three", "four"], voice)
    assert rate == 22050
    assert len(again) == 3
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=False))


def test_threads_do_not_mix_languages() -> None:
    wrong: list[str] = []

    def ask(language: str, expected: list[str]) -> None:
        for _ in range(50):
            if (answer := Espeak(language).phonemes("nature")) != expected:
                wrong.append(f"{language}: {answer}")

    expected = {language: Espeak(language).phonemes("nature") for language in ("en-us", "fr-fr", "de")}
    threads = [threading.Thread(target=ask, args=item) for item in expected.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
