"""The manifest of a dataset: read, and searched for what it lacks or contradicts."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

from toolkit.errors import DatasetError
from toolkit.files import store_errors

FORMAT = "walslab-dataset"
FORMAT_VERSION = 1
# Each kind of shard, with the names of the counts of its ratings, its rows and its columns.
SHARDS = {
    "train/rows": ("train", "users", "items"),
    "train/cols": ("train", "items", "users"),
    "valid/rows": ("valid", "users", "items"),
    "test/rows": ("test", "users", "items"),
}
AGAIN = "ingest the ratings again"
STORE_WAY_OUT = "check the address, and the store's variables in this process's environment"
_TABLES = {"users.parquet": "users", "items.parquet": "items"}  # each with the name of the count of its rows
# No path that leads out of the directory on any system, and no character that a terminal obeys.
_PATH = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
_JSON = {str: "text", dict: "an object", list: "a list"}
_MISTAKES_SHOWN = 5
INT32_MAX, _INT64_MAX = 2**31 - 1, 2**63 - 1


class FileEntry(TypedDict, total=False):
    """An entry of the manifest's list of files.

    Every file has path, bytes and sha256. Tables have rows; shards have nnz, and the numbers of their first
    row and of the row after their last, start and stop.
    """

    path: str
    bytes: int
    sha256: str
    rows: int
    nnz: int
    start: int
    stop: int


def read_manifest(root: Path) -> dict[str, Any]:
    """Return the manifest of the dataset in a directory or at an address.

    Raises
    ------
    DatasetError
        When there is no manifest, or it is of another format version, or lacks or contradicts something.
    """
    file = root / "manifest.json"
    try:
        with store_errors(root, DatasetError, STORE_WAY_OUT):
            manifest = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(
            f"{root} is not a dataset: it has no manifest.json; make one with `walslab ingest RATINGS "
            f"--out {root}`"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file} is not valid JSON: {error}; {AGAIN}") from error
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror or error}") from error
    if not isinstance(manifest, dict):
        manifest = {}
    format_, version = manifest.get("format"), manifest.get("format_version")
    if (format_, version) != (FORMAT, FORMAT_VERSION):
        raise DatasetError(
            f"{root} must be of format {FORMAT} version {FORMAT_VERSION}, but states {format_} {version}: "
            f"{AGAIN}"
        )
    if mistakes := mistakes_of(manifest):
        hidden = len(mistakes) - _MISTAKES_SHOWN
        more = f"; and {hidden} more mistakes" if hidden > 0 else ""
        raise DatasetError(
            f"{file} {'; '.join(mistakes[:_MISTAKES_SHOWN])}{more}: the dataset is damaged, {AGAIN}"
        )
    return manifest


def shards_of(files: list[FileEntry], kind: str) -> list[FileEntry]:
    """Return the entries of the shards of one kind, in their order."""
    return [entry for entry in files if entry["path"].startswith(kind + "-")]


def mistakes_of(manifest: dict[str, Any]) -> list[str]:
    """Return everything that a manifest lacks or contradicts, each mistake with its key."""
    types = {"digest": str, "counts": dict, "split": dict, "source": dict, "files": list}
    if missing := [key for key in types if key not in manifest]:
        return [f"lacks {', '.join(missing)}"]
    mistakes = [
        f"must have {_JSON[kind]} as {key}, but has {manifest[key]!r:.60}"
        for key, kind in types.items()
        if not isinstance(manifest[key], kind)
    ]
    if mistakes:
        return mistakes
    counts, files = manifest["counts"], manifest["files"]
    for key, least in {"ratings": 0, "users": 1, "items": 1, "train": 0, "valid": 0, "test": 0}.items():
        # Rows and columns are numbered in int32.
        if not _is_whole(counts.get(key), least, INT32_MAX if least else _INT64_MAX):
            mistakes.append(
                f"must have a whole number from {least} as counts.{key}, but has {counts.get(key)!r:.60}"
            )
    for number, entry in enumerate(files):
        mistakes += _entry_mistakes(entry, f"files[{number}]")
    derived = manifest.get("derived", [])
    if not (isinstance(derived, list) and all(_is_step(step) for step in derived)):
        mistakes.append(f"must have a list of objects with a digest as derived, but has {derived!r:.60}")
    return mistakes or _coverage_mistakes(files, counts)


def _is_step(step: object) -> bool:
    return isinstance(step, dict) and isinstance(step.get("digest"), str)


def _entry_mistakes(entry: object, where: str) -> list[str]:
    if not isinstance(entry, dict):
        return [f"must have an object as {where}, but has {entry!r:.60}"]
    path, mistakes = entry.get("path"), []
    name = path if isinstance(path, str) else ""
    if not _PATH.fullmatch(name):
        mistakes.append(f"must have a path inside the dataset as {where}.path, but has {path!r:.60}")
    sha256 = entry.get("sha256")
    if not (isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)):
        mistakes.append(f"must have 64 hexadecimal digits as {where}.sha256, but has {sha256!r:.60}")
    numbers = ["bytes"]
    if name in _TABLES:
        numbers.append("rows")
    elif name.startswith(tuple(f"{kind}-" for kind in SHARDS)):
        numbers += ["nnz", "start", "stop"]
    return mistakes + [
        f"must have a whole number as {where}.{key}, but has {entry.get(key)!r:.60}"
        for key in numbers
        if not _is_whole(entry.get(key))
    ]


def _coverage_mistakes(files: list[FileEntry], counts: dict[str, int]) -> list[str]:
    """Return which files are listed twice or not at all, and which shards do not join."""
    times = Counter(entry["path"] for entry in files)
    mistakes = [
        f"must list each file once in files, but has {path} {n} times" for path, n in times.items() if n > 1
    ]
    rows = {entry["path"]: entry.get("rows") for entry in files}
    mistakes += [
        f"must list {path} with {counts[kind]} rows in files, but has {rows.get(path)} (counts.{kind})"
        for path, kind in _TABLES.items()
        if rows.get(path) != counts[kind]
    ]
    for kind, (ratings, lines, _) in SHARDS.items():
        shards, at = shards_of(files, kind), 0
        for entry in shards:
            if not entry["start"] == at < entry["stop"]:
                mistakes.append(
                    f"must list shards that join, but {entry['path']} has start {entry['start']} and "
                    f"stop {entry['stop']} after {at}"
                )
                break
            at = entry["stop"]
        else:
            nnz = sum(entry["nnz"] for entry in shards)
            if (at, nnz) != (counts[lines], counts[ratings]):
                mistakes.append(
                    f"must list {kind} shards of {counts[lines]} rows (counts.{lines}) and {counts[ratings]} "
                    f"ratings (counts.{ratings}) in files, but has {len(shards)} of {at} and {nnz}"
                )
    return mistakes


def _is_whole(value: object, least: int = 0, most: int = _INT64_MAX) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
