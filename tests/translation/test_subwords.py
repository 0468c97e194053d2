from __future__ import annotations

import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.subwords import SubwordConfig, Subwords
from tests.translation.conftest import LANGUAGES, say, sentences


def test_text_comes_back(subwords):
    lines = [say(each, language) for each in sentences(20, 1) for language in LANGUAGES]
    assert subwords.decode(subwords.encode(lines)) == lines


def test_the_same_text_gives_the_same_subwords(subwords):
    lines = [say(each, language) for each in sentences(200) for language in LANGUAGES]
    assert Subwords.train(lines, LANGUAGES, SubwordConfig(size=60)).sha256 == subwords.sha256


def test_text_cannot_spell_a_language_token(subwords):
    assert not set(subwords.encode(["<2fr> dea <mask>"])[0]) & {*subwords.tokens.values(), subwords.mask}


def test_tokens_of_ours_say_nothing(subwords):
    pieces = subwords.encode(["dea deb"])[0]
    assert subwords.decode([[subwords.tokens["fr"], *pieces, subwords.mask]]) == ["dea deb"]


def test_a_file_gives_them_back(subwords, tmp_path):
    subwords.save(tmp_path / "sentencepiece.model")
    assert Subwords.load(tmp_path / "sentencepiece.model").tokens == subwords.tokens


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "sentencepiece.model").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="damaged or no sentencepiece model"):
        Subwords.load(tmp_path / "sentencepiece.model")
    with pytest.raises(InputError, match="cannot be read"):
        Subwords.load(tmp_path / "missing")
