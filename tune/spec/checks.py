"""Checks of a document's values, which collect every mistake with its key path."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pydantic import PlainValidator, TypeAdapter, ValidationError

from toolkit.config import Choice, Range
from toolkit.errors import SpecError, did_you_mean

# What a message holds at most: lines, and characters of a line, which is cut in the middle.
_LINES = 50
_LINE = 600

COUNT = Range(1, 100_000, integer=True)
CONCURRENCY = Range(1, 10_000, integer=True)


class MistakesError(SpecError):
    """All mistakes of a part of a document.

    Attributes
    ----------
    lines : tuple of str
        The text of each mistake. It begins with the key path inside of the part: ``.low must be…``,
        ``[2] must be…``, or `` must be…`` for the part itself.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(self.lines))

    def under(self, path: str) -> list[str]:
        """Return the lines with the key path of the part in front."""
        return [path + line for line in self.lines]


def spec_error(source: str, lines: Iterable[str]) -> SpecError:
    """Return the error that lists the mistakes of a file."""
    texts = [line.removeprefix(".") for line in lines]
    short = [
        text if len(text) <= _LINE else f"{text[: _LINE // 2]} … {text[-_LINE // 3 :]}"
        for text in texts[:_LINES]
    ]
    if len(texts) > _LINES:
        short.append(f"and {len(texts) - _LINES} more")
    return SpecError(f"{source} has {len(texts)} mistake(s):\n  " + "\n  ".join(short))


@dataclass(frozen=True)
class Part:
    """Base of the dataclasses that describe a part of a document.

    Their fields carry their checks as annotations of pydantic, each raising `MistakesError`.
    """

    def contradictions(self) -> Iterator[str]:
        """Yield the mistakes that no single value shows."""
        yield from ()


T = TypeVar("T", bound=Part)
_adapter: Callable[[Hashable], TypeAdapter[Any]] = functools.cache(TypeAdapter)


def read(model: type[T], document: object, *, stored: bool = False) -> T:
    """Return the part that a mapping describes.

    Parameters
    ----------
    model : type
        The dataclass of the part.
    document : object
        The value that a file holds there.
    stored : bool
        Whether to read values that contradict each other, since an earlier version stored them.

    Raises
    ------
    MistakesError
        Listing every unknown, missing and wrong key.
    """
    names = [field.name for field in dataclasses.fields(model)]
    if not isinstance(document, Mapping):
        *first, last = names
        raise MistakesError([f" must map {', '.join(first)} and {last} to values, but got {document!r}"])
    lines = unknown_keys(document, names)
    try:
        values = {name: document[name] for name in names if name in document}
        part: T = _adapter(cast("Hashable", model)).validate_python(values)
        lines += () if stored else part.contradictions()
    except ValidationError as error:
        for mistake in error.errors(include_url=False):
            wrong = mistake.get("ctx", {}).get("error", MistakesError([" is missing"]))
            lines += wrong.under(f".{mistake['loc'][0]}")
    if lines:
        raise MistakesError(lines)
    return part


def checked(valid: Range | Choice, alternative: str | None = None) -> PlainValidator:
    """Return the check of one value.

    Parameters
    ----------
    valid : Range or Choice
        The valid values.
    alternative : str, optional
        A word that is valid, too. It is read as None, and so is a null.
    """

    def check(value: object) -> object:
        if alternative and (value is None or (isinstance(value, str) and value == alternative)):
            return None
        if problem := problem_of(value, valid):
            raise MistakesError([problem + (f"; `{alternative}` is valid, too" if alternative else "")])
        return valid.cast(value)

    return PlainValidator(check)


def problem_of(value: object, valid: Range | Choice) -> str:
    """Return what is wrong with a value, with a space in front, or an empty text."""
    problem = valid.problem(value)
    if problem is None:
        return ""
    if isinstance(valid, Range) and isinstance(value, str):
        with contextlib.suppress(ValueError):
            float(value)
            problem += " (that is text: write it without quotes)"
    return f" {problem}"


def unknown_keys(document: Mapping[Any, Any], valid: Iterable[str]) -> list[str]:
    """Return a line for each key that is not valid, with the nearest valid one."""
    words = tuple(valid)
    return [
        f".{key_text(key)}: unknown key{did_you_mean(key_text(key), words)}; valid: {', '.join(words)}"
        for key in document
        if key not in words
    ]


def key_text(key: object) -> str:
    """Return a key as messages show it: on one line, and with nothing that a terminal cannot print."""
    text = str(key)
    return text if text.isprintable() else ascii(key)
