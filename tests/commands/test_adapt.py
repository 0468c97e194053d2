"""`speechnlp-tl adapt`: a model and a little speech in, a better model or an adapter out; the source stays as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.speech.adaptation_method import parse_method
from speechnlp_tl.speech.asr_task import AsrTask
from speechnlp_tl.speech.data_dir import DataDir
from tests.tiny import TinyCorpus


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def adapt(run, tiny_experiment: Path, tiny_corpus: TinyCorpus):
    """Adapt the tiny model to the new speaker, and hold that its folder did not change."""

    def command(out: Path, *more: object):
        before = tree(tiny_experiment)
        arguments = ("--model", tiny_experiment, "--data", tiny_corpus.adaptation, "--out", out)
        outcome = run("adapt", *arguments, *more)
        assert outcome.code == 0, outcome.err
        assert outcome.err == ""
        assert tree(tiny_experiment) == before
        return outcome

    return command


def test_the_default_helps_the_new_speaker_and_says_how_much(adapt, run, tiny_corpus: TinyCorpus, tmp_path: Path):
    measure = ("--test-data", tiny_corpus.test, "--source-data", tiny_corpus.dev)
    outcome = adapt(tmp_path / "new", *measure)
    assert f"adapted with {parse_method('auto').name} on 10 utterances, 14." in outcome.out
    assert f"saved in {tmp_path / 'new'}" in outcome.out
    scores = json.loads((tmp_path / "new" / "scores.json").read_text())
    new, old = scores["the new speaker"], scores["the old speakers"]
    assert new["wer"] < 0.6 * new["baseline"]["wer"]
    assert old["wer"] <= old["baseline"]["wer"] + 3
    assert f"WER {new['wer']:.2f} %" in outcome.out
    assert f"baseline WER {new['baseline']['wer']:.2f} %" in outcome.out

    assert (
        run("transcribe", "--model", tmp_path / "new", "--data", tiny_corpus.test, "--out", tmp_path / "hyp").code == 0
    )
    json_file = tmp_path / "score.json"
    assert run("score", "--ref", tiny_corpus.test / "text", "--hyp", tmp_path / "hyp", "--json", json_file).code == 0
    assert json.loads(json_file.read_text())["wer"] == pytest.approx(new["wer"]), "the folder is what was measured"


def test_saved_settings_repeat_the_adaptation(adapt, tmp_path: Path):
    adapt(tmp_path / "one", "--set", "steps=3", "--set", "kld=0.4", "--set", "seed=3")
    settings = tmp_path / "one" / "adaptation.yaml"
    saved = yaml.safe_load(settings.read_text())
    assert (saved["steps"], saved["kld"], saved["seed"]) == (3, 0.4, 3)
    assert None not in saved.values(), "every default is written down"
    adapt(tmp_path / "again", "--config", settings)
    adapt(tmp_path / "other", "--config", settings, "--set", "seed=4")
    one, again, other = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "again", "other"))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_options_come_after_the_config(adapt, tmp_path: Path):
    (tmp_path / "conf.yaml").write_text("method: finetune\nsteps: 2\nlearning_rate: 0.001\n")
    outcome = adapt(tmp_path / "a", "--config", tmp_path / "conf.yaml")
    assert "adapted with finetune on" in outcome.out
    outcome = adapt(tmp_path / "b", "--config", tmp_path / "conf.yaml", "--method", "layers+kld", "--set", "steps=1")
    assert "adapted with layers+kld on" in outcome.out
    assert ": 1 steps, learning rate 0.001" in outcome.out


@pytest.mark.parametrize("kind", ["lhuc", "lin", "lora+kld"])
def test_adapters_are_kilobytes_beside_their_base(adapt, run, tiny_corpus, tiny_experiment, tmp_path: Path, kind: str):
    outcome = adapt(tmp_path / "adapter", "--method", kind, "--set", "steps=2")
    assert " kB" in outcome.out
    names = set(tree(tmp_path / "adapter"))
    assert names == {
        "adapter.safetensors",
        "adapter.yaml",
        "adaptation.yaml",
        "metrics.jsonl",
        "run.sha256",
        "README.md",
    }
    card = yaml.safe_load((tmp_path / "adapter" / "adapter.yaml").read_text())
    assert card["extra"]["base"] == str(tiny_experiment / "model")
    assert card["extra"]["method"] == kind
    assert run("transcribe", "--model", tmp_path / "adapter", "--data", tiny_corpus.test).code == 0


def test_ewc_measures_importance_on_source_speech(adapt, tiny_corpus: TinyCorpus, tmp_path: Path):
    outcome = adapt(tmp_path / "new", "--method", "ewc", "--set", "steps=2", "--source-data", tiny_corpus.dev)
    assert "adapted with ewc" in outcome.out
    assert "the old speakers" in outcome.out


@pytest.mark.parametrize("method", ["adabn", "dann+adabn"])
def test_audio_alone_is_enough_and_transcripts_change_nothing(
    adapt, run, tiny_corpus: TinyCorpus, tiny_experiment: Path, tmp_path: Path, method: str
):
    options = ("--method", method, "--set", "steps=2", "--source-data", tiny_corpus.dev)
    outcome = adapt(tmp_path / "told", *options)
    assert f"10 transcripts in the data are not looked at: {method} learns from audio alone" in outcome.out
    assert f"adapted with {method} on 10 utterances" in outcome.out
    assert ("learned from" in outcome.out) == (method != "adabn"), "what was learned from is no measure of forgetting"

    untold = tmp_path / "untold_data"
    DataDir(replace(utterance, text=None) for utterance in DataDir.read(tiny_corpus.adaptation)).write(untold)
    out = tmp_path / "untold"
    outcome = run("adapt", "--model", tiny_experiment, "--data", untold, "--out", out, *options)
    assert outcome.code == 0, outcome.err
    assert "not looked at" not in outcome.out
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("told", "untold")]
    assert weights[0] == weights[1]
    again = run("adapt", "--model", tiny_experiment, "--data", untold, "--out", out, *options)
    assert "adapted already" in again.out
    assert run("transcribe", "--model", out, "--data", tiny_corpus.test).code == 0


def test_layer_transfer_prints_what_became_of_every_tensor(adapt, tmp_path: Path):
    fresh = ("--set", "layers.rest=fresh", "--set", "layers.copy=first:2", "--set", "steps=1")
    outcome = adapt(tmp_path / "new", "--method", "layers", *fresh)
    table = (tmp_path / "new" / "transfer.txt").read_text()
    assert table in outcome.out
    assert "copied, frozen" in table
    assert "heads.default.linear.weight" in table
    rows = [line for line in table.splitlines() if line.startswith("heads.")]
    assert rows
    assert all(line.endswith("fresh") for line in rows)
    counts = table.splitlines()[-1]
    assert "0 skipped" in counts


def test_selection_says_what_it_chose(adapt, tmp_path: Path):
    fixed = ("--method", "finetune", "--set", "steps=20", "--set", "learning_rate=0.03")
    outcome = adapt(tmp_path / "new", "--select", *fixed)
    assert "cross-validation of 1 strengths; unadapted: " in outcome.out
    assert "% WER with 20 steps, learning rate 0.03 (0 left)" in outcome.out
    assert "saved in" in outcome.out


def test_the_course_of_the_adaptation_is_recorded_beside_the_model(adapt, tmp_path: Path):
    adapt(tmp_path / "new", "--method", "l2sp+kld", "--set", "steps=10")
    first, last = map(json.loads, (tmp_path / "new" / "metrics.jsonl").read_text().splitlines())
    assert (first["step"], last["step"]) == (1, 10)
    assert set(first["values"]) == {"task", "l2sp", "kld"}
    assert last["values"]["kld"]["grad_norm"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["new"], "no checkpoints are left beside it"
    adapt(tmp_path / "two", "--method", "layers", "--set", "layers.then_finetune_all=true", "--set", "steps=4")
    assert {name for name in tree(tmp_path / "two") if name.endswith("metrics.jsonl")} == {
        "phase1/metrics.jsonl",
        "phase2/metrics.jsonl",
    }


@pytest.mark.parametrize("method", ["kld", "mmd+adabn", "dann"])
def test_an_interrupted_adaptation_goes_on_where_it_stopped(
    adapt, run, tiny_experiment, tiny_corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
):
    """As after a kill behind a checkpoint of step 6; another seed must not go on from it."""
    settings = ("--method", method, "--set", "steps=10")
    settings += () if method == "kld" else ("--source-data", tiny_corpus.dev, "--set", "domain.max_units=50")
    adapt(tmp_path / "whole", *settings)
    arguments = ("--model", tiny_experiment, "--data", tiny_corpus.adaptation, "--out", tmp_path / "new")
    taken = []
    step = AsrTask.step

    def killed(task, model, batch):
        taken.append(model is task.model)
        if sum(taken) == 7:
            raise KeyboardInterrupt
        return step(task, model, batch)

    for one in ("other", "same"):
        taken.clear()
        with monkeypatch.context() as patch:
            patch.setattr(AsrTask, "step", killed)
            patch.setattr(Trainer, "_checkpoint_due", lambda trainer, step: True)
            assert run("adapt", *arguments, *settings, *(["--set", "seed=1"] if one == "other" else [])).code != 0
        assert not (tmp_path / "new").exists()
        assert list(tmp_path.glob(".new.adapting-*/checkpoints/step-00000006"))
    with monkeypatch.context() as patch:
        taken.clear()
        patch.setattr(
            AsrTask, "step", lambda task, model, batch: taken.append(model is task.model) or step(task, model, batch)
        )
        adapt(tmp_path / "new", *settings)
    assert sum(taken) == 4
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "new"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "new"}, "what both left is gone"
    steps = [json.loads(line)["step"] for line in (tmp_path / "new" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 10]


def test_selection_that_finds_nothing_better_saves_the_source(run, tiny_experiment, tiny_corpus, tmp_path: Path):
    arguments = ("--model", tiny_experiment, "--data", tiny_corpus.dev, "--out", tmp_path / "new")
    fixed = ("--method", "finetune", "--set", "steps=1", "--set", "learning_rate=1e-6")
    outcome = run("adapt", *arguments, "--select", *fixed)
    assert outcome.code == 0, outcome.err
    assert "no strength was better than leaving the model as it is" in outcome.out
    one, other = (load_file(folder / "model.safetensors") for folder in (tiny_experiment / "model", tmp_path / "new"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_unsupervised_adaptation_names_what_it_left_out(run, tiny_experiment, tiny_corpus, tmp_path: Path):
    rated = run("transcribe", "--model", tiny_experiment, "--data", tiny_corpus.adaptation, "--confidence").out
    confidence = {line.split()[0]: float(line.split()[1]) for line in rated.splitlines()}
    threshold = sorted(confidence.values())[3] + 0.001
    doubtful = [name for name, value in confidence.items() if value < threshold]
    arguments = ("--model", tiny_experiment, "--data", tiny_corpus.adaptation, "--out", tmp_path / "new")
    more = ("--unsupervised", "--set", f"confidence={threshold}", "--set", "steps=2")
    outcome = run("adapt", *arguments, *more)
    assert outcome.code == 0, outcome.err
    left_out = next(line for line in outcome.out.splitlines() if line.startswith("left out"))
    assert left_out.split()[-len(doubtful) :] == doubtful
    assert yaml.safe_load((tmp_path / "new" / "adaptation.yaml").read_text())["unsupervised"] is True


def test_what_was_adapted_but_not_measured_is_measured_by_the_same_command(
    adapt, run, tiny_experiment, tiny_corpus, tmp_path: Path
):
    arguments = ("--set", "steps=2", "--test-data", tiny_corpus.test)
    adapt(tmp_path / "new", *arguments)
    scores = tmp_path / "new" / "scores.json"
    before = scores.read_bytes(), (tmp_path / "new" / "model.safetensors").stat().st_mtime_ns
    scores.unlink()
    outcome = adapt(tmp_path / "new", *arguments)
    assert f"adapted already: {tmp_path / 'new'}" in outcome.out
    assert (scores.read_bytes(), (tmp_path / "new" / "model.safetensors").stat().st_mtime_ns) == before
    arguments = (
        "--model",
        tiny_experiment,
        "--data",
        tiny_corpus.adaptation,
        "--out",
        tmp_path / "new",
        "--set",
        "steps=3",
    )
    other = run("adapt", *arguments)
    assert other.code == 2
    assert "holds something already; choose another --out" in other.err
