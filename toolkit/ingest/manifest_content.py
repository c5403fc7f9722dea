"""The manifest of a new dataset: its content, and how it came about (`docs/dataset-format.md`)."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import time
from collections.abc import Sequence
from typing import Any

from toolkit import __version__
from toolkit.datasets import FORMAT, FORMAT_VERSION, SPLITS
from toolkit.ingest.dataset_files import FileEntry, digest_of
from toolkit.ingest.options import Options
from toolkit.ingest.reading import RatingsSource
from toolkit.ingest.reading.rejections import Rejections
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.sorting.numbering import facts_of_ids
from toolkit.tables import DistinctIds

_LIBRARIES = ("numpy", "scipy", "pyarrow", "dask")


def manifest_content(
    source: RatingsSource,
    options: Options,
    *,
    files: list[FileEntry],
    fingerprints: list[dict[str, Any]],
    ids: tuple[DistinctIds, DistinctIds],
    parts: Sequence[Part],
    counts: Sequence[int],
    split: dict[str, Any],
    rejections: Rejections,
    samples: list[dict[str, Any]],
    floats: Sequence[str],
) -> dict[str, Any]:
    """Return the content of the manifest.

    Parameters
    ----------
    source : RatingsSource
        The input.
    options : Options
        What became of the ratings.
    files, fingerprints : list of dict
        Entries of the files written, and of the files read.
    ids : tuple
        All users and all items.
    parts : sequence of Part
        All ratings.
    counts : sequence of int
        Ratings of each split.
    split : dict
        The rule, and the times from which ratings are held out.
    rejections : Rejections
        Bad rows by reason.
    samples : list of dict
        Some bad rows, with file and line.
    floats : sequence of str
        For users and items, an id that was written as a floating-point number; empty for none.
    """
    n = sum(counts)
    form = dataclasses.asdict(source)
    for key in ("files", "given", "layouts", "items", "item_columns", "spare_time", "folded", "counted"):
        del form[key]
    form["wide"] = source.wide
    return {
        **identity(files),
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
        "ids": {
            name: facts_of_ids(some) | ({"floats": odd} if odd else {})
            for name, some, odd in zip(("users", "items"), ids, floats, strict=True)
        },
        "split": split,
        "duplicates": options.duplicates,
        "transform": options.transform,
        "rejections": {
            "policy": options.bad_rows,
            "reasons": dict(sorted(rejections.reasons.items())),
            "samples": samples,
        },
        "source": {**form, "files": fingerprints},
    }


@functools.cache
def _version(library: str) -> str:
    """Return the version of a library; to look it up takes milliseconds."""
    return importlib.metadata.version(library)


def identity(files: list[FileEntry]) -> dict[str, Any]:
    """Return what the manifest of any dataset says: format, digest, time, files and versions.

    Parameters
    ----------
    files : list of dict
        Entries of the files written.
    """
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "digest": digest_of(files),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": files,
        "versions": {
            "walslab": __version__,
            **{name: _version(name) for name in _LIBRARIES},
        },
    }
