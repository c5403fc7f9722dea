"""Whole numbers that a program wrote as floating-point numbers: 196.0 and 1.9600000000000000e+02 are 196."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from toolkit.tables.arrow import of_texts

if TYPE_CHECKING:
    import pyarrow as pa

_POINT = r"-?(?:0|[1-9][0-9]*)\.0*"
# As NumPy, pandas, C and workbooks print it, and R, which writes 1e+05 for 100000: 1e5 may be a name.
_POWER = r"-?[0-9](?:\.[0-9]+)?[eE][+-][0-9]{2,3}"
_FLOAT = re.compile(f"{_POINT}|{_POWER}")
_MOST_DIGITS = 19
# Programs that round what they print keep at least so many decimals.
_LEAST_ROUNDED = 4


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
    if "e" not in text.lower():
        digits = text.partition(".")[0]
        return "0" if digits == "-0" else digits
    value = Decimal(text)
    if value.adjusted() >= _MOST_DIGITS or value != value.to_integral_value():
        return text
    return str(int(value))


def is_rounded(text: str) -> bool:
    """Tell whether a whole number was rounded when it was written, so that others may be written alike.

    A workbook shows 1234567890123456 as 1.23457E+15, and 1234567890123999, too.

    Parameters
    ----------
    text : str
        An id without blanks around it.

    Examples
    --------
    >>> is_rounded("1.23457E+15"), is_rounded("1.2346e+04"), is_rounded("1.230000e+15"), is_rounded("1e+05")
    (True, False, False, False)
    """
    if not _FLOAT.fullmatch(text) or "e" not in text.lower():
        return False
    mantissa, _, power = text.lower().partition("e")
    decimals = mantissa.partition(".")[2]
    return _LEAST_ROUNDED <= len(decimals) < int(power) and not decimals.endswith("0")


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

    Raises
    ------
    ValueError
        When an id was rounded.
    """
    import pyarrow.compute as pc

    # Three passes for a substring are faster than one for a pattern.
    if not any(pc.any(pc.match_substring(words, part)).as_py() for part in (".", "e+", "E+")):
        return words, ""
    odd = words.filter(pc.match_substring_regex(words, f"^(?:{_POINT}|{_POWER})$")).to_pylist()
    first = next((text for text in odd if whole_number(text) != text), "")
    if not first:
        return words, ""
    if any(map(is_rounded, odd)):
        raise ValueError("an id is rounded")
    if any("e" in text.lower() for text in odd):
        return of_texts([whole_number(text) for text in words.to_pylist()]), first
    digits = pc.replace_substring_regex(words, r"^(-?(?:0|[1-9][0-9]*))\.0*$", r"\1")
    return pc.replace_substring_regex(digits, "^-0$", "0"), first
