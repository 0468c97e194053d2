"""The one training loop.

    Trainer(task, TrainConfig(epochs=10), Path("exp/run")).fit()    one process; resumes what it finds there
    torchrun --nproc_per_node 4 script.py                           the same script on four GPUs (or accelerate launch)
    Trainer(task, TrainConfig(steps=30), None).fit()                in memory, nothing written: for sweeps

`Trainer.fit` reads top to bottom as the life of a run. What is trained is the task's business (`task`), what is
minimised the objective's (`objective`), what happens inside a step the update's (`update`).

Losses are averaged over the units of the whole step, so how a step is split over processes and micro-batches changes
nothing beyond rounding. Batch-normalised models are the exception: their statistics are those of one micro-batch on
one process, and what is kept are the running statistics of the first process.
"""

from __future__ import annotations

import difflib
import math
import resource
import sys
import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechnlp_tl.core.alarms import TrainingError
from speechnlp_tl.core.average import WeightAverage
from speechnlp_tl.core.checkpoint import (
    Checkpoints,
    Contents,
    load_module,
    load_optimizer,
    module_tensors,
    optimizer_contents,
)
from speechnlp_tl.core.config import TrainConfig
from speechnlp_tl.core.freed_memory import keep_freed_memory
from speechnlp_tl.core.interruption import interruption
from speechnlp_tl.core.loading import load_steps
from speechnlp_tl.core.objective import Objective
from speechnlp_tl.core.processes import Processes
from speechnlp_tl.core.random_state import random_state, seed_everything, set_random_state, undisturbed
from speechnlp_tl.core.schedule import learning_rate_factor
from speechnlp_tl.core.state import State, TrainResult
from speechnlp_tl.core.task import Task, Term
from speechnlp_tl.core.tracking import Tracker
from speechnlp_tl.core.update import Outcome, Update
from speechnlp_tl.errors import InputError, Problem

__all__ = ["TrainResult", "Trainer", "TrainingError"]

FREE_TO_CHANGE = frozenset(
    [
        "epochs",
        "steps",
        "patience",
        "workers",
        "checkpoint_every",
        "checkpoint_minutes",
        "log_every",
        "device",
        "gradient_check",
        "tensorboard",
    ]
)
"""Settings that may differ when a run is resumed; with any other changed it would be neither the old run nor a new."""


class Trainer:
    """Trains a task's model, and the terms' own parameters, on one or many processes.

    Args:
        task: what is trained.
        config: how.
        directory: the experiment: `checkpoints/`, `metrics.jsonl`, TensorBoard events. A checkpoint there is resumed.
            None writes and shows nothing and costs milliseconds, for sweeps of many short fits.
        terms: transfer terms added to the loss.
        source: frozen model for the terms that need one; it is moved to the device and put in eval mode.
        quiet: no progress on the console.

    Raises:
        InputError: nothing is trainable, or device, terms or source do not fit.
    """

    def __init__(
        self,
        task: Task,
        config: TrainConfig,
        directory: str | Path | None = None,
        terms: Iterable[Term] = (),
        source: nn.Module | None = None,
        quiet: bool = False,
    ) -> None:
        self.task, self.config, self.quiet = task, config, quiet
        self.directory = None if directory is None else Path(directory)
        self.processes = Processes(config.device)
        self.device = self.processes.device
        self.objective = Objective(task, terms, source).to(self.device)
        if source is not None:
            source.to(self.device)
        self.update = Update(self.objective, self.processes, config)
        self.average = None if config.average is None else WeightAverage(task.model, config.average)
        self.checkpoints = None if self.directory is None else Checkpoints(self.directory / "checkpoints")
        self._best: dict[str, Tensor] = {}
        self._saved = 0.0

    def fit(self) -> TrainResult:
        """Train to the configured length or until patience ends.

        Afterwards `task.model`, in eval mode, holds the best weights (without a `metric` the last), averaged when the
        config says so.

        Raises:
            TrainingError: ten steps in a row without a finite loss, or a term without effect.
            InputError: a damaged checkpoint or one of other settings, no batches, an unknown metric, a full disk.
            KeyboardInterrupt: Ctrl-C or SIGTERM; the step was finished and a checkpoint written.
        """
        state = self._resume()
        if self.device.type == "cpu":
            keep_freed_memory()
        begin = time.monotonic() - state.elapsed
        self._saved = time.monotonic()
        steps = self._steps_of(0)
        total = self.config.steps or len(steps) * (self.config.epochs or 0)
        self.update.wrapped = self.processes.wrap(self.objective)
        self.objective.train()
        with self._tracker(state, total) as tracker, interruption(self.directory is not None) as asked:
            while state.stopped is None:
                if state.epoch > 0:
                    steps = self._steps_of(state.epoch)
                self._check_position(state, steps)
                steps_left = steps[state.position :]
                loaded = load_steps(self.task, steps_left, state.epoch, self.processes, self.config)
                for rows, parts in zip(steps_left, loaded, strict=True):
                    progress = state.progress(self.config)
                    rate = self._learning_rate(progress, total)
                    outcome = self.update.run(
                        parts, len(rows), progress, rate, self._measures(state),
                        flags=lambda: [asked.requested, self._minutes_over()],
                    )  # fmt: skip
                    self._take_in(outcome, progress, rate, state, tracker)
                    interrupted, due = outcome.flags

                    epoch_over = state.position == state.epoch_steps
                    if epoch_over:
                        state.inert.end_epoch()
                        state.epoch, state.position = state.epoch + 1, 0
                    state.stopped = state.length_reached(self.config)
                    evaluated = bool(state.stopped) or (epoch_over and self._evaluation_due(state.epoch))
                    if evaluated:
                        self._evaluate(state, tracker)
                    if evaluated or interrupted or due or self._checkpoint_due(state.step):
                        state.elapsed = time.monotonic() - begin
                        self._save(state)
                    if state.stopped:
                        break
                    if interrupted:
                        raise KeyboardInterrupt(self._goodbye(state, tracker))
        self.task.progress = 1.0  # what is computed afterwards belongs to no run
        self._keep_best(state)
        self.processes.release()
        return self._result(state, time.monotonic() - begin)

    # The length of the run: positions, rates, ends.

    def _steps_of(self, epoch: int) -> list[list[int]]:
        steps = [rows for rows in self.task.batches(epoch) if rows]
        if not steps:
            raise InputError(f"epoch {epoch + 1} has no batches: the training data are empty")
        return steps

    def _check_position(self, state: State, steps: list[list[int]]) -> None:
        if state.position and len(steps) != state.epoch_steps:
            raise InputError(
                Problem(
                    f"the checkpoint stands in an epoch of {state.epoch_steps} steps, this one has {len(steps)}: "
                    "the data or the batches have changed since",
                    file=self.directory,
                    remedy="bring the old data back, or choose another folder",
                )
            )
        state.epoch_steps = len(steps)

    def _learning_rate(self, progress: float, total: int) -> float:
        config = self.config
        return config.learning_rate * learning_rate_factor(progress * total, total, config.schedule, config.warmup)

    def _evaluation_due(self, epoch: int) -> bool:
        return self.config.evaluate_every is not None and epoch % self.config.evaluate_every == 0

    def _checkpoint_due(self, step: int) -> bool:
        return self.config.checkpoint_every is not None and step % self.config.checkpoint_every == 0

    def _minutes_over(self) -> bool:
        minutes = self.config.checkpoint_minutes
        return minutes is not None and self.processes.main and time.monotonic() - self._saved > 60 * minutes

    # After a step: counters, alarms, the average, the records.

    def _logged(self, step: int) -> bool:
        return step == 1 or step % self.config.log_every == 0

    def _measures(self, state: State) -> bool:
        """Whether the coming step measures gradient norms: when it is logged, and at the end of an epoch as long as
        some term has not shown a gradient yet."""
        if not self.config.gradient_check or not self.objective.names:
            return False
        ends_epoch = state.position + 1 == state.epoch_steps
        return self._logged(state.step + 1) or (ends_epoch and len(state.inert.alive) < len(self.objective.names))

    def _take_in(self, outcome: Outcome, progress: float, rate: float, state: State, tracker: Tracker) -> None:
        state.step += 1
        state.position += 1
        tracker.advance(state.step, state.epoch, outcome.loss, outcome.units)
        if outcome.updated:
            state.skips.good()
            self.task.end_step(self.processes.total)
            if self.average is not None:
                self.average.update()
            state.inert.measure(self.objective.weights(progress), outcome.norms, outcome.means)
        elif not outcome.overflow:
            place = {"step": state.step, "epoch": state.epoch}
            tracker.skipped(
                place | {"skipped": state.skips.total + 1, "reason": outcome.reason, "ids": outcome.bad_ids},
                f"step {state.step} skipped: {outcome.reason}; rows: {', '.join(outcome.bad_ids)}",
            )
            self.task.skip_step()
            state.skips.skip(outcome.reason, outcome.bad_ids)
        if self._logged(state.step):
            values = {
                name: {"value": value} | ({"grad_norm": outcome.norms[name]} if outcome.norms else {})
                for name, value in outcome.means.items()
            }
            tracker.record(
                {"step": state.step, "epoch": state.epoch, "lr": rate, "loss": outcome.loss}
                | {"grad_norm": outcome.norm, "values": values, "skipped": state.skips.total}
                | self.objective.metrics()
            )

    def _evaluate(self, state: State, tracker: Tracker) -> None:
        """Let the main process evaluate the task, remember the best weights and count the patience."""
        begin = time.monotonic()
        metrics: dict[str, float] | None = None
        averaged = nullcontext() if self.average is None else self.average.applied()
        with averaged:
            if self.processes.main:
                self.objective.eval()
                with torch.no_grad(), undisturbed(self.device):
                    metrics = {name: float(value) for name, value in self.task.evaluate(self.task.model).items()}
                self.objective.train()
            metrics = self.processes.from_main(metrics)
            better = self._is_better(metrics, state)
            if better and self.checkpoints is None:
                self._best = {n: t.detach().clone() for n, t in module_tensors(self.task.model).items()}
        state.waited = 0 if better else state.waited + 1
        if better and self.config.metric is not None:
            state.best, state.best_step = metrics[self.config.metric], state.step
        if state.stopped is None and self.config.patience is not None and state.waited >= self.config.patience:
            state.stopped = "patience"
        record = {"step": state.step, "epoch": state.epoch, "dev": metrics} | self.objective.metrics()
        state.history.append(record)
        told = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        best = "  (best)" if better else ""
        message = f"epoch {state.epoch}  step {state.step}  {told}{best}"
        tracker.evaluation(record, message if metrics else None, time.monotonic() - begin)

    def _is_better(self, metrics: dict[str, float], state: State) -> bool:
        name = self.config.metric
        if name is None:
            return False
        if name not in metrics:
            near = difflib.get_close_matches(name, metrics, n=1, cutoff=0)
            remedy = f"did you mean '{near[0]}'? the task has: {', '.join(metrics)}" if near else "the task has none"
            raise InputError(Problem(f"the task has no dev metric '{name}'", remedy=remedy))
        value = metrics[name]
        if state.best_step is None or state.best is None or not math.isfinite(state.best):
            return state.best_step is None or math.isfinite(value)
        return value < state.best if self.config.mode == "min" else value > state.best

    # Checkpoints and what remains at the end.

    def _resume(self) -> State:
        """The state of the newest checkpoint, with everything that belongs to it put back; a new one without any."""
        seed_everything(self.config.seed + 1000003 * self.processes.rank)
        if self.checkpoints is None:
            return State()
        if self.processes.main:
            self.checkpoints.clean()
        latest = self.processes.from_main(self.checkpoints.latest())
        if latest is None:
            return State()
        contents = self.checkpoints.load(latest)
        where, document = self.checkpoints.path(latest), contents.documents["state"]
        self._check_config(document.pop("config"), where)
        scaler, averaged = document.pop("scaler"), document.pop("averaged")
        load_module(self.objective, contents.tensors["model"], where)
        load_optimizer(self.update.optimizer, contents.tensors["optimizer"], contents.documents["optimizer"])
        if self.update.scaler is not None:
            self.update.scaler.load_state_dict(scaler)
        if self.average is not None:
            self.average.load(contents.tensors["average"], averaged)
        mine = f"{self.processes.rank}."
        generators = {k.removeprefix(mine): t for k, t in contents.tensors["random"].items() if k.startswith(mine)}
        if generators:  # none for a process that the earlier run did not have
            set_random_state(generators, self.device)
        state = State.from_document(document)
        if state.stopped in ("steps", "epochs"):
            state.stopped = state.length_reached(self.config)
        return state

    def _check_config(self, stored: dict[str, Any], where: Path) -> None:
        now = self.config.model_dump(mode="json")
        changed = [key for key in now if key not in FREE_TO_CHANGE and key in stored and stored[key] != now[key]]
        if changed:
            remedy = "set it back to resume, or choose another folder for a new run"
            raise InputError(
                [
                    Problem(f"'{k}' was {stored[k]!r} in this run and is {now[k]!r} now", where, remedy=remedy)
                    for k in changed
                ]
            )

    def _save(self, state: State) -> None:
        if self.checkpoints is None:
            return
        generators = self.processes.gather([random_state(self.device)])
        if self.processes.main:
            optimizer_tensors, optimizer_document = optimizer_contents(self.update.optimizer)
            tensors = {
                "model": module_tensors(self.objective),
                "optimizer": optimizer_tensors,
                "random": {f"{rank}.{name}": t for rank, own in enumerate(generators) for name, t in own.items()},
            }
            document = state.to_document() | {
                "config": self.config.model_dump(mode="json"),
                "scaler": {} if self.update.scaler is None else self.update.scaler.state_dict(),
                "averaged": 0 if self.average is None else self.average.updates,
            }
            if self.average is not None:
                tensors["average"] = self.average.tensors()
            self.checkpoints.save(state.step, Contents(tensors, {"state": document, "optimizer": optimizer_document}))
            self.checkpoints.keep({state.step} | ({state.best_step} if state.best_step is not None else set()))
        self.processes.wait()
        self._saved = time.monotonic()

    def _keep_best(self, state: State) -> None:
        """Leave the chosen weights in the model: the best ones, else the last, averaged if an average is kept."""
        if self.config.metric is not None and state.best_step is not None and self.checkpoints is None:
            load_module(self.task.model, self._best)
        elif self.checkpoints is not None and state.best_step not in (None, state.step):
            tensors = self.checkpoints.load(state.best_step).tensors
            own = {n.removeprefix("model."): t for n, t in tensors["model"].items() if n.startswith("model.")}
            load_module(self.task.model, own | dict(tensors.get("average", {})))
        elif self.average is not None:
            self.average.write()
        self.objective.eval()

    def _tracker(self, state: State, total: int) -> Tracker:
        shown = self.directory if self.processes.main else None
        return Tracker(shown, state.step, total, self.quiet, self.config.tensorboard)

    def _goodbye(self, state: State, tracker: Tracker) -> str:
        text = f"stopped at step {state.step}; run the same command again to go on from its checkpoint"
        tracker.message(text)
        return text

    def _result(self, state: State, wall: float) -> TrainResult:
        assert state.stopped is not None
        return TrainResult(
            steps=state.step,
            epochs=state.epoch,
            metric=self.config.metric,
            best=state.best,
            history=state.history,
            skipped=state.skips.total,
            wall_s=wall,
            peak_mb=_peak_memory(self.device),
            stopped=state.stopped,
        )


def _peak_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1.0 if sys.platform == "darwin" else 1024.0) / 1e6
