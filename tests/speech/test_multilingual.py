"""One model of several languages: what is shared, what is a language's own, and what adding or removing one changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.acoustic_model import ABSENT, AcousticModel
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.encoder import EncoderConfig
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.models import load_recogniser
from speechnlp_tl.speech.multilingual import MultilingualRecogniser
from speechnlp_tl.speech.recogniser import Recogniser
from tests.speech.two_languages import recognisers, words

FEATURES, LENGTHS = torch.randn(3, 40, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([40, 31, 22])


def outputs(model: AcousticModel, head: str) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(FEATURES, LENGTHS, head).logits
    return logits


def test_rows_of_a_batch_have_the_logits_of_their_own_heads() -> None:
    config = EncoderConfig(width=24, layers=3, input_kernel=5, dropout=0.0, norm="layer")
    model = AcousticModel(16, config, {"xa": 5, "xb": 9, "xc": 7}).eval()
    with torch.no_grad():
        mixed = model(FEATURES, LENGTHS, ["xb", "xa", "xb"]).logits
    assert mixed.shape[-1] == 9
    torch.testing.assert_close(mixed[[0, 2]], outputs(model, "xb")[[0, 2]])
    torch.testing.assert_close(mixed[1, :, :5], outputs(model, "xa")[1])
    assert (mixed[1, :, 5:] == ABSENT).all()
    assert mixed[1].softmax(-1)[:, 5:].sum() == 0


def test_other_heads_are_given_beside() -> None:
    config = EncoderConfig(width=24, layers=3, input_kernel=5, dropout=0.0, norm="layer")
    model = AcousticModel(16, config, {"xa": 5, "xb": 9}).eval()
    with torch.no_grad():
        output = model(FEATURES, LENGTHS, "xa", beside=["xb"])
    torch.testing.assert_close(output.beside["xb"], outputs(model, "xb"))


def test_priors_of_rows() -> None:
    config = EncoderConfig(width=24, layers=3, input_kernel=5, dropout=0.0, norm="layer")
    model = AcousticModel(16, config, {"xa": 2, "xb": 4})
    priors = model.log_prior(["xa", "xb"])
    assert priors.shape == (2, 1, 4)
    torch.testing.assert_close(priors[1, 0].exp(), torch.full((4,), 0.25))
    torch.testing.assert_close(priors[0, 0], torch.tensor([0.5, 0.5, 1.0, 1.0]).log())


@pytest.mark.parametrize("column", [None, 8])
def test_adding_a_language_leaves_the_others_bit_identical(lexicon: Lexicon, column: int | None) -> None:
    source = recognisers(lexicon)
    grown = source.with_language("xc", words(lexicon, "xc"), column=column)
    for name in ("xa", "xb"):
        assert torch.equal(outputs(source.model, name), outputs(grown.model, name))
    assert list(grown.languages) == ["xa", "xb", "xc"]
    assert list(source.languages) == ["xa", "xb"]
    assert outputs(grown.model, "xc").shape[-1] == grown.language("xc").topology.num_pdfs


def test_removing_and_renaming_leave_the_others_bit_identical(lexicon: Lexicon) -> None:
    source = recognisers(lexicon, ("xa", "xb", "xc"))
    less = source.without("xb")
    assert list(less.languages) == ["xa", "xc"]
    assert "xb" not in less.model.heads
    renamed = less.renamed("xc", "zz")
    assert list(renamed.languages) == ["xa", "zz"]
    assert list(renamed.model.heads) == ["xa", "zz"]
    assert torch.equal(outputs(renamed.model, "zz"), outputs(source.model, "xc"))
    assert torch.equal(outputs(renamed.model, "xa"), outputs(source.model, "xa"))
    assert renamed.language("zz").head == "zz"
    assert renamed.language("zz").lexicon == source.language("xc").lexicon


def test_columns_are_removed_from_the_last(lexicon: Lexicon) -> None:
    source = recognisers(lexicon, ("xa",))
    grown = source.with_language("xb", words(lexicon, "xb"), 1, 8).with_language("xc", words(lexicon, "xc"), 2, 8)
    with pytest.raises(InputError, match="xc read that of xb"):
        grown.without("xb")
    less = grown.without("xc")
    assert torch.equal(outputs(less.model, "xb"), outputs(grown.model, "xb"))
    moved = grown.renamed("xb", "yy")
    assert torch.equal(outputs(moved.model, "xc"), outputs(grown.model, "xc"))
    assert torch.equal(outputs(moved.model, "yy"), outputs(grown.model, "xb"))


def test_a_column_reads_the_columns_before_it(lexicon: Lexicon) -> None:
    grown = recognisers(lexicon, ("xa",)).with_language("xb", words(lexicon, "xb"), 1, 8)
    grown = grown.with_language("xc", words(lexicon, "xc"), 2, 8)
    for connection in grown.model.columns["xc"].laterals.connections:  # type: ignore[union-attr]
        torch.nn.init.normal_(connection.expand.weight, generator=torch.Generator().manual_seed(2))
    before = {name: outputs(grown.model, name) for name in grown.languages}
    with torch.no_grad():
        grown.model.columns["xb"].encoder.layers[0].convolution.weight += 1.0  # type: ignore[union-attr,index]
    changed = {name: not torch.equal(outputs(grown.model, name), before[name]) for name in grown.languages}
    assert changed == {"xa": False, "xb": True, "xc": True}


def test_states_are_not_borrowed_from_heads_that_read_columns(lexicon: Lexicon) -> None:
    source = recognisers(lexicon, ("xa",))
    beside = source.with_language("xb", words(lexicon, "xb"), 1, 8)
    with torch.no_grad():
        beside.model.head("xb").linear.weight += 3.0
    plain, grown = (each.with_language("xc", words(lexicon, "xc"), 2).model.head("xc") for each in (source, beside))
    assert torch.equal(plain.linear.weight, grown.linear.weight)


def test_a_column_reads_the_old_ones_and_hears_no_padding(lexicon: Lexicon) -> None:
    grown = recognisers(lexicon).with_language("xc", words(lexicon, "xc"), column=8)
    untouched = outputs(grown.model, "xc")
    column = grown.model.columns["xc"]
    for connection in column.laterals.connections:  # type: ignore[union-attr]
        torch.nn.init.normal_(connection.expand.weight, generator=torch.Generator().manual_seed(2))
        torch.nn.init.ones_(connection.expand.bias)
    together = outputs(grown.model, "xc")
    assert not torch.allclose(untouched, together)
    with torch.no_grad():
        alone = grown.model(FEATURES[2:, :22], LENGTHS[2:], "xc").logits
    torch.testing.assert_close(together[2:, : alone.shape[1]], alone)
    mixed = grown.model(FEATURES, LENGTHS, ["xa", "xc", "xc"]).logits
    torch.testing.assert_close(mixed[2:, :, : together.shape[-1]], together[2:])


@pytest.mark.parametrize("heads", ["separate", "shared", "both"])
def test_a_folder_reads_back(lexicon: Lexicon, tmp_path: Path, heads: str) -> None:
    made = recognisers(lexicon, heads=heads)  # type: ignore[arg-type]
    made.save(tmp_path / "model")
    read = MultilingualRecogniser.load(tmp_path / "model")
    assert read.config == made.config
    assert {name: tensor.tolist() for name, tensor in read.model.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in made.model.state_dict().items()
    }
    assert all(read.language(name).lexicon == made.language(name).lexicon for name in made.languages)


def test_a_language_with_a_column_reads_back(lexicon: Lexicon, tmp_path: Path) -> None:
    grown = recognisers(lexicon).with_language("xc", words(lexicon, "xc"), column=8)
    grown.save(tmp_path / "model")
    read = MultilingualRecogniser.load(tmp_path / "model")
    assert torch.equal(outputs(read.model, "xc"), outputs(grown.model, "xc"))
    with pytest.raises(InputError, match="column"):
        read.alone("xc")


@pytest.mark.parametrize("heads", ["separate", "shared", "both"])
def test_a_language_alone_hears_the_same(lexicon: Lexicon, utterances: list[Utterance], heads: str) -> None:
    made = recognisers(lexicon, heads=heads)  # type: ignore[arg-type]
    alone = made.alone("xb")
    own = made.language("xb")
    data = SpeechDataset(utterances[:3], made.config.features)
    for (name, ours), (_, theirs) in zip(alone.scores(data), own.scores(data), strict=True):
        assert (ours == theirs).all(), name
    assert set(alone.model.heads) == {"default"}


def test_a_language_alone_is_a_model_folder(lexicon: Lexicon, tmp_path: Path) -> None:
    recognisers(lexicon).alone("xa").save(tmp_path / "xa")
    assert isinstance(load_recogniser(tmp_path / "xa"), Recogniser)


def test_heads_of_separate_languages_differ_and_a_shared_one_is_one(lexicon: Lexicon) -> None:
    separate, shared, both = (recognisers(lexicon, heads=kind) for kind in ("separate", "shared", "both"))  # type: ignore[arg-type]
    assert set(separate.model.heads) == {"xa", "xb"}
    assert set(shared.model.heads) == {"ipa"}
    assert shared.language("xa").head == shared.language("xb").head == "ipa"
    assert set(both.model.heads) == {"xa", "xb", "ipa"}
    assert both.language("xa").head == "xa"
    together = {*separate.language("xa").config.phones, *separate.language("xb").config.phones}
    assert set(shared.language("xa").config.phones) == together == set(both.config.shared_phones or ())


def test_what_is_wrong_with_languages_is_told(lexicon: Lexicon) -> None:
    made = recognisers(lexicon)
    taken = [(name, "taken") for name in ("auto", "to", "training", "_modules")]
    for name, message in [("xa", "has a language xa already"), *taken, ("a.b", "letters")]:
        with pytest.raises(InputError, match=message):
            made.with_language(name, words(lexicon, "xc"))
    with pytest.raises(InputError, match=r"no language zz.*xa, xb"):
        made.language("zz")
    with pytest.raises(InputError, match="no language zz"):
        made.without("zz")
    with pytest.raises(InputError, match="has a language xb already"):
        made.renamed("xa", "xb")
    with pytest.raises(InputError, match="only language"):
        made.without("xa").without("xb")


@pytest.mark.parametrize("head", ["xb", "a.b", "training", ""])
def test_a_head_of_neither_the_language_nor_all_is_told(lexicon: Lexicon, tmp_path: Path, head: str) -> None:
    recognisers(lexicon).save(tmp_path / "model")
    config = tmp_path / "model" / "config.yaml"
    config.write_text(config.read_text().replace("head: xa", f"head: '{head}'"), encoding="utf-8")
    with pytest.raises(InputError, match="neither its own nor ipa"):
        MultilingualRecogniser.load(tmp_path / "model")


def test_missing_and_foreign_files_are_told(lexicon: Lexicon, tmp_path: Path) -> None:
    recognisers(lexicon).save(tmp_path / "model")
    (tmp_path / "model" / "languages" / "xa" / "lm.arpa").unlink()
    (tmp_path / "model" / "languages" / "xb" / "lexicon.txt").unlink()
    with pytest.raises(InputError) as told:
        MultilingualRecogniser.load(tmp_path / "model")
    assert [str(problem.what) for problem in told.value.problems] == [
        "has no languages/xa/lm.arpa, so it is no model",
        "has no languages/xb/lexicon.txt, so it is no model",
    ]
