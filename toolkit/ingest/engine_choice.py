"""The engine of an ingest, as its user chooses it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from toolkit.engines import Engine, Words, cluster_at, cluster_of_gpus
from toolkit.errors import ConfigError

WORDS = Words(
    "ingest again",
    "or a smaller --memory",
    "put the ratings and --out where all workers see them under the same path (for an --out at an address: "
    "--scratch), or name the ratings by an address such as s3://",
)


@contextlib.contextmanager
def chosen_engine(scheduler: str | None = None, dask: str | None = None) -> Iterator[Engine | None]:
    """Yield the engine that the user asks for, or None for threads of this process.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running Dask scheduler, such as ``tcp://head:8786``, or the path of its file.
    dask : {"threads", "cuda"}, optional
        cuda: a Dask worker on each GPU of this machine, until the block ends.

    Raises
    ------
    ConfigError
        When both are asked for.
    BackendError
        When the scheduler does not answer or has no workers, or there is no GPU.
    """
    if scheduler is not None and dask not in {None, "threads"}:
        raise ConfigError("--dask-scheduler names a cluster, and --dask starts one: give one of them")
    if scheduler is not None:
        with cluster_at(scheduler, WORDS) as cluster:
            yield cluster
    elif dask == "cuda":
        with cluster_of_gpus(WORDS) as cluster:
            yield cluster
    else:
        yield None
