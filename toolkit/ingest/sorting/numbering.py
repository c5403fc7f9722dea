"""Rows and columns of ids: their positions in the sorted list of all distinct ids of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from toolkit.arrays import IntArray
from toolkit.ingest.reading.columns import KindOfIds, as_text, of_integers
from toolkit.ingest.sorting.runs import Run
from toolkit.tables import DistinctIds, numbers

# This many ids wait at least before they are merged into the list.
_BATCH = 1 << 20


def kind_of_all(kinds: Iterable[KindOfIds]) -> KindOfIds:
    """Return ``integer`` where all runs have integers, and ``text`` otherwise."""
    return "text" if "text" in set(kinds) else "integer"


def union(runs: Sequence[Run], read: Callable[[Run], DistinctIds]) -> DistinctIds:
    """Return the distinct ids of all runs.

    It holds the result and one batch in memory, however many runs there are.
    """
    merged: DistinctIds | None = None
    waiting: list[DistinctIds] = []
    size = 0
    for run in runs:
        waiting.append(read(run))
        size += len(waiting[-1])
        if size >= max(_BATCH, 0 if merged is None else len(merged)):
            merged, waiting, size = _merge(merged, waiting), [], 0
    return _merge(merged, waiting)


def _merge(merged: DistinctIds | None, waiting: list[DistinctIds]) -> DistinctIds:
    parts = waiting if merged is None else [merged, *waiting]
    if all(isinstance(part, np.ndarray) for part in parts):
        # By a table, where that is faster than a sort.
        return of_integers(np.concatenate(parts)).distinct
    import pyarrow as pa
    import pyarrow.compute as pc

    # Large, as all ids together may be longer than 2 GiB.
    words = pc.unique(pa.chunked_array([as_text(part).cast(pa.large_string()) for part in parts]))
    return words.take(pc.sort_indices(words))


def number_run(run: Run, users: DistinctIds, items: DistinctIds) -> None:
    """Give each distinct user of a run its row, and each item its column.

    Parameters
    ----------
    run : Run
        A run as it was read.
    users, items : array of int64, or pyarrow.StringArray
        All ids of the input, ascending.
    """
    run.set_numbers(_positions(run.user_ids(), users), _positions(run.item_ids(), items))


def facts_of_ids(ids: DistinctIds) -> dict[str, Any]:
    """Return the kind of ids for the manifest; for text, also how many are integers, and one that is none."""
    if isinstance(ids, np.ndarray):
        return {"kind": "integer"}
    import pyarrow.compute as pc

    usual = pc.match_substring_regex(ids, r"^(0|-?[1-9][0-9]{0,17})$")
    # Among numbers of as many digits, text sorts as the numbers do, and among negative ones the other way.
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


def _positions(some: DistinctIds, every: DistinctIds) -> IntArray:
    """Return the position of each of some ids among all ids, int32; both ascend."""
    if isinstance(some, np.ndarray) or isinstance(every, np.ndarray):
        return np.searchsorted(every, some).astype(np.int32)
    import pyarrow.compute as pc

    return numbers(pc.index_in(some.cast(every.type), value_set=every))
