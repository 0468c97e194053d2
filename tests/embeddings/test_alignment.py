from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from speechnlp_tl.embeddings.alignment import PRESETS, Alignment, AlignmentSettings, fit_alignment, fit_maps, preset
from speechnlp_tl.embeddings.closed_forms import canonical_correlation
from speechnlp_tl.errors import InputError
from tests.embeddings.planted import planted, precision


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_recovers_a_planted_rotation_from_a_part_of_the_dictionary(name):
    made = planted(noise=0.1)
    alignment = fit_alignment(made.source, made.target, made.pairs[:200], preset(name))
    found = precision(alignment.map_source(made.source), alignment.map_target(made.target), made.pairs[200:])
    assert found > 0.97
    swapped = precision(alignment.map_source(made.target), alignment.map_target(made.source), made.pairs[:, ::-1])
    assert swapped < 0.1


def test_procrustes_finds_the_rotation_itself():
    made = planted(noise=0.02)
    alignment = fit_alignment(made.source, made.target, made.pairs, preset("procrustes", normalise=()))
    assert alignment.target_map is None
    np.testing.assert_allclose(alignment.source_map, made.rotation, atol=0.01)


def test_the_steps_are_the_papers_one_after_the_other():
    """Artetxe et al. 2018, steps 1 to 5, as a chain of small matrices; similarities are what must agree."""
    made = planted(words=200, dimensions=6, noise=0.3)
    x, y = unit(made.source[made.pairs[:, 0]].astype(float)), unit(made.target[made.pairs[:, 1]].astype(float))
    wx, wy = power(x.T @ x, -0.5), power(y.T @ y, -0.5)
    u, s, vt = np.linalg.svd((x @ wx).T @ (y @ wy))
    for settings, left, right in [
        (preset("cca"), wx @ u, wy @ vt.T),
        (preset("cca", source_reweight=1.0), wx @ u * s, wy @ vt.T),
        (
            preset("vecmap"),
            wx @ u @ np.diag(s**0.5) @ u.T @ power(x.T @ x, 0.5) @ u,
            wy @ vt.T @ np.diag(s**0.5) @ vt @ power(y.T @ y, 0.5) @ vt.T,
        ),
        (
            preset("vecmap", source_dewhiten="target", target_reweight=0.0, source_reweight=1.0, dimensions=3),
            (wx @ u @ np.diag(s) @ vt @ power(y.T @ y, 0.5) @ vt.T)[:, :3],
            (wy @ vt.T @ vt @ power(y.T @ y, 0.5) @ vt.T)[:, :3],
        ),
    ]:
        source_map, target_map, singular_values = fit_maps(x, y, settings)
        mapped = y if target_map is None else y @ target_map
        np.testing.assert_allclose(x @ source_map @ mapped.T, x @ left @ (y @ right).T, atol=1e-5)
        np.testing.assert_allclose(singular_values, s, atol=1e-5)


def test_the_cca_preset_is_canonical_correlation():
    made = planted(words=200, dimensions=6, noise=0.3)
    x, y = made.source[made.pairs[:, 0]], made.target[made.pairs[:, 1]]
    maps = canonical_correlation(x, y)
    source_map, target_map, correlations = fit_maps(x, y, preset("cca"))
    np.testing.assert_allclose(correlations, maps.correlations, atol=1e-5)
    np.testing.assert_allclose(x @ source_map @ (y @ target_map).T, x @ maps.source @ (y @ maps.target).T, atol=1e-5)


def test_the_ridge_is_a_multiple_of_the_mean_of_the_diagonal():
    """So that it means the same for a small dictionary and a large one, for short vectors and long."""
    made = planted(words=200, dimensions=6, noise=0.3)
    x, y = made.source[made.pairs[:, 0]].astype(float), made.target[made.pairs[:, 1]].astype(float)
    by_hand = canonical_correlation(x, y, 0.0)
    np.testing.assert_allclose(fit_maps(x, y, preset("cca"))[2], by_hand.correlations, atol=1e-6)
    mean = np.trace(x.T @ x) / 6
    w = np.linalg.solve(x.T @ x + 0.5 * mean * np.eye(6), x.T @ y)
    np.testing.assert_allclose(fit_maps(x, y, preset("least-squares", ridge=0.5))[0], w, atol=1e-5)
    for name in ("regularised-cca", "least-squares"):
        once = fit_maps(x, y, preset(name, ridge=0.5))
        twice = fit_maps(np.vstack([x, x]) * 3, np.vstack([y, y]) * 3, preset(name, ridge=0.5))
        cosines = [
            unit(x @ source) @ unit(y if target is None else y @ target).T for source, target, _ in (once, twice)
        ]
        np.testing.assert_allclose(*cosines, atol=1e-4)


def test_presets_only_set_defaults():
    assert preset("procrustes") == AlignmentSettings()
    assert preset("vecmap", dimensions=5) == AlignmentSettings(**PRESETS["vecmap"], dimensions=5)
    with pytest.raises(InputError, match=r"no preset 'vecmapp'; there are: .*vecmap"):
        preset("vecmapp")


@pytest.mark.parametrize(
    "wrong",
    [{"target_dewhiten": "target"}, {"mapping": "least-squares", "whiten": True}, {"ridge": 1.0}, {"dimensions": 0}],
)
def test_switches_that_do_not_fit_together_are_refused(wrong):
    with pytest.raises(InputError):
        preset("procrustes", **wrong)


@pytest.mark.parametrize("name", ["procrustes", "vecmap"])
def test_languages_may_have_unlike_dimensions(name):
    made = planted(noise=0.05)
    wider = np.hstack([made.source, 0.05 * np.random.default_rng(5).standard_normal((600, 4))])
    for source, target, pairs in [
        (wider, made.target, made.pairs), (made.target, wider, made.pairs[:, ::-1]),
    ]:  # fmt: skip
        alignment = fit_alignment(source, target, pairs, preset(name))
        assert alignment.dimensions == 20
        assert precision(alignment.map_source(source), alignment.map_target(target), pairs) > 0.95


@pytest.mark.parametrize("name", PRESETS)
def test_a_saved_alignment_maps_the_same(name, tmp_path):
    made = planted()
    alignment = fit_alignment(made.source, made.target, made.pairs[:300], preset(name))
    alignment.save(tmp_path / "aligned")
    assert sorted(path.name for path in (tmp_path / "aligned").iterdir()) == ["config.yaml", "model.safetensors"]
    loaded = Alignment.load(tmp_path / "aligned")
    np.testing.assert_array_equal(loaded.map_source(made.source), alignment.map_source(made.source))
    np.testing.assert_array_equal(loaded.map_target(made.target), alignment.map_target(made.target))
    with pytest.raises(InputError, match="exists already"):
        alignment.save(tmp_path / "aligned")


def test_a_damaged_folder_says_what_is_wrong(tmp_path):
    made = planted()
    fit_alignment(made.source, made.target, made.pairs, preset("vecmap")).save(tmp_path / "a")
    weights = tmp_path / "a" / "model.safetensors"
    tensors = load_file(weights)
    del tensors["target_map"]
    tensors["source_map"] = tensors["source_map"][:5]
    save_file(tensors, weights)
    with pytest.raises(InputError) as caught:
        Alignment.load(tmp_path / "a")
    assert len(caught.value.problems) == 2
    weights.write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        Alignment.load(tmp_path / "a")
    weights.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        Alignment.load(tmp_path / "a")


def test_bad_input_is_named():
    made = planted()
    with pytest.raises(InputError, match="at least 1"):
        fit_alignment(made.source, made.target, made.pairs[:0])
    with pytest.raises(InputError, match="do not span"):
        fit_alignment(made.source, made.target, made.pairs[:5], preset("vecmap"))
    with pytest.raises(InputError, match="dimensions=30"):
        fit_alignment(made.source, made.target, made.pairs, preset("procrustes", dimensions=30))
    broken = made.source.copy()
    broken[3, 0] = np.nan
    for name in ("procrustes", "least-squares"):
        with pytest.raises(InputError, match="source: 1 rows"):
            fit_alignment(broken, made.target, made.pairs, preset(name))
    alignment = fit_alignment(made.source, made.target, made.pairs)
    with pytest.raises(InputError, match="fitted on 20 dimensions"):
        alignment.map_source(made.source[:, :5])
