"""A folder of aligned languages: any two of them, in either direction, as they were aligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speechnlp_tl.embeddings.alignment import Alignment, fit_alignment, preset
from speechnlp_tl.embeddings.space import Space, SpaceFacts
from speechnlp_tl.errors import InputError

ROWS = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
PAIRS = np.repeat(np.arange(60), 2).reshape(-1, 2)


def rotated(seed: int) -> np.ndarray:
    return (ROWS @ np.linalg.qr(np.random.default_rng(seed).standard_normal((6, 6)))[0]).astype(np.float32)


@pytest.fixture
def space() -> Space:
    alignments = {name: fit_alignment(rotated(seed), ROWS, PAIRS) for name, seed in (("fr", 1), ("de", 2))}
    return Space("en", alignments, SpaceFacts(method="procrustes", link="dictionary", pairs={"fr": 60, "de": 60}))


def agree(alignment: Alignment, source: np.ndarray, target: np.ndarray) -> bool:
    return np.allclose(alignment.map_source(source), alignment.map_target(target), atol=1e-4)


def test_any_two_languages_meet_in_either_direction_also_after_saving(space: Space, tmp_path: Path) -> None:
    vectors = {"en": ROWS, "fr": rotated(1), "de": rotated(2)}
    space.save(tmp_path / "space")
    for each in (space, Space.load(tmp_path / "space")):
        assert each.languages == ["en", "fr", "de"]
        for source in vectors:
            for target in vectors:
                if source != target:
                    assert agree(each.between(source, target), vectors[source], vectors[target]), (source, target)
    assert Space.load(tmp_path / "space").made == space.made


def test_a_pair_of_which_both_sides_are_mapped_can_be_turned_round() -> None:
    alignment = fit_alignment(rotated(1), ROWS, PAIRS, preset("vecmap", dimensions=4))
    space = Space("en", {"fr": alignment})
    ahead, back = space.between("fr", "en"), space.between("en", "fr")
    assert np.array_equal(ahead.map_source(rotated(1)), back.map_target(rotated(1)))
    assert np.array_equal(ahead.map_target(ROWS), back.map_source(ROWS))


def test_languages_that_were_not_aligned_are_named_with_those_that_were(space: Space) -> None:
    with pytest.raises(InputError) as caught:
        space.between("it", "pt")
    assert len(caught.value.problems) == 2
    assert "en, fr, de" in str(caught.value)
    with pytest.raises(InputError, match="is the source and the target"):
        space.between("fr", "fr")


def test_what_is_damaged_is_all_named(space: Space, tmp_path: Path) -> None:
    space.save(tmp_path / "space")
    (tmp_path / "space" / "fr" / "model.safetensors").write_bytes(b"no")
    (tmp_path / "space" / "de" / "config.yaml").unlink()
    with pytest.raises(InputError) as caught:
        Space.load(tmp_path / "space")
    assert {Path(str(problem.file)).parent.name for problem in caught.value.problems} == {"fr", "de"}


@pytest.mark.parametrize("name", ["../fr", "..", "/fr"])
def test_a_folder_does_not_name_paths(space: Space, tmp_path: Path, name: str) -> None:
    space.save(tmp_path / "space")
    listing = tmp_path / "space" / "languages.yaml"
    listing.write_text(listing.read_text().replace("[fr, de]", f"[{name}, de]"))
    with pytest.raises(InputError, match="paths"):
        Space.load(tmp_path / "space")
