"""A pretrained sequence-to-sequence model behind our numbering: the same logits, training, search and folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from speechnlp_tl.errors import InputError
from speechnlp_tl.translation.experiment import load_experiment, train
from speechnlp_tl.translation.inputs import decoder_start, encoder_input, padded
from speechnlp_tl.translation.pretrained import PretrainedConfig, PretrainedVocabulary, _renumbered, load_translator
from speechnlp_tl.translation.search import beam_search
from speechnlp_tl.translation.subwords import BEGIN, END, PAD, UNKNOWN
from speechnlp_tl.translation.translation_model import SearchConfig, load_translation_model
from tests.translation.conftest import LANGUAGES, say, sentences, text

pytest.importorskip("transformers")
TOKENS = {"de": "de_DE", "en": "en_XX", "fr": "fr_XX"}


def make_seq2seq(folder: Path) -> Path:
    """A random mBART of 16 units with a tokenizer of the tiny languages' words; special tokens where mBART has them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import MBartConfig, MBartForConditionalGeneration, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    words = sorted({word for lines in text().values() for line in lines for word in line.split()})
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(f"\u2581{word}" for word in words), *TOKENS.values(), "<mask>"]
    inner = Tokenizer(models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        mask_token="<mask>", additional_special_tokens=list(TOKENS.values()),
    )  # fmt: skip
    shape = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = MBartConfig(
        vocab_size=len(pieces) + 3, max_position_embeddings=130, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=2, forced_eos_token_id=None, init_std=0.5, **shape, **heads,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MBartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_seq2seq(tmp_path_factory.mktemp("mbart"))


@pytest.fixture(scope="module")
def loaded(folder):
    vocabulary, translator = load_translator(PretrainedConfig(name=str(folder), languages=TOKENS))
    return vocabulary, translator.eval()


def test_pieces_are_renumbered_and_text_comes_back(loaded):
    vocabulary, _ = loaded
    assert sorted(vocabulary.theirs.tolist()) == list(range(len(vocabulary)))
    assert vocabulary.theirs[[PAD, UNKNOWN, BEGIN, END]].tolist() == [1, 3, 0, 2]
    lines = [say(each, language) for each in sentences(20, 1) for language in LANGUAGES]
    pieces = vocabulary.encode(lines)
    assert vocabulary.decode(pieces) == lines
    assert vocabulary.encode([]) == []
    assert vocabulary.begins_word[[row[0] for row in pieces]].all()
    silent = set(vocabulary.silent("de"))
    assert not silent & {END, *(piece for row in pieces for piece in row)}
    assert silent >= {*vocabulary.tokens.values(), vocabulary.mask, PAD, UNKNOWN, BEGIN}
    # the model has three rows that no token uses
    assert silent >= set(range(len(vocabulary) - 3, len(vocabulary)))


def test_text_cannot_spell_a_special_token(loaded):
    vocabulary, _ = loaded
    pieces = set(vocabulary.encode(["dea </s> fr_XX <pad> <mask> deb"])[0])
    assert not pieces & {PAD, BEGIN, END, vocabulary.mask, *vocabulary.tokens.values()}


def test_a_number_that_two_places_want_goes_to_the_first():
    order = _renumbered(8, {0: 5, 3: 2, 1: None, 2: 5})
    assert (order[0], order[3]) == (5, 2)
    assert sorted(order.tolist()) == list(range(8))


def test_logits_are_the_models_own(loaded, folder):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    vocabulary, translator = loaded
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    known = AutoTokenizer.from_pretrained(folder).get_vocab()
    lines = ["dea deb dec", "ded"]
    source = padded([encoder_input(row, "de", "fr", vocabulary, "both") for row in vocabulary.encode(lines)])
    start = decoder_start("fr", vocabulary, "both")
    target = padded([[start, *row] for row in vocabulary.encode(["frc frb fra", "frd"])])
    theirs = [[known["de_DE"], *(known[f"\u2581{word}"] for word in line.split()), 2] for line in lines]
    theirs[1] += [1] * (len(theirs[0]) - len(theirs[1]))
    asked = [[2, known["fr_XX"], *(known[f"\u2581{word}"] for word in line.split())] for line in ("frc frb fra", "frd")]
    asked[1] += [1] * (len(asked[0]) - len(asked[1]))
    with torch.no_grad():
        ours = translator(source, target, torch.zeros(2, dtype=torch.int64)).logits
        expected = model(
            input_ids=torch.tensor(theirs), attention_mask=(torch.tensor(theirs) != 1).long(),
            decoder_input_ids=torch.tensor(asked),
        ).logits[:, 1:]  # fmt: skip
    torch.testing.assert_close(ours, expected[..., torch.from_numpy(vocabulary.theirs)])


@pytest.mark.parametrize("beam", [1, 3])
def test_search_with_its_cache_is_search_without(loaded, beam):
    vocabulary, translator = loaded
    rows = vocabulary.encode(["dea deb dec", "ded", "deh deg def dee"])
    source = padded([encoder_input(row, "de", "fr", vocabulary, "both") for row in rows])
    start, silent = decoder_start("fr", vocabulary, "both"), vocabulary.silent("fr")
    found = beam_search(translator, source, start, 2, beam, 1.0, [7] * 3, silent)
    for each, row in zip(found, source, strict=True):
        alone = row[row != PAD].unsqueeze(0)
        pieces = [*each.pieces, *([END] if len(each.pieces) < 7 else [])]
        target = torch.tensor([[start, *pieces[:-1]]])
        with torch.no_grad():
            log_p = translator(alone, target, torch.tensor([2])).logits[0].log_softmax(-1)
        expected = float(log_p[range(len(pieces)), pieces].sum())
        assert each.log_probability == pytest.approx(expected, abs=1e-3)
    assert [beam_search(translator, row[row != PAD].unsqueeze(0), start, 2, beam, 1.0, [7], silent)[0].pieces
            for row in source] == [each.pieces for each in found]  # fmt: skip


@pytest.fixture
def corpus_config(folder, tmp_path):
    """Corpora de-en and en-fr and a config that trains on them with all remedies."""
    files = {}
    for language, lines in text(count=60).items():
        files[language] = str(tmp_path / language)
        (tmp_path / language).write_text("".join(f"{line}\n" for line in lines))
    pairs = [{name: files[name] for name in pair} for pair in (("de", "en"), ("en", "fr"))]
    content = {
        "task": "translation", "data": {"train": pairs, "dev": pairs[:1]}, "denoising": 0.5, "similarity": 0.1,
        "back_translation": 0.2, "model": {"kind": "pretrained", "name": str(folder), "languages": TOKENS},
        "batch_tokens": 400, "train": {"steps": 8, "learning_rate": 1e-2, "tensorboard": False},
    }  # fmt: skip
    path = tmp_path / "conf.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_it_is_fine_tuned_saved_and_translates(folder, corpus_config, tmp_path):
    path = corpus_config
    before = load_translator(PretrainedConfig(name=str(folder), languages=TOKENS))[1].state_dict()
    trained = train(load_experiment(path), tmp_path / "exp", quiet=True)
    shutil.copytree(trained.model_dir, tmp_path / "moved")
    model = load_translation_model(tmp_path / "moved")
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.transformer.state_dict().items())
    assert model.config.trained == ["de-en", "en-de", "en-fr", "fr-en"]
    found = model.translate(["dea deb", "", "dec"], "fr", SearchConfig(beam=2), "de").lines
    assert (len(found), found[1]) == (3, "")
    assert model.encode(["dea deb"], "fr", "de").shape == (1, 16)
    with pytest.raises(InputError, match="the language of the lines is needed"):
        model.translate(["dea"], "fr")
    further = load_experiment(path, [f"model.name={tmp_path / 'moved' / 'pretrained'}"])
    again = train(further, tmp_path / "two", quiet=True)
    assert again.metrics["loss"] < trained.metrics["loss"]


def test_what_it_lacks_is_said(folder, tmp_path):
    with pytest.raises(InputError, match="no token 'xx_XX' for language 'xx'"):
        load_translator(PretrainedConfig(name=str(folder), languages={"xx": "xx_XX"}))
    content = {
        "task": "translation", "data": {"train": [{"de": "a", "cs": "b"}]}, "train": {"steps": 1},
        "model": {"kind": "pretrained", "name": str(folder), "languages": TOKENS},
    }  # fmt: skip
    (tmp_path / "conf.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="names no token for cs"):
        load_experiment(tmp_path / "conf.yaml")
    assert np.array_equal(np.sort(_renumbered(5, {0: None})), np.arange(5))


def test_a_model_that_is_told_languages_in_another_way_is_refused(folder, tmp_path):
    from transformers import AutoTokenizer, MarianConfig, MarianMTModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = MarianConfig(
        vocab_size=len(tokenizer), d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    MarianMTModel(config).save_pretrained(tmp_path / "marian")
    tokenizer.save_pretrained(tmp_path / "marian")
    languages = {"xa": "xa_XX", "xb": "xb_XX"}
    with pytest.raises(InputError, match="of kind marian, which is told the languages in another way"):
        load_translator(PretrainedConfig(name=str(tmp_path / "marian"), languages=languages))


def test_a_language_behind_the_sentence_is_refused(folder, tmp_path):
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    shutil.copytree(folder, tmp_path / "mbart")
    for template, refused in (("de_DE $A </s>", False), ("$A </s> de_DE", True)):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("</s>", "de_DE")]
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=special)
        tokenizer.save_pretrained(tmp_path / "mbart")
        config = PretrainedConfig(name=str(tmp_path / "mbart"), languages=TOKENS)
        if refused:
            with pytest.raises(InputError, match="is told the language behind the sentence"):
                load_translator(config)
        else:
            load_translator(config)


def test_languages_need_not_be_in_the_tokenizers_vocabulary(folder):
    from transformers import AutoTokenizer

    class Hidden:
        """As some tokenizers of M2M-100 are: `get_vocab` does not have what `convert_tokens_to_ids` knows."""

        def __init__(self):
            self.inner = AutoTokenizer.from_pretrained(folder)

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def __len__(self):
            return len(self.inner)

        def get_vocab(self):
            return {name: number for name, number in self.inner.get_vocab().items() if name not in TOKENS.values()}

    size = len(Hidden()) + 3
    config = PretrainedConfig(name=str(folder), languages=TOKENS)
    assert PretrainedVocabulary(Hidden(), config, size).tokens == load_translator(config)[0].tokens
    with pytest.raises(InputError, match="no token 'xx_XX' for language 'xx'"):
        PretrainedVocabulary(Hidden(), PretrainedConfig(name="x", languages={"xx": "xx_XX"}), size)


def test_it_translates_as_it_is(folder, corpus_config, tmp_path):
    section = yaml.safe_load(corpus_config.read_text())["model"]
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(section))
    model = load_translation_model(tmp_path / "model.yaml")
    assert model.config.trained == []
    assert model.config.max_length == 128
    lines = ["dea deb", "", "dec"]
    found = model.translate(lines, "fr", SearchConfig(beam=2), "de").lines
    arguments = ["translate", "--model", str(tmp_path / "model.yaml"), "--from", "de", "--to", "fr", "--beam", "2"]
    # a process of its own: transformers warns once, and on the error stream that it began with
    done = subprocess.run(
        [sys.executable, "-m", "speechnlp_tl.cli", *arguments],
        input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(f"{line}\n" for line in found)
    assert "deprecated" not in done.stderr
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(section | {"nam": "x"}))
    with pytest.raises(InputError, match="unknown key 'nam'"):
        load_translation_model(tmp_path / "model.yaml")


def test_sentences_that_positions_have_no_room_for_are_refused(corpus_config, tmp_path):
    experiment = load_experiment(corpus_config, ["data.max_length=129"])
    with pytest.raises(InputError, match=r"set data\.max_length to at most 128"):
        train(experiment, tmp_path / "exp", quiet=True)


def test_the_longest_sentence_fits(folder):
    _, translator = load_translator(PretrainedConfig(name=str(folder), languages=TOKENS))
    assert translator.longest == 128
    rows = torch.full((1, translator.longest + 2), 5)
    states = translator.encode(rows)
    logits = translator.decode(states, rows != PAD, rows[:, :-1], torch.zeros(1, dtype=torch.int64))
    assert bool(torch.isfinite(logits).all())


def test_a_saved_model_without_its_weights_is_told(corpus_config, tmp_path):
    train(load_experiment(corpus_config, ["train.steps=1"]), tmp_path / "exp", quiet=True)
    shutil.rmtree(tmp_path / "exp" / "model" / "pretrained")
    with pytest.raises(InputError, match="has no pretrained/, which holds the model"):
        load_translation_model(tmp_path / "exp")
