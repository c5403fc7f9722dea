"""The three splits of a dataset, and the words that name them in ratings files."""

from __future__ import annotations

SPLITS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "base"), TRAIN),
    **dict.fromkeys(("valid", "validation", "val", "dev"), VALID),
    **dict.fromkeys(("test", "testing", "holdout"), TEST),
}
"""What a column of splits may say, in lower case, with the position in `SPLITS`."""


def split_number(text: str) -> int | None:
    """Return the position in `SPLITS` that a word names, or None where it names no split."""
    return SPLIT_NAMES.get(text.strip().lower())
