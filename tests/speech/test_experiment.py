"""Training from one config: end to end, once per folder, on data that are checked first."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from speechnlp_tl.core.config import TrainConfig, dump_config
from speechnlp_tl.core.experiment_folder import DIGEST, check_same_data, is_claimed
from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.wer import score
from speechnlp_tl.speech.asr_task import AsrTask, SpeechBatch
from speechnlp_tl.speech.data_dir import DataDir, Utterance
from speechnlp_tl.speech.dataset import SpeechDataset
from speechnlp_tl.speech.experiment import (
    AsrExperiment,
    DataConfig,
    SecondPass,
    TuneConfig,
    build,
    data_digest,
    load_experiment,
    read_data,
    train,
    tuned,
)
from speechnlp_tl.speech.lexicon import Lexicon
from speechnlp_tl.speech.recogniser import Recogniser
from tests.tiny import TinyCorpus


@pytest.fixture
def config(tiny_corpus: TinyCorpus) -> AsrExperiment:
    """Three steps of training: enough to leave everything behind that a run leaves behind."""
    settings = TrainConfig(steps=3, device="cpu", tensorboard=False, metric="wer")
    return load_experiment(tiny_corpus.config).model_copy(update={"train": settings})


def changed(config: AsrExperiment, **sections: dict[str, Any]) -> AsrExperiment:
    updates = {name: getattr(config, name).model_copy(update=update) for name, update in sections.items()}
    return config.model_copy(update=updates)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_leaves_a_model_that_scores_what_the_run_reports(
    config: AsrExperiment, tiny_corpus: TinyCorpus, tmp_path: Path
) -> None:
    trained = train(config, tmp_path / "exp", quiet=True)
    assert trained.result is not None
    assert trained.result.steps == 3
    assert trained.model_dir == tmp_path / "exp" / "model"
    loaded = Recogniser.load(trained.model_dir)
    assert loaded.config == trained.recogniser.config
    dev = list(DataDir.read(tiny_corpus.dev))
    found = {name: hypothesis.words for name, hypothesis in loaded.transcribe(dev).items()}
    wer = score({utterance.id: utterance.words for utterance in dev}, found).wer
    assert wer == pytest.approx(trained.dev_wer)
    assert json.loads((tmp_path / "exp" / "dev.json").read_text())["wer"] == trained.dev_wer
    assert load_experiment(tmp_path / "exp" / "experiment.yaml") == config


def test_a_finished_run_is_loaded_and_not_run_again(config: AsrExperiment, tmp_path: Path) -> None:
    first = train(config, tmp_path / "exp", quiet=True)
    before = files_of(tmp_path / "exp")
    again = train(config, tmp_path / "exp", quiet=True)
    assert again.result is None
    assert again.dev_wer == first.dev_wer
    assert again.recogniser.config == first.recogniser.config
    weights, expected = again.recogniser.model.state_dict(), first.recogniser.model.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert files_of(tmp_path / "exp") == before


def test_the_same_config_gives_the_same_model(config: AsrExperiment, tmp_path: Path) -> None:
    for name in ("one", "two"):
        torch.manual_seed(len(name) + hash(name) % 7)
        train(config, tmp_path / name, quiet=True)
    assert files_of(tmp_path / "one" / "model") == files_of(tmp_path / "two" / "model")
    other = changed(config, train={"seed": 1})
    train(other, tmp_path / "three", quiet=True)
    assert files_of(tmp_path / "three" / "model") != files_of(tmp_path / "one" / "model")


def test_training_anneals_the_flat_start(config: AsrExperiment, tmp_path: Path) -> None:
    flat, annealed = (
        train(config.model_copy(update={"anneal": anneal}), tmp_path / str(anneal), quiet=True) for anneal in (0.0, 1.0)
    )
    heads = [each.recogniser.model.head().linear.weight for each in (flat, annealed)]
    assert not torch.equal(*heads)


def test_another_config_in_the_same_folder_is_refused(config: AsrExperiment, tmp_path: Path) -> None:
    train(config, tmp_path / "exp", quiet=True)
    before = files_of(tmp_path / "exp")
    with pytest.raises(InputError, match="learning_rate"):
        train(changed(config, train={"learning_rate": 0.5}), tmp_path / "exp", quiet=True)
    assert files_of(tmp_path / "exp") == before


@pytest.mark.parametrize("is_file", [False, True])
def test_an_output_that_holds_something_else_is_refused(config: AsrExperiment, tmp_path: Path, is_file: bool) -> None:
    if is_file:
        (tmp_path / "exp").write_text("mine")
    else:
        (tmp_path / "exp").mkdir()
        (tmp_path / "exp" / "diary.txt").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(InputError, match="something else"):
        train(config, tmp_path / "exp", quiet=True)
    assert files_of(tmp_path) == before


def test_every_word_without_pronunciation_is_listed_and_nothing_is_written(
    config: AsrExperiment, tiny_corpus: TinyCorpus, tmp_path: Path
) -> None:
    Lexicon.read(tiny_corpus.root / "lexicon.txt").subset(["asi", "isu", "usa", "sam"]).write(tmp_path / "small.txt")
    with pytest.raises(InputError) as raised:
        train(changed(config, data={"lexicon": tmp_path / "small.txt"}), tmp_path / "exp", quiet=True)
    assert [(problem.what.split()[1], problem.file) for problem in raised.value.problems] == [
        ("aim", tmp_path / "small.txt"),
        ("mui", tmp_path / "small.txt"),
    ]
    assert not (tmp_path / "exp").exists()


def test_dev_speakers_are_held_out_of_train(tiny_corpus: TinyCorpus) -> None:
    config = DataConfig(train=tiny_corpus.train, dev_share=0.34)
    training, dev = read_data(config)
    everything = list(DataDir.read(tiny_corpus.train))
    speakers, held_out = ({utterance.speaker for utterance in part} for part in (training, dev))
    assert not speakers & held_out
    assert len(held_out) == 2
    assert sorted(training + dev, key=lambda utterance: utterance.id) == everything
    assert read_data(config) == (training, dev)


def test_dev_data_given_are_taken_whole_and_none_can_be_asked_for(tiny_corpus: TinyCorpus) -> None:
    everything = list(DataDir.read(tiny_corpus.train))
    given = read_data(DataConfig(train=tiny_corpus.train, dev=tiny_corpus.dev))
    assert given == (everything, list(DataDir.read(tiny_corpus.dev)))
    assert read_data(DataConfig(train=tiny_corpus.train, dev_share=0)) == (everything, [])


def without_text(source: Path, target: Path) -> list[str]:
    """Copy a data directory without its transcripts. Returns the names of its utterances."""
    bare = [Utterance(one.id, one.speaker, one.audio) for one in DataDir.read(source)]
    DataDir(bare).write(target)
    return [one.id for one in bare]


def test_utterances_without_transcript_are_all_listed_with_their_folder(
    tiny_corpus: TinyCorpus, tmp_path: Path
) -> None:
    train_ids = without_text(tiny_corpus.adaptation, tmp_path / "train")
    dev_ids = without_text(tiny_corpus.dev, tmp_path / "dev")
    with pytest.raises(InputError) as raised:
        read_data(DataConfig(train=tmp_path / "train", dev=tmp_path / "dev"))
    named = {(problem.what.split()[1], problem.file) for problem in raised.value.problems}
    expected = {(name, tmp_path / "train") for name in train_ids} | {(name, tmp_path / "dev") for name in dev_ids}
    assert named == expected


def test_a_recogniser_knows_the_words_of_train_and_dev_and_counts_those_of_train(
    config: AsrExperiment, tiny_corpus: TinyCorpus
) -> None:
    everything = list(DataDir.read(tiny_corpus.train))
    training = [utterance for utterance in everything if "mui" not in utterance.words]
    dev = [utterance for utterance in everything if "mui" in utterance.words]
    recogniser = build(config, training, dev)
    assert set(recogniser.lexicon) == {word for utterance in everything for word in utterance.words}
    assert recogniser.config.phones == sorted(recogniser.config.phones)
    assert recogniser.topology.num_pdfs == 1 + 2 * 5
    weights = recogniser.model.state_dict()
    torch.rand(9)
    again = build(config, training, dev).model.state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights), "weights depend on the seed alone"


def test_tuning_takes_the_search_weights_with_the_fewest_errors_on_dev(
    tiny_recogniser: Recogniser, tiny_corpus: TinyCorpus
) -> None:
    # the new speaker's recordings: hard enough that the search weights matter
    dev = SpeechDataset(list(DataDir.read(tiny_corpus.adaptation)), tiny_recogniser.config.features)
    grid = TuneConfig(lm_scales=[0.2, 1.0, 20.0], insertion_penalties=[-20.0, 0.0, 20.0])
    found, wer = tuned(tiny_recogniser, dev, grid)
    references = {utterance.id: utterance.words for utterance in dev.utterances}

    def error(lm_scale: float, penalty: float) -> float:
        transcripts = tiny_recogniser.with_decoding(lm_scale, penalty).transcribe(dev)
        return score(references, {name: hypothesis.words for name, hypothesis in transcripts.items()}).wer

    errors = {
        (scale, penalty): error(scale, penalty) for scale in grid.lm_scales for penalty in grid.insertion_penalties
    }
    chosen = found.config.decode.lm_scale, found.config.decode.insertion_penalty
    assert max(errors.values()) > min(errors.values())
    assert errors[chosen] == pytest.approx(min(errors.values())) == pytest.approx(wer)
    assert found.model is tiny_recogniser.model
    untouched, same = tuned(tiny_recogniser, dev, None)
    assert untouched.config == tiny_recogniser.config
    decode = tiny_recogniser.config.decode
    assert same == pytest.approx(error(decode.lm_scale, decode.insertion_penalty))
    assert tuned(tiny_recogniser, SpeechDataset([], tiny_recogniser.config.features), grid) == (tiny_recogniser, None)


def test_without_dev_data_the_last_weights_are_kept(config: AsrExperiment, tmp_path: Path) -> None:
    alone = changed(config, data={"dev": None, "dev_share": 0.0}, train={"patience": 2})
    trained = train(alone, tmp_path / "exp", quiet=True)
    assert trained.dev_wer is None
    assert not (tmp_path / "exp" / "dev.json").exists()
    assert Recogniser.load(trained.model_dir).config == trained.recogniser.config


def test_a_second_pass_trains_on_from_the_first_on_its_alignments(
    config: AsrExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_on: list[bool] = []

    def load(self: AsrTask, rows: list[int], epoch: int) -> SpeechBatch:
        batch = plain_load(self, rows, epoch)
        trained_on.append(batch.alignment is not None)
        return batch

    plain_load = AsrTask.load
    monkeypatch.setattr(AsrTask, "load", load)
    # without a metric the last weights count, whatever they are worth
    first = changed(config, train={"metric": None})
    both = first.model_copy(update={"second_pass": SecondPass(epochs=1)})
    once, twice = train(first, tmp_path / "one", quiet=True), train(both, tmp_path / "two", quiet=True)
    assert (tmp_path / "two" / "second_pass" / "checkpoints").is_dir()
    before, after = once.recogniser.model.state_dict(), twice.recogniser.model.state_dict()
    moved = [(after[name].float() - before[name].float()).abs().max().item() for name in before]
    assert max(moved) > 0
    assert trained_on[:6] == [False] * 6, "three steps of each first pass"
    assert all(trained_on[6:])
    assert len(trained_on) > 6
    trained = [name for name in before if name.endswith("weight")]
    assert all((after[name] - before[name]).abs().max() < 0.1 for name in trained), "not a new start"
    again = train(both, tmp_path / "two", quiet=True)
    assert again.result is None


def test_an_experiment_notices_that_its_data_were_made_anew(tmp_path: Path):
    for name in ("train", "dev"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text("a one\n", encoding="utf-8")
    data = DataConfig(train=tmp_path / "train", dev=tmp_path / "dev")
    before = data_digest(data)
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / DIGEST).write_text(before + "\n", encoding="utf-8")
    check_same_data(tmp_path / "exp", data_digest(data))
    (tmp_path / "dev" / "text").write_text("a two\n", encoding="utf-8")
    assert data_digest(data) != before
    with pytest.raises(InputError, match="begun with other data"):
        check_same_data(tmp_path / "exp", data_digest(data))


def test_an_experiment_goes_on_with_other_workers_but_not_with_another_learning_rate(tmp_path: Path):
    config = AsrExperiment(data=DataConfig(train=tmp_path), train=TrainConfig(epochs=2))
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "experiment.yaml").write_text(dump_config(config), encoding="utf-8")
    assert is_claimed(tmp_path / "exp", config)
    config.train.workers = 2
    assert is_claimed(tmp_path / "exp", config)
    config.train.learning_rate = 0.5
    with pytest.raises(InputError, match="another config"):
        is_claimed(tmp_path / "exp", config)
