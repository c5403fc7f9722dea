"""Rows and columns for ids: positions in the sorted list of all distinct ids of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.ingest.reading.columns import as_text
from toolkit.ingest.sorting.array_files import put
from toolkit.ingest.sorting.runs import Run
from toolkit.tables.arrow import numbers

_Array = np.ndarray[Any, Any]
# Ids that wait to be merged into the list, at least.
_BATCH = 1 << 20


def kind_of_all(kinds: Iterable[str]) -> str:
    """Return ``integer`` where all runs have integers, and ``text`` otherwise."""
    return "text" if "text" in set(kinds) else "integer"


def union(runs: Sequence[Run], read: Callable[[Run], Any]) -> Any:
    """Return the distinct ids of all runs, ascending: int64, or pyarrow.StringArray by code point.

    Memory is that of the result and of a batch beside it, however many runs there are.
    """
    merged: Any = None
    waiting: list[Any] = []
    size = 0
    for run in runs:
        waiting.append(read(run))
        size += len(waiting[-1])
        if size >= max(_BATCH, 0 if merged is None else len(merged)):
            merged, waiting, size = _merge(merged, waiting), [], 0
    return _merge(merged, waiting)


def _merge(merged: Any, waiting: list[Any]) -> Any:
    parts = waiting if merged is None else [merged, *waiting]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.unique(np.concatenate(parts))
    import pyarrow as pa
    import pyarrow.compute as pc

    words = pc.unique(pa.chunked_array([as_text(part) for part in parts]))
    return words.take(pc.sort_indices(words))


def write_ids(path: Path, ids: Any) -> None:
    """Keep all ids of a kind where every task finds them."""
    if isinstance(ids, np.ndarray):
        put(path.with_suffix(".int64"), ids)
        return
    import pyarrow as pa

    table = pa.table({"id": ids})
    with pa.OSFile(str(path.with_suffix(".arrow")), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)


def read_ids(path: Path) -> Any:
    """Return what `write_ids` kept."""
    if path.with_suffix(".int64").exists():
        return np.fromfile(path.with_suffix(".int64"), np.int64)
    import pyarrow as pa

    with pa.OSFile(str(path.with_suffix(".arrow")), "rb") as file, pa.ipc.open_file(file) as reader:
        return reader.read_all().column("id").combine_chunks()


def number_run(run: Run, users: Any, items: Any) -> None:
    """Give each distinct user of a run its row, and each item its column.

    Parameters
    ----------
    run : Run
        A run as it was read.
    users, items : array of int64, or pyarrow.StringArray
        All ids of the input, ascending.
    """
    run.set_numbers(_places(run.user_ids(), users), _places(run.item_ids(), items))


def integers_among(ids: Any) -> dict[str, Any]:
    """Return for the record what ids are, and how many of those that are text look like integers."""
    if isinstance(ids, np.ndarray):
        return {"kind": "integer"}
    import pyarrow.compute as pc

    usual = pc.match_substring_regex(ids, r"^(0|-?[1-9][0-9]{0,17})$")
    # Of numbers of as many digits, text has the same order; of negative ones the other.
    bounds = as_text(np.array([2**63 - 1, -(2**63)]))
    for pattern, bound in zip((r"^[1-9][0-9]{18}$", r"^-[1-9][0-9]{18}$"), bounds, strict=True):
        within = pc.and_(pc.match_substring_regex(ids, pattern), pc.less_equal(ids, bound))
        usual = pc.or_(usual, within)
    example = ids.filter(pc.invert(usual))
    return {
        "kind": "text",
        "integers": pc.sum(usual).as_py() or 0,
        "example": example[0].as_py() if len(example) else None,
    }


def _places(some: Any, all_ids: Any) -> _Array:
    """Return the position of each of some ids among all ids; both ascend."""
    if isinstance(some, np.ndarray):
        return np.searchsorted(all_ids, some).astype(np.int32)
    import pyarrow.compute as pc

    return numbers(pc.index_in(some, value_set=all_ids))
