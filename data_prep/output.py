"""What every corpus module writes beside its data directories: the folder as a whole, its record, made audio."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speechnlp_tl.atomic import atomic_directory, write_text
from speechnlp_tl.errors import InputError, Problem
from speechnlp_tl.speech.data_dir import DataDir

RECORD = "prepared.json"


@contextmanager
def output_folder(
    out: Path, corpus: str, parameters: Mapping[str, Any], splits: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` when the block succeeds.

    Its `prepared.json` describes `splits`; where they are not given, the data directories that the block wrote.

    An `out` that an earlier run for the same corpus made (its `prepared.json` says so) is replaced; any other folder
    that holds something is left alone.

    Raises:
        InputError: `out` holds something else, or the disk is full.
    """
    out = Path(out)
    replaces = out.is_dir() and any(out.iterdir())
    if replaces and _prepared_corpus(out) != corpus:
        remedy = "choose another folder or remove this one"
        raise InputError(Problem(f"holds something other than prepared {corpus} data", file=out, remedy=remedy))
    target = out.with_name(f".{out.name}.new") if replaces else out
    if replaces:
        shutil.rmtree(target, ignore_errors=True)  # of a run that was killed
    with atomic_directory(target) as folder:
        yield folder
        record = {"corpus": corpus, "parameters": dict(parameters), "splits": splits or _summary(folder)}
        write_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    if replaces:
        old = out.with_name(f".{out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        out.replace(old)
        target.replace(out)
        shutil.rmtree(old)


def write_splits(folder: Path, out: Path, splits: Mapping[str, DataDir]) -> dict[str, Path]:
    """Write each split as a data directory below `folder`; returns where it is once `folder` has become `out`."""
    for name, data in splits.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data.write(folder / name)
    return {name: Path(out) / name for name in splits}


def write_wav(path: Path, samples: npt.NDArray[np.int16], rate: int) -> None:
    """Write (n,) 16-bit samples as a wav file. The folder around it is written whole or not at all."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16", format="WAV")


def _prepared_corpus(out: Path) -> str | None:
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record.get("corpus") if isinstance(record, dict) else None


def _summary(folder: Path) -> dict[str, dict[str, float]]:
    """Speakers, utterances and seconds of every data directory, from the files just written."""
    summary = {}
    for table in sorted(folder.rglob("utt2dur")):
        seconds = [float(line.split()[1]) for line in table.read_text(encoding="utf-8").splitlines()]
        speakers = (table.parent / "spk2utt").read_text(encoding="utf-8").count("\n")
        name = table.parent.relative_to(folder).as_posix()
        summary[name] = {"speakers": speakers, "utterances": len(seconds), "seconds": round(sum(seconds), 2)}
    return summary
