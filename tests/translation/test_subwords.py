from __future__ import annotations

import shutil

import numpy as np
import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.subwords import COMMON, END, FILE, SubwordConfig, Subwords
from tests.translation.conftest import LANGUAGES, say, sentences, text

SMALL = SubwordConfig(size=40)


@pytest.fixture(scope="module")
def apart() -> Subwords:
    """A sentencepiece model of each language."""
    return Subwords.train(text(), SubwordConfig(size=40, joint=False))


def test_text_comes_back(subwords):
    lines = [say(each, language) for each in sentences(20, 1) for language in LANGUAGES]
    assert subwords.decode(subwords.encode(lines)) == lines


def test_text_that_sentencepiece_would_decode_comes_back_alike(subwords):
    lines = ["dea  deb ,frc", "  ena", "unheard ofé words", ""]
    processor = subwords.parts[0]._processor
    assert subwords.decode(subwords.encode(lines)) == [
        " ".join(each.replace("\u2047", " ").split()) for each in processor.decode(subwords.encode(lines))
    ]


def test_the_same_text_gives_the_same_subwords(subwords):
    assert Subwords.train(text(), SubwordConfig(size=60)).sha256 == subwords.sha256


def test_text_cannot_spell_a_language_token(subwords):
    assert not set(subwords.encode(["<2fr> dea <mask>"])[0]) & {*subwords.tokens.values(), subwords.mask}


def test_tokens_of_ours_say_nothing(subwords):
    pieces = subwords.encode(["dea deb"])[0]
    assert subwords.decode([[subwords.tokens["fr"], *pieces, subwords.mask, END]]) == ["dea deb"]


def test_languages_with_subwords_of_their_own_share_no_piece(apart):
    lines = {language: [say(each, language) for each in sentences(20, 1)] for language in LANGUAGES}
    used = {
        language: {piece for row in apart.encode(own, language) for piece in row} for language, own in lines.items()
    }
    assert not used["de"] & used["en"] | used["en"] & used["fr"]
    assert max(map(max, used.values())) < len(apart)
    for language, own in lines.items():
        assert apart.decode(apart.encode(own, language)) == own
    assert apart.languages == LANGUAGES
    assert len(set(apart.tokens.values())) == 3
    firsts = {piece for language, own in lines.items() for row in apart.encode(own, language) for piece in row[:1]}
    assert apart.begins_word[sorted(firsts)].all()


def test_their_language_has_to_be_said(apart, subwords):
    with pytest.raises(InputError, match=r"language of the lines is needed.*de, en, fr"):
        apart.encode(["dea"])
    for each in (apart, subwords):
        with pytest.raises(InputError, match="no language 'xx'"):
            each.encode(["dea"], "xx")


def test_a_language_is_added_behind_the_others(subwords):
    grown = subwords.grown(text(("cs",)), SMALL)
    lines = [say(each, "de") for each in sentences(20, 1)]
    assert grown.encode(lines, "de") == subwords.encode(lines)
    czech = [say(each, "cs") for each in sentences(20, 1)]
    assert min(piece for row in grown.encode(czech, "cs") for piece in row) >= len(subwords)
    assert grown.decode(grown.encode(czech, "cs")) == czech
    assert grown.languages == (*LANGUAGES, "cs")
    assert np.array_equal(grown.begins_word[: len(subwords)], subwords.begins_word)
    assert (grown.tokens["de"], grown.mask) == (subwords.tokens["de"], subwords.mask)
    assert grown.tokens["cs"] >= len(subwords)
    with pytest.raises(InputError, match="know the same language: de"):
        grown.grown(text(("de",)), SMALL)


def test_what_is_silent_in_a_language_is_what_it_never_writes(subwords, apart):
    grown = subwords.grown(text(("cs",)), SMALL)
    for each, language in ((subwords, "de"), (apart, "fr"), (grown, "cs"), (grown, "de")):
        written = {piece for row in each.encode([say(s, language) for s in sentences(50)], language) for piece in row}
        silent = set(each.silent(language))
        assert not silent & written
        assert silent >= {*each.tokens.values(), each.mask}
        own = next(part for part in each.parts if language in part.tokens)
        assert silent >= set(range(COMMON, len(each))) - set(own.own)


def test_a_folder_gives_them_back(subwords, apart, tmp_path):
    for number, each in enumerate((subwords, apart)):
        (tmp_path / str(number)).mkdir()
        each.save(tmp_path / str(number))
        loaded = Subwords.load(tmp_path / str(number))
        assert (loaded.tokens, loaded.sha256, len(loaded)) == (each.tokens, each.sha256, len(each))


def test_what_is_no_model_is_refused(apart, tmp_path):
    (tmp_path / FILE).write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"sentencepiece\.model: is damaged or no sentencepiece model"):
        Subwords.load(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        Subwords.load(tmp_path / "missing")
    apart.save(tmp_path)
    (tmp_path / "sentencepiece.2.model").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"sentencepiece\.2\.model: is damaged"):
        Subwords.load(tmp_path)
    shutil.copy(tmp_path / "sentencepiece.1.model", tmp_path / "sentencepiece.2.model")
    with pytest.raises(InputError, match="know the same language: en"):
        Subwords.load(tmp_path)
