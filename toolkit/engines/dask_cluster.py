"""Many tasks on the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from toolkit.engines.dask_tasks import (
    answering,
    attempt,
    holds_tasks,
    lacks,
    next_result,
    nothing,
    result_of,
    unheard,
)
from toolkit.engines.dask_waits import WAITS
from toolkit.engines.threads import Tick
from toolkit.errors import BackendError, WalslabError
from toolkit.files import mask

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from distributed import Client, Future

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# How often a task that failed is tried again, as a shared file system may do better the next time: a task
# writes files of its own and can simply run again. Dask itself runs the tasks of a dead worker again.
_RETRIES = 3


class Words(NamedTuple):
    """The words of a job for its errors.

    Attributes
    ----------
    again : str
        What to do when the cluster is back.
    less : str
        What makes its tasks need less memory; it follows a comma.
    share : str
        Where to put files that a worker does not see.
    """

    again: str
    less: str
    share: str


class Cluster:
    """A Dask cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to it.
    words : Words
        The words of the job for its errors.
    """

    def __init__(self, client: Client, words: Words) -> None:
        self.client = client
        self.words = words
        self._address = mask(getattr(client.scheduler, "address", ""))
        self.workers = sum(self._ask(client.nthreads).values())

    def map(self, function: Callable[[_Item], _Result], items: Sequence[_Item], tick: Tick) -> list[_Result]:
        """Return ``function(item)`` for each item, in order; see `toolkit.engines.Engine.map`."""
        name = f"walslab-{uuid.uuid4().hex}"
        # Of tasks that wait for nothing Dask begins with the last by name. With these names it begins with
        # the first item, so that a bad row is found early, and a file is read forwards.
        keys = [f"{name}-{len(items) - at:09d}" for at in range(len(items))]
        results: dict[str, _Result] = {}
        with self.explained():
            futures = self.client.map(functools.partial(attempt, function), items, key=keys, retries=_RETRIES)
            try:
                ended: queue.SimpleQueue[Future[_Result | WalslabError]] = queue.SimpleQueue()
                for future in futures:
                    future.add_done_callback(ended.put)
                for left in range(len(futures), 0, -1):
                    future = self.wait_for(functools.partial(ended.get, timeout=WAITS.news), left)
                    # A result is lost with its worker, and comes when the task has run again.
                    get = functools.partial(result_of, future, WAITS.without_workers)
                    results[str(future.key)] = self.wait_for(get, left)
                    tick()
            except BaseException:
                self.stop(futures, name)
                raise
        return [results[key] for key in keys]

    def compute(self, tasks: Sequence[Delayed]) -> None:
        """Compute tasks of Dask itself, and forget their results."""
        with self.explained():
            futures: list[Future[WalslabError | None]] = self.client.compute([*tasks])
            try:
                for at, future in enumerate(futures):
                    self.wait_for(self._turn(future), len(futures) - at)
            except BaseException:
                self.stop(futures, *(str(future.key) for future in futures))
                raise

    def stream(
        self, function: Callable[[_Item], _Result], items: Sequence[_Item], *, ahead: int
    ) -> Generator[_Result]:
        """Yield ``function(item)`` for each item, in order; a task's error is raised in its turn.

        The workers keep the other results: this process holds one. No task runs any more when it ends.

        Parameters
        ----------
        function : callable
            A task.
        items : sequence
            Its arguments.
        ahead : int
            Tasks that the cluster has at once, those included that are done and whose turn has not come.
        """
        name = f"walslab-{uuid.uuid4().hex}"
        task = functools.partial(attempt, function)
        todo = enumerate(items)
        turn: deque[Future[_Result | WalslabError]] = deque()
        with self.explained():
            try:
                for given in range(len(items)):
                    for at, item in itertools.islice(todo, ahead - len(turn)):
                        key = f"{name}-{at:09d}"
                        turn.append(self.client.submit(task, item, key=key, retries=_RETRIES))
                    yield self.wait_for(self._turn(turn[0]), len(items) - given)
                    turn.popleft()
            except BaseException:
                self.stop(turn, name)
                raise

    @staticmethod
    def _turn(future: Future[_Result | WalslabError]) -> Callable[[], _Result]:
        """Return a function that returns the result of a task, or raises `queue.Empty` after a while."""
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        return functools.partial(next_result, future, ended, WAITS.news, WAITS.without_workers)

    def reach_workers(self) -> bool:
        """Have arrays go to and from the workers without the scheduler; return whether all are within reach.

        This process may have no way to the workers of a cluster whose scheduler it reaches.
        """
        from distributed.comm.core import connect

        async def reach(worker: str) -> None:
            # Dask waits without end for the greeting of a worker that is frozen.
            async with asyncio.timeout(WAITS.reach):
                await (await connect(worker, **self.client.connection_args)).close()

        async def reach_all() -> list[BaseException | None]:
            return await asyncio.gather(*map(reach, workers), return_exceptions=True)

        workers = self._ask(self.client.nthreads)
        problems: list[BaseException | None] = self._ask(self.client.sync, reach_all)
        self.client.direct_to_workers = not any(problems)
        return bool(self.client.direct_to_workers)

    def scatter(self, objects: Sequence[object], worker: str | None) -> list[Future[Any]]:
        """Return futures of objects that a worker gets, or any worker.

        Raises
        ------
        BackendError
            When the worker is no longer heard of: Dask itself would wait for a frozen one without end.
        """

        async def scatter() -> list[Future[Any]]:
            # Not by their hashes: to compute these takes as long as to send them.
            found: list[Future[Any]] = await self.client.scatter(
                [*objects], hash=False, workers=None if worker is None else [worker], asynchronous=True
            )
            return found

        loop: Any = self.client.loop
        sending = asyncio.run_coroutine_threadsafe(scatter(), loop.asyncio_loop)
        try:
            while not wait([sending], WAITS.news).done:
                if worker not in {None, *self._ask(self.client.run_on_scheduler, answering)}:
                    raise BackendError(
                        f"the Dask worker {worker} of the scheduler {self._address} hangs: start it anew, "
                        f"and {self.words.again}"
                    )
            return sending.result()
        finally:
            sending.cancel()

    def wait_for(self, get: Callable[[], _Result], left: int) -> _Result:
        """Return what `get` returns; call it again while it raises `queue.Empty` and the cluster works."""
        at_work = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                return get()
            lack = self.lack()
            if not lack:
                at_work = time.monotonic()
            elif time.monotonic() - at_work > WAITS.without_workers:
                raise BackendError(
                    f"the Dask scheduler {self._address} {lack} for {WAITS.without_workers:.0f} s, and "
                    f"{left:,} tasks are left: see that it runs, start workers with "
                    f"`dask worker {self._address}`, and {self.words.again}"
                )

    def lack(self) -> str:
        """Return what keeps the cluster from working, or an empty text."""
        try:
            return "" if self._ask(self.client.nthreads) else "has had no workers"
        except Exception:  # noqa: BLE001 - Dask raises many kinds for a scheduler that is gone
            return "has not answered"

    def _ask(
        self, call: Callable[..., _Result], *arguments: object, within: float | None = None, **options: object
    ) -> _Result:
        """Return what the scheduler or its workers answer to a call of the client.

        Dask itself would wait for ever for a process that hangs: whatever has an answer goes through here.

        Raises
        ------
        BackendError
            When no answer comes in time. It names the workers that are silent.
        """
        seconds = within or WAITS.answer
        try:
            return call(*arguments, callback_timeout=seconds, **options)
        except TimeoutError as error:
            raise BackendError(
                f"{self._silent(seconds)} not answered for {seconds:.0f} s: see that no process of the "
                "cluster hangs and that each is within reach, start those anew that hang, and "
                f"{self.words.again}"
            ) from error

    def _silent(self, seconds: float) -> str:
        """Return who has not answered, with the verb: the scheduler, or workers that it has not heard of."""
        try:
            silent = self.client.run_on_scheduler(unheard, seconds / 2, callback_timeout=WAITS.answer)
        except Exception:  # noqa: BLE001 - Dask raises many kinds for a scheduler that is gone
            return f"the Dask scheduler {self._address} has"
        if not silent:
            return f"workers of the Dask scheduler {self._address} have"
        workers = f"{'worker' if len(silent) == 1 else 'workers'} {', '.join(silent)}"
        return f"the Dask {workers} of the scheduler {self._address} {'has' if len(silent) == 1 else 'have'}"

    def stop(self, futures: Iterable[Future[_Result]], *names: str) -> None:
        """Cancel tasks, and wait for those that run: they write files, which are removed next."""
        until = time.monotonic() + WAITS.end
        with contextlib.suppress(Exception):  # the scheduler may be gone
            # Cancelling would wait for its answer without end; this does not.
            self._ask(self.client.nthreads)
            self.client.cancel([*futures], force=True)
            while time.monotonic() < until:
                time.sleep(0.1)  # the news has to reach the workers first
                if not any(self._ask(self.client.run, holds_tasks, names, on_error="ignore").values()):
                    break

    def check(self, folder: Path, paths: Sequence[str]) -> None:
        """Refuse a cluster that cannot do the work.

        Parameters
        ----------
        folder : Path
            A directory that every worker must see.
        paths : sequence of str
            Local files, by absolute path, that every worker must read.

        Raises
        ------
        BackendError
            Naming the scheduler or the workers, and what they lack.
        """
        for path in paths:
            # Workers are in folders of their own, where it might name another file.
            if not Path(path).is_absolute():
                raise BackendError(f"on a Dask cluster the path of ratings must be absolute, but got {path}")
        with self.explained():
            try:
                self._ask(self.client.run_on_scheduler, nothing)  # it unpickles the tasks that it passes on
            except ModuleNotFoundError as error:
                raise BackendError(
                    f"the Dask scheduler {self._address} has no walslab: install the same version there "
                    f"({error})"
                ) from error
            answers = self._ask(
                self.client.run,
                lacks,
                str(folder),
                list(paths),
                within=WAITS.workers_answer,
                on_error="return",
            )
        for worker, lack in answers.items():
            # An exception that cannot be pickled comes as a text.
            if "ModuleNotFoundError" in repr(lack):
                raise BackendError(
                    f"the Dask worker {worker} has no walslab: install the same version there ({lack})"
                )
            if isinstance(lack, BaseException):
                raise BackendError(f"the Dask worker {worker} cannot run a task: {lack!r}")
            if lack:
                raise BackendError(f"the Dask worker {worker} does not see {lack}: {self.words.share}")

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the errors of a cluster that breaks down into the house's own."""
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            yield
        except KilledWorker as error:
            raise BackendError(
                f"Dask workers died of a task, perhaps for want of memory: {error}; give them more of it, "
                f"{self.words.less}"
            ) from error
        except (CancelledError, CommClosedError) as error:
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise BackendError(
                f"the Dask cluster is gone: {reason}; {self.words.again} when it is back"
            ) from error
