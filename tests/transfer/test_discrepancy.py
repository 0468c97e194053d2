"""MMD, joint MMD and CORAL: values against double loops, gradients against finite differences, and their effect."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechnlp_tl.core.task import Step
from speechnlp_tl.errors import InputError
from speechnlp_tl.transfer.discrepancy import CORAL, MMD, JointMMD, coral, coral_transform, joint_mmd, mmd
from tests.transfer.domain_shift import ShiftTask, same_weights, told_apart, told_apart_without, train

ESTIMATORS = ["biased", "unbiased", "linear"]
MULTIPLES = (0.5, 1.0, 3.0)


def samples(n, m, width=3, seed=0, shift=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, width, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), (
        torch.randn(m, width, generator=generator, dtype=torch.float64) + shift
    ).requires_grad_()


def kernel_by_hand(a, b, bandwidths):
    """Product over layers of the mean over multiples of Gaussians; a and b are lists, a vector for each layer."""
    product = 1.0
    for u, v, bandwidth in zip(a, b, bandwidths, strict=True):
        distance = sum((p - q) ** 2 for p, q in zip(u, v, strict=True))
        product *= sum(math.exp(-distance / (multiple * bandwidth)) for multiple in MULTIPLES) / len(MULTIPLES)
    return product


def lower_median(values):
    return sorted(values)[(len(values) - 1) // 2]


def squared(a, b):
    return sum((p - q) ** 2 for p, q in zip(a, b, strict=True))


def mmd_by_hand(xs, ys, estimator, bandwidth=None):
    """Double loops over units, straight from the docstring."""
    xs, ys = [layer.tolist() for layer in xs], [layer.tolist() for layer in ys]
    n, m = len(xs[0]), len(ys[0])
    x, y = [[layer[i] for layer in xs] for i in range(n)], [[layer[i] for layer in ys] for i in range(m)]
    pairs = min(n, m) // 2
    bandwidths = [bandwidth] * len(xs)
    for index in range(len(xs) if bandwidth is None else 0):
        if estimator == "linear":
            met = [p for i in range(pairs) for p in ((x[2 * i], x[2 * i + 1]), (y[2 * i], y[2 * i + 1]),
                                                     (x[2 * i], y[2 * i + 1]), (x[2 * i + 1], y[2 * i]))]  # fmt: skip
        else:
            pooled = x + y
            met = [(pooled[i], pooled[j]) for i in range(n + m) for j in range(i)]
        bandwidths[index] = lower_median([squared(a[index], b[index]) for a, b in met])

    def k(a, b):
        return kernel_by_hand(a, b, bandwidths)

    if estimator == "linear":
        total = 0.0
        for i in range(pairs):
            x1, x2, y1, y2 = x[2 * i], x[2 * i + 1], y[2 * i], y[2 * i + 1]
            total += k(x1, x2) + k(y1, y2) - k(x1, y2) - k(x2, y1)
        return total / pairs
    across = sum(k(a, b) for a in x for b in y) / (n * m)
    if estimator == "biased":
        own_x = sum(k(a, b) for a in x for b in x) / n**2
        own_y = sum(k(a, b) for a in y for b in y) / m**2
    else:
        own_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        own_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return own_x + own_y - 2 * across


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("n", "m"), [(6, 6), (7, 4), (2, 9)])
@pytest.mark.parametrize("bandwidth", [None, 2.3])
def test_mmd_is_the_double_loop_over_all_units(estimator, n, m, bandwidth):
    x, y = samples(n, m)
    expected = mmd_by_hand([x], [y], estimator, bandwidth)
    assert mmd(x, y, estimator, MULTIPLES, bandwidth).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("bandwidth", [None, 2.3])
def test_joint_mmd_is_the_double_loop_with_the_product_of_kernels(estimator, bandwidth):
    (x1, y1), (x2, y2) = samples(7, 5, 3, seed=1), samples(7, 5, 2, seed=2)
    expected = mmd_by_hand([x1, x2], [y1, y2], estimator, bandwidth)
    value = joint_mmd([x1, x2], [y1, y2], estimator, MULTIPLES, bandwidth)
    assert value.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_agree_with_finite_differences(estimator):
    (x, y), (x2, y2) = samples(5, 6, seed=3), samples(5, 6, 2, seed=4)
    assert torch.autograd.gradcheck(lambda a, b: mmd(a, b, estimator, MULTIPLES, 2.0), (x, y))
    assert torch.autograd.gradcheck(
        lambda a, b, c, d: joint_mmd([a, b], [c, d], estimator, MULTIPLES, 2.0), (x, x2, y, y2)
    )
    assert torch.autograd.gradcheck(coral, (x, y))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(2, 8), st.floats(-1e3, 1e3), st.integers(0, 999))
def test_the_biased_estimate_is_never_negative_and_does_not_see_where_the_origin_is(n, m, origin, seed):
    x, y = (z.detach() for z in samples(n, m, seed=seed))
    value = mmd(x, y, "biased")
    assert value.item() >= -1e-12
    assert mmd(x + origin, y + origin, "biased").item() == pytest.approx(value.item(), abs=1e-9)
    assert mmd(x, x, "biased").item() == pytest.approx(0, abs=1e-12)


def test_unbiased_and_linear_estimates_agree_with_each_other_in_the_mean():
    estimates = {estimator: [] for estimator in ESTIMATORS}
    for seed in range(300):
        x, y = (z.detach() for z in samples(20, 20, seed=seed, shift=0.4))
        for estimator, values in estimates.items():
            values.append(mmd(x, y, estimator, (1.0,), 3.0).item())
    means = {estimator: np.mean(values) for estimator, values in estimates.items()}
    errors = {estimator: np.std(values) / math.sqrt(300) for estimator, values in estimates.items()}
    assert abs(means["unbiased"] - means["linear"]) < 3 * math.hypot(errors["unbiased"], errors["linear"])
    assert means["biased"] > means["unbiased"] + 3 * errors["unbiased"]
    assert errors["linear"] > 2 * errors["unbiased"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_layer_whose_units_are_all_alike_gives_no_nan(estimator):
    x = torch.full((4, 3), 1e3, requires_grad=True)
    value = mmd(x, torch.full((4, 3), 1e3), estimator)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(x.grad).all()


def coral_by_hand(x, y):
    x, y = x.tolist(), y.tolist()

    def covariance(z, i, j):
        mean_i, mean_j = sum(r[i] for r in z) / len(z), sum(r[j] for r in z) / len(z)
        return sum((r[i] - mean_i) * (r[j] - mean_j) for r in z) / (len(z) - 1)

    width = len(x[0])
    squares = ((covariance(x, i, j) - covariance(y, i, j)) ** 2 for i in range(width) for j in range(width))
    return sum(squares) / (4 * width**2)


def test_coral_is_the_double_loop_over_all_entries_of_the_covariances():
    x, y = samples(7, 4)
    assert coral(x, y).item() == pytest.approx(coral_by_hand(x, y), rel=1e-10)


TERMS = {
    "mmd": (lambda **k: MMD("hidden", **k), lambda x, y: mmd_by_hand([x], [y], "unbiased")),
    "biased": (lambda **k: MMD("hidden", estimator="biased", **k), lambda x, y: mmd_by_hand([x], [y], "biased")),
    "linear": (lambda **k: MMD("hidden", estimator="linear", **k), None),
    "joint": (lambda **k: JointMMD(["hidden", "hidden"], **k), lambda x, y: mmd_by_hand([x, x], [y, y], "unbiased")),
    "coral": (lambda **k: CORAL("hidden", **k), coral_by_hand),
}


def make_term(name, **options):
    if name != "coral":
        options = {"multiples": MULTIPLES} | options
    return TERMS[name][0](**options)


def random_step(shape=(6, 4), domains=(0, 1, 0, 1, 1, 0), seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    domain = torch.tensor(domains)
    hidden = hidden * (1 + domain.view(-1, *[1] * len(shape)))
    mask = torch.rand(shape, generator=generator) < (0.7 if len(shape) == 2 else 2)
    return Step(torch.zeros(()), torch.zeros(*shape, 2), mask, {"hidden": hidden.requires_grad_()}, domain)


def units_of(step, which):
    domain = step.domain if step.mask.ndim == 1 else step.domain.unsqueeze(1).expand(step.mask.shape)
    return step.features["hidden"][step.mask & (domain == which)]


@pytest.mark.parametrize("shape", [(6, 4), (6,)])
@pytest.mark.parametrize("name", ["mmd", "biased", "joint", "coral"])
def test_a_term_is_its_statistic_on_the_real_units_of_the_domains(name, shape):
    step = random_step(shape)
    expected = TERMS[name][1](units_of(step, 0), units_of(step, 1))
    assert make_term(name)(step, None).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["mmd", "coral"])
def test_several_domains_are_compared_pair_by_pair_and_several_layers_added(name):
    step = random_step(domains=(0, 1, 2, 1, 2, 0))
    step.features["other"] = step.features["hidden"] ** 2
    by_hand = TERMS[name][1]
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = sum(by_hand(units_of(step, a), units_of(step, b)) for a, b in pairs) / 3
    squares = sum(by_hand(units_of(step, a) ** 2, units_of(step, b) ** 2) for a, b in pairs) / 3
    term = make_term(name)
    term.layers = ["hidden", "other"]
    assert term(step, None).item() == pytest.approx(expected + squares, rel=1e-9)


def test_joint_mmd_takes_the_posteriors_as_a_layer_and_is_not_the_sum_of_its_layers():
    step = random_step()
    step.logits = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    posteriors = step.logits.softmax(-1)
    of = [step.mask & (step.domain == which).unsqueeze(1) for which in (0, 1)]
    xs, ys = ([step.features["hidden"][chosen], posteriors[chosen]] for chosen in of)
    value = JointMMD(["hidden", "posteriors"], multiples=MULTIPLES)(step, None).item()
    assert value == pytest.approx(mmd_by_hand(xs, ys, "unbiased"), rel=1e-9)
    assert value != pytest.approx(MMD(["hidden", "posteriors"], multiples=MULTIPLES)(step, None).item(), rel=1e-3)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_padding_has_no_influence(name, garbage):
    step = random_step()
    clean = make_term(name)(step, None)
    dirty = step.features["hidden"].detach().masked_fill(~step.mask.unsqueeze(-1), garbage).requires_grad_()
    value = make_term(name)(Step(step.loss, step.logits, step.mask, {"hidden": dirty}, step.domain), None)
    value.backward()
    assert torch.equal(value, clean)
    assert torch.isfinite(dirty.grad).all()
    assert (dirty.grad[~step.mask] == 0).all()
    assert (dirty.grad != 0).any()


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("domains", [(0,) * 6, (1,) * 6, (-1,) * 6, (0, -1, -1, -1, -1, -1)])
def test_a_batch_of_one_domain_gives_zero_without_a_gradient(name, domains):
    step = random_step()
    step.domain = torch.tensor(domains)
    value = make_term(name)(step, None)
    value.backward()
    assert value.item() == 0
    assert (step.features["hidden"].grad == 0).all()


@pytest.mark.parametrize("name", TERMS)
def test_a_domain_with_a_single_unit_or_none_is_left_out(name):
    hidden = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(5, dtype=torch.bool)
    step = Step(torch.zeros(()), hidden, mask, {"hidden": hidden}, torch.tensor([0, 0, 0, 0, 1]))
    assert make_term(name)(step, None).item() == 0
    step.mask = torch.zeros_like(mask)
    assert make_term(name)(step, None).item() == 0


@pytest.mark.parametrize("name", ["mmd", "joint", "coral"])
def test_no_more_units_take_part_than_allowed_and_the_seed_decides_which(name):
    step = random_step((40,), domains=[0, 1] * 20)

    def drawn(term):
        (gradient,) = torch.autograd.grad(term(step, None), step.features["hidden"])
        return (gradient != 0).any(-1)

    first = make_term(name, max_units=5, seed=3)
    chosen = drawn(first)
    assert chosen[0::2].sum() == chosen[1::2].sum() == 5
    assert torch.equal(chosen, drawn(make_term(name, max_units=5, seed=3)))
    assert not torch.equal(chosen, drawn(make_term(name, max_units=5, seed=4)))
    assert not torch.equal(chosen, drawn(first))  # each step draws anew
    resumed = make_term(name, max_units=5, seed=3)
    resumed.load_state_dict(first.state_dict())
    assert torch.equal(drawn(first), drawn(resumed))
    assert drawn(make_term(name, max_units=20)).all()


def test_drawing_leaves_the_generators_of_training_alone():
    before = torch.get_rng_state()
    make_term("linear", max_units=4)(random_step(), None)
    assert torch.equal(before, torch.get_rng_state())


def test_low_precision_does_not_reach_the_kernels():
    step = random_step()
    hidden = step.features["hidden"].detach().float()
    step.features["hidden"] = hidden.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = make_term("mmd")(step, None)
    assert value.dtype == torch.float32
    step.features["hidden"] = hidden.bfloat16().float()
    torch.testing.assert_close(value, make_term("mmd")(step, None))


def test_what_does_not_fit_is_refused_by_name():
    for wrong in ({"weight": -1.0}, {"max_units": 1}, {"multiples": ()}, {"multiples": (0.0,)}, {"bandwidth": -1.0},
                  {"estimator": "quadratic"}, {"layers": []}):  # fmt: skip
        with pytest.raises(InputError, match="mmd"):
            MMD(**{"layers": "hidden"} | wrong)
    with pytest.raises(InputError, match="no layer 'hiden'"):
        CORAL("hiden")(random_step(), None)
    step = random_step()
    step.features["pooled"] = torch.zeros(6, 2)
    with pytest.raises(InputError, match="do not have the same units"):
        JointMMD(["hidden", "pooled"])(step, None)
    MMD(["hidden", "pooled"])(step, None)


ADAPTING = {
    "mmd": ("mean", lambda weight: MMD("hidden", weight=2 * weight)),
    "one kernel": ("mean", lambda weight: MMD("hidden", weight=2 * weight, multiples=(1.0,), estimator="biased")),
    "linear": ("mean", lambda weight: MMD(["hidden", "logits"], weight=2 * weight, estimator="linear")),
    "drawn": ("mean", lambda weight: MMD("hidden", weight=2 * weight, max_units=12)),
    "joint": ("mean", lambda weight: JointMMD(["hidden", "posteriors"], weight=2 * weight)),
    "coral": ("scale", lambda weight: CORAL("hidden", weight=30 * weight)),
}


@pytest.mark.parametrize("name", ADAPTING)
def test_the_domains_come_together_and_the_target_is_classified_better(name):
    shift, make = ADAPTING[name]
    plain, told_before = told_apart_without(shift)
    adapted, told_after = told_apart(ShiftTask(shift), [make(1.0)])
    assert adapted > plain + 0.08
    assert told_after < told_before - 0.05


@pytest.mark.parametrize("name", ADAPTING)
def test_weight_zero_is_training_without_the_term(name):
    shift, make = ADAPTING[name]
    plain = train(ShiftTask(shift), epochs=2)
    assert same_weights(plain, train(ShiftTask(shift), [make(0.0)], epochs=2))
    assert not same_weights(plain, train(ShiftTask(shift), [make(1.0)], epochs=2))


def test_a_resumed_run_draws_the_same_units(tmp_path):
    def term():
        return MMD("hidden", weight=2.0, max_units=6, estimator="linear")

    whole = train(ShiftTask(), [term()], epochs=3)
    train(ShiftTask(), [term()], epochs=1, directory=tmp_path)
    assert same_weights(whole, train(ShiftTask(), [term()], epochs=3, directory=tmp_path))


def covariance(rows):
    return np.cov(np.asarray(rows, dtype=np.float64).T)


def test_transformed_source_rows_have_the_covariance_of_the_target():
    random_numbers = np.random.default_rng(0)
    source = random_numbers.normal(size=(50, 4)) @ random_numbers.normal(size=(4, 4)) + 3
    target = random_numbers.normal(size=(70, 4)) @ random_numbers.normal(size=(4, 4)) - 1
    np.testing.assert_allclose(covariance(coral_transform(source, target, 0.0)), covariance(target), rtol=1e-8)
    both = coral_transform(source, target, 0.0, center=True)
    np.testing.assert_allclose(covariance(both), covariance(target), rtol=1e-8)
    np.testing.assert_allclose(both.mean(0), target.mean(0), atol=1e-10)


def roots(matrix):
    """Square root and its inverse, without eigenvectors (Denman and Beavers 1976)."""
    y, z = matrix, np.eye(len(matrix))
    for _ in range(50):
        y, z = (y + np.linalg.inv(z)) / 2, (z + np.linalg.inv(y)) / 2
    return y, z


@pytest.mark.parametrize(("rows", "others", "width"), [(30, 40, 3), (9, 40, 12), (30, 8, 12), (7, 5, 12), (2, 2, 1)])
def test_the_transform_is_that_of_the_paper(rows, others, width):
    random_numbers = np.random.default_rng(1)
    source = random_numbers.normal(size=(rows, width)) * np.linspace(1, 3, width) + 1
    target = random_numbers.normal(size=(others, width))
    c_source, c_target = (covariance(z).reshape(width, width) + 0.5 * np.eye(width) for z in (source, target))
    turned = roots(c_source)[1] @ roots(c_target)[0]
    np.testing.assert_allclose(coral_transform(source, target, 0.5), source @ turned, rtol=1e-9)
    centred = (source - source.mean(0)) @ turned + target.mean(0)
    np.testing.assert_allclose(coral_transform(source, target, 0.5, center=True), centred, rtol=1e-9)
    np.testing.assert_allclose(coral_transform(source, source), source, rtol=1e-9)


def test_fewer_rows_than_features_take_on_the_covariance_of_the_target_where_they_vary():
    """Source and target in one plane of three of ten features: there the covariances agree, and nothing leaves it."""
    random_numbers = np.random.default_rng(2)
    plane = np.linalg.qr(random_numbers.normal(size=(10, 3)))[0].T
    source, target = random_numbers.normal(size=(6, 3)) @ plane, random_numbers.normal(size=(9, 3)) * [1, 2, 3] @ plane
    turned = coral_transform(source, target, 1e-9)
    np.testing.assert_allclose(covariance(turned), covariance(target), atol=1e-6)
    np.testing.assert_allclose(turned @ plane.T @ plane, turned, atol=1e-9)


def test_the_transform_turns_with_the_coordinates():
    """So it may be computed in any orthonormal basis that holds all rows."""
    random_numbers = np.random.default_rng(3)
    source, target = random_numbers.normal(size=(8, 20)), random_numbers.normal(size=(9, 20)) * np.arange(20)
    basis = np.linalg.qr(np.concatenate([source, target]).T)[0]
    inside = coral_transform(source @ basis, target @ basis, 2.0, center=True)
    np.testing.assert_allclose(inside @ basis.T, coral_transform(source, target, 2.0, center=True), atol=1e-9)


def test_the_transform_keeps_the_kind_of_its_input():
    source, target = torch.randn(9, 2, generator=torch.Generator().manual_seed(0)), torch.ones(5, 2)
    value = coral_transform(source, target)
    assert isinstance(value, torch.Tensor)
    assert value.dtype == torch.float32
    array = coral_transform(source.numpy(), target.numpy())
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, value.numpy())
    assert coral_transform(np.eye(3, dtype=np.int64), np.eye(3)).dtype == np.float64
    assert coral_transform(np.arange(5.0)[:, None], np.arange(4.0)[:, None]).shape == (5, 1)


def test_a_transform_that_cannot_be_is_refused():
    rows = np.random.default_rng(0).normal(size=(6, 3))
    for source, target in ((rows, rows[:, :2]), (rows[:1], rows), (rows[0], rows)):
        with pytest.raises(InputError, match=r"\(N, D\)"):
            coral_transform(source, target)
    with pytest.raises(InputError, match="not finite"):
        coral_transform(rows, rows * np.nan)
    with pytest.raises(InputError, match="singular"):
        coral_transform(np.ones((6, 3)), rows, regularization=0.0)


def test_a_classifier_of_transformed_source_rows_serves_a_recoloured_target_better():
    random_numbers = np.random.default_rng(0)
    labels = random_numbers.integers(2, size=800) * 2.0 - 1
    rows = random_numbers.normal(size=(800, 2)) * [3.0, 0.3]  # the class hides in the direction of little variance
    rows[:, 1] += labels * 0.6
    angle = np.array([[np.cos(0.9), -np.sin(0.9)], [np.sin(0.9), np.cos(0.9)]])
    source, target = rows[:400], rows[400:] @ angle

    def accuracy(fitted):
        weights = np.linalg.lstsq(fitted, labels[:400], rcond=None)[0]
        return np.mean(np.sign(target @ weights) == labels[400:])

    assert accuracy(coral_transform(source, target, 1e-3)) > accuracy(source) + 0.2
