"""Tasks of a Dask cluster that share a large argument, each by preference where it was done before."""

from __future__ import annotations

import functools
import itertools
import math
import queue
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.engines.dask_cluster import Cluster
from toolkit.engines.dask_shared import Sender, Shared
from toolkit.engines.dask_tasks import answering, attempt, result_of
from toolkit.engines.dask_waits import WAITS
from toolkit.errors import WalslabError

if TYPE_CHECKING:
    from distributed import Future

_Shared = TypeVar("_Shared")
_Result = TypeVar("_Result")
_Key = TypeVar("_Key", bound=Hashable)
# How often a task that failed is tried again.
_RETRIES = 3
# Tasks that the workers have at once, for each that runs.
_AHEAD = 4
# A task that takes so many times as long as the longest before is given out again.
_SLOW = 5.0


class Spread:
    """Hands tasks to the workers of a cluster again and again.

    A task has no effect but its result: where its worker is lost or slow, it is done once more elsewhere.

    Parameters
    ----------
    cluster : Cluster

    Attributes
    ----------
    cluster : Cluster
    sender : Sender
        Sends what tasks share.
    homes : dict of str
        Where each task was done last, by its key.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.sender = cluster, Sender(cluster.scatter)
        self.homes: dict[Hashable, str] = {}
        cluster.reach_workers()

    def run(
        self,
        function: Callable[[_Shared, Any], _Result],
        shared: _Shared,
        items: Sequence[tuple[_Key, Callable[[], Any]]],
    ) -> Generator[tuple[_Key, _Result]]:
        """Yield the key and the result of each task, in the order in which they end.

        Parameters
        ----------
        function : callable
            Takes what is shared, and what a task alone has.
        shared : object
            Goes to each worker once, without arrays that were part of what the last tasks shared. Nobody may
            change its arrays.
        items : sequence of (hashable, callable)
            The key of each task, by which it is given to the worker that did the task of this key last, and
            a function that returns what it alone has.

        Raises
        ------
        BackendError
            When the cluster is gone, or is without workers for a minute.
        WalslabError
            That of a task.
        """
        with self.cluster.explained():
            run = _Run(self, function, shared, dict(items))
            try:
                yield from run.results()
            finally:
                run.release()


class _Run:
    """One list of tasks."""

    def __init__(
        self,
        spread: Spread,
        function: Callable[[Any, Any], Any],
        shared: Any,
        items: Mapping[Any, Callable[[], Any]],
    ) -> None:
        self._cluster, self._client = spread.cluster, spread.cluster.client
        self._sender, self._homes = spread.sender, spread.homes
        self._function, self._shared, self._items = function, shared, items
        self._name = f"walslab-{uuid.uuid4().hex}"
        self._numbers = itertools.count()
        self._ended: queue.SimpleQueue[tuple[Hashable, Future[Any]]] = queue.SimpleQueue()
        self._given: dict[Hashable, list[Future[Any]]] = {}
        self._began: dict[Hashable, float] = {}
        self._longest, self._looked = 0.0, -math.inf
        self._threads: dict[str, int] = {}
        self._send()
        self._places = places_of([*items], self._homes, self._workers())

    def _send(self, *, anew: bool = False) -> None:
        failures = 0

        def send() -> list[Future[Any]]:
            nonlocal failures
            if self._cluster.lack():
                time.sleep(WAITS.news)
                raise queue.Empty
            try:
                # One that answers gets it, and the others from there. A broadcast of Dask's own does not end
                # where a worker dies meanwhile.
                return self._sender.send(self._shared, next(iter(self._workers()), None), anew=anew)
            except Exception:
                # A worker that dies meanwhile makes errors of many kinds.
                failures += 1
                if failures == _RETRIES:
                    raise
                time.sleep(WAITS.news)
                raise queue.Empty from None

        self._sent = self._cluster.wait_for(send, len(self._items))

    def _workers(self) -> dict[str, int]:
        """Return the threads of the workers that answer, as they were a second ago or later."""
        if time.monotonic() > self._looked + 1 and not self._cluster.lack():
            self._threads, self._looked = self._client.run_on_scheduler(answering), time.monotonic()
        return self._threads

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yield the results as they come."""
        todo = iter(self._items)
        left = len(self._items)
        while left:
            room = max(1, sum(self._workers().values())) * _AHEAD - len(self._given)
            for key in itertools.islice(todo, max(room, 0)):
                self._give(key)
            key, future = self._cluster.wait_for(functools.partial(self._next), left)
            if future not in self._given.get(key, ()):
                continue  # the other of two, or one that was given out anew
            found = self._result(key, future, left)
            if found is None:
                continue
            worker, result = found
            if isinstance(result, WalslabError):
                raise result
            self._homes[key] = worker
            self._longest = max(self._longest, time.monotonic() - self._began.pop(key))
            self._given.pop(key)
            left -= 1
            yield key, result

    def _next(self) -> tuple[Hashable, Future[Any]]:
        try:
            return self._ended.get(timeout=WAITS.news)
        except queue.Empty:
            self._help()
            raise

    def _help(self) -> None:
        """Give tasks out again that were lost, or that take far longer than others did."""
        if any(sent.status != "finished" for sent in self._sent):
            self._begin_again()
            return
        # Until one has ended, nobody knows how long they take.
        limit = max(WAITS.slow_task, _SLOW * self._longest) if self._longest else WAITS.first_task
        late = time.monotonic() - limit
        slow = [key for key, given in self._given.items() if self._began[key] < late and len(given) == 1]
        if slow:
            # The holder of what is shared may be the one that is slow.
            self._send(anew=True)
        for key, given in self._given.items():
            if given[-1].status in {"lost", "cancelled"} or key in slow:
                self._give(key, elsewhere=key in slow)

    def _begin_again(self) -> None:
        """Send what is shared once more, as its last holder is lost, with all tasks that were to have it."""
        self._send(anew=True)
        for key in self._given:
            self._give(key)

    def _result(self, key: Hashable, future: Future[Any], left: int) -> tuple[str, Any] | None:
        """Return the worker and the result of a task, or None where it has to be done again."""
        from distributed import CancelledError

        try:
            found: tuple[str, Any] = self._cluster.wait_for(
                functools.partial(result_of, future, WAITS.without_workers), left
            )
        except CancelledError:
            # What is shared was lost with the last worker that had it. Where the scheduler itself is gone,
            # sending it again says so.
            self._begin_again()
            return None
        return found

    def _give(self, key: Hashable, *, elsewhere: bool = False) -> None:
        """Give a task to the cluster."""
        workers, number = [*self._workers()], next(self._numbers)
        place = self._places.get(key)
        if workers and (place not in workers or elsewhere):
            others = [worker for worker in workers if worker != place] or workers
            place = others[number % len(others)]
        where = {"workers": [place], "allow_other_workers": True} if workers else {}
        with _large_arguments():
            future = self._client.submit(
                functools.partial(_do, self._function),
                self._items[key](),
                *self._sent,
                key=f"{self._name}-{number:09d}",
                retries=_RETRIES,
                **where,
            )
        if elsewhere:
            self._given[key].append(future)
        else:
            self._given[key] = [future]
        self._began[key] = time.monotonic()
        future.add_done_callback(lambda done: self._ended.put((key, done)))

    def release(self) -> None:
        """Forget all tasks and what they share; no result of theirs is waited for."""
        left = [future for futures in self._given.values() for future in futures]
        if left:
            self._cluster.stop(left, self._name)
        self._given.clear()
        self._sent[0].release()


def places_of(
    keys: Sequence[Hashable], homes: Mapping[Hashable, str], workers: Mapping[str, int]
) -> dict[Hashable, str]:
    """Return the worker of each task: its home, as far as each worker gets its share.

    Parameters
    ----------
    keys : sequence of hashable
        The tasks.
    homes : mapping of hashable to str
        Where a task was done last.
    workers : mapping of str to int
        The threads of each worker.
    """
    threads = max(1, sum(workers.values()))
    room = {worker: -(-len(keys) * n // threads) for worker, n in workers.items()}
    places: dict[Hashable, str] = {}
    for key in keys:
        if room.get(home := homes.get(key, ""), 0) > 0:
            places[key] = home
            room[home] -= 1
    for key in keys:
        if key not in places and room:
            places[key] = max(room, key=room.__getitem__)
            room[places[key]] -= 1
    return places


def _do(function: Callable[[Any, Any], Any], item: Any, shared: Shared, *arrays: object) -> tuple[str, Any]:
    """Return the worker that does a task, and its result or the house's error."""
    from distributed import get_worker

    return get_worker().address, attempt(functools.partial(function, shared.whole(arrays)), item)


@contextmanager
def _large_arguments() -> Iterator[None]:
    """Let tasks have megabytes of their own, which Dask warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph", category=UserWarning)
        yield
