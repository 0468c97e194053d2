"""`speechnlp-tl train`: one config in, a usable model out; continued, repeatable, and honest about what chose it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from speechnlp_tl.core.config import dump_config, load_config
from speechnlp_tl.speech import experiment
from speechnlp_tl.speech.asr_task import AsrTask
from speechnlp_tl.speech.data_dir import DataDir
from speechnlp_tl.speech.experiment import AsrExperiment, load_experiment, read_data
from speechnlp_tl.speech.models import load_recogniser
from speechnlp_tl.speech.ngram import estimate
from tests.tiny import TinyCorpus

ROOT = Path(__file__).parents[2]
BRIEF = ("--set", "train.epochs=1", "--set", "train.evaluate_every=1", "--quiet")


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_config_becomes_a_recogniser_that_works(tiny_experiment: Path, tiny_corpus: TinyCorpus):
    assert json.loads((tiny_experiment / "dev.json").read_text())["wer"] <= 5
    assert {"experiment.yaml", "metrics.jsonl", "checkpoints", "model", "dev.json"} <= {
        path.name for path in tiny_experiment.iterdir()
    }
    assert not list(tiny_experiment.rglob("*.tmp"))
    recogniser = load_recogniser(tiny_experiment)
    dev = list(DataDir.read(tiny_corpus.dev))
    found = recogniser.transcribe(dev)
    right = sum(found[utterance.id].words == utterance.words for utterance in dev)
    assert right >= 0.9 * len(dev)


def test_nothing_that_is_written_can_be_executed(tiny_experiment: Path):
    endings = {path.suffix for path in tiny_experiment.rglob("*") if path.is_file()}
    assert endings <= {".yaml", ".json", ".jsonl", ".safetensors", ".txt", ".arpa", ".md", ".sha256"}


def test_a_finished_training_is_not_repeated(run, tiny_corpus: TinyCorpus, tmp_path: Path):
    first = run("train", tiny_corpus.config, "--out", tmp_path / "exp", *BRIEF)
    assert first.code == 0, first.err
    assert f"{tmp_path / 'exp' / 'model'}: 8 steps" in first.out
    assert "% on the dev data" in first.out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "exp").rglob("*")}
    second = run("train", tiny_corpus.config, "--out", tmp_path / "exp", *BRIEF)
    assert second.code == 0
    assert "finished already" in second.out
    assert second.out.splitlines()[-1] == first.out.splitlines()[-1], "the WER is remembered"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "exp").rglob("*")} == before


class Killed(BaseException):
    """What no handler of the product knows."""


IN_TWO_PASSES = (
    *("--set", "train.epochs=2", "--set", "train.checkpoint_every=2", "--set", "second_pass.epochs=1"),
    "--quiet",
)


@pytest.fixture(scope="module")
def uninterrupted(tiny_corpus: TinyCorpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of two passes, 16 and 8 steps, that nothing disturbed."""
    out = tmp_path_factory.mktemp("uninterrupted") / "exp"
    experiment.train(load_experiment(tiny_corpus.config, IN_TWO_PASSES[1:-1:2]), out, quiet=True)
    return out


@pytest.mark.parametrize("when", [3, 11, 18])
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(
    run, tiny_corpus: TinyCorpus, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int
):
    steps = 0
    original = AsrTask.end_step

    def end_step(self, total):
        nonlocal steps
        steps += 1
        if steps == when:
            raise Killed
        original(self, total)

    with monkeypatch.context() as patched:
        patched.setattr(AsrTask, "end_step", end_step)
        with pytest.raises(Killed):
            run("train", tiny_corpus.config, "--out", tmp_path / "killed", *IN_TWO_PASSES)
    assert steps == when
    again = run("train", tiny_corpus.config, "--out", tmp_path / "killed", *IN_TWO_PASSES)
    assert again.code == 0, again.err
    assert equal(weights(uninterrupted), weights(tmp_path / "killed"))
    for name in ("config.yaml", "lm.arpa", "lexicon.txt"):
        assert (uninterrupted / "model" / name).read_bytes() == (tmp_path / "killed/model" / name).read_bytes()


def test_a_training_killed_before_it_had_written_its_config_begins_again(run, tiny_corpus: TinyCorpus, tmp_path: Path):
    out = tmp_path / "exp"
    out.mkdir()
    (out / "data.sha256").write_text("0" * 64)
    (out / ".experiment.yaml.123.tmp").write_text("kind: a")
    outcome = run("train", tiny_corpus.config, "--out", out, *BRIEF)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("name", ["metrics.jsonl", "dev.json"])
def test_a_damaged_record_is_named(run, tiny_experiment: Path, tiny_corpus: TinyCorpus, tmp_path: Path, name: str):
    out = tmp_path / "exp"
    shutil.copytree(tiny_experiment, out)
    (out / name).write_bytes(b"{}\n\0\0\0\n" if name == "metrics.jsonl" else b"{")
    if name == "metrics.jsonl":  # it is read again when a training goes on
        shutil.rmtree(out / "model")
    config = load_experiment(out / "experiment.yaml")
    (tmp_path / "config.yaml").write_text(dump_config(config))
    outcome = run("train", tmp_path / "config.yaml", "--out", out, "--quiet")
    assert outcome.code == 2, (outcome.out, outcome.err)
    assert f"{out / name}" in outcome.err
    assert "is damaged; remove" in outcome.err


def test_a_seed_decides_everything(run, tiny_corpus: TinyCorpus, tmp_path: Path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        torch.randn(3)
        seeded = (*BRIEF, "--set", f"train.seed={seed}")
        assert run("train", tiny_corpus.config, "--out", tmp_path / name, *seeded).code == 0
    assert equal(weights(tmp_path / "one"), weights(tmp_path / "again"))
    assert not equal(weights(tmp_path / "one"), weights(tmp_path / "other"))


def test_the_saved_experiment_holds_overrides_and_can_be_run(run, tiny_corpus: TinyCorpus, tmp_path: Path):
    assert run("train", tiny_corpus.config, "--out", tmp_path / "exp", *BRIEF).code == 0
    saved = tmp_path / "exp" / "experiment.yaml"
    assert load_config(saved, AsrExperiment) == load_experiment(tiny_corpus.config, BRIEF[1:-1:2])
    assert run("train", saved, "--out", tmp_path / "again", "--quiet").code == 0
    assert equal(weights(tmp_path / "exp"), weights(tmp_path / "again"))


def test_dev_speakers_are_held_out_of_training(tiny_corpus: TinyCorpus):
    config = load_experiment(tiny_corpus.config, ["data.dev=null", "data.dev_share=0.4"])
    training, dev = read_data(config.data)
    assert len(training) + len(dev) == 60
    assert {utterance.speaker for utterance in training}.isdisjoint({utterance.speaker for utterance in dev})
    assert len({utterance.speaker for utterance in dev}) == 2


def test_without_dev_data_the_last_weights_are_kept(run, tiny_corpus: TinyCorpus, tmp_path: Path):
    more = ("--set", "data.dev=null", "--set", "data.dev_share=0")
    outcome = run("train", tiny_corpus.config, "--out", tmp_path / "exp", *BRIEF, *more)
    assert outcome.code == 0, outcome.err
    assert "WER" not in outcome.out
    assert not (tmp_path / "exp" / "dev.json").exists()
    assert load_recogniser(tmp_path / "exp").config.decode.lm_scale == 1.0


def test_the_language_model_comes_from_training_transcripts_only(tiny_experiment: Path, tiny_corpus: TinyCorpus):
    recogniser = load_recogniser(tiny_experiment)
    sentences = [utterance.words for utterance in DataDir.read(tiny_corpus.train)]
    estimate(sentences, 1, recogniser.lexicon.words).write_arpa(tiny_experiment.parent / "expected.arpa")
    expected = (tiny_experiment.parent / "expected.arpa").read_bytes()
    assert (tiny_experiment / "model" / "lm.arpa").read_bytes() == expected


def test_search_weights_are_chosen_on_the_grid_by_dev_data(
    run, tiny_corpus: TinyCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tuned_on = []
    original = experiment.tuned

    def spy(recogniser, dev, grid):
        tuned_on.extend(utterance.id for utterance in dev.utterances)
        return original(recogniser, dev, grid)

    monkeypatch.setattr(experiment, "tuned", spy)
    grid = ("--set", "tune.lm_scales=[0.25]", "--set", "tune.insertion_penalties=[0.125]")
    assert run("train", tiny_corpus.config, "--out", tmp_path / "exp", *BRIEF, *grid).code == 0
    assert tuned_on == [utterance.id for utterance in DataDir.read(tiny_corpus.dev)]
    decode = load_recogniser(tmp_path / "exp").config.decode
    assert (decode.lm_scale, decode.insertion_penalty) == (0.25, 0.125)


def test_an_own_language_model_is_used_as_it_is(run, tiny_corpus: TinyCorpus, tmp_path: Path):
    estimate([["asi", "mui"], ["sam"]], 2, ("aim", "asi", "isu", "mui", "sam", "usa")).write_arpa(tmp_path / "own.arpa")
    own = ("--set", f"data.arpa={tmp_path / 'own.arpa'}")
    assert run("train", tiny_corpus.config, "--out", tmp_path / "exp", *BRIEF, *own).code == 0
    assert (tmp_path / "exp" / "model" / "lm.arpa").read_bytes() == (tmp_path / "own.arpa").read_bytes()


def test_words_that_no_lexicon_has_are_pronounced_when_a_language_is_named(
    run, tiny_corpus: TinyCorpus, tmp_path: Path
):
    pytest.importorskip("espeakng_loader")
    language = ("--set", "data.lexicon=null", "--set", "data.language=en-us", "--set", "hmm.states_per_phone=1")
    outcome = run("train", tiny_corpus.config, "--out", tmp_path / "exp", *BRIEF, *language)
    assert outcome.code == 0, outcome.err
    assert set(load_recogniser(tmp_path / "exp").lexicon.words) == {"aim", "asi", "isu", "mui", "sam", "usa"}


@pytest.mark.parametrize(
    "kind",
    [
        ["encoder.kind=conformer", "encoder.heads=2", "encoder.layers=2"],
        ["features.on_device=true"],
        ["encoder.norm=layer", "features.cmvn=speaker"],
        ["augment.speeds=[0.9,1.1]", "augment.time_masks=1", "augment.frequency_masks=1", "train.average=0.9"],
        ["train.workers=1", "features.variance=false", "train.accumulate=2"],
    ],
    ids=lambda kind: kind[0].split("=")[0],
)
def test_other_models_and_features_train_as_well(run, tiny_corpus: TinyCorpus, tmp_path: Path, kind: list[str]):
    settings = [part for one in kind for part in ("--set", one)]
    outcome = run("train", tiny_corpus.config, "--out", tmp_path / "exp", *BRIEF, *settings)
    assert outcome.code == 0, outcome.err
    found = load_recogniser(tmp_path / "exp").transcribe(list(DataDir.read(tiny_corpus.test))[:2])
    assert len(found) == 2


@pytest.mark.slow
def test_two_processes_train_one_model_together(tiny_corpus: TinyCorpus, tmp_path: Path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = ["-m", "speechnlp_tl.cli", "train", str(tiny_corpus.config), "--out", str(tmp_path / "exp"), *BRIEF]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    for said in ("8 steps", "finished already"):
        done = subprocess.run(
            [*launch, *command, "--set", "second_pass.epochs=1"],
            env=environment, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count(said) == 1, "only one process speaks"
    assert load_recogniser(tmp_path / "exp")


@pytest.mark.slow
def test_two_processes_reach_the_weights_of_one(run, tiny_corpus: TinyCorpus, tmp_path: Path):
    """Real utterances of unequal length, full-sum loss and running prior; the model without batch statistics."""
    settings = [*BRIEF, "--set", "encoder.norm=layer", "--set", "encoder.dropout=0"]
    assert run("train", tiny_corpus.config, "--out", tmp_path / "one", *settings).code == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = ["-m", "speechnlp_tl.cli", "train", str(tiny_corpus.config), "--out", str(tmp_path / "two"), *settings]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*launch, *command], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
