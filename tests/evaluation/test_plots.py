import math
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.plots import (
    Series,
    TradeOff,
    adaptation_curve,
    before_after,
    gain_against_forgetting,
    layer_sweep,
    render,
    save,
    series_from_records,
    training_curves,
)
from speechnlp_tl.evaluation.results import Record

LINES = [
    Series("finetune", [4, 12, 40], [30.0, 10.0, 2.0], [25.0, 8.0, 1.0], [35.0, 12.0, 3.0]),
    Series("kld", [4, 12, 40], [8.0, 5.0, 2.0]),
]
ROWS = [
    {"step": step, "loss": 9.0 / step, "lr": 1e-3, "terms": {"kld": {"value": 0.1, "grad_norm": 2.0}}, "units_per_s": 9}
    for step in range(1, 30)
] + [{"step": 29, "wer": 12.5, "note": "best", "bad": None}]


def figures():
    return {
        "adaptation": adaptation_curve(LINES, "seconds", baseline=9.6),
        "trade_off": gain_against_forgetting(
            [TradeOff("kld", 5.0, 0.2, (4.0, 6.0), (0.0, 0.4)), TradeOff("x", 1.0, 2.0)]
        ),
        "layers": layer_sweep(LINES[0], LINES[1], {"unadapted": 9.6}),
        "training": training_curves(ROWS),
        "bars": before_after(["a", "b"], [9.0, 8.0], [Series("a", [0], [5.0], [4.0], [6.0]), Series("b", [0], [9.0])]),
    }


@pytest.mark.parametrize("name", figures())
def test_every_axis_is_labelled_and_no_legend_covers_data(name):
    figure = figures()[name]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    assert legends
    for axes in figure.axes:
        assert axes.get_ylabel() or name == "bars"
        for legend in legends:
            box, inside = legend.get_window_extent(renderer), axes.get_window_extent(renderer)
            assert box.x0 >= inside.x1 or box.y0 >= inside.y1 or box.y1 <= inside.y0
    assert figure.axes[-1].get_xlabel()


@pytest.mark.parametrize("name", figures())
def test_series_are_told_apart_by_more_than_colour(name):
    for axes in figures()[name].axes:
        lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
        looks = [(line.get_marker(), line.get_linestyle(), line.get_color()) for line in lines]
        assert len(set(looks)) == len(looks)


def test_adaptation_curve_shows_the_data_on_a_logarithmic_axis():
    axes = adaptation_curve(LINES, "utterances", baseline=9.6).axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "adaptation data (utterances)"
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn["finetune"] == [30.0, 10.0, 2.0]
    assert drawn["unadapted"] == [9.6, 9.6]
    assert len(axes.collections) == 1  # only one series has an interval


def test_training_curves_leave_bookkeeping_out_and_part_losses_from_rates():
    figure = training_curves(ROWS)
    drawn = {axes.get_ylabel(): [line.get_label() for line in axes.get_lines()] for axes in figure.axes}
    assert drawn == {
        "loss (per unit)": ["loss", "terms.kld.value"],
        "score (%)": ["wer"],
        "gradient norm": ["terms.kld.grad_norm"],
    }
    assert training_curves([{"step": 1, "lr": 0.1}]) is None
    assert training_curves([]) is None


def test_records_become_lines_with_intervals_over_targets():
    def record(system, budget, value, target, **more):
        fields = {"recipe": "r", "corpus": "c", "metric": "wer", "synthetic": False} | more
        return Record(system=system, budget=budget, value=value, target=target, **fields)

    records = [record("kld", b, v, t) for b, v, t in ((10, 2.0, "a"), (10, 4.0, "b"), (1, 6.0, "a"), ("all", 1.0, "a"))]
    records += [record("unadapted", 0, v, t) for v, t in ((9.0, "a"), (11.0, "b"))]
    series, baseline = series_from_records([*records, record("kld", 1, 50.0, "a", metric="cer")])
    assert baseline == 10.0
    (line,) = series
    assert (line.label, list(line.x), list(line.y)) == ("kld", [1.0, 10.0], [6.0, 3.0])
    assert math.isnan(line.low[0])
    assert line.low[1] == pytest.approx(3.0 - 12.7062, abs=1e-3)
    with pytest.raises(ValueError, match="synthetic"):
        series_from_records([*records, record("kld", 1, 1.0, "a", synthetic=True)])


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_saved_picture_is_the_same_every_time(tmp_path, suffix):
    for name in ("one", "two"):
        save(adaptation_curve(LINES), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_an_unknown_picture_format_is_refused_and_a_bad_folder_explained(tmp_path):
    figure = adaptation_curve(LINES)
    with pytest.raises(ValueError, match=r"\.png"):
        save(figure, tmp_path / "x.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises((InputError, OSError)):
        save(figure, tmp_path / "file" / "x.png")


def test_an_svg_needs_no_font():
    assert b"<text" not in render(adaptation_curve(LINES), "svg")


def test_pyplot_and_its_global_state_are_not_touched():
    figures()
    assert "matplotlib.pyplot" not in sys.modules or np.array(sys.modules["matplotlib.pyplot"].get_fignums()).size == 0
