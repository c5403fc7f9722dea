"""Describe the keys of a JSON object, and name what an object has wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "text",
    "text or null",
    "whole number",
    "number",
    "number or null",
    "object",
    "object or null",
    "object of whole numbers",
    "object of numbers",
    "object of lists of numbers",
    "list of objects",
]


@dataclass(frozen=True)
class Key:
    """One key of a JSON object.

    Attributes
    ----------
    kind : str
        What the value is, in the words of `Kind`.
    meaning : str
        What the value says.
    required : bool
        Whether every object has the key.
    """

    kind: Kind
    meaning: str
    required: bool = True


def mistakes(entry: Mapping[str, object], keys: Mapping[str, Key]) -> list[str]:
    """Return what an object has wrong, one sentence each: missing keys and values of another kind.

    Keys that the description does not know are no mistake.
    """
    absent = [f"{name!r} is missing" for name, key in keys.items() if key.required and name not in entry]
    return absent + [
        f"{name!r} must be {_article(key.kind)}, but is {_short(entry[name])}"
        for name, key in keys.items()
        if name in entry and not _CHECKS[key.kind](entry[name])
    ]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _object_of(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _or_null(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


_CHECKS: dict[Kind, Callable[[object], bool]] = {
    "text": _is_text,
    "text or null": _or_null(_is_text),
    "whole number": _is_whole,
    "number": _is_number,
    "number or null": _or_null(_is_number),
    "object": _is_object,
    "object or null": _or_null(_is_object),
    "object of whole numbers": _object_of(_is_whole),
    "object of numbers": _object_of(_is_number),
    "object of lists of numbers": _object_of(_is_numbers),
    "list of objects": lambda value: isinstance(value, list) and all(map(_is_object, value)),
}


def _article(kind: str) -> str:
    return kind if kind.startswith("text") else f"{'an' if kind[0] == 'o' else 'a'} {kind}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
