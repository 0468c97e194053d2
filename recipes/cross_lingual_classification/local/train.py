"""Stage 2: word vectors of each language, for each division of the books, without the text of the test books."""

from __future__ import annotations

import time

from corpora import sentences
from runs import Runs, read_arguments

from data_prep.command import run
from recipes.run_records import in_parallel, record_of, write_record
from speechnlp_tl.embeddings.training import train_vectors
from speechnlp_tl.embeddings.vector_files import write_vectors
from speechnlp_tl.evaluation.results import peak_mb


def _work() -> None:
    runs, jobs = read_arguments(__doc__)
    config = runs.config
    needed = config.languages if any(space.method for space in config.spaces.values()) else []
    work = [(runs, language, split) for split in range(config.splits) for language in needed]
    in_parallel(_train, [item for item in work if not record_of(runs.vectors(*item[1:])).is_file()], jobs)


def _train(item: tuple[Runs, str, int]) -> str:
    runs, language, split = item
    began, folder = time.monotonic(), runs.vectors(language, split)
    if not folder.is_dir():
        text = sentences(runs.data, runs.verses(language), runs.division(split))
        settings = runs.config.training.model_copy(update={"seed": split, "workers": 1})
        write_vectors(train_vectors(text, settings, language), folder)
    seconds = time.monotonic() - began
    write_record(record_of(folder), {"wall_s": round(seconds, 1), "peak_mb": round(peak_mb(), 1)})
    return f"{language}, division {split}: {seconds:.0f} s"


if __name__ == "__main__":
    run(_work)
