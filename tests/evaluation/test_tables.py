import pytest

from speechnlp_tl.errors import InputError
from speechnlp_tl.evaluation.results import Record
from speechnlp_tl.evaluation.tables import TableSpec, lower_is_better, render_table


def record(**fields):
    return Record(**({"recipe": "sa", "corpus": "fsdd", "system": "kld", "metric": "wer", "value": 5.0} | fields))


def rows(text):
    """The cells of the first table in `text`, without its rule."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_rows_and_columns_are_pivoted_and_sorted_as_numbers():
    records = [record(system=system, budget=b, value=b * 1.0) for system in ("kld", "ewc") for b in (10, 3)]
    records.pop()
    text = render_table(records, TableSpec("T", columns=("budget",)))
    assert rows(text) == [["system", "3", "10"], ["ewc", "–", "**10.00**"], ["kld", "3.00", "**10.00**"]]


def test_best_is_bold_by_the_direction_of_its_metric_and_ties_share_it():
    records = [
        record(system=system, metric=metric, value=value)
        for system, wer, bleu in (("a", 4.001, 20.0), ("b", 4.002, 30.0), ("c", 9.0, 10.0))
        for metric, value in (("wer", wer), ("bleu", bleu), ("mystery", 1.0))
    ]
    table = rows(render_table(records, TableSpec("T")))
    assert table[0] == ["system", "bleu", "mystery", "wer"]
    assert [row[1] for row in table[1:]] == ["20.00", "**30.00**", "10.00"]
    assert [row[2] for row in table[1:]] == ["1.00"] * 3
    assert [row[3] for row in table[1:]] == ["**4.00**", "**4.00**", "9.00"]


@pytest.mark.parametrize(
    ("metric", "lower"), [("wer", True), ("source_wer", True), ("CER", True), ("accuracy", False), ("p@1", False)]
)
def test_direction_is_read_off_the_name(metric, lower):
    assert lower_is_better(metric) is lower
    assert lower_is_better("mystery") is None


def test_intervals_are_plus_minus_only_where_all_are_symmetric():
    symmetric = [record(system="a", ci95=(4.0, 6.0)), record(system="b", value=7.0, ci95=(6.5, 7.5))]
    assert "**5.00** ± 1.00" in render_table(symmetric, TableSpec("T"))
    skewed = [*symmetric, record(system="c", value=1.0, ci95=(0.0, 4.0))]
    text = render_table(skewed, TableSpec("T"))
    assert "5.00 [4.00, 6.00]" in text
    assert "**1.00** [0.00, 4.00]" in text
    assert "±" not in text.split("\n\n")[1]


def test_synthetic_and_real_results_never_share_a_table():
    records = [record(value=9.0), record(value=1.0, synthetic=True, corpus="made")]
    for spec in (TableSpec("T"), TableSpec("T", average_over=("corpus",))):
        real, made = render_table(records, spec).split("## T (synthetic data)")
        assert rows(real)[1] == ["kld", "9.00"]
        assert rows(made)[1] == ["kld", "1.00"]


def test_records_that_would_overwrite_each_other_are_an_error_that_names_the_difference():
    records = [record(target="s1"), record(target="s2")]
    with pytest.raises(InputError, match=r"2 records fall into kld / wer; they differ in target"):
        render_table(records, TableSpec("T"))


def test_only_named_fields_are_averaged_over():
    records = [record(target="s1", value=4.0), record(target="s2", value=8.0)]
    text = render_table(records, TableSpec("T", average_over=("target",)))
    assert rows(text)[1] == ["kld", "6.00 ± 25.41"]
    assert "Mean over 2 (target)" in text
    with pytest.raises(InputError, match="selection"):
        render_table([*records, record(target="s1", selection="oracle")], TableSpec("T", average_over=("target",)))


def test_selection_rule_seeds_and_size_are_told():
    text = render_table([record(selection="cross-validation", seeds=3, n=773)], TableSpec("T"))
    assert "n = 773." in text
    assert "Seeds: 3." in text
    assert "Selection: cross-validation." in text


def test_sizes_that_differ_stand_in_the_cells():
    text = render_table([record(system="a", n=10), record(system="b", n=20)], TableSpec("T"))
    assert "5.00** (n 10)" in text
    assert "5.00** (n 20)" in text


def test_named_rows_come_first():
    records = [record(system=system) for system in ("a", "b", "unadapted")]
    table = rows(render_table(records, TableSpec("T", row_order=("unadapted",))))
    assert [row[0] for row in table[1:]] == ["unadapted", "a", "b"]


def test_a_bar_or_a_line_end_in_a_name_does_not_break_the_table():
    text = render_table([record(system="a|b\nc")], TableSpec("T"))
    assert "| a\\|b c | 5.00 |" in text
