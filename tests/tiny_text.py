"""A made collection of reviews with a planted shift, and a made transformer: seconds to train on."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from data_prep.made_reviews import COMMON, NEUTRAL, PRODUCTS, make_review

LABELS = ("negative", "positive")


def reviews(product: str, count: int, seed: int = 0) -> list[dict[str, str]]:
    """Made reviews, half of them positive."""
    generator = random.Random(f"{product} {seed}")
    return [
        {"text": " ".join(make_review(product, LABELS[n % 2], generator)), "label": LABELS[n % 2], "domain": product}
        for n in range(count)
    ]


def write_lines(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def write_config(path: Path, data: str, rest: str = "", epochs: int = 6) -> Path:
    """A config in flow style: `data` and `rest` are YAML lines."""
    path.write_text(
        f"task: text-classification\ndata: {{{data}}}\nclassifier: {{hidden: [16]}}\nbatch_size: 16\n{rest}"
        f"train: {{epochs: {epochs}, learning_rate: 1e-2, betas: [0.0, 0.99], device: cpu, tensorboard: false}}\n",
        encoding="utf-8",
    )
    return path


def make_transformer(folder: Path, **options: object) -> Path:
    """A random BERT of two layers and 16 units with a WordPiece tokenizer of the made reviews' words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    words = {word for parts in PRODUCTS.values() for group in parts.values() for word in group}
    words |= {word for group in COMMON.values() for word in group} | set(NEUTRAL)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(pieces), max_position_embeddings=64, **(shape | options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
