"""Stage 4: the test sentences in every direction of every system, and what the encoders make of them."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from settings import Direction, RecipeConfig

from data_prep.command import run
from recipes.run_records import in_parallel, record_of, write_record
from speechnlp_tl.atomic import atomic_file, write_text
from speechnlp_tl.core.config import load_config
from speechnlp_tl.core.device import usual_device
from speechnlp_tl.translation.parallel_text import read_parallel
from speechnlp_tl.translation.translation_model import TranslationModel, load_translation_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("conf", "data", "runs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="systems side by side")
    arguments = parser.parse_args()
    run(lambda: _work(arguments))


def _work(arguments: argparse.Namespace) -> None:
    config = load_config(arguments.conf, RecipeConfig)
    place = arguments.out, arguments.runs, arguments.data
    work = [(config, *place, name, seed) for name in config.systems for seed in config.seeds_of(name)]
    in_parallel(_translate, [each for each in work if not record_of(_folder(each)).is_file()], arguments.jobs)
    in_parallel(
        _encode, [each for each in work if not all(file.is_file() for file in _encodings(each))], arguments.jobs
    )


Item = tuple[RecipeConfig, Path, Path, Path, str, int]


def _folder(item: Item) -> Path:
    config, out, runs, data, name, seed = item
    return config.translations(out, runs, name, data, seed)


def _translate(item: Item) -> str:
    torch.set_num_threads(1)  # systems stand side by side
    config, _, runs, data, name, seed = item
    folder, test = _folder(item), read_test(data, config)
    directions = config.directions(name)
    for direction in directions:
        lines = test[direction[0]]
        for system, (source, target) in config.way(name, direction):
            model = loaded(config.folder(runs, system, data, seed))
            lines = model.translate(lines, target, config.search, source).lines
        write_text(folder / f"{'-'.join(direction)}.txt", "".join(f"{line}\n" for line in lines))
    write_record(record_of(folder), {"directions": len(directions)})
    return f"{name}, seed {seed}: {len(directions)} directions"


def read_test(data: Path, config: RecipeConfig) -> dict[str, list[str]]:
    """Test sentences of each language."""
    files = {name: data / "test" / f"{name}.txt" for name in config.all_languages}
    return {name: list(lines) for name, lines in read_parallel(files).sentences.items()}


def _encode(item: Item) -> str:
    torch.set_num_threads(1)
    config, _, runs, data, name, seed = item
    test, model = read_test(data, config), loaded(config.folder(runs, name, data, seed))
    for (source, target), file in zip(encoded(config, name), _encodings(item), strict=True):
        made = io.BytesIO()
        np.save(made, model.encode(test[source], target, source))
        with atomic_file(file) as temporary:
            temporary.write_bytes(made.getvalue())
    return f"{name}, seed {seed}: encodings"


def _encodings(item: Item) -> list[Path]:
    config, _, _, _, name, _ = item
    folder = _folder(item)  # its name is a digest of the whole configuration
    return [encodings_file(folder, *direction) for direction in encoded(config, name)]


def encoded(config: RecipeConfig, system: str) -> list[Direction]:
    """Language -> the one that it is encoded for: each of those that a system knows for each of the others, and for the
    last one, which is drawn, all of them."""
    if config.systems[system].pivot_of is not None:
        return []
    known = [name for name in config.languages if name in config.known(system)]
    last = config.languages[-1]
    return [(one, other) for one in known for other in known if one != other or other == last]


def encodings_file(folder: Path, source: str, target: str) -> Path:
    return folder / f"encodings.{source}-{target}.npy"


def loaded(folder: Path) -> TranslationModel:
    """A finished model, on the device where it works."""
    model = load_translation_model(folder)
    model.transformer.to(usual_device())
    return model


if __name__ == "__main__":
    main()
