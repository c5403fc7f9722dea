"""The manifest of a dataset as its readers need it: the files it lists, and what it contradicts itself in."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

FORMAT = "walslab-dataset"
FORMAT_VERSION = 1
# Each kind of shard, with the count of its ratings, of its rows and of its columns.
SHARDS = {
    "train/rows": ("train", "users", "items"),
    "train/cols": ("train", "items", "users"),
    "valid/rows": ("valid", "users", "items"),
    "test/rows": ("test", "users", "items"),
}
_TABLES = {"users.parquet": "users", "items.parquet": "items"}  # each with the count of its rows
# Nothing that leads out of the directory on any system, and no character that a terminal obeys.
_PATH = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
_JSON = {str: "text", dict: "an object", list: "a list"}
INT32_MAX, _INT64_MAX = 2**31 - 1, 2**63 - 1


def shards_of(files: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the entries of the shards of a kind, in their order."""
    return [entry for entry in files if entry["path"].startswith(kind + "-")]


def mistakes_of(manifest: dict[str, Any]) -> list[str]:
    """Return what a manifest lacks or contradicts, each mistake with its key."""
    types = {"digest": str, "counts": dict, "split": dict, "source": dict, "files": list}
    if missing := [key for key in types if key not in manifest]:
        return [f"lacks {', '.join(missing)}"]
    found = [
        f"must have {_JSON[kind]} as {key}, but has {manifest[key]!r:.60}"
        for key, kind in types.items()
        if not isinstance(manifest[key], kind)
    ]
    if found:
        return found
    counts, files = manifest["counts"], manifest["files"]
    for key, least in {"ratings": 0, "users": 1, "items": 1, "train": 0, "valid": 0, "test": 0}.items():
        # Rows and columns are numbered in int32.
        if not _is_whole(counts.get(key), least, INT32_MAX if least else _INT64_MAX):
            found.append(
                f"must have a whole number from {least} as counts.{key}, but has {counts.get(key)!r:.60}"
            )
    for number, entry in enumerate(files):
        found += _entry_mistakes(entry, f"files[{number}]")
    return found or _coverage_mistakes(files, counts)


def _entry_mistakes(entry: Any, where: str) -> list[str]:
    if not isinstance(entry, dict):
        return [f"must have an object as {where}, but has {entry!r:.60}"]
    path, found = entry.get("path"), []
    name = path if isinstance(path, str) else ""
    if not _PATH.fullmatch(name):
        found.append(f"must have a path inside the dataset as {where}.path, but has {path!r:.60}")
    sha256 = entry.get("sha256")
    if not (isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)):
        found.append(f"must have 64 hexadecimal digits as {where}.sha256, but has {sha256!r:.60}")
    numbers = ["bytes"]
    if name in _TABLES:
        numbers.append("rows")
    elif name.startswith(tuple(f"{kind}-" for kind in SHARDS)):
        numbers += ["nnz", "start", "stop"]
    return found + [
        f"must have a whole number as {where}.{key}, but has {entry.get(key)!r:.60}"
        for key in numbers
        if not _is_whole(entry.get(key))
    ]


def _coverage_mistakes(files: list[dict[str, Any]], counts: dict[str, int]) -> list[str]:
    """Return which files are listed twice or not at all, and which ranges do not join."""
    times = Counter(entry["path"] for entry in files)
    found = [
        f"must list each file once in files, but has {path} {n} times" for path, n in times.items() if n > 1
    ]
    rows = {entry["path"]: entry.get("rows") for entry in files}
    found += [
        f"must list {path} with {counts[kind]} rows in files, but has {rows.get(path)} (counts.{kind})"
        for path, kind in _TABLES.items()
        if rows.get(path) != counts[kind]
    ]
    for kind, (ratings, lines, _) in SHARDS.items():
        shards, at = shards_of(files, kind), 0
        for entry in shards:
            if not entry["start"] == at < entry["stop"]:
                found.append(
                    f"must list shards that join, but {entry['path']} has start {entry['start']} and "
                    f"stop {entry['stop']} after {at}"
                )
                break
            at = entry["stop"]
        else:
            nnz = sum(entry["nnz"] for entry in shards)
            if (at, nnz) != (counts[lines], counts[ratings]):
                found.append(
                    f"must list {kind} shards of {counts[lines]} rows (counts.{lines}) and {counts[ratings]} "
                    f"ratings (counts.{ratings}) in files, but has {len(shards)} of {at} and {nnz}"
                )
    return found


def _is_whole(value: Any, least: int = 0, most: int = _INT64_MAX) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
