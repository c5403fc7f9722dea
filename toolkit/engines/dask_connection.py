"""Connections to Dask clusters: to a running scheduler, or to a cluster on the GPUs of this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.engines.dask_cluster import Cluster, Words
from toolkit.engines.dask_waits import WAITS
from toolkit.errors import BackendError, ConfigError
from toolkit.files import mask

if TYPE_CHECKING:
    from distributed import Client


@contextlib.contextmanager
def cluster_at(scheduler: str, words: Words) -> Iterator[Cluster]:
    """Yield the cluster of a running Dask scheduler.

    Parameters
    ----------
    scheduler : str
        Its address, such as ``tcp://head:8786``, or the path of its file.
    words : Words
        The words of the job for its errors.

    Raises
    ------
    ConfigError
        When it is no text, or an empty one, as a variable of a shell may be that is not set.
    BackendError
        When it does not answer or has no workers.
    """
    if not isinstance(scheduler, str) or not scheduler.strip():
        raise ConfigError(
            f"--dask-scheduler must be an address such as tcp://head:8786, but got {scheduler!r:.80}"
        )
    with _client(scheduler) as client:
        cluster = Cluster(client, words)
        if not cluster.workers:
            at = f"--scheduler-file {scheduler}" if Path(scheduler).is_file() else mask(scheduler)
            raise BackendError(
                f"the Dask scheduler {mask(scheduler)} has no workers: start some with `dask worker {at}`"
            )
        yield cluster


@contextlib.contextmanager
def cluster_of_gpus(words: Words) -> Iterator[Cluster]:
    """Yield a cluster that has a worker on each GPU of this machine, and ends with the block.

    Raises
    ------
    BackendError
        When there is no GPU, or dask-cuda is not installed.
    """
    with _cuda_cluster() as address, cluster_at(address, words) as cluster:
        yield cluster


@contextlib.contextmanager
def _client(address: str) -> Iterator[Client]:
    from distributed import Client

    client = Client.__new__(Client)
    try:
        where = {"scheduler_file" if Path(address).is_file() else "address": address}
        Client.__init__(client, **where, timeout=WAITS.connection, set_as_default=False)
    except Exception as error:  # Dask raises many kinds: for the address, the file, the answer
        # Its finalizer would wait for 20 s at the end of the program, or for ever while another client
        # starts.
        with contextlib.suppress(Exception):
            client.close()
        raise BackendError(
            f"the Dask scheduler {mask(address)} does not answer: {str(error) or type(error).__name__}; "
            "start one with `dask scheduler`, or leave --dask-scheduler out"
        ) from error
    try:
        yield client
    finally:
        # A scheduler that hangs does not take the end of a connection.
        with contextlib.suppress(TimeoutError):
            client.close(WAITS.close)


@contextlib.contextmanager
def _cuda_cluster() -> Iterator[str]:
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise BackendError(
            f"--dask cuda needs dask-cuda: {error}; pip install 'walslab[gpu]', or leave it out for threads"
        ) from error
    try:
        # Port 0 is a free one. None would be Dask's own, which another cluster may have taken.
        cluster = LocalCUDACluster(dashboard_address="127.0.0.1:0")
    except Exception as error:  # NVML, CUDA and Dask each have errors of their own
        raise BackendError(
            f"--dask cuda found no GPU to use: {str(error) or type(error).__name__}; leave it out for threads"
        ) from error
    with cluster:
        yield cluster.scheduler_address
