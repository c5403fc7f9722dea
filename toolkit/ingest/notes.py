"""Notes on finished tasks: values as JSON and plain arrays, so that reading a note never runs code."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays import Array
from toolkit.errors import DatasetError
from toolkit.ingest.reading.rejections import BadRow, Rejections
from toolkit.ingest.shards import ColumnRun, RowShards
from toolkit.ingest.sorting.merging import Part, Repeats
from toolkit.ingest.sorting.runs import Run
from toolkit.ingest.splitting.assignment import Cut
from toolkit.ingest.splitting.cuts import Splitting
from toolkit.ingest.splitting.rule import SplitRule
from toolkit.ingest.tasks import UnitResult

_CLASSES = {
    one.__name__: one
    for one in (
        *(BadRow, ColumnRun, Cut, Part, Rejections, Repeats, RowShards, Run),
        *(SplitRule, Splitting, UnitResult),
    )
}


def write_note(path: Path, value: Any) -> None:
    """Write a value to a file, which is complete or not there.

    Parameters
    ----------
    path : Path
        A file of the scratch directory. The note stays true when that directory is renamed.
    value : object
        Numbers, texts, arrays, the scratch directory itself, the classes of an ingest's results, and lists,
        tuples and dictionaries of these.
    """
    arrays: list[Array] = []
    text = json.dumps(_to_json(value, path.parent, arrays))
    packed = io.BytesIO(text.encode() + b"\n")
    packed.seek(0, io.SEEK_END)
    for array in arrays:
        np.lib.format.write_array(packed, array, allow_pickle=False)
    # A cluster may run a task twice at once when it believes the first lost: each process has its own file.
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(packed.getbuffer())
    part.replace(path)


def read_note(path: Path) -> Any:
    """Return the value that `write_note` wrote.

    Raises
    ------
    DatasetError
        When the file holds something else.
    """
    packed = io.BytesIO(path.read_bytes())
    try:
        tree = json.loads(packed.readline())
        arrays = []
        while packed.tell() < len(packed.getbuffer()):
            arrays.append(np.lib.format.read_array(packed, allow_pickle=False))
        return _from_json(tree, path.parent, arrays)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DatasetError(
            f"{path} is no note of this version of walslab: {error}; ingest again, from the beginning"
        ) from error


def _to_json(value: Any, folder: Path, arrays: list[Array]) -> Any:  # noqa: PLR0911 - one form for each kind
    """Return a value as JSON holds it: what JSON has no form for is an object with one key, its kind."""

    def inner(one: Any) -> Any:
        return _to_json(one, folder, arrays)

    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [*map(inner, value)]
    if isinstance(value, tuple):
        return {"tuple": [*map(inner, value)]}
    if isinstance(value, dict):
        kind = "counts" if isinstance(value, Counter) else "dict"
        return {kind: {key: inner(one) for key, one in value.items()}}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if value == folder:
        return {"folder": None}
    name = type(value).__name__
    if _CLASSES.get(name) is not type(value):
        raise TypeError(f"a note cannot hold {value!r}")
    fields = {field.name: inner(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {name: fields}


def _from_json(tree: Any, folder: Path, arrays: list[Array]) -> Any:  # noqa: PLR0911 - one form for each kind
    def inner(one: Any) -> Any:
        return _from_json(one, folder, arrays)

    if isinstance(tree, list):
        return [*map(inner, tree)]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "folder":
        return folder
    if kind == "array":
        return arrays[content]
    if kind == "tuple":
        return tuple(map(inner, content))
    fields = {key: inner(one) for key, one in content.items()}
    if kind == "dict":
        return fields
    return Counter(fields) if kind == "counts" else _CLASSES[kind](**fields)
