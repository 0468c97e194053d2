"""Model directories: what was saved is what is loaded, and what does not belong together is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.data_dir import Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.recogniser import FILES, Recogniser

MakeRecogniser = Callable[..., Recogniser]


@pytest.fixture
def recogniser(make_recogniser: MakeRecogniser) -> Recogniser:
    made = make_recogniser(encoder={"norm": "batch"}, decode={"lm_scale": 0.7, "insertion_penalty": -0.5})
    with torch.no_grad():  # as if it had been trained
        for name, buffer in made.model.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=torch.Generator().manual_seed(len(name))))
        head = made.model.head()
        head.prior.div_(head.prior.sum())
    return made


@pytest.fixture
def model_dir(recogniser: Recogniser, tmp_path: Path) -> Path:
    recogniser.save(tmp_path / "model")
    return tmp_path / "model"


def understood(recogniser: Recogniser, dataset: SpeechDataset) -> dict[str, tuple[list[str], float, object]]:
    """Words, score and times of each hypothesis; not its confidence, which may not have been asked for."""
    return {name: (found.words, found.score, found.times) for name, found in recogniser.transcribe(dataset).items()}


def test_a_saved_model_loads_as_what_it_was(
    recogniser: Recogniser, model_dir: Path, utterances: list[Utterance]
) -> None:
    loaded = Recogniser.load(model_dir)
    assert loaded.config == recogniser.config
    assert loaded.lexicon == recogniser.lexicon
    assert not loaded.model.training
    expected, found = recogniser.model.state_dict(), loaded.model.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    dataset = SpeechDataset(utterances[:5], recogniser.config.features)
    scores = dict(recogniser.scores(dataset))
    for name, again in loaded.scores(dataset):
        np.testing.assert_array_equal(again, scores[name])
    assert understood(loaded, dataset) == understood(recogniser, dataset)


def test_a_model_saved_again_is_the_same_to_the_byte(model_dir: Path, tmp_path: Path) -> None:
    Recogniser.load(model_dir).save(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (model_dir / name).read_bytes(), name


def test_model_directories_hold_no_pickle(model_dir: Path) -> None:
    assert {path.name for path in model_dir.iterdir()} == {*FILES, "README.md"}
    assert set(load_file(model_dir / "model.safetensors")) >= {"heads.default.prior"}


def test_every_missing_file_is_named_at_once(model_dir: Path) -> None:
    for name in FILES:
        (model_dir / name).unlink()
    with pytest.raises(InputError) as raised:
        Recogniser.load(model_dir)
    assert all(any(name in str(problem) for problem in raised.value.problems) for name in FILES)
    assert len(raised.value.problems) == len(FILES)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scramble(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00garbage\n" + path.read_bytes()[::-1])


LEGAL = ("lexicon.txt", truncate)
"""Half a lexicon is a lexicon."""


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name in FILES for damage in (truncate, empty, scramble) if (name, damage) != LEGAL],
)
def test_every_damaged_file_is_an_input_error_that_names_it(
    name: str, damage: Callable[[Path], None], model_dir: Path
) -> None:
    damage(model_dir / name)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        Recogniser.load(model_dir)


def test_weights_of_another_shape_are_listed_tensor_by_tensor(model_dir: Path) -> None:
    path = model_dir / "model.safetensors"
    weights = load_file(path)
    weights["heads.default.linear.bias"] = weights["heads.default.linear.bias"][:-1].clone()
    del weights["encoder.subsampling.convolution.bias"]
    weights["surplus"] = torch.zeros(2)
    save_file(weights, path)
    with pytest.raises(InputError) as raised:
        Recogniser.load(model_dir)
    named = "\n".join(str(problem) for problem in raised.value.problems)
    assert len(raised.value.problems) == 3
    for tensor in ("heads.default.linear.bias", "encoder.subsampling.convolution.bias", "surplus"):
        assert tensor in named


@pytest.mark.parametrize("change", ["config", "tokens"])
def test_states_numbered_in_another_way_are_refused(change: str, model_dir: Path) -> None:
    """Two phones changing places would leave every tensor's shape as it was, and recognise nonsense."""
    if change == "config":
        text = (model_dir / "config.yaml").read_text()
        assert "[A, I, M, S, U]" in text
        (model_dir / "config.yaml").write_text(text.replace("[A, I, M, S, U]", "[I, A, M, S, U]"))
    else:
        lines = (model_dir / "tokens.txt").read_text().splitlines(keepends=True)
        (model_dir / "tokens.txt").write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match=r"tokens\.txt"):
        Recogniser.load(model_dir)


def test_a_lexicon_with_phones_the_model_lacks_is_refused(model_dir: Path) -> None:
    with (model_dir / "lexicon.txt").open("a") as lexicon:
        lexicon.write("zoo Z U\n")
    with pytest.raises(InputError, match=r"\bZ\b"):
        Recogniser.load(model_dir)


def test_saving_onto_something_else_is_refused_and_leaves_it_alone(recogniser: Recogniser, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "diary.txt").write_text("mine")
    with pytest.raises(InputError):
        recogniser.save(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["diary.txt"]


@pytest.mark.parametrize("kind", ["tdnn", "conformer"])
def test_scores_do_not_depend_on_what_is_scored_together(
    kind: str, make_recogniser: MakeRecogniser, utterances: list[Utterance]
) -> None:
    recogniser = make_recogniser(encoder={"kind": kind, "norm": "batch", "dropout": 0.3})
    recogniser.model.train()
    some = utterances[::5]
    features = recogniser.config.features
    together = dict(recogniser.scores(SpeechDataset(some, features), budget_s=1e6))
    assert recogniser.model.training, "scoring leaves the mode as it was"
    assert set(together) == {utterance.id for utterance in some}
    for budget_s in (0.1, 5.0):
        for name, scores in recogniser.scores(SpeechDataset(some[::-1], features), budget_s=budget_s):
            np.testing.assert_allclose(scores, together[name], atol=1e-5)
    dataset = SpeechDataset(some, features)
    lengths = recogniser.model.output_lengths(torch.tensor(dataset.frames)).tolist()
    for utterance, length in zip(some, lengths, strict=True):
        alone = dict(recogniser.scores(SpeechDataset([utterance], features)))
        np.testing.assert_allclose(alone[utterance.id], together[utterance.id], atol=1e-5)
        assert together[utterance.id].shape == (length, recogniser.topology.num_pdfs)


def test_scores_are_log_posteriors_minus_the_scaled_log_prior(
    recogniser: Recogniser, utterances: list[Utterance]
) -> None:
    dataset = SpeechDataset(utterances[:1], recogniser.config.features)
    ((_, scores),) = recogniser.scores(dataset)
    recogniser.model.eval()
    with torch.no_grad():
        output = recogniser.model(dataset.plain(0).unsqueeze(0), torch.tensor([len(dataset.plain(0))]))
    posteriors = output.logits[0].double().softmax(-1).numpy()
    prior = recogniser.model.head().prior.double().numpy()
    scale = recogniser.config.hmm.prior_scale
    assert scale > 0
    np.testing.assert_allclose(scores, np.log(posteriors) - scale * np.log(prior), atol=1e-5)


def test_transcripts_come_in_the_order_of_the_utterances(recogniser: Recogniser, utterances: list[Utterance]) -> None:
    some = [utterances[place] for place in (7, 3, 11, 0)]
    found = recogniser.transcribe(some)
    assert list(found) == [utterance.id for utterance in some]
    assert all(word in recogniser.lexicon for hypothesis in found.values() for word in hypothesis.words)


def test_a_recording_shorter_than_one_frame_is_understood_as_nothing(recogniser: Recogniser, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "click.wav", np.full(80, 0.1), 8000)
    click = Utterance("click", "s", str(tmp_path / "click.wav"))
    assert recogniser.transcribe([click])["click"].words == []


def test_variants_share_what_does_not_change(recogniser: Recogniser, make_recogniser: MakeRecogniser) -> None:
    other = make_recogniser(seed=1).model
    assert recogniser.with_model(other).decoder is recogniser.decoder
    assert recogniser.with_model(other).model is other
    searching = recogniser.with_decoding(2.0, 1.0)
    assert searching.model is recogniser.model
    assert searching.decoder is not recogniser.decoder
    assert (searching.config.decode.lm_scale, searching.config.decode.insertion_penalty) == (2.0, 1.0)
    assert recogniser.config.decode.lm_scale == 0.7


def test_a_model_folder_works_after_it_was_moved(
    recogniser: Recogniser, model_dir: Path, tmp_path: Path, utterances: list[Utterance]
) -> None:
    shutil.move(model_dir, tmp_path / "elsewhere")
    dataset = SpeechDataset(utterances[:2], recogniser.config.features)
    assert understood(Recogniser.load(tmp_path / "elsewhere"), dataset) == understood(recogniser, dataset)
