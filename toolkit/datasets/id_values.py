"""Ids as they come in from Python: whole numbers of 64 bits, or text that is not too long."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from typing import TypeGuard, cast

import numpy as np

from toolkit.arrays import Array, IdLike
from toolkit.datasets.texts import Texts, as_objects
from toolkit.errors import ConfigError

LONGEST_ID = 8192
"""The most bytes of UTF-8 that an id may have: as many as web servers take of an address."""
# Letters of an id that a message shows.
_SHOWN = 60
# Python writes whole numbers of up to 4,300 digits.
_MOST_BITS = 14_000


def require_length(texts: Texts, kind: str) -> None:
    """Refuse ids of which one is longer than `LONGEST_ID`."""
    sizes = texts.sizes
    if len(sizes) and sizes.max() > LONGEST_ID:
        row = int(sizes.argmax())
        raise ConfigError(
            f"each {kind} id must have at most {LONGEST_ID:,} bytes, but id {row:,}, which begins with "
            f"{texts.at(np.array([row]))[0][:_SHOWN]!r}, has {sizes[row]:,}: give shorter ids, such as hashes"
        )


def short(one: object) -> str:
    """Return an id as a message shows it."""
    text = one if isinstance(one, str) else reprlib.repr(one)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def as_array(ids: IdLike | Sequence[int | str | None], kind: str) -> Array:
    """Return ids as an array, and those of a list with text or truth values as an array of objects."""
    # NumPy makes 1 of True beside numbers, "1" of 1 beside text, and all texts as wide as the longest.
    if isinstance(ids, str):
        return as_objects([ids], 1)
    if isinstance(ids, list | tuple):
        cells = cast("Sequence[object]", ids)
        if any(isinstance(cell, str | bool | np.bool_) for cell in cells):
            array = np.empty(len(cells), np.dtype(object))
            array[:] = cells
            return array
    try:
        return np.asarray(ids)
    except ValueError as error:
        raise ConfigError(f"{kind} ids must be one list, but got {reprlib.repr(ids)}") from error


def whole(one: object) -> int | None:
    """Return an id as a number of 64 bits, or None where it is not one, such as 1.5, True or " 1"."""
    # Not by way of text: Python refuses to write whole numbers of thousands of digits.
    if isinstance(one, str):
        number = int(one) if re.fullmatch(r"-?[0-9]{1,19}", one) else None
    else:
        number = int(one) if _is_whole(one) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def text_of(one: object) -> str | None:
    """Return an id as text, or None for what is neither text nor a whole number."""
    if isinstance(one, str):
        return one
    return str(one) if _is_whole(one) and int(one).bit_length() < _MOST_BITS else None


def _is_whole(one: object) -> TypeGuard[int]:
    return isinstance(one, int | np.integer) and not isinstance(one, bool)


def storable(ids: IdLike, kind: str) -> Array | Texts:
    """Return ids as an array of int64, or as texts."""
    array = as_array(ids, kind)
    if array.ndim == 1 and not array.size:
        return np.empty(0, np.int64) if array.dtype.kind not in "UT" else Texts.of([])
    if array.ndim == 1 and array.dtype.kind in "OUT":
        values = array.tolist()
        if all(isinstance(one, str) for one in values):
            try:
                return Texts.of(values)
            except UnicodeEncodeError as error:
                raise ConfigError(f"{kind} ids must be text that UTF-8 can hold: {error}") from error
        if all(_is_whole(one) and whole(one) is not None for one in values):
            array = np.array(values, np.int64)
    if array.ndim == 1 and array.dtype.kind == "i":
        return array.astype(np.int64, copy=False)
    if array.ndim == 1 and array.dtype.kind == "u" and array.max() < 2**63:
        return array.astype(np.int64)
    raise ConfigError(
        f"{kind} ids must be a list of whole numbers or of text, but got {reprlib.repr(ids)}: convert them"
    )
