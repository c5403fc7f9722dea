"""The best 10 items of users: all of MovieLens 20M's, beside implicit; one user's among a million items.

    python benchmarks/top_n.py [--users 8192] [--rounds 5] [--n 10] [--million 1000000] [--queries 200]

Made-up factors of rank 64 with biases; as many items as MovieLens 20M has, of which 144 a user are seen and
left out. Users are a sample, as the time is in proportion to them. Every contestant answers for all of them,
in turn within each round, on the same number of threads; a ratio is the median of the rounds' own ratios.
implicit's `topk` knows no biases: they are one more column of the factors.

Then one user at a time against a million items: the exact answer, by NumPy's product and a partition, beside
approximate indexes, each with the time to build it, its memory, and the share of the exact 10 it finds. The
peers are installed by hand: implicit (group `bench`), hnswlib, faiss-cpu, usearch; those that are missing are
left out.
"""

from __future__ import annotations

import os

# Before NumPy is loaded: every contestant has its own threads, and BLAS none beside them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import importlib
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.backends import Backend, largest
from toolkit.predictor import Side
from toolkit.processors import usable_processors

_ITEMS, _USERS, _RANK, _SEEN = 26_744, 138_493, 64, 144
Answer = Callable[[], np.ndarray[Any, Any]]


def main() -> None:
    """Print a table of each question."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("users", 8192),
        ("rounds", 5),
        ("n", 10),
        ("million", 1_000_000),
        ("queries", 200),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    print(f"{usable_processors()} threads\n")
    all_users(options.users, options.n, options.rounds)
    if options.million:
        one_user(options.million, options.queries, options.n)


def made_up(n_users: int, n_items: int, *, clusters: int = 0) -> tuple[Side, Side]:
    """Return factors and biases whose products spread as predicted ratings do, by 0.6 stars or so.

    With `clusters` the items are spread around so many points, as films are around genres.
    """
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray[Any, Any]:
        return rng.standard_normal(shape, dtype=np.float32)

    # The first factors are the largest, as in a fitted model.
    scale = (0.5 ** np.linspace(0, 3, _RANK)).astype(np.float32) * 0.6
    users, items = draw(n_users, _RANK), draw(n_items, _RANK)
    if clusters:
        items = 0.6 * items + 0.8 * draw(clusters, _RANK)[rng.integers(0, clusters, n_items)]
    return Side(users * scale**0.5, 0.3 * draw(n_users)), Side(items * scale**0.5, 0.4 * draw(n_items))


def all_users(n_users: int, n: int, rounds: int) -> None:
    """Compare what answers for many users."""
    users, items = made_up(n_users, _ITEMS)
    rng = np.random.default_rng(1)
    columns = np.sort(rng.integers(0, _ITEMS, (n_users, _SEEN)), axis=1)
    seen = sp.csr_matrix(
        (np.ones(columns.size, np.float32), columns.ravel(), np.arange(n_users + 1) * _SEEN),
        shape=(n_users, _ITEMS),
    )
    seen.sum_duplicates()

    def ours(backend: Any) -> Answer:
        chosen = Backend.require(backend)
        return lambda: chosen.top_n(users, items, n, hidden=[seen]).items

    contestants = {"walslab, heap in Numba": ours("numba"), "walslab, NumPy alone": ours("numpy")}
    if importlib.util.find_spec("implicit"):
        contestants["implicit, topk"] = implicit(users, items, seen, n)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    answers = {}
    for number in range(rounds + 1):
        for name, answer in contestants.items():
            began = time.perf_counter()
            answers[name] = answer()
            took = time.perf_counter() - began
            # The first is to compile and to fill caches.
            if number:
                seconds[name].append(took)
            print(f"round {number}: {name} {took:.2f} s", file=sys.stderr)
    first = next(iter(contestants))
    print(f"### {n_users:,} users × {_ITEMS:,} items, rank {_RANK}, best {n}, {_SEEN} seen left out\n")
    print(f"| contestant | s, min | median | walslab's heap ÷ it | all {_USERS:,} users, s | same answers |")
    print("|---|---|---|---|---|---|")
    for name, took in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds[first], took, strict=True))
        agree = (answers[name] == answers[first]).mean()
        print(
            f"| {name} | {min(took):.2f} | {statistics.median(took):.2f} | {ratio:.2f} | "
            f"{min(took) * _USERS / n_users:.0f} | {agree:.2%} |"
        )
    print(flush=True)


def implicit(users: Side, items: Side, seen: Any, n: int) -> Answer:
    """Return implicit's answer; its batches are those of its own `recommend` of many users."""
    from implicit.cpu.topk import topk

    x = np.ascontiguousarray(np.hstack([users.factors, np.ones((len(users.bias), 1), np.float32)]))
    y = np.ascontiguousarray(np.hstack([items.factors, items.bias[:, None]]))

    def answer() -> np.ndarray[Any, Any]:
        found = topk(y, x, n, filter_query_items=seen, num_threads=usable_processors())
        return np.asarray(found[0], np.int64)

    return answer


def one_user(n_items: int, n_queries: int, n: int) -> None:
    """Compare what answers for one user at a time."""
    users, items = made_up(n_queries, n_items, clusters=1000)
    x = np.ascontiguousarray(np.hstack([users.factors, np.ones((n_queries, 1), np.float32)]))
    y = np.ascontiguousarray(np.hstack([items.factors, items.bias[:, None]]))
    print(
        f"### One user at a time × {n_items:,} items, rank {_RANK} and a bias, best {n}, {n_queries} users\n"
    )
    print(f"| contestant | build, s | memory, MB | ms a user, median | worst | recall@{n} |")
    print("|---|---|---|---|---|---|")

    def by(backend: Any) -> Callable[[int], np.ndarray[Any, Any]]:
        chosen = Backend.require(backend)
        return lambda at: chosen.top_n(users.at(slice(at, at + 1)), items, n).items[0]

    exact = np.stack([largest((x[at] @ y.T)[None], n, np)[0][0] for at in range(n_queries)])
    report("walslab, exact, heap in Numba", by("numba"), exact, 0.0, 0.0)
    report("walslab, exact, NumPy alone", by("numpy"), exact, 0.0, 0.0)
    chosen = Backend.require("numba")
    began = time.perf_counter()
    chosen.top_n(users, items, n)
    took = (time.perf_counter() - began) / n_queries
    print(f"| the same, all {n_queries} users at once | 0 | 0 | {1e3 * took:.2f} | | 1.000 |", flush=True)
    for index in (hnswlib, faiss_ivf, usearch):
        if not importlib.util.find_spec(index.__name__.partition("_")[0]):
            continue
        before, began = resident(), time.perf_counter()
        searches = list(index(x, y, n))
        built, memory = time.perf_counter() - began, resident() - before
        for name, search in searches:
            report(name, search, exact, built, memory)
        del searches


def report(
    name: str,
    search: Callable[[int], np.ndarray[Any, Any]],
    exact: np.ndarray[Any, Any],
    built: float,
    memory: float,
) -> None:
    """Print the line of one that answers."""
    search(0)
    took, hits = [], 0
    for at, wanted in enumerate(exact):
        began = time.perf_counter()
        found = search(at)
        took.append(time.perf_counter() - began)
        hits += len(np.intersect1d(found, wanted))
    print(
        f"| {name} | {built:.0f} | {memory:.0f} | {1e3 * statistics.median(took):.2f} | "
        f"{1e3 * max(took):.1f} | {hits / exact.size:.3f} |",
        flush=True,
    )


Searches = Iterator[tuple[str, Callable[[int], np.ndarray[Any, Any]]]]


def hnswlib(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], n: int) -> Searches:
    """Build hnswlib's graph for inner products."""
    module = importlib.import_module("hnswlib")
    index = module.Index("ip", y.shape[1])
    index.init_index(len(y), M=16, ef_construction=200)
    index.set_num_threads(usable_processors())
    index.add_items(y)

    def search(at: int, ef: int) -> np.ndarray[Any, Any]:
        index.set_ef(ef)
        return index.knn_query(x[at], k=n)[0][0]

    for ef in (100, 400, 1600):
        yield f"hnswlib, M 16, ef {ef}", lambda at, ef=ef: search(at, ef)


def faiss_ivf(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], n: int) -> Searches:
    """Build faiss's lists around 1024 centres."""
    module = importlib.import_module("faiss")
    module.omp_set_num_threads(usable_processors())
    quantizer = module.IndexFlatIP(y.shape[1])
    index = module.IndexIVFFlat(quantizer, y.shape[1], 1024, module.METRIC_INNER_PRODUCT)
    index.train(y[np.random.default_rng(2).choice(len(y), min(len(y), 60_000), replace=False)])
    index.add(y)

    def search(at: int, probes: int) -> np.ndarray[Any, Any]:
        index.nprobe = probes
        return index.search(x[at : at + 1], n)[1][0]

    for probes in (16, 64, 256):
        yield f"faiss, IVF 1024, {probes} probes", lambda at, probes=probes: search(at, probes)


def usearch(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], n: int) -> Searches:
    """Build usearch's graph for inner products."""
    module = importlib.import_module("usearch.index")
    index = module.Index(ndim=y.shape[1], metric="ip", dtype="f32", connectivity=16)
    index.add(np.arange(len(y)), y, threads=usable_processors())

    def search(at: int, ef: int) -> np.ndarray[Any, Any]:
        index.expansion_search = ef
        return index.search(x[at], n).keys

    for ef in (100, 400, 1600):
        yield f"usearch, M 16, ef {ef}", lambda at, ef=ef: search(at, ef)


def resident() -> float:
    """Return the memory of this process in MB, without files that are mapped; 0 where it is not told."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main()
