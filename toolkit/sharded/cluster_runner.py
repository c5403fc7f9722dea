"""Parts on the workers of a Dask cluster, each by preference where it was done before."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from toolkit.backends import Backend, RatingRows
from toolkit.errors import ConfigError
from toolkit.sharded.parts import OpenSource, Part, Source, nbytes
from toolkit.sharded.work import DoPart, Work

# Engines are imported where they are used: a served model has this module, and no engines.
if TYPE_CHECKING:
    from toolkit.engines import Cluster

# Words of `toolkit.engines` for errors.
_WORDS = (
    "train again with --resume",
    "or fewer threads",
    "put the dataset where all workers see it under the same path, or give its address, such as s3://",
)
# Ratings of a task, at most, and tasks of each kind for each thread of the cluster, at least.
_TASK_RATINGS, _TASKS = 1 << 22, 6
# The share of a worker's memory that holds ratings, and its bytes where Dask sets no limit.
_HELD_SHARE, _HELD_BYTES = 0.4, 1 << 30


@dataclass(frozen=True, eq=False)
class SharedWork:
    """What the tasks of one list share: it goes to each worker once.

    Attributes
    ----------
    source : Source
    work : Work
    """

    source: Source
    work: Work


class OwnWork(NamedTuple):
    """The parts of one task, and what each of them alone needs of the work."""

    parts: list[Part]
    own: list[Any]


class ClusterRunner:
    """Hands parts to the workers of a cluster, some parts to a task.

    Parameters
    ----------
    cluster : Cluster
    source : Source
        Each worker opens it.
    """

    def __init__(self, cluster: Cluster, source: Source) -> None:
        from toolkit.engines import Spread

        self._source, self._threads = source, max(1, cluster.workers)
        self._spread = Spread(cluster)

    def run(
        self, work: Work, parts: Sequence[Part], own: Callable[[Part], Any]
    ) -> Iterator[tuple[Part, Any]]:
        """Yield each part with its result, in the order in which tasks end; see `Runner.run`."""
        tasks = self._tasks(parts)
        # Each kind of shard has homes of its own.
        items = [
            ((parts[0].kind, number), lambda chosen=chosen: OwnWork(chosen, [own(part) for part in chosen]))
            for number, chosen in enumerate(tasks)
        ]
        for (_, number), results in self._spread.run(_do_parts, SharedWork(self._source, work), items):
            yield from zip(tasks[number], results, strict=True)

    def _tasks(self, parts: Sequence[Part]) -> list[list[Part]]:
        """Return the parts in groups of parts that follow each other; the same groups each time."""
        most = min(_TASK_RATINGS, sum(part.nnz for part in parts) // (self._threads * _TASKS))
        groups: list[list[Part]] = []
        size = most + 1
        for part in parts:
            if size + part.nnz > most:
                groups.append([])
                size = 0
            groups[-1].append(part)
            size += part.nnz
        return groups


@contextlib.contextmanager
def on_cluster(source: Source, scheduler: str | None, dask: str | None = None) -> Iterator[ClusterRunner]:
    """Yield a runner on a Dask cluster.

    Parameters
    ----------
    source : Source
        All workers must see it.
    scheduler : str, optional
        Address of a running Dask scheduler, or the path of its file.
    dask : {"cuda"}, optional
        A cluster with a worker on each GPU of this machine, which ends with the block.

    Raises
    ------
    ConfigError
        When both are asked for, or none.
    BackendError
        When the scheduler does not answer or has no workers, a worker does not see the dataset, or there is
        no GPU.
    """
    from toolkit.engines import Words, cluster_at, cluster_of_gpus

    if (scheduler is None) == (dask != "cuda"):
        raise ConfigError("--dask-scheduler names a cluster, and --dask cuda starts one: give one of them")
    words = Words(*_WORDS)
    with cluster_of_gpus(words) if scheduler is None else cluster_at(scheduler, words) as cluster:
        if "://" not in source.where:
            cluster.check(Path(source.where), [])
        yield ClusterRunner(cluster, source)


# ------------------------------------------------------------------------------------------ on a worker


class _Held:
    """What a worker keeps from task to task: an open dataset, ratings laid out, and work made ready.

    Parameters
    ----------
    source : Source
    budget : int
        Bytes of ratings.

    Attributes
    ----------
    backend : Backend
        Does the work.
    """

    def __init__(self, source: Source, budget: int) -> None:
        self._open: OpenSource = source.open(1)
        self.backend: Backend = self._open.backend
        self._budget, self._bytes = budget, 0
        self._rows: dict[tuple[str, int], RatingRows] = {}
        # What the cluster no longer holds goes away.
        self._ready: WeakKeyDictionary[SharedWork, DoPart] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def ready(self, shared: SharedWork) -> DoPart:
        """Return the function that does a part of some work; what its parts share is made once."""
        with self._lock:
            if shared not in self._ready:
                self._ready[shared] = shared.work.ready(self._open.backend)
            return self._ready[shared]

    def rows(self, part: Part) -> RatingRows:
        """Return a part as it lies in memory, or else read."""
        key = part.kind, part.number
        with self._lock:
            if key in self._rows:
                return self._rows[key]
        rows = self._open.laid_out(part, self._open.read(part))
        size = nbytes(rows)
        with self._lock:
            # A part that is held stays: each pass goes through all parts, so the oldest one comes next.
            if key not in self._rows and self._bytes + size <= self._budget:
                self._rows[key] = rows
                self._bytes += size
        return rows


_held: dict[Source, _Held] = {}
_opening = threading.Lock()


def _do_parts(shared: SharedWork, task: OwnWork) -> list[Any]:
    """Do some parts, and return their results; this runs on a worker."""
    with _opening:
        held = _held.get(shared.source)
        if held is None:
            _held.clear()
            held = _held[shared.source] = _Held(shared.source, _budget())
    do = held.ready(shared)
    # Once for all parts: to set the limit takes a millisecond.
    with held.backend.one_blas_thread():
        return [do(part, held.rows, own) for part, own in zip(task.parts, task.own, strict=True)]


def _budget() -> int:
    from distributed import get_worker

    try:
        limit = get_worker().memory_manager.memory_limit
    except (ValueError, AttributeError):
        limit = None
    return int(limit * _HELD_SHARE) if limit else _HELD_BYTES
