"""Denoisers fitted once on the reviews of all domains, for every pair of them. No label is read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from settings import RecipeConfig

from data_prep.amazon import read_prepared
from speechnlp_tl.text.features import Weighting, weigh_counts
from speechnlp_tl.transfer.denoising import MarginalisedDenoiser

Scope = Literal["training", "everything"]


def denoiser_file(folder: Path, config: RecipeConfig, data: Path, scope: Scope, weighting: Weighting) -> Path:
    """Where the denoiser of these settings is kept; `folder` is that of the runs on these reviews."""
    what = [config.msda.model_dump(mode="json"), scope, weighting, config.domains_in(data)]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    return folder / f"denoiser-{scope}-{weighting}-{digest}.safetensors"


def fit_shared_denoisers(config: RecipeConfig, part: str, data: Path, folder: Path) -> list[str]:
    """Fit those that the part's systems ask for and that are not there yet; a line about each."""
    from scipy import sparse

    wanted = {(s.fitted_on, s.weighting) for s in getattr(config, part).values() if s.fitted_on != "pair"}
    lines = []
    for scope, weighting in sorted(wanted):
        path = denoiser_file(folder, config, data, scope, weighting)
        if path.is_file():
            continue
        reviews = [read_prepared(data / name, features=None) for name in config.domains_in(data)]
        splits = ("train", "test") if scope == "everything" else ("train",)
        rows = sparse.vstack([domain[split].counts for domain in reviews for split in splits], format="csr")
        folder.mkdir(parents=True, exist_ok=True)
        MarginalisedDenoiser(**config.msda.model_dump()).fit(weigh_counts(rows, weighting)).save(path)
        lines.append(f"mSDA fitted on {rows.shape[0]} reviews of all domains ({scope}, {weighting})")
    return lines
