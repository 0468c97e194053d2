"""A problem says what, where and what to do; an InputError carries all of them, wherever it is raised."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechnlp_tl.errors import InputError, Problem

words = st.text(st.characters(categories=("L", "N")), min_size=1)
problems = st.builds(
    Problem, words, file=st.none() | words, line=st.none() | st.integers(1, 10**6), remedy=st.none() | words
)


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Problem("is wrong"), "is wrong"),
        (Problem("is wrong", "text"), "text: is wrong"),
        (Problem("is wrong", Path("data/text"), 17), "data/text:17: is wrong"),
        (Problem("is wrong", "text", 17, "mend it"), "text:17: is wrong; mend it"),
        (Problem("is wrong", line=17, remedy="mend it"), "is wrong; mend it"),
    ],
)
def test_a_problem_reads_as_place_what_remedy(problem: Problem, said: str) -> None:
    assert str(problem) == said


def test_an_input_error_takes_a_sentence_a_problem_or_many() -> None:
    problem = Problem("is wrong", "text", 1)
    assert InputError("is wrong").problems == [Problem("is wrong")]
    assert InputError(problem).problems == [problem]
    assert InputError(iter([problem, "and this"])).problems == [problem, Problem("and this")]


@given(st.lists(problems, min_size=1))
def test_every_problem_is_in_the_message_on_its_own_line(found: list[Problem]) -> None:
    assert str(InputError(found)).split("\n") == [str(problem) for problem in found]


@given(st.lists(problems, min_size=1))
def test_problems_survive_the_way_from_another_process(found: list[Problem]) -> None:
    assert pickle.loads(pickle.dumps(InputError(found))).problems == found
