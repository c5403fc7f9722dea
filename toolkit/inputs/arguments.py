"""The checks of single arguments: numbers, functions, objects of a class, titles, facts, weights."""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from toolkit.arrays import Array
from toolkit.errors import ConfigError, ModelError, did_you_mean
from toolkit.predictor import Side

_T = TypeVar("_T")


def checked_number(name: str, value: object, least: int) -> int:
    """Return a whole number as a plain `int`; NumPy's whole numbers are accepted.

    Raises
    ------
    ConfigError
        When `value` is not a whole number, or below `least`.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise ConfigError(f"{name} must be a whole number, but got {value!r}")
    if value < least:
        raise ConfigError(f"{name} must be at least {least}, but got {value}")
    return int(value)


def checked_word(name: str, value: object, words: Sequence[str]) -> str:
    """Return an argument that must be one of some words.

    Raises
    ------
    ConfigError
        When it is another word or no text; the error names the valid words, and the nearest of them.
    """
    if not isinstance(value, str) or value not in words:
        raise ConfigError(
            f"{name} must be one of {', '.join(words)}, but got {value!r:.80}"
            f"{did_you_mean(str(value), words)}"
        )
    return value


def checked_list(name: str, values: object, kinds: tuple[type, ...], example: str) -> list[Any]:
    """Return the elements of an argument that must be a list of certain types.

    A single text or path is refused, although one could iterate over its characters.

    Raises
    ------
    ConfigError
        When it is no list, or an element is of another type; the text shows `example`.
    """
    if isinstance(values, str | bytes | os.PathLike | Mapping) or not isinstance(values, Iterable):
        raise ConfigError(f"{name} must be a list such as {example}, but got {values!r:.80}")
    elements = list(values)
    odd = [element for element in elements if isinstance(element, bool) or not isinstance(element, kinds)]
    if odd:
        raise ConfigError(f"{name} must be a list such as {example}, but holds {odd[0]!r:.80}")
    return elements


def checked_path(name: str, value: object) -> Path:
    """Return a path as a `Path`.

    Raises
    ------
    ConfigError
        When `value` is neither a text nor a path, or an empty text.
    """
    if not isinstance(value, str | Path) or not str(value):
        raise ConfigError(f"{name} must be a path, but got {value!r:.80}")
    return Path(value)


def checked_type(name: str, value: object, wanted: type[_T], example: str) -> _T:
    """Return an argument that must be of a class.

    Raises
    ------
    ConfigError
        When it is not; the text shows `example`, which makes one.
    """
    if not isinstance(value, wanted):
        raise ConfigError(f"{name} must be a {wanted.__name__}, but got {value!r:.80}: give {example}")
    return value


def require_callable(name: str, value: object) -> None:
    """Refuse an argument that is neither None nor a function.

    Raises
    ------
    ConfigError
        When `value` cannot be called.
    """
    if value is not None and not callable(value):
        raise ConfigError(f"{name} must be a function, but got {value!r:.80}")


def checked_facts(facts: Mapping[str, object], reserved: Collection[str]) -> None:
    """Refuse facts that would overwrite words of the model format, or that JSON cannot hold.

    Raises
    ------
    ModelError
        When a name is reserved, or a value is not JSON. The text names all reserved names that were used.
    """
    if taken := sorted(reserved & facts.keys()):
        raise ModelError(
            f"a fact must have a name that the model format does not use, but got {', '.join(taken)}: choose "
            "another name; titles are kept with the model by `model.titles = titles`"
        )
    for name, value in facts.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelError(
                f"the fact {name} must be a JSON value, but got {value!r:.80}: {error}"
            ) from error


def checked_titles(titles: object, n_items: int) -> Array | None:
    """Return titles as an array of objects of `str`, or None for None.

    Parameters
    ----------
    titles : array-like of str, shape (n_items,), or None

    Raises
    ------
    ModelError
        When there is not one text for each item.
    """
    if titles is None:
        return None
    # Objects, so that a long title does not widen the others.
    array = np.asarray(titles, object if isinstance(titles, list | tuple) else None)
    if array.shape != (n_items,) or not all(isinstance(title, str) for title in array.tolist()):
        raise ModelError(
            f"titles must be {n_items} texts, one for each item, but are {array.dtype} of the shape "
            f"{array.shape}: toolkit.datasets.titles.read_titles reads them from a file"
        )
    return array.astype(object)


def checked_side(side: object, n_factors: int) -> Side:
    """Return factors and biases of rows, such as `fold_in` gives.

    Raises
    ------
    ConfigError
        When they are not a `Side` of shape (n, n_factors) and (n,).
    """
    factors, bias = checked_type("users", side, Side, "what fold_in returns")
    factors, bias = np.asarray(factors), np.asarray(bias)
    if factors.ndim != 2 or factors.shape[1] != n_factors or bias.shape != factors.shape[:1]:
        raise ConfigError(
            f"users must have factors of the shape (n, {n_factors}) and biases of (n,), but have "
            f"{factors.shape} and {bias.shape}: give what fold_in returns"
        )
    return Side(factors, bias)
