"""Pictures of domain adaptation hold what they were given."""

from __future__ import annotations

import numpy as np
import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.domain_plots import Cloud, clouds, domain_accuracy_curves


def test_every_run_and_their_mean_are_drawn() -> None:
    axes = domain_accuracy_curves({"one": [50.0, 70.0], "two": [60.0, 50.0]}).axes[0]
    drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert [50.0, 70.0] in drawn
    assert [60.0, 50.0] in drawn
    assert [55.0, 60.0] in drawn
    assert [50.0, 50.0] in drawn  # chance


def test_curves_of_unequal_length_are_refused() -> None:
    with pytest.raises(InputError, match="one length"):
        domain_accuracy_curves({"one": [1.0], "two": [1.0, 2.0]})


def test_each_domain_and_class_of_each_panel_is_drawn_with_all_its_points() -> None:
    rows = np.random.default_rng(0).normal(size=(24, 5))
    domain = ["books", "kitchen"] * 12
    figure = clouds([Cloud("before", rows, domain, ["bad"] * 12 + ["good"] * 12), Cloud("after", rows, domain)])
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["before", "after"]
    assert {each.get_label(): len(each.get_offsets()) for each in first.collections} == {
        "books, bad": 6, "books, good": 6, "kitchen, bad": 6, "kitchen, good": 6,
    }  # fmt: skip
    assert {each.get_label(): len(each.get_offsets()) for each in second.collections} == {"books": 12, "kitchen": 12}


def test_the_legend_names_what_is_there_in_any_panel() -> None:
    rows = np.random.default_rng(0).standard_normal((20, 4))
    first = Cloud("first", rows, ["a"] * 10 + ["b"] * 10, ["x"] * 10 + ["y"] * 10)
    second = Cloud("second", rows, ["a"] * 10 + ["b"] * 10, ["y"] * 20)
    figure = clouds([first, second])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a, x", "a, y", "b, y"]
    drawn = {
        each.get_label(): each.get_paths()[0].vertices.tolist() for axes in figure.axes for each in axes.collections
    }
    for axes in figure.axes:
        for each in axes.collections:
            assert each.get_paths()[0].vertices.tolist() == drawn[each.get_label()], "one marker in all panels"
    assert drawn["a, x"] != drawn["a, y"] == drawn["b, y"]


def test_more_domains_in_all_panels_than_colours_are_refused() -> None:
    rows = np.random.default_rng(0).standard_normal((10, 3))
    panels = [Cloud(f"{number}", rows, [f"{number}a"] * 5 + [f"{number}b"] * 5) for number in range(4)]
    with pytest.raises(InputError, match="8 domains"):
        clouds(panels)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InputError, match="10 rows"):
        clouds([Cloud("few", np.zeros((5, 2)), ["a"] * 5)])
