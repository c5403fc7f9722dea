"""What a user says of ratings files, checked before any of them is looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import ConfigError
from toolkit.inputs import checked_list, checked_word

IdKind = Literal["auto", "integer", "text", "words"]
"""``words`` is the text of ``auto``: whole numbers that are written as 196.0 are taken as their digits."""
ID_KINDS: tuple[IdKind, ...] = ("auto", "integer", "text")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user says; the attributes are the arguments of `RatingsSource.detect`.

    Raises
    ------
    ConfigError
        When one of them is of the wrong kind.
    """

    delimiter: str | None = None
    header: bool | None = None
    columns: Sequence[str | int] | None = None
    timestamp: bool = False
    split_column: str | int | None = None
    ids: IdKind = "auto"
    quotes: bool = True
    decimal: str = "."
    wide: bool = False
    no_rating: str | float | None = None

    def __post_init__(self) -> None:
        if self.columns is not None:
            columns = checked_list("columns", self.columns, (str, int), '["user", "item", "rating"]')
            object.__setattr__(self, "columns", columns)
        checked_word("--ids", self.ids, ID_KINDS)
        _check_arguments(self.delimiter, self.header, self.split_column)
        _check_flags(self.quotes, self.decimal, self.wide, self.no_rating)
        if self.wide and (self.timestamp or self.split_column is not None):
            raise ConfigError("a wide table has neither times nor a column of splits: draw the split")

    @property
    def for_text(self) -> bool:
        """Whether something is said that only text has."""
        form = self.delimiter is not None or self.header is not None
        return form or not self.quotes or self.decimal != "." or self.wide


def checked_split_files(split_files: Any) -> dict[str, list[str | Path]]:
    """Return the files of each split.

    Raises
    ------
    ConfigError
        When they are no lists of paths by valid or test.
    """
    if split_files is None:
        return {}
    if not isinstance(split_files, Mapping):
        raise ConfigError(f'split_files must be as {{"test": ["u1.test"]}}, but got {split_files!r}')
    unknown = [name for name in split_files if name not in {"valid", "test"}]
    if unknown:
        raise ConfigError(f"--split-file must be valid=FILE or test=FILE, but got {unknown[0]}=…")
    return {
        name: checked_list(f"split_files[{name!r}]", paths, (str, Path), '["u1.test"]')
        for name, paths in split_files.items()
    }


def _check_arguments(delimiter: Any, header: Any, split_column: Any) -> None:
    if delimiter is not None and delimiter != "::":
        one = isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()
        if not one or delimiter in '"\r\n\0':
            raise ConfigError(f"--delimiter must be one ASCII character, tab, or '::', but got {delimiter!r}")
    if header is not None and not isinstance(header, bool):
        raise ConfigError(f"header must be True, False or None, but got {header!r}")
    if isinstance(split_column, bool) or not isinstance(split_column, str | int | None):
        raise ConfigError(f"split_column must be a name or a position from 1, but got {split_column!r}")


def _check_flags(quotes: Any, decimal: Any, wide: Any, no_rating: Any) -> None:
    for name, flag in (("quotes", quotes), ("wide", wide)):
        if not isinstance(flag, bool):
            raise ConfigError(f"{name} must be True or False, but got {flag!r}")
    if decimal not in {".", ","}:
        raise ConfigError(f"--decimal must be a point or a comma, but got {decimal!r}")
    if no_rating is not None and (
        isinstance(no_rating, bool) or not isinstance(no_rating, str | int | float)
    ):
        raise ConfigError(f"no_rating must be a text or a number, but got {no_rating!r}")
    if no_rating is not None and not wide:
        raise ConfigError("--no-rating is for wide tables: give --wide, too")
