"""Whole numbers that a program wrote as floating-point numbers: 196.0 and 1.9600000000000000e+02 are 196."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from toolkit.tables.arrow import of_texts

if TYPE_CHECKING:
    import pyarrow as pa

_POINT = r"-?(?:0|[1-9][0-9]*)\.0*"
# A mantissa of one digit, a point and more digits, as NumPy, pandas and C print it: 1e5 may be a name.
_POWER = r"-?[0-9]\.[0-9]+[eE][+-][0-9]{2,3}"
_FLOAT = re.compile(f"{_POINT}|{_POWER}")
_MOST_DIGITS = 19


def whole_number(text: str) -> str:
    """Return the digits of a whole number that is written as a floating-point number, or any other text.

    Parameters
    ----------
    text : str
        An id without blanks around it.

    Examples
    --------
    >>> whole_number("196.0"), whole_number("1.96e+02"), whole_number("19.6"), whole_number("1e5")
    ('196', '196', '19.6', '1e5')
    """
    if not _FLOAT.fullmatch(text):
        return text
    value = Decimal(text)
    if "e" not in text.lower():
        return str(int(value))
    if value.adjusted() >= _MOST_DIGITS or value != value.to_integral_value():
        return text
    return str(int(value))


def whole_numbers(words: pa.StringArray) -> tuple[pa.StringArray, str]:
    """Return ids with whole numbers as their digits, and the first id that was written otherwise.

    Parameters
    ----------
    words : pyarrow.StringArray
        Distinct ids without blanks around them.

    Returns
    -------
    words : pyarrow.StringArray
        In the same order; two of them may be the same now.
    first : str
        Empty where all ids are as they were.
    """
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring(words, ".")).as_py():
        return words, ""
    odd = words.filter(pc.match_substring_regex(words, f"^(?:{_POINT}|{_POWER})$")).to_pylist()
    first = next((text for text in odd if whole_number(text) != text), "")
    if not first:
        return words, ""
    if any("e" in text.lower() for text in odd):
        return of_texts([whole_number(text) for text in words.to_pylist()]), first
    digits = pc.replace_substring_regex(words, r"^(-?(?:0|[1-9][0-9]*))\.0*$", r"\1")
    return pc.replace_substring_regex(digits, "^-0$", "0"), first
