"""The promises of the training loop in one process."""

from __future__ import annotations

import time

import pytest
import torch
from toy_task import Close, FrameTask, Penalty, Small, Tagger

from speechnlp_tl.core import trainer
from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.task import Term
from speechnlp_tl.core.tracking import read_metrics
from speechnlp_tl.core.trainer import Trainer, TrainingError
from speechnlp_tl.errors import InputError


def config(**settings) -> TrainConfig:
    length = {} if "steps" in settings else {"epochs": 2}
    return TrainConfig(**{"learning_rate": 0.02, "tensorboard": False} | length | settings)


def weights_after(task: FrameTask, terms=(), source=None, **settings) -> torch.Tensor:
    Trainer(task, config(**settings), None, terms, source).fit()
    return torch.cat([p.detach().flatten() for p in task.model.parameters()])


def test_training_lowers_the_loss_and_leaves_the_model_in_eval_mode():
    task = FrameTask()
    result = Trainer(task, config(epochs=12, metric="loss"), None).fit()
    losses = [record["dev"]["loss"] for record in result.history]
    assert losses[-1] < 0.5 * losses[0]
    assert (result.epochs, result.stopped, result.skipped) == (12, "epochs", 0)
    assert result.steps == sum(len(task.batches(epoch)) for epoch in range(12))
    assert result.best == min(losses)
    assert result.peak_mb > 1
    assert not task.model.training


def test_a_training_on_the_cpu_keeps_what_it_frees(monkeypatch) -> None:
    kept = []
    monkeypatch.setattr(trainer, "keep_freed_memory", lambda: kept.append("kept"))
    Trainer(FrameTask(), config(steps=1, device="cpu"), None).fit()
    assert kept == ["kept"]


def test_one_step_is_plain_pytorchs():
    task, oracle = FrameTask(), FrameTask()
    settings = {"steps": 3, "clip_norm": 0.1, "weight_decay": 0.3, "evaluate_every": None}
    trained = weights_after(task, **settings)
    two, one = ([p for p in oracle.model.parameters() if (p.ndim > 1) is matrix] for matrix in (True, False))
    groups = [{"params": two, "weight_decay": 0.3}, {"params": one, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.02)
    for rows in oracle.batches(0)[:3]:
        batch = oracle.load(rows, 0)
        (oracle.step(oracle.model, batch).loss / batch.units).backward()
        torch.nn.utils.clip_grad_norm_(oracle.model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
    torch.testing.assert_close(trained, torch.cat([p.detach().flatten() for p in oracle.model.parameters()]))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_accumulation_changes_nothing_but_memory(optimizer):
    settings = {"optimizer": optimizer, "clip_norm": 1.0, "epochs": 3}

    def train(accumulate: int) -> torch.Tensor:
        task = FrameTask()
        return weights_after(task, [Small(0.1), Penalty(task.model, 0.1)], accumulate=accumulate, **settings)

    whole = train(1)
    for accumulate in (2, 3, 50):
        torch.testing.assert_close(train(accumulate), whole, atol=1e-5, rtol=0)


def test_workers_change_nothing():
    assert torch.equal(weights_after(FrameTask(dropout=0.3)), weights_after(FrameTask(dropout=0.3), workers=2))


def test_evaluation_does_not_disturb_training():
    every = weights_after(FrameTask(dropout=0.3), epochs=3)
    assert torch.equal(every, weights_after(FrameTask(dropout=0.3), epochs=3, evaluate_every=None))


def test_only_trainable_parameters_are_optimised():
    task = FrameTask()
    task.model.hidden.requires_grad_(False)
    before = task.model.hidden.weight.clone()
    trainer = Trainer(task, config(weight_decay=0.5), None)
    given = [p for group in trainer.update.optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in given} == {id(p) for p in task.model.output.parameters()}
    trainer.fit()
    assert torch.equal(task.model.hidden.weight, before)
    task.model.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter is trainable"):
        Trainer(task, config(), None)


def test_weight_decay_spares_vectors():
    task = FrameTask()
    groups = Trainer(task, config(weight_decay=0.5), None).update.optimizer.param_groups
    for group in groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.5 if parameter.ndim > 1 else 0)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_term_learns_at_its_own_rate_and_the_model_at_the_runs(optimizer):
    moved = {}
    for rate in (1.0, 7.0):
        task = FrameTask()
        term = Penalty(task.model)
        term.rate = rate
        before = term.target.detach().clone(), task.model.output.weight.detach().clone()
        Trainer(task, config(steps=1, optimizer=optimizer, weight_decay=0.0), None, [term]).fit()
        moved[rate] = term.target.detach() - before[0], task.model.output.weight.detach() - before[1]
    torch.testing.assert_close(moved[7.0][0], 7 * moved[1.0][0])
    assert moved[1.0][0].abs().sum() > 0
    assert torch.equal(moved[7.0][1], moved[1.0][1])


class Astray(Term):
    """Gradients of the model as usual, and a huge one of its own."""

    name, per_unit = "astray", False

    def __init__(self, size: float):
        super().__init__()
        self.size, self.own = size, torch.nn.Parameter(torch.ones(()))

    def forward(self, step, source):
        return step.features["hidden"].square().mean() + self.size * self.own


def test_a_terms_own_gradients_are_clipped_apart_from_the_models():
    after = {}
    for size in (0.0, 1e3):
        term, task = Astray(size), FrameTask()
        settings = {"optimizer": "sgd", "momentum": 0.0, "clip_norm": 0.1, "weight_decay": 0.0, "steps": 1}
        after[size] = weights_after(task, [term], **settings), 1 - term.own.item()
    torch.testing.assert_close(after[0.0][0], after[1e3][0], atol=0, rtol=0)
    assert after[1e3][1] == pytest.approx(0.1 * 0.02, rel=1e-4)


def test_a_step_that_is_not_finite_is_skipped_counted_and_named(tmp_path):
    task, clean = FrameTask(), FrameTask()
    batches = task.batches(0)
    task.bad = {batches[1][0]}
    clean.batches = lambda epoch: [rows for index, rows in enumerate(batches) if index != 1]
    task.batches = lambda epoch: batches
    result = Trainer(task, config(epochs=1, optimizer="sgd"), tmp_path, quiet=True).fit()
    Trainer(clean, config(epochs=1, optimizer="sgd"), None).fit()
    assert result.skipped == 1
    assert torch.equal(task.model.output.weight, clean.model.output.weight)
    assert torch.equal(task.model.seen, clean.model.seen)  # buffers too
    (record,) = [record for record in read_metrics(tmp_path / "metrics.jsonl") if "ids" in record]
    assert record["step"] == 2
    assert record["ids"] == [f"row-{row}" for row in batches[1]]
    assert "task is not finite" in record["reason"]


def test_with_accumulation_only_the_bad_part_is_named(tmp_path):
    task = FrameTask()
    task.bad = {task.batches(0)[0][1]}
    Trainer(task, config(epochs=1, accumulate=50), tmp_path, quiet=True).fit()
    (record,) = [record for record in read_metrics(tmp_path / "metrics.jsonl") if "ids" in record]
    assert record["ids"] == [f"row-{row}" for row in task.bad]


def test_ten_bad_steps_in_a_row_end_the_run_with_reason_and_rows():
    task = FrameTask()
    task.bad = set(range(23))
    before = task.model.output.weight.clone()
    with pytest.raises(TrainingError, match=r"10 steps in a row .*task is not finite.*row-") as caught:
        Trainer(task, config(epochs=50), None).fit()
    assert all(f"row-{row}" in str(caught.value) for row in range(23))
    assert torch.equal(task.model.output.weight, before)


def test_bad_steps_with_good_ones_between_do_not_end_the_run():
    task = FrameTask()
    task.bad = {0}
    result = Trainer(task, config(epochs=15), None).fit()
    assert result.skipped == 15


class Detached(Small):
    name = "detached"

    def forward(self, step, source):
        return super().forward(step, source).detach() + 0 * step.logits.sum()


def test_a_term_without_gradient_ends_the_run_with_its_name():
    with pytest.raises(TrainingError, match="term 'detached' has a positive weight but its gradient") as caught:
        Trainer(FrameTask(rows=60), config(epochs=3, log_every=2), None, [Small(0.1), Detached()]).fit()
    assert "'small'" not in str(caught.value)
    assert "detached or lie" in str(caught.value)


def test_inert_terms_are_found_in_runs_of_one_step_an_epoch():
    with pytest.raises(TrainingError, match="'detached'"):
        Trainer(FrameTask(budget=1e9), config(epochs=9, log_every=100), None, [Detached()]).fit()


def test_a_term_that_trains_only_itself_is_inert():
    class Blind(Penalty):
        def forward(self, step, source):
            return (step.features["hidden"].detach().mean() - self.target).square().sum()

    task = FrameTask()
    with pytest.raises(TrainingError, match="'penalty'"):
        Trainer(task, config(epochs=9, log_every=1), None, [Blind(task.model)]).fit()


class Sparse(Small):
    """Acts on the steps whose numbers `acts` accepts, and is zero on the others."""

    name = "sparse"

    def __init__(self, acts):
        super().__init__()
        self.acts, self.seen = acts, 0

    def forward(self, step, source):
        self.seen += 1
        return super().forward(step, source) * float(self.acts(self.seen))


def test_a_term_that_finds_something_in_few_steps_is_not_inert_and_one_that_never_does_is():
    options = {"log_every": 1, "epochs": 30}
    Trainer(FrameTask(budget=1e9), config(**options), None, [Sparse(lambda step: step % 12 == 0)]).fit()
    for never in (lambda step: False, lambda step: step == 1):
        with pytest.raises(TrainingError, match=r"'sparse'.*at each of the last 20 measurements"):
            Trainer(FrameTask(budget=1e9), config(**options), None, [Sparse(never)]).fit()


def test_terms_that_wait_or_are_switched_off_are_not_inert():
    waiting = Detached(schedule=lambda progress: 0.0)
    Trainer(FrameTask(), config(epochs=9, log_every=1), None, [waiting, Detached(0.0)]).fit()
    Trainer(FrameTask(), config(epochs=9, log_every=1, gradient_check=False), None, [Detached()]).fit()


def test_the_source_model_stays_what_it_was():
    source = Tagger(dropout=0.5, seed=5)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    pulled = weights_after(FrameTask(), [Close(100.0)], source, epochs=30)
    assert all(torch.equal(before[name], tensor) for name, tensor in source.state_dict().items())
    goal = torch.cat([p.detach().flatten() for p in source.parameters()])
    free = weights_after(FrameTask(), epochs=30)
    assert (pulled - goal).norm() < (free - goal).norm()


class Scripted(FrameTask):
    """A task whose dev metric follows a script."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = values
        self.weights: list[torch.Tensor] = []

    def evaluate(self, model):
        self.weights.append(model.output.weight.detach().clone())
        return {"score": self.values[len(self.weights) - 1]}


@pytest.mark.parametrize("directory", [True, False])
@pytest.mark.parametrize("average", [None, 0.5])
def test_early_stopping_keeps_the_best_weights(tmp_path, directory, average):
    task = Scripted([5, 3, 4, 3, 2.5, 9, 9, 9, 9])
    settings = config(epochs=9, metric="score", patience=3, average=average)
    result = Trainer(task, settings, tmp_path if directory else None, quiet=True).fit()
    assert (result.stopped, result.best, result.epochs) == ("patience", 2.5, 8)
    assert torch.equal(task.model.output.weight, task.weights[4])
    if directory:
        kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
        assert kept == [f"step-{result.history[index]['step']:08d}" for index in (4, 7)]


def test_mode_max_prefers_large_metrics_and_nan_never_wins():
    nan = float("nan")
    task = Scripted([nan, 1, 7, nan, 3])
    result = Trainer(task, config(epochs=5, metric="score", mode="max"), None).fit()
    assert result.best == 7
    assert torch.equal(task.model.output.weight, task.weights[2])


def test_without_a_metric_the_last_weights_win():
    task = Scripted([1, 2, 3])
    result = Trainer(task, config(epochs=3), None).fit()
    assert torch.equal(task.model.output.weight, task.weights[2])
    assert result.best is None


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(InputError, match=r"no dev metric 'eror'; did you mean 'error'\? the task has: error, loss"):
        Trainer(FrameTask(), config(metric="eror"), None).fit()


def test_the_average_is_what_is_evaluated_and_kept():
    task, plain = FrameTask(), FrameTask()
    steps: list[torch.Tensor] = []
    plain.end_step = lambda total: steps.append(plain.model.output.weight.detach().clone())
    start = plain.model.output.weight.detach().clone()
    Trainer(plain, config(steps=12), None).fit()
    Trainer(task, config(steps=12, average=0.8), None).fit()
    expected = start
    for update, weights in enumerate(steps, 1):
        decay = min(0.8, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(task.model.output.weight.detach(), expected)


def test_no_batches_is_an_input_error():
    with pytest.raises(InputError, match="training data are empty"):
        Trainer(FrameTask(rows=0), config(), None).fit()


@pytest.mark.parametrize("precision", ["bf16", "fp16", "no"])
def test_precisions_follow_each_other_in_one_process(precision):
    task = FrameTask()
    result = Trainer(task, config(epochs=10, metric="loss", precision=precision), None).fit()
    assert result.best < 1.1
    assert task.model.output.weight.dtype == torch.float32


def test_many_short_fits_cost_milliseconds_each():
    Trainer(FrameTask(), config(steps=1), None).fit()
    fits = 30
    begin = time.process_time()
    for _ in range(fits):
        Trainer(FrameTask(rows=5), config(steps=1, evaluate_every=None), None).fit()
    assert (time.process_time() - begin) / fits < 0.03


def test_cuda_without_a_device_is_an_input_error():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(InputError, match="no CUDA device"):
        Trainer(FrameTask(), config(device="cuda"), None)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_gpu_trains_and_resumes(tmp_path, precision):
    settings = {"precision": precision, "device": "cuda", "average": 0.9, "metric": "loss"}
    Trainer(FrameTask(dropout=0.1), config(epochs=5, **settings), tmp_path, quiet=True).fit()
    task = FrameTask(dropout=0.1)
    task.evaluate = lambda model: {"loss": 0.0}
    result = Trainer(task, config(epochs=10, **settings), tmp_path, quiet=True).fit()
    assert result.epochs == 10
    assert next(task.model.parameters()).device.type == "cuda"
