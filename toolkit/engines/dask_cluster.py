"""Many tasks on a Dask cluster, or on one worker a GPU."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from toolkit.engines.threads import Tick, task_keys
from toolkit.errors import BackendError, WalslabError
from toolkit.files.masking import mask

if TYPE_CHECKING:
    from distributed import Client, Future

_T = TypeVar("_T")
# What a shared file system or a worker that goes down spoils may go well the next time: a task writes its own
# files and can simply run again. The tasks of a worker that died are run again by Dask itself.
_RETRIES = 3
_ANSWER = "10s"
# For tasks to end that cannot be interrupted, in seconds.
_PATIENCE = 30.0
# How long a cluster may be without any worker while there is work, and how long nothing is heard of it before
# it is looked after, in seconds. Dask itself would wait for ever.
_WITHOUT_WORKERS, _LOOK = 60.0, 2.0


class Words(NamedTuple):
    """How a job speaks of itself in errors.

    Attributes
    ----------
    again : str
        What to do when the cluster is back.
    less : str
        What its tasks need less memory with, after a comma.
    share : str
        Where to put what a worker does not see.
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
        How the job speaks of itself.
    """

    def __init__(self, client: Client, words: Words) -> None:
        self.client = client
        self.words = words
        self.workers = sum(client.nthreads().values())
        self._address = mask(getattr(client.scheduler, "address", ""))

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], tick: Tick) -> list[Any]:
        """See `Engine`."""
        name = f"walslab-{uuid.uuid4().hex}"
        keys = task_keys(name, len(items))
        found: dict[Any, Any] = {}
        with self._explained():
            attempt = functools.partial(_attempt, function)
            futures = self.client.map(attempt, items, key=keys, retries=_RETRIES)
            try:
                ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
                for future in futures:
                    future.add_done_callback(ended.put)
                for left in range(len(futures), 0, -1):
                    future = self._await(functools.partial(ended.get, timeout=_LOOK), left)
                    # What a task returned is gone with its worker, and comes when the task has run again.
                    found[future.key] = self._await(functools.partial(_result_of, future), left)
                    tick()
            except BaseException:
                self._stop(futures, name)
                raise
        return [found[key] for key in keys]

    def stream(self, function: Callable[[Any], Any], items: Sequence[Any], *, ahead: int) -> Generator[Any]:
        """Yield ``function(item)`` for each item, in order; raise what a task raises when it is its turn.

        Results wait with the workers: this process holds one. No task runs any more when it ends.

        Parameters
        ----------
        function, items
            As `Engine.map`.
        ahead : int
            Tasks that the cluster has at once, with those that are done and whose turn has not come.
        """
        name = f"walslab-{uuid.uuid4().hex}"
        attempt = functools.partial(_attempt, function)
        todo = enumerate(items)
        turn: deque[Future[Any]] = deque()
        with self._explained():
            try:
                for given in range(len(items)):
                    for at, item in itertools.islice(todo, ahead - len(turn)):
                        key = f"{name}-{at:09d}"
                        turn.append(self.client.submit(attempt, item, key=key, retries=_RETRIES))
                    ended = threading.Event()
                    turn[0].add_done_callback(lambda _, ended=ended: ended.set())
                    yield self._await(functools.partial(_in_turn, turn[0], ended), len(items) - given)
                    turn.popleft()
            except BaseException:
                self._stop(turn, name)
                raise

    def _await(self, get: Callable[[], _T], left: int) -> _T:
        """Return what `get` gives when it is no longer empty, as long as there is a worker to bring it."""
        at_work = time.monotonic()
        while True:
            with contextlib.suppress(queue.Empty):
                return get()
            lack = self._lack()
            if not lack:
                at_work = time.monotonic()
            elif time.monotonic() - at_work > _WITHOUT_WORKERS:
                raise BackendError(
                    f"the Dask scheduler {self._address} {lack} for {_WITHOUT_WORKERS:.0f} s, and {left:,} "
                    "tasks are left: see that it runs, start workers with "
                    f"`dask worker {self._address}`, and {self.words.again}"
                )

    def _lack(self) -> str:
        """Return what keeps the cluster from working, or an empty string."""
        try:
            return "" if self.client.nthreads(callback_timeout=_ANSWER) else "has had no workers"
        except Exception:  # noqa: BLE001 - of a scheduler that is gone; the tasks are then cancelled
            return "has not answered"

    def _stop(self, futures: Iterable[Future[Any]], name: str) -> None:
        """Cancel tasks, and wait for those that run: they write files, which are cleared away next."""
        until = time.monotonic() + _PATIENCE
        with contextlib.suppress(Exception):  # of a scheduler that is gone: it has nothing more to tell
            self.client.nthreads(callback_timeout=_ANSWER)  # to cancel would wait for an answer without end
            self.client.cancel([*futures], force=True)
            while time.monotonic() < until:
                time.sleep(0.1)  # the workers have to hear of it first
                if not any(self.client.run(_holds, name, on_error="ignore").values()):
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
            # It might name another file there.
            if not Path(path).is_absolute():
                raise BackendError(f"on a Dask cluster the path of ratings must be absolute, but got {path}")
        with self._explained():
            try:
                self.client.run_on_scheduler(_nothing)  # it reads what tasks are sent
            except ModuleNotFoundError as error:
                raise BackendError(
                    f"the Dask scheduler {self._address} has no walslab: install the same version there "
                    f"({error})"
                ) from error
            seen = self.client.run(_lacks, str(folder), list(paths), on_error="return")
        for worker, lack in seen.items():
            # What cannot travel comes as the text of an exception.
            if "ModuleNotFoundError" in repr(lack):
                raise BackendError(
                    f"the Dask worker {worker} has no walslab: install the same version there ({lack})"
                )
            if isinstance(lack, BaseException):
                raise BackendError(f"the Dask worker {worker} cannot run a task: {lack!r}")
            if lack:
                raise BackendError(f"the Dask worker {worker} does not see {lack}: {self.words.share}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in our words what Dask says when a cluster breaks down."""
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


def _attempt(function: Callable[[Any], Any], item: Any) -> Any:
    try:
        return function(item)
    except WalslabError as error:
        # Returned, because Dask would try again what it is raised by, and log each of the tries.
        return error


def _result_of(future: Future[Any]) -> Any:
    try:
        result = future.result(timeout=_WITHOUT_WORKERS)
    except TimeoutError:
        if future.status != "error":
            raise queue.Empty from None
        result = future.result()  # the task itself took too long for something, and says so
    if isinstance(result, WalslabError):
        raise result
    return result


def _in_turn(future: Future[Any], ended: threading.Event) -> Any:
    if not ended.wait(_LOOK):
        raise queue.Empty
    return _result_of(future)


def _holds(name: str, dask_worker: Any) -> bool:
    return any(str(key).startswith(name) for key in dask_worker.state.tasks)


def _nothing() -> None:
    pass


def _lacks(folder: str, paths: list[str]) -> str:
    return next((path for path in [folder, *paths] if not os.access(path, os.R_OK)), "")


@contextlib.contextmanager
def cluster_at(scheduler: str, words: Words) -> Iterator[Cluster]:
    """Yield the cluster of a running Dask scheduler.

    Parameters
    ----------
    scheduler : str
        Its address, such as ``tcp://head:8786``, or the path of its file.
    words : Words
        How the job speaks of itself.

    Raises
    ------
    BackendError
        When it does not answer or has no workers.
    """
    with _client(scheduler) as client:
        yield Cluster(client, words)


@contextlib.contextmanager
def cluster_of_gpus(words: Words) -> Iterator[Cluster]:
    """Yield a cluster of a worker on each GPU of this machine, for as long as this lasts.

    Raises
    ------
    BackendError
        When there is no GPU, or dask-cuda is not installed.
    """
    with _cuda_cluster() as cluster, cluster_at(cluster.scheduler_address, words) as found:
        yield found


@contextlib.contextmanager
def _client(address: str) -> Iterator[Client]:
    from distributed import Client

    client = Client.__new__(Client)
    try:
        from_file = Path(address).is_file()
        where = {"scheduler_file": address} if from_file else {"address": address}
        Client.__init__(client, **where, timeout=_ANSWER, set_as_default=False)
    except Exception as error:  # an address, a file and a server that are none of Dask's each have their own
        # Left to its finalizer it waits for 20 s at the end of the program, and for ever where that comes
        # while another one is being started.
        with contextlib.suppress(Exception):
            client.close()
        raise BackendError(
            f"the Dask scheduler {mask(address)} does not answer: {str(error) or type(error).__name__}; "
            "start one with `dask scheduler`, or leave --dask-scheduler out"
        ) from error
    try:
        if not client.nthreads():
            raise BackendError(
                f"the Dask scheduler {mask(address)} has no workers: start some with "
                f"`dask worker {'--scheduler-file ' if from_file else ''}{mask(address)}`"
            )
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def _cuda_cluster() -> Iterator[Any]:
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise BackendError(
            f"--dask cuda needs dask-cuda: {error}; pip install 'walslab[gpu]', or leave it out for threads"
        ) from error
    try:
        # A free port, for this machine alone; None would be the port that another cluster may have.
        cluster = LocalCUDACluster(dashboard_address="127.0.0.1:0")
    except Exception as error:  # NVML, CUDA and Dask each have errors of their own
        raise BackendError(
            f"--dask cuda found no GPU to use: {str(error) or type(error).__name__}; leave it out for threads"
        ) from error
    with cluster:
        yield cluster
