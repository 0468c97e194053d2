import pytest
import torch
from toy_task import Close, FrameTask, Penalty, Small, Tagger

from speechnlp_tl.core.objective import TASK, Objective
from speechnlp_tl.errors import InputError


def values_by_hand(task, batch, source):
    with torch.no_grad():
        step, frozen = task.step(task.model, batch), task.step(source.eval(), batch)
    return step.loss, Small()(step, None), Close()(step, frozen)


def test_values_are_weight_times_schedule_times_term_and_task_weights_multiply():
    task, source = FrameTask(), Tagger(seed=9)
    batch = task.load([0, 1, 2], 0)
    terms = [
        Small(weight=0.5, task_weight=0.25, schedule=lambda progress: 2 * progress),
        Close(weight=3.0, task_weight=0.8),
        Penalty(task.model, weight=0.1),
    ]
    loss, small, close = values_by_hand(task, batch, source)
    values = Objective(task, terms, source)(batch, 0.3)
    torch.testing.assert_close(values[TASK], 0.25 * 0.8 * loss)
    torch.testing.assert_close(values["small"], 0.5 * 0.6 * small)
    torch.testing.assert_close(values["close"], 3.0 * close)
    assert list(values) == [TASK, "small", "close", "penalty"]

    means = Objective(task, terms, source).means(values, units=10.0, parts=4)
    torch.testing.assert_close(means["small"], values["small"] / 10)
    torch.testing.assert_close(means["penalty"], values["penalty"] / 4)


def test_a_term_without_weight_now_is_not_run():
    class Bomb(Small):
        def forward(self, step, source):
            raise AssertionError("run")

    task = FrameTask()
    objective = Objective(task, [Bomb(1.0, schedule=lambda progress: float(progress > 0.5)), Close(0.0)], Tagger())
    assert list(objective(task.load([0], 0), 0.5)) == [TASK]
    with pytest.raises(AssertionError, match="run"):
        objective(task.load([0], 0), 0.6)


def test_the_source_is_frozen_in_eval_mode_and_belongs_to_nobody():
    task, source = FrameTask(), Tagger(dropout=0.9, seed=9)
    objective = Objective(task, [Close()], source).train()
    assert not source.training
    owned = {id(parameter) for parameter in objective.parameters()}
    assert not owned & {id(parameter) for parameter in source.parameters()}
    assert not [name for name in objective.state_dict() if "source" in name or "outside" in name]
    sum(objective(task.load([0, 1], 0), 0.0).values()).backward()
    assert all(parameter.grad is None for parameter in source.parameters())
    assert float(source.seen) == 0


def test_terms_of_one_name_are_told_apart():
    task = FrameTask()
    assert list(Objective(task, [Small(), Small()])(task.load([0], 0), 0.0)) == [TASK, "small", "small.2"]


def test_terms_know_the_progress_and_their_metrics_carry_their_names():
    class Counting(Small):
        def forward(self, step, source):
            self.seen = [*getattr(self, "seen", []), self.progress]
            return super().forward(step, source)

        def metrics(self):
            return {"steps": float(len(self.seen)), "last": self.seen[-1]}

    task = FrameTask()
    objective = Objective(task, [Counting(), Close(), Counting()], Tagger())
    for progress in (0.0, 0.25):
        objective(task.load([0], 0), progress)
        assert task.progress == progress
    assert objective.metrics() == {"small_steps": 2, "small_last": 0.25, "small.2_steps": 2, "small.2_last": 0.25}


def test_terms_that_need_a_source_say_so():
    task = FrameTask()
    with pytest.raises(InputError, match="'close' needs a source model"):
        Objective(task, [Close()])
    with pytest.raises(InputError, match="the trained model itself"):
        Objective(task, [Close()], task.model)


def test_the_parameters_of_terms_are_trained():
    task = FrameTask()
    objective = Objective(task, [Penalty(task.model)])
    assert "terms.0.target" in dict(objective.named_parameters())
