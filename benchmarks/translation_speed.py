"""Training and search of translation models: against a bare PyTorch loop, and against transformers.

    python benchmarks/translation_speed.py [--steps 8] [--rounds 5] [--sentences 200] [--threads 2]

Training: target pieces per second through `TranslationTask` and `Trainer`, as a user runs them, against a plain loop
over the same batches in memory with the same arithmetic (both end with the same weights), and against transformers'
`Trainer` on a Marian model of the same size, which is given the same batches in memory. Search: beam search of a model
that was trained to translate made sentences, against `generate` of an M2M-100 model of the same size, which normalises
where ours does and so learns as much from the same batches; same beam, same sentences, the same ones together.
Vocabulary and layers have the size of a small real model.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from _harness import WORK, commit, interleaved, measured, median, ratio, store
from _report import (
    TRANSLATION_BARE,
    TRANSLATION_BEAM,
    TRANSLATION_BLEU,
    TRANSLATION_GENERATE,
    TRANSLATION_HF,
    TRANSLATION_HF_RATIO,
    TRANSLATION_OURS,
    TRANSLATION_OVERHEAD,
    TRANSLATION_PIECES,
    TRANSLATION_SEARCH_RATIO,
    TRANSLATION_SENTENCES,
)

from speechnlp_tl.evaluation.results import Record

PIECES = 8000
"""Rows of the embedding; the made text uses few of them, the output layer computes all."""
SHAPE = {"width": 256, "heads": 4, "feedforward": 1024, "encoder_layers": 3, "decoder_layers": 3, "dropout": 0.1}
JOINED = 3
"""Made sentences in a row of text: about as many words as a caption has."""
SETTINGS = {"learning_rate": 1e-3, "schedule": "inverse-sqrt", "warmup": 60, "clip_norm": 1.0}
BATCH_TOKENS, BEAM, SMOOTHING = 4000, 4, 0.1
LEARNING_STEPS, LEARNING_TOKENS = 250, 1500
"""Until both models translate the made sentences, in steps of so many pieces."""


def made_text(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Set -> language -> lines of `JOINED` made sentences each."""
    from data_prep import made_translations

    made_translations.prepare(folder, sentences=6000)
    found: dict[str, dict[str, list[str]]] = {}
    for part, name, count in (("train", "train/xa-xb", 3000), ("test", "test", 1000)):
        sides = {language: (folder / name / f"{language}.txt").read_text().splitlines() for language in ("xa", "xb")}
        generator = random.Random(part)
        rows = [[generator.randrange(len(sides["xa"])) for _ in range(JOINED)] for _ in range(count)]
        found[part] = {
            language: [" ".join(side[place] for place in row) for row in rows] for language, side in sides.items()
        }
    return found


def make_task(folder: Path, batch_tokens: int = BATCH_TOKENS) -> tuple[Any, dict[str, list[str]]]:
    """A task with a fresh model, and the test sentences."""
    from speechnlp_tl.translation.subwords import SubwordConfig, Subwords
    from speechnlp_tl.translation.task import TranslationTask, directions_of
    from speechnlp_tl.translation.transformer import TransformerConfig, TranslationTransformer

    class Roomy(Subwords):
        """Never asks for the rows that no piece uses."""

        def silent(self, language: str) -> list[int]:
            return [*super().silent(language), *range(len(self), PIECES)]

    text = made_text(folder / "text")
    subwords = Roomy.train(text["train"], SubwordConfig(size=400))
    encoded = {language: subwords.encode(lines) for language, lines in text["train"].items()}
    model = TranslationTransformer(TransformerConfig(**SHAPE), PIECES, len(subwords.languages))
    rows = directions_of([encoded], ["xa-xb"])
    return TranslationTask(model, subwords, rows, batch_tokens=batch_tokens, label_smoothing=SMOOTHING), text["test"]


def train_config(steps: int) -> Any:
    from speechnlp_tl.core.config import TrainConfig

    return TrainConfig(steps=steps, evaluate_every=None, device="cpu", **SETTINGS)


def batches_of(task: Any, steps: int) -> list[Any]:
    """The batches of the first steps."""
    found: list[Any] = []
    epoch = 0
    while len(found) < steps:
        found += [task.load(rows, epoch) for rows in task.batches(epoch)]
        epoch += 1
    return found[:steps]


def bare_loop(task: Any, batches: Sequence[Any], config: Any) -> None:
    import torch
    import torch.nn.functional as F

    from speechnlp_tl.core.optimizer import make_optimizer
    from speechnlp_tl.core.schedule import learning_rate_factor

    torch.manual_seed(config.seed)
    model = task.model.train()
    optimizer = make_optimizer(model, config)
    for step, batch in enumerate(batches):
        factor = learning_rate_factor(step, len(batches), config.schedule, config.warmup)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * factor
        logits = model(batch.source, batch.inputs, batch.languages).logits
        loss = F.cross_entropy(
            logits.flatten(0, 1), batch.outputs.flatten(), reduction="sum", ignore_index=0, label_smoothing=SMOOTHING
        )
        (loss / batch.units).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    model.eval()


def ours(task: Any, config: Any) -> None:
    from speechnlp_tl.core.trainer import Trainer

    with tempfile.TemporaryDirectory() as folder:
        Trainer(task, config, folder, quiet=True).fit()


def steps_per_second(steps: int, batch_tokens: int = BATCH_TOKENS) -> float:
    """Of a training of a fresh model, behind one that warms up."""
    with tempfile.TemporaryDirectory() as folder:
        task, _ = make_task(Path(folder), batch_tokens)
        ours(task, train_config(2))
        begin = time.perf_counter()
        ours(task, train_config(steps))
        return steps / (time.perf_counter() - begin)


def peer_settings() -> dict[str, Any]:
    """Of a model of transformers, for the size of ours and attention by the same kernel."""
    width = SHAPE["width"]
    settings: dict[str, Any] = {
        "vocab_size": PIECES, "d_model": width, "dropout": SHAPE["dropout"], "attention_dropout": SHAPE["dropout"],
        "activation_dropout": SHAPE["dropout"], "activation_function": "relu",
        "scale_embedding": True, "pad_token_id": 0, "eos_token_id": 3, "bos_token_id": 2, "decoder_start_token_id": 2,
        "forced_eos_token_id": None, "max_position_embeddings": 256, "attn_implementation": "sdpa",
        "init_std": width**-0.5,
    }  # fmt: skip
    for side in ("encoder", "decoder"):
        settings |= {f"{side}_layers": SHAPE[f"{side}_layers"], f"{side}_attention_heads": SHAPE["heads"]}
        settings |= {f"{side}_ffn_dim": SHAPE["feedforward"], f"{side}_layerdrop": 0.0}
    return settings


def marian() -> Any:
    from transformers import MarianConfig, MarianMTModel

    return MarianMTModel(MarianConfig(**peer_settings()))


def m2m100() -> Any:
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    return M2M100ForConditionalGeneration(M2M100Config(**peer_settings()))


def huggingface(model: Any, batches: Sequence[Any], config: Any) -> None:
    """transformers' Trainer over whole batches that lie in memory."""
    from torch.utils.data import Dataset
    from transformers import Trainer, TrainingArguments

    class InMemory(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, place: int) -> Any:
            batch = batches[place]
            return {
                "input_ids": batch.source, "attention_mask": (batch.source != 0).long(),
                "decoder_input_ids": batch.inputs, "labels": batch.outputs.masked_fill(batch.outputs == 0, -100),
            }  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, max_steps=len(batches), per_device_train_batch_size=1, learning_rate=config.learning_rate,
            lr_scheduler_type="inverse_sqrt", warmup_steps=config.warmup, max_grad_norm=config.clip_norm,
            weight_decay=config.weight_decay, label_smoothing_factor=SMOOTHING, use_cpu=True, report_to="none",
            disable_tqdm=True, save_strategy="no", logging_steps=20, remove_unused_columns=False,
        )  # fmt: skip
        Trainer(model, arguments, train_dataset=InMemory(), data_collator=lambda found: found[0]).train()


def measure_training(folder: Path, steps: int, rounds: int) -> dict[str, Any]:
    import torch

    task, _ = make_task(folder)
    batches, config, model = batches_of(task, steps), train_config(steps), marian()
    starts = [{name: w.clone() for name, w in each.state_dict().items()} for each in (task.model, model)]
    ends: dict[str, torch.Tensor] = {}

    def run(name: str) -> None:
        task.model.load_state_dict(starts[0])
        if name == TRANSLATION_HF:
            model.load_state_dict(starts[1])
            huggingface(model, batches, config)
            return
        bare_loop(task, batches, config) if name == TRANSLATION_BARE else ours(task, config)
        ends[name] = torch.cat([w.flatten() for w in task.model.state_dict().values()])

    names = (TRANSLATION_BARE, TRANSLATION_OURS, TRANSLATION_HF)
    timings = interleaved({name: (lambda name=name: run(name)) for name in names}, rounds)
    apart = float((ends[TRANSLATION_BARE] - ends[TRANSLATION_OURS]).abs().max())
    sizes = [sum(w.numel() for w in each.parameters() if w.requires_grad) for each in (task.model, model)]
    return {"wall": timings.wall, "pieces": sum(each.units for each in batches), "apart": apart, "sizes": sizes}


def train_searchers(folder: Path) -> None:
    """Both models for the search, into the folder."""
    from speechnlp_tl.core.checkpoint import module_tensors
    from speechnlp_tl.transfer.tensor_files import write_tensors

    task, _ = make_task(folder, LEARNING_TOKENS)
    batches, config, peer = batches_of(task, LEARNING_STEPS), train_config(LEARNING_STEPS), m2m100()
    ours(task, config)
    huggingface(peer, batches, config)
    for name, model in ((TRANSLATION_BEAM, task.model), (TRANSLATION_GENERATE, peer)):
        write_tensors(searcher_file(folder, name), module_tensors(model))


def searcher_file(folder: Path, name: str) -> Path:
    return folder / f"{'ours' if name == TRANSLATION_BEAM else 'peer'}.safetensors"


def load_searcher(folder: Path, name: str, model: Any) -> Any:
    from speechnlp_tl.core.checkpoint import load_module
    from speechnlp_tl.transfer.tensor_files import read_tensors

    path = searcher_file(folder, name)
    load_module(model, read_tensors(path), path)
    return model.eval()


def our_search(folder: Path, sentences: int) -> tuple[Callable[[], list[str]], list[str]]:
    """A search of the test sentences, and what is to come out."""
    from speechnlp_tl.translation.translation_model import SearchConfig, TranslationModel, TranslationModelConfig

    task, test = make_task(folder)
    facts = TranslationModelConfig(
        languages=list(task.subwords.languages), model=task.model.config, sentencepiece_sha256=task.subwords.sha256
    )
    translator = TranslationModel(facts, task.subwords, load_searcher(folder, TRANSLATION_BEAM, task.model))
    lines = test["xa"][:sentences]
    return lambda: translator.translate(lines, "xb", SearchConfig(beam=BEAM)).lines, test["xb"][:sentences]


def peers_search(folder: Path, sentences: int) -> Callable[[], list[str]]:
    import torch

    from speechnlp_tl.core.batching import batches_by_cost
    from speechnlp_tl.translation.inputs import encoder_input, padded
    from speechnlp_tl.translation.translation_model import SearchConfig

    task, test = make_task(folder)
    peer, lines = load_searcher(folder, TRANSLATION_GENERATE, m2m100()), test["xa"][:sentences]

    def generate() -> list[str]:
        pieces, silent = task.subwords.encode(lines), task.subwords.silent("xb")
        made = [""] * len(pieces)
        # what our search takes together
        costs = [len(row) + 2 for row in pieces]
        for places in batches_by_cost(costs, SearchConfig().batch_tokens // BEAM, 0, 0, shuffle=False):
            rows = padded([encoder_input(pieces[place], "xa", "xb", task.subwords, "source") for place in places])
            with torch.no_grad():
                output = peer.generate(
                    input_ids=rows, attention_mask=(rows != 0).long(), num_beams=BEAM, do_sample=False,
                    max_new_tokens=2 * rows.shape[1] + 10, early_stopping=False, length_penalty=1.0,
                    suppress_tokens=silent,
                )  # fmt: skip
            for place, text in zip(places, task.subwords.decode(output.tolist()), strict=True):
                made[place] = text
        return made

    return generate


def measure_search(folder: Path, sentences: int, rounds: int) -> dict[str, Any]:
    from speechnlp_tl.evaluation.bleu import corpus_score

    train_searchers(folder)
    search, wanted = our_search(folder, sentences)
    sides = {TRANSLATION_BEAM: search, TRANSLATION_GENERATE: peers_search(folder, sentences)}
    found: dict[str, list[str]] = {}

    def run(name: str) -> None:
        found[name] = sides[name]()

    timings = interleaved({name: partial(run, name) for name in sides}, rounds)
    bleu = {name: corpus_score(made, wanted).value for name, made in found.items()}
    return {"wall": timings.wall, "sentences": sentences, "bleu": bleu}


def work(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.folder)
    if arguments.only == "training":
        print(json.dumps(measure_training(folder, arguments.steps, arguments.rounds)))
    elif arguments.only == "search":
        print(json.dumps(measure_search(folder, arguments.sentences, arguments.rounds)))
    else:
        alone(arguments.only, folder, arguments.steps, arguments.sentences)
        print("null")


def alone(side: str, folder: Path, steps: int, sentences: int) -> None:
    """One side by itself, for the memory that it takes."""
    if side == TRANSLATION_BEAM:
        our_search(folder, sentences)[0]()
    elif side == TRANSLATION_GENERATE:
        peers_search(folder, sentences)()
    else:
        task, _ = make_task(folder)
        config = train_config(steps)
        if side == TRANSLATION_OURS:
            ours(task, config)
        elif side == TRANSLATION_BARE:
            bare_loop(task, batches_of(task, steps), config)
        else:
            huggingface(marian(), batches_of(task, steps), config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="of a training")
    parser.add_argument("--sentences", type=int, default=200, help="to translate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    sizes = [f"--{name}={getattr(arguments, name)}" for name in ("steps", "sentences", "rounds")]

    folder = f"--folder={WORK / 'translation'}"
    child = partial(measured, __file__, *sizes, folder, threads=arguments.threads)
    common = {"recipe": "translation_speed", "corpus": "made sentences", "synthetic": True, "commit": commit()}
    training, _ = child("--only=training")
    if training["apart"] > 1e-4:
        raise SystemExit(f"the two sides do not train the same: weights differ by {training['apart']:.3g}")
    millions = " and ".join(f"{size / 1e6:.1f}" for size in training["sizes"])
    budget = f"{millions} million parameters, steps of {BATCH_TOKENS} pieces, {arguments.threads} threads"
    records = []
    for name in (TRANSLATION_OURS, TRANSLATION_BARE, TRANSLATION_HF):
        value, interval = median([training["pieces"] / seconds for seconds in training["wall"][name]])
        same = common | {"system": name, "budget": budget}
        records.append(Record(**same, metric=TRANSLATION_PIECES, value=value, ci95=interval))
        records.append(Record(**same, metric="peak MB", value=child(f"--only={name}")[1]))
    wall = training["wall"]
    value, (low, high) = ratio(wall[TRANSLATION_OURS], wall[TRANSLATION_BARE])
    same = common | {"system": TRANSLATION_OURS, "budget": budget}
    percent = 100 * (value - 1), (100 * (low - 1), 100 * (high - 1))
    records.append(Record(**same, metric=TRANSLATION_OVERHEAD, value=percent[0], ci95=percent[1]))
    value, interval = ratio(wall[TRANSLATION_HF], wall[TRANSLATION_OURS])
    records.append(Record(**same, metric=TRANSLATION_HF_RATIO, value=value, ci95=interval))
    search, _ = child("--only=search")
    budget = f"{search['sentences']} sentences, beam {BEAM}, {arguments.threads} threads"
    for name in (TRANSLATION_BEAM, TRANSLATION_GENERATE):
        same = common | {"system": name, "budget": budget}
        value, interval = median([search["sentences"] / seconds for seconds in search["wall"][name]])
        records.append(Record(**same, metric=TRANSLATION_SENTENCES, value=value, ci95=interval))
        records.append(Record(**same, metric=TRANSLATION_BLEU, value=search["bleu"][name]))
        records.append(Record(**same, metric="peak MB", value=child(f"--only={name}")[1]))
    value, interval = ratio(search["wall"][TRANSLATION_GENERATE], search["wall"][TRANSLATION_BEAM])
    same = common | {"system": TRANSLATION_BEAM, "budget": budget}
    records.append(Record(**same, metric=TRANSLATION_SEARCH_RATIO, value=value, ci95=interval))
    store("translation_speed", records)


if __name__ == "__main__":
    main()
