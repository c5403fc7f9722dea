"""What a user decides of an ingest besides the input and the output, checked before any file is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toolkit.errors import ConfigError
from toolkit.ingest.reading import RatingsSource
from toolkit.ingest.sorting import DUPLICATES, TRANSFORMS, Duplicates, Transform
from toolkit.ingest.splitting import SplitRule
from toolkit.inputs import checked_number, checked_type, checked_word

BadRows = Literal["error", "drop"]
BAD_ROWS: tuple[BadRows, ...] = ("error", "drop")
# Entries of a shard are counted in int32.
_MOST_SHARD_RATINGS = 2**31 - 1


@dataclass(frozen=True)
class Options:
    """What becomes of the ratings.

    Attributes
    ----------
    split : SplitRule
        Which ratings are held out.
    duplicates : {"last", "mean", "sum", "error"}
        What becomes of several ratings of a pair.
    transform : {"none", "log1p"}
        What is done to the rating that each pair then has.
    bad_rows : {"error", "drop"}
        What becomes of rows that are no ratings.
    shard_ratings : int or None
        Ratings of a shard, about; None for as many as suit the number of all.

    Raises
    ------
    ConfigError
        When one of them is of another kind, or out of range.
    """

    split: SplitRule
    duplicates: Duplicates
    transform: Transform
    bad_rows: BadRows
    shard_ratings: int | None

    def __post_init__(self) -> None:
        checked_type("split", self.split, SplitRule, 'SplitRule(kind="temporal")').check()
        checked_word("--duplicates", self.duplicates, DUPLICATES)
        checked_word("--transform", self.transform, TRANSFORMS)
        checked_word("--bad-rows", self.bad_rows, BAD_ROWS)
        size = self.shard_ratings
        if size is not None and checked_number("shard_ratings", size, 1) > _MOST_SHARD_RATINGS:
            raise ConfigError(f"shard_ratings must be at most {_MOST_SHARD_RATINGS}, but got {size}")


def check_columns(source: RatingsSource, split: SplitRule) -> None:
    """Refuse an input that lacks what the split needs, or says a split that is not asked for.

    Raises
    ------
    ConfigError
        Naming the option that settles it.
    """
    if split.needs_times and source.timestamp is None:
        raise ConfigError(f"--split {split.kind} needs times: name their column as the fourth of --columns")
    given = bool(source.given) or source.split_column is not None
    if given != (split.kind == "given"):
        raise ConfigError(
            "--split given needs --split-file or --split-column"
            if split.kind == "given"
            else f"--split-file and --split-column say the split, so that it cannot be {split.kind}"
        )
    if source.given and source.split_column is not None:
        raise ConfigError("--split-file and --split-column both say the split: give one of them")
