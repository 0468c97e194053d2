from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from speechnlp_tl.embeddings.decimal_numbers import parse_decimals

PLAIN = st.from_regex(r"-?([0-9]{1,9}\.?[0-9]{0,9}|\.[0-9]{1,17})", fullmatch=True)
FLOATS = st.floats(allow_nan=True, width=64).map(repr)
SHORT = st.tuples(st.floats(-1e6, 1e6), st.sampled_from(["%.4f", "%.6f", "%.9g", "%g", "%e"])).map(
    lambda v: v[1] % v[0]
)


@given(st.lists(PLAIN | FLOATS | SHORT, min_size=1, max_size=40))
@example(["-0", "0.1", "1e-45", "1e39", "-.5", "5.", "123456789012345678", "0.000000000000000000001", "+1", "nan"])
def test_numbers_are_those_that_float_reads_rounded_once(numbers: list[str]) -> None:
    with np.errstate(over="ignore"):
        expected = np.array([float(number) for number in numbers]).astype(np.float32)
    found = parse_decimals(" ".join(numbers).encode())
    assert found.dtype == np.float32
    assert found.tobytes() == expected.tobytes() or all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(found, expected, strict=True)
    )
    assert np.signbit(found).tolist() == np.signbit(expected).tolist() or np.isnan(expected).any()


@pytest.mark.parametrize(
    "text", [b"1.2.3", b"1 -", b"1  2", b"--1", b"1-2", b".", b"-", b"1_0", b"0x1", b"one", b"1\t2"]
)
def test_what_is_no_number_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="is no number"):
        parse_decimals(text)
