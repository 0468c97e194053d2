"""Adapt every source model with every method, budget and seed, and recognise the test speech before and after.

One line of JSON a run goes to OUT/<target>-<fold>.jsonl. Runs that are there already are not repeated; lines of runs
with other settings or another source model are dropped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from scenarios import Scenario, scenarios
from settings import SweepConfig

from data_prep.command import run
from speechnlp_tl import __version__
from speechnlp_tl.atomic import write_text
from speechnlp_tl.core.config import load_config
from speechnlp_tl.errors import InputError
from speechnlp_tl.speech.adaptation import AdaptConfig

THEN = "then"


@dataclass(frozen=True)
class Run:
    """One adaptation; `budget` 0 is the source model as it is."""

    method: str
    budget: int
    seed: int
    overrides: tuple[str, ...] = ()

    def fingerprint(self, config: SweepConfig, weights: str) -> str:
        """Of all that the run depends on but the program itself: a row with another one is not this run's result."""
        parts = [self.method, self.budget, self.seed, self.overrides, config.old_utterances, weights]
        parts += [config.on_development, config.channel.model_dump() if config.channel else None]
        defaults = AdaptConfig().model_dump(mode="json")
        return hashlib.sha256(json.dumps([*parts, defaults, __version__]).encode()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--conf", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--heard", type=Path, required=True, help="the target's speech over the telephone, if any")
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, SweepConfig)
    heard = arguments.heard if config.channel else None
    found = scenarios(
        arguments.corpus, arguments.data, arguments.sources, config.targets, config.folds, config.on_development, heard
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    jobs = [(scenario, config, arguments.out / f"{scenario.name}.jsonl") for scenario in found]
    began = time.time()
    with ProcessPoolExecutor(min(arguments.jobs, len(jobs)), mp_context=get_context("spawn")) as pool:
        for done, (scenario, count) in enumerate(zip(found, pool.map(_adapt_all, jobs), strict=True), start=1):
            left = (time.time() - began) / done * (len(jobs) - done)
            print(f"{scenario.name}: {count} runs; {done} of {len(jobs)} done, {left / 60:.0f} min left", flush=True)


def runs(config: SweepConfig, pool: int, fold: int = 0) -> Iterator[Run]:
    """Every run of a scenario whose pool has `pool` utterances. Budgets beyond the pool are left out.

    Each fold has seeds of its own.
    """
    yield Run("unadapted", 0, 0)
    for seed in range(fold * config.seeds, (fold + 1) * config.seeds):
        for budget in (budget for budget in config.budgets if budget <= pool):
            for method, overrides in config.methods.items():
                yield Run(method, budget, seed, tuple(overrides))
    sweep = config.layer_sweep
    if sweep is None or sweep.budget > pool:
        return
    training = ("optimizer=adamw", f"steps={sweep.steps}", f"learning_rate={sweep.learning_rate}")
    for seed in range(sweep.seeds):
        for count in sweep.counts:
            for end in ("first", "last"):
                layers = (f"layers.copy={end}:{count}", "layers.rest=fresh", "layers.then_finetune_all=true")
                yield Run(f"{end}:{count}", sweep.budget, seed, ("method=layers", *layers, *training))
        yield Run("all copied", sweep.budget, seed, ("method=finetune", *training))


def _adapt_all(job: tuple[Scenario, SweepConfig, Path]) -> int:
    import torch

    torch.set_num_threads(1)
    scenario, config, path = job
    weights = hashlib.sha256((scenario.source / "model" / "model.safetensors").read_bytes()).hexdigest()
    wanted = {one.fingerprint(config, weights): one for one in runs(config, len(scenario.pool), scenario.fold)}
    rows = [row for row in read_rows(path) if row.get("fingerprint") in wanted]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    order = list(wanted)
    for row in rows:
        del wanted[row["fingerprint"]]
    if wanted:
        worker = _Worker(scenario, config)
        with path.open("a", encoding="utf-8") as lines:
            for fingerprint, one in wanted.items():
                lines.write(json.dumps({**worker.run(one), "fingerprint": fingerprint}) + "\n")
                lines.flush()
    # in the order of the config, whichever came first
    done = sorted(read_rows(path), key=lambda row: order.index(row["fingerprint"]))
    write_text(path, "".join(json.dumps(row) + "\n" for row in done))
    return len(order)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The runs written so far; a last line that was cut off by a kill is passed over, and cut off the file."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _in_turn(overrides: Sequence[str]) -> list[list[str]]:
    """The settings of each adaptation of a run whose method adapts several times."""
    turns: list[list[str]] = [[]]
    for override in overrides:
        if override == THEN:
            turns.append([])
        else:
            turns[-1].append(override)
    return turns


class _Worker:
    """A scenario's source model and test sets, loaded once."""

    def __init__(self, scenario: Scenario, config: SweepConfig) -> None:
        from speechnlp_tl.speech.adaptation_run import source_fisher
        from speechnlp_tl.speech.dataset import SpeechDataset
        from speechnlp_tl.speech.models import load_recogniser

        self.scenario = scenario
        self.source = load_recogniser(scenario.source)
        features = self.source.config.features
        stride = max(1, len(scenario.old) // config.old_utterances)
        self.tests = {
            "target": SpeechDataset(scenario.test, features),
            "old": SpeechDataset(scenario.old[::stride][: config.old_utterances], features),
        }
        needs_fisher = any("ewc" in override for overrides in config.methods.values() for override in overrides)
        self.fisher = source_fisher(self.source, scenario.source_train) if needs_fisher else None

    def run(self, one: Run) -> dict[str, Any]:
        from speechnlp_tl.speech.adaptation import adapt
        from speechnlp_tl.speech.adaptation_run import settings_from

        row: dict[str, Any] = {
            "target": self.scenario.target, "fold": self.scenario.fold,
            "method": one.method, "budget": one.budget, "seed": one.seed,
        }  # fmt: skip
        recogniser = self.source
        if one.budget:
            drawn = random.Random(f"{self.scenario.name}-{one.seed}").sample(
                self.scenario.pool, len(self.scenario.pool)
            )
            began = time.perf_counter()
            for overrides in _in_turn(one.overrides):
                settings = settings_from([f"seed={one.seed}", *overrides])
                try:
                    speech, source_speech = drawn[: one.budget], self.scenario.source_train
                    recogniser = adapt(
                        recogniser, speech, settings, self.fisher, source_speech=source_speech
                    ).recogniser
                except InputError:
                    if not settings.unsupervised:
                        raise
                    row["untrusted"] = True  # no hypothesis was trusted: the model stays as it is
            row["wall_s"] = round(time.perf_counter() - began, 3)
            row["seconds"] = round(sum(utterance.duration or 0.0 for utterance in drawn[: one.budget]), 2)
        return row | self._errors(recogniser)

    def _errors(self, recogniser: Any) -> dict[str, Any]:
        """Errors and words on the target's test and by source speaker on theirs."""
        from speechnlp_tl.evaluation.wer import score

        errors: dict[str, Any] = {}
        for name, dataset in self.tests.items():
            result = score(
                {utterance.id: utterance.words for utterance in dataset.utterances},
                {key: found.words for key, found in recogniser.transcribe(dataset).items()},
                {utterance.id: utterance.speaker for utterance in dataset.utterances},
            )
            key = "target_errors" if name == "target" else name
            errors[key] = {who: [counts.errors, counts.words] for who, counts in result.per_speaker.items()}
            if name == "target":
                errors["by_utterance"] = [[one.counts.errors, one.counts.words] for one in result.utterances]
        return errors


if __name__ == "__main__":
    main()
