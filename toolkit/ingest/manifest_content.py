"""The manifest of a dataset: what it holds, what it was made of and how (`docs/dataset-format.md`)."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import time
from collections.abc import Sequence
from typing import Any

from toolkit import __version__
from toolkit.datasets.manifest import FORMAT, FORMAT_VERSION
from toolkit.ingest.reading.diagnosis import Rejections
from toolkit.ingest.reading.source import RatingsSource
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.sorting.numbering import integers_among
from toolkit.ingest.splitting.rule import SPLITS
from toolkit.ingest.writing import digest_of

NAME = "manifest.json"
_LIBRARIES = ("numpy", "scipy", "pyarrow", "dask")


def of(
    source: RatingsSource,
    *,
    files: list[dict[str, Any]],
    fingerprints: list[dict[str, Any]],
    ids: tuple[Any, Any],
    parts: Sequence[Part],
    counts: Sequence[int],
    split: dict[str, Any],
    duplicates: str,
    transform: str,
    bad_rows: str,
    rejections: Rejections,
    samples: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the content of a manifest.

    Parameters
    ----------
    source : RatingsSource
        What was read.
    files, fingerprints : list of dict
        What is said of each file written, and of each file read.
    ids : tuple
        All users and all items.
    parts : sequence of Part
        All ratings.
    counts : sequence of int
        Ratings of each split.
    split : dict
        The rule, and what came of it.
    duplicates, transform, bad_rows : str
        What became of repeated pairs, of all ratings, and of bad rows.
    rejections : Rejections
        Bad rows by reason.
    samples : list of dict
        Some of them, with file and line.
    """
    n = sum(counts)
    form = dataclasses.asdict(source)
    for key in ("files", "given"):
        del form[key]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "digest": digest_of(files),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "counts": {
            "ratings": n,
            "users": len(ids[0]),
            "items": len(ids[1]),
            **dict(zip(SPLITS, counts, strict=True)),
            "duplicates": sum(part.duplicates for part in parts),
            "rejected": rejections.reasons.total(),
        },
        "ratings": {
            "min": min(part.low for part in parts),
            "max": max(part.high for part in parts),
            "mean": sum(part.total for part in parts) / n,
        },
        "ids": {"users": integers_among(ids[0]), "items": integers_among(ids[1])},
        "split": split,
        "duplicates": duplicates,
        "transform": transform,
        "rejections": {
            "policy": bad_rows,
            "reasons": dict(sorted(rejections.reasons.items())),
            "samples": samples,
        },
        "source": {**form, "files": fingerprints},
        "files": files,
        "versions": {
            "walslab": __version__,
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
    }
