"""Parts in this process: read ahead, shard after shard, and done on its threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from toolkit.backends import RatingRows
from toolkit.job_threads import Job, JobThreads, stop
from toolkit.processors import usable_processors
from toolkit.sharded.parts import OpenSource, Part, Source
from toolkit.sharded.work import DoPart, Work


class Runner(Protocol):
    """Does work on all parts, somewhere."""

    def run(
        self, work: Work, parts: Sequence[Part], own: Callable[[Part], Any]
    ) -> Iterator[tuple[Part, Any]]:
        """Yield each part with its result, in any order.

        Parameters
        ----------
        work : Work
        parts : sequence of Part
        own : callable
            Returns what a part alone needs of the work.
        """


class StreamRunner:
    """Reads the shards in turn: a few are in memory at once, however many there are.

    A thread reads shards ahead of those that work on them, one shard each.

    Parameters
    ----------
    source : Source
    threads : int, default 0
        CPU threads; 0 means all that this process may use.
    """

    def __init__(self, source: Source, threads: int = 0) -> None:
        self._threads = threads or usable_processors()
        # A shard is done on one thread, and on a GPU one shard at a time.
        self._open: OpenSource = source.open(threads)
        if self._open.backend.xp.__name__ != "numpy":
            self._threads = 1

    def run(
        self, work: Work, parts: Sequence[Part], own: Callable[[Part], Any]
    ) -> Iterator[tuple[Part, Any]]:
        """Yield each part with its result, in order; see `Runner.run`."""
        do = work.ready(self._open.backend, 1)
        reader, threads = JobThreads(1, "walslab-reader"), JobThreads(self._threads, "walslab-shards")
        with self._open.backend.one_blas_thread():
            todo = iter(parts)
            reading: deque[Job[Any]] = deque()
            doing: deque[tuple[Part, Job[Any]]] = deque()
            try:
                while True:
                    # One shard more than threads: it is there when the next thread is free.
                    while len(doing) <= self._threads and (part := next(todo, None)):
                        reading.append(Job(partial(self._open.read, part)))
                        doing.append((part, Job(partial(self._do, do, part, reading[-1], own))))
                        reader.give(reading[-1])
                        threads.give(doing[-1][1])
                    if not doing:
                        return
                    part, job = doing[0]
                    job.wait()
                    doing.popleft()
                    reading.popleft()
                    yield part, job.result()
            finally:
                stop(job for _, job in doing)
                stop(reading)

    def _do(self, do: DoPart, part: Part, shard: Job[Any], own: Callable[[Part], Any]) -> Any:
        rows = {part: self._open.laid_out(part, shard.result())}

        def rows_of(other: Part) -> RatingRows:
            if other not in rows:
                rows[other] = self._open.laid_out(other, self._open.read(other))
            return rows[other]

        return do(part, rows_of, own(part))
