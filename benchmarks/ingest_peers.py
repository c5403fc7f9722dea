"""The job of `walslab ingest` written by hand in pandas, polars and DuckDB, as `ingest.py` runs them.

    python benchmarks/ingest_peers.py pandas RATINGS.csv OUT

pandas, polars and duckdb are what an expert of the library would write for this one file, for speed and
memory: three columns of known names and narrow types, ids that are known to be small whole numbers, each pair
known to occur once. None checks its input, detects a format, takes text for ids or leaves checksums, all of
which walslab does; none is asked to. Tried and slower, or no faster and larger: pandas' pyarrow engine,
`factorize` and reading in chunks; polars' `rank`, `search_sorted` and joins; DuckDB's `dense_rank`, joins,
`ORDER BY` and Arrow; a thread for each split.

pandas-usual is the same job as it is usually written: read the file, factorize, draw, make matrices, save.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

SHARD_RATINGS = 2_000_000
HELD_OUT = 0.1
_Array = np.ndarray[Any, Any]


def main() -> None:
    """Run one peer on one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", choices=[*PEERS, "pandas-usual"])
    parser.add_argument("ratings", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    for name in ("train", "valid", "test"):
        (options.out / name).mkdir(parents=True)
    if options.peer == "pandas-usual":
        usual_pandas(options.ratings, options.out)
    else:
        write_dataset(options.out, PEERS[options.peer](options.ratings, options.out))


def by_pandas(ratings: Path, out: Path) -> list[Any]:
    """Read by the C engine, take the columns out one by one."""
    import pandas as pd

    types = {"userId": np.int32, "movieId": np.int32, "rating": np.float32}
    frame = pd.read_csv(ratings, usecols=list(types), dtype=types)
    triples, shape = [], []
    for name, table in (("userId", "users"), ("movieId", "items")):
        column = frame.pop(name).to_numpy()
        ids = ids_in(column)
        triples.append(number(ids, column))
        pd.DataFrame({"id": ids}).to_parquet(out / f"{table}.parquet")
        shape.append(len(ids))
        del column
    return [*triples, frame.pop("rating").to_numpy(), tuple(shape)]


def by_polars(ratings: Path, out: Path) -> list[Any]:
    """Read by the streaming engine on all cores, take the columns out one by one."""
    import polars as pl

    types = {"userId": pl.Int32, "movieId": pl.Int32, "rating": pl.Float32}
    scan = pl.scan_csv(ratings, schema_overrides=types).select(list(types))
    frame = scan.collect(engine="streaming")
    triples, shape = [], []
    for name, table in (("userId", "users"), ("movieId", "items")):
        column = frame.drop_in_place(name).to_numpy()
        ids = ids_in(column)
        triples.append(number(ids, column))
        pl.DataFrame({"id": ids}).write_parquet(out / f"{table}.parquet")
        shape.append(len(ids))
        del column
    return [*triples, frame.drop_in_place("rating").to_numpy(), tuple(shape)]


def by_duckdb(ratings: Path, out: Path) -> list[Any]:
    """Read into a table in memory on all cores, find the ids by SQL, fetch the columns."""
    import duckdb

    sql = duckdb.connect()
    sql.execute("SET preserve_insertion_order = false")
    sql.execute(
        "CREATE TABLE ratings AS SELECT userId, movieId, rating FROM read_csv(?, header = true, columns = "
        "{'userId': 'INTEGER', 'movieId': 'INTEGER', 'rating': 'FLOAT', 'timestamp': 'BIGINT'})",
        [str(ratings)],
    )
    tables = {}
    for name, table in (("userId", "users"), ("movieId", "items")):
        sql.table("ratings").project(f"{name} AS id").distinct().to_table(table)
        ids = sql.table(table).order("id")
        ids.write_parquet(str(out / f"{table}.parquet"))
        tables[table] = ids.fetchnumpy()["id"]
    columns = sql.execute("FROM ratings").fetchnumpy()
    sql.close()
    users = number(tables["users"], columns.pop("userId"))
    items = number(tables["items"], columns.pop("movieId"))
    return [users, items, columns["rating"], (len(tables["users"]), len(tables["items"]))]


def usual_pandas(ratings: Path, out: Path) -> None:
    """Do the whole job with what comes to mind first."""
    import pandas as pd

    frame = pd.read_csv(ratings)
    users, user_ids = pd.factorize(frame.userId, sort=True)
    items, item_ids = pd.factorize(frame.movieId, sort=True)
    pd.DataFrame({"id": user_ids}).to_parquet(out / "users.parquet")
    pd.DataFrame({"id": item_ids}).to_parquet(out / "items.parquet")
    shape, n = (len(user_ids), len(item_ids)), len(frame)
    values = frame.rating.to_numpy(np.float32)
    n_held = round(HELD_OUT * n)
    order = np.random.default_rng(0).permutation(n)
    splits = {
        "valid": order[:n_held],
        "test": order[n_held : 2 * n_held],
        "train": order[2 * n_held :],
    }
    files = []
    for name, chosen in splits.items():
        matrix = sp.csr_matrix((values[chosen], (users[chosen], items[chosen])), shape=shape)
        files += write_shards(out, f"{name}/rows", matrix, ranges(matrix.indptr))
    by_item = matrix.T.tocsr()
    files += write_shards(out, "train/cols", by_item, ranges(by_item.indptr))
    write_manifest(out, n, n_held, shape, files)


def ids_in(column: _Array) -> _Array:
    """Return the ids that occur, ascending: with ids this small, faster than a library's `unique`."""
    seen = np.zeros(int(column.max()) + 1, bool)
    seen[column] = True
    return np.flatnonzero(seen)


def number(ids: _Array, column: _Array) -> _Array:
    """Give each id its position among the sorted `ids`, by a table that is as long as the largest id."""
    rows = np.zeros(ids[-1] + 1, np.int32)
    rows[ids] = np.arange(len(ids), dtype=np.int32)
    return rows[column]


def write_dataset(out: Path, ratings: list[Any]) -> None:
    """Split, and write shards and manifest; NumPy and SciPy alone, and the same for all peers.

    `ratings` is emptied: the caller, who still holds the list, would keep its arrays in memory.
    """
    shape = ratings.pop()
    n = len(ratings[0])
    n_held = round(HELD_OUT * n)
    held = np.random.default_rng(0).choice(n, 2 * n_held, replace=False)
    assigned = np.zeros(n, np.uint8)
    assigned[held[:n_held]] = 1
    assigned[held[n_held:]] = 2
    del held
    small = {}
    for which, name in ((1, "valid"), (2, "test")):
        chosen = np.flatnonzero(assigned == which)
        small[name] = by_user_and_item([column[chosen] for column in ratings], shape)[0]
    chosen = assigned == 0
    ratings.reverse()
    train = [ratings.pop()[chosen] for _ in range(len(ratings))]
    del assigned, chosen
    by_user, by_item = by_user_and_item(train, shape)
    starts = ranges(by_user.indptr)
    files = write_shards(out, "train/rows", by_user, starts)
    for name, matrix in small.items():
        files += write_shards(out, f"{name}/rows", matrix, starts)
    files += write_shards(out, "train/cols", by_item, ranges(by_item.indptr))
    write_manifest(out, n, n_held, shape, files)


def write_manifest(
    out: Path, n: int, n_held: int, shape: tuple[int, int], files: list[dict[str, Any]]
) -> None:
    """Say how much of what there is."""
    counts = {"ratings": n, "users": shape[0], "items": shape[1], "train": n - 2 * n_held}
    counts |= {"valid": n_held, "test": n_held}
    (out / "manifest.json").write_text(json.dumps({"counts": counts, "files": files}), encoding="utf-8")


def by_user_and_item(ratings: list[_Array], shape: tuple[int, int]) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Return the matrix and its transpose as CSR, columns sorted; `ratings` is emptied.

    SciPy's conversions between CSR and CSC leave sorted indices and take linear time: no sort is needed.
    """
    users, items, values = ratings
    ratings.clear()
    triples = sp.coo_matrix((values, (users, items)), shape=shape)
    # Spares SciPy the sort by which it would look for duplicates.
    triples.has_canonical_format = True
    by_user = triples.tocsr()
    del users, items, values, triples
    by_item = by_user.tocsc()
    del by_user
    return by_item.tocsr(), by_item.T


def ranges(indptr: _Array) -> _Array:
    """Cut rows into ranges of about `SHARD_RATINGS` ratings each."""
    n_shards = max(1, -(-int(indptr[-1]) // SHARD_RATINGS))
    goals = np.arange(1, n_shards) * (int(indptr[-1]) / n_shards)
    return np.unique([0, *np.searchsorted(indptr, goals), len(indptr) - 1])


def write_shards(out: Path, kind: str, matrix: sp.csr_matrix, starts: _Array) -> list[dict[str, Any]]:
    """Write one file a range of rows."""
    files = []
    for k, (start, stop) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        shard = matrix[start:stop]
        path = f"{kind}-{k:05d}.npz"
        sp.save_npz(out / path, shard, compressed=False)
        files.append({"path": path, "nnz": int(shard.nnz), "start": start, "stop": stop})
    return files


PEERS: dict[str, Callable[[Path, Path], list[Any]]] = {
    "pandas": by_pandas,
    "polars": by_polars,
    "duckdb": by_duckdb,
}

if __name__ == "__main__":
    main()
