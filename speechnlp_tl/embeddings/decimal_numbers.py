"""Decimal numbers in text, many at a time: most of the time of reading vectors from text goes here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SPACE, _DIGIT_0, _MINUS, _POINT = 32, 48, 45, 46
_MOST_DIGITS = 15
"""Integers of so many digits, and powers of ten to this one, are exact in float64, so that their quotient is the
correctly rounded number."""
_LONGEST = _MOST_DIGITS + 2
_POWERS = 10.0 ** np.arange(_LONGEST + 1)


def parse_decimals(text: bytes) -> NDArray[np.float32]:
    """The numbers in `text`, parted by one space each, as float(...) would read them, rounded to float32.

    Plain decimals such as -0.1234 are read column by column, all numbers of the text at once; the few with an
    exponent, or with more than 15 digits, one by one.

    Raises:
        ValueError: something that is no number.
    """
    characters = np.frombuffer(text + b" ", dtype=np.uint8)
    ends = np.flatnonzero(characters == _SPACE)
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    lengths = ends - starts
    negative = characters[starts] == _MINUS
    value = np.zeros(len(ends))
    digits = np.zeros(len(ends), dtype=np.int64)
    decimals = np.zeros(len(ends), dtype=np.int64)
    pointed = np.zeros(len(ends), dtype=bool)
    plain = lengths <= _LONGEST
    longest = min(int(lengths.max()), _LONGEST)
    for place in range(longest):
        inside = lengths > place
        character = characters[np.minimum(starts + place, len(characters) - 1)]
        figure = character - np.uint8(_DIGIT_0)  # anything below '0' wraps round to more than 9
        is_digit = (figure < 10) & inside
        point = (character == _POINT) & inside
        value = np.where(is_digit, value * 10 + figure, value)
        digits += is_digit
        decimals += is_digit & pointed
        sign = negative if place == 0 else False
        plain &= is_digit | (point & ~pointed) | sign | ~inside
        pointed |= point
    plain &= (digits > 0) & (digits <= _MOST_DIGITS)
    value /= _POWERS[decimals]
    np.negative(value, out=value, where=negative)
    if not plain.all():
        rest = np.flatnonzero(~plain)
        value[rest] = [_number(text[starts[i] : ends[i]]) for i in rest]
    with np.errstate(over="ignore"):  # too large for float32: infinite, which the reader reports
        return value.astype(np.float32)


def _number(text: bytes) -> float:
    if b"_" in text or text != text.strip():  # float() is more lenient than a file of numbers should be
        raise ValueError(f"'{text.decode('utf-8', 'replace')[:40]}' is no number")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"'{text.decode('utf-8', 'replace')[:40]}' is no number") from None
