"""Where the tasks of an ingest run: threads of this process, a Dask cluster, or one worker a GPU."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from toolkit.errors import BackendError, ConfigError
from toolkit.secrets import mask

if TYPE_CHECKING:
    from distributed import Client

Tick = Callable[[], None]
# A worker that dies takes its tasks with it; each of them writes its own files and can simply run again.
_RETRIES = 3
_PATIENCE = "30s"


class Engine(Protocol):
    """Runs many tasks side by side."""

    workers: int
    """Tasks that run at once."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], tick: Tick) -> list[Any]:
        """Return ``function(item)`` for each item, in order; raise what the first failing task raises.

        No task runs any more when it returns or raises. `tick` is called as each task ends.
        """


class Threads:
    """Threads of this process, under Dask's scheduler for them.

    Parsing, sorting and writing release the interpreter lock, and no array travels between processes.

    Parameters
    ----------
    workers : int
        How many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], tick: Tick) -> list[Any]:
        """See `Engine`."""
        from dask.callbacks import Callback
        from dask.threaded import get

        # Straight to the scheduler: dask.compute would bring in pandas, which takes a second and 100 MB.
        # An item is hidden from it: it would call what looks like a task in there.
        graph = {("task", at): (functools.partial(function, item),) for at, item in enumerate(items)}
        pool = ThreadPoolExecutor(self.workers)
        try:
            with Callback(posttask=lambda *_: tick()):
                return list(get(graph, list(graph), pool=pool, num_workers=self.workers))
        finally:
            # What is running writes files, and must end before they are cleared away.
            pool.shutdown(wait=True, cancel_futures=True)


class Cluster:
    """A Dask cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to it.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.workers = sum(client.nthreads().values())

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], tick: Tick) -> list[Any]:
        """See `Engine`."""
        from distributed import as_completed, wait

        futures = self.client.map(function, items, pure=False, retries=_RETRIES)
        try:
            for future in as_completed(futures):
                if future.status == "error":
                    future.result()
                tick()
            return list(self.client.gather(futures))
        except BaseException:
            self.client.cancel(futures, force=True)
            with contextlib.suppress(Exception):
                wait(futures, timeout=_PATIENCE)
            raise

    def check(self, folder: Path, paths: Sequence[str]) -> None:
        """Refuse a cluster whose workers cannot do the work.

        Parameters
        ----------
        folder : Path
            A directory that this process just made, and that every worker must see.
        paths : sequence of str
            Local files that every worker must read.

        Raises
        ------
        BackendError
            Naming the workers and what they lack.
        """
        seen = self.client.run(_lacks, str(folder), list(paths), on_error="return")
        for worker, lack in seen.items():
            if isinstance(lack, ModuleNotFoundError):
                raise BackendError(
                    f"the Dask worker {worker} has no walslab: install the same version there ({lack})"
                )
            if isinstance(lack, BaseException):
                raise BackendError(f"the Dask worker {worker} cannot run a task: {lack!r}")
            if lack:
                raise BackendError(
                    f"the Dask worker {worker} does not see {lack}: put the ratings and --out where all "
                    f"workers "
                    "see them under the same path, or name the ratings by an address such as s3://"
                )


def _lacks(folder: str, paths: list[str]) -> str:
    return next((path for path in [folder, *paths] if not os.access(path, os.R_OK)), "")


@contextlib.contextmanager
def connect(scheduler: str | None = None, dask: str | None = None) -> Iterator[Engine | None]:
    """Yield the engine that is asked for, or None for threads of this process.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running Dask scheduler, such as ``tcp://head:8786``, or the path of its file.
    dask : {"threads", "cuda"}, optional
        cuda: a Dask worker on each GPU of this machine, for as long as this lasts.

    Raises
    ------
    ConfigError
        When both are asked for.
    BackendError
        When the scheduler does not answer or has no workers, or there is no GPU.
    """
    if scheduler and dask not in {None, "threads"}:
        raise ConfigError("--dask-scheduler names a cluster, and --dask starts one: give one of them")
    if scheduler:
        with _client(scheduler) as client:
            yield Cluster(client)
    elif dask == "cuda":
        with _cuda_cluster() as cluster, _client(cluster.scheduler_address) as client:
            yield Cluster(client)
    else:
        yield None


@contextlib.contextmanager
def _client(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
        client = Client(**where, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise BackendError(
            f"the Dask scheduler {mask(address)} does not answer: {error or type(error).__name__}; start "
            f"one with "
            "`dask scheduler`, or leave --dask-scheduler out"
        ) from error
    try:
        if not client.nthreads():
            raise BackendError(
                f"the Dask scheduler {mask(address)} has no workers: start some with `dask worker "
                f"{mask(address)}`"
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
        cluster = LocalCUDACluster(dashboard_address=None)
    except Exception as error:  # NVML, CUDA and Dask each have errors of their own
        raise BackendError(
            f"--dask cuda found no GPU to use: {str(error) or type(error).__name__}; leave it out for threads"
        ) from error
    with cluster:
        yield cluster
