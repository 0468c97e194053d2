from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from toy_task import FrameTask, Penalty, Small

from speechnlp_tl.core import tracking
from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.tracking import Tracker, read_metrics
from speechnlp_tl.core.trainer import Trainer
from speechnlp_tl.errors import InputError


def test_every_record_has_rates_terms_and_gradient_norms(tmp_path):
    task = FrameTask()
    settings = TrainConfig(epochs=2, log_every=3, tensorboard=False)
    Trainer(task, settings, tmp_path, [Small(0.1), Penalty(task.model)], quiet=True).fit()
    records = read_metrics(tmp_path / "metrics.jsonl")
    training = [record for record in records if "loss" in record]
    assert [record["step"] for record in training] == [1, 3, 6, 9]
    for record in training:
        assert {"step", "epoch", "lr", "loss", "grad_norm", "values", "units_per_s", "skipped"} <= record.keys()
        assert set(record["values"]) == {"task", "small", "penalty"}
        assert all(value["grad_norm"] > 0 for value in record["values"].values())
        assert abs(record["loss"] - sum(value["value"] for value in record["values"].values())) < 1e-6
    assert [record["step"] for record in records if "dev" in record] == [5, 10]


def test_gradient_norms_are_of_the_value_alone(tmp_path):
    task = FrameTask(budget=1e9)
    settings = TrainConfig(steps=1, tensorboard=False)
    Trainer(task, settings, tmp_path, [Small(0.1)], quiet=True).fit()
    (record, _) = read_metrics(tmp_path / "metrics.jsonl")
    fresh = FrameTask(budget=1e9)
    batch = fresh.load(fresh.batches(0)[0], 0)
    (0.1 * Small()(fresh.step(fresh.model, batch), None) / batch.units).backward()
    norm = sum(float(p.grad.square().sum()) for p in fresh.model.parameters() if p.grad is not None) ** 0.5
    assert abs(record["values"]["small"]["grad_norm"] - norm) < 1e-6


def test_records_behind_the_resumed_step_are_dropped(tmp_path):
    with Tracker(tmp_path, quiet=True, tensorboard=False) as tracker:
        for step in (1, 2, 3):
            tracker.record({"step": step, "loss": float("nan")})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # a killed write
    with Tracker(tmp_path, start=2, quiet=True, tensorboard=False) as tracker:
        tracker.record({"step": 3, "loss": 1.0})
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert [json.loads(line)["loss"] for line in lines] == [None, None, 1.0]


def test_a_new_run_does_not_inherit_records(tmp_path):
    for _ in range(2):
        with Tracker(tmp_path, quiet=True, tensorboard=False) as tracker:
            tracker.record({"step": 1, "loss": 1.0})
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


def test_without_a_terminal_progress_is_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tracking, "SECONDS_BETWEEN_LINES", 0.0)
    Trainer(FrameTask(), TrainConfig(epochs=1, tensorboard=False), tmp_path).fit()
    shown = capsys.readouterr().err
    assert "step 5/5  epoch 1  loss " in shown
    assert "units/s" in shown
    assert "error " in shown
    assert "\x1b" not in shown


def test_without_a_directory_nothing_is_written_or_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Trainer(FrameTask(), TrainConfig(epochs=1), None).fit()
    assert capsys.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_tensorboard_gets_every_value(tmp_path):
    Trainer(FrameTask(), TrainConfig(epochs=2, log_every=1), tmp_path, [Small(0.1)], quiet=True).fit()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = set(events.Tags()["scalars"])
    assert {"loss", "lr", "values/small/grad_norm", "dev/error"} <= names
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 11))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracking, "_open_metrics", lambda path, start: Path("/dev/full").open("a"))  # noqa: SIM115
    with (
        pytest.raises(InputError, match="cannot be written: No space left on device"),
        Tracker(tmp_path, total=1, quiet=True, tensorboard=False) as tracker,
    ):
        tracker.record({"step": 1, "loss": 1.0})


def test_what_tensorboard_could_not_write_is_said_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Full:
        def add_scalar(self, *arguments: object) -> None:
            pass

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tracking, "_open_events", lambda directory, start: Full())
    with pytest.raises(InputError, match="tensorboard: cannot be written"), Tracker(tmp_path, quiet=True) as tracker:
        tracker.record({"step": 1, "loss": 1.0})
    with pytest.raises(KeyError), Tracker(tmp_path, quiet=True):
        raise KeyError("another reason comes first")
