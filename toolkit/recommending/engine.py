"""The engine that ranks users: this process, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from toolkit.arrays import IntArray
from toolkit.backends import Backend, BackendName, Best
from toolkit.engines import cluster_at
from toolkit.errors import ConfigError
from toolkit.files import mask
from toolkit.models import Model
from toolkit.recommending.ranker import Ranker, Rule
from toolkit.recommending.tasks import WORDS, RankingJob, model_checksum, on_cluster
from toolkit.serving import is_registered, model_directory

Rank = Callable[[Sequence[IntArray]], Generator[Best]]
"""Ranks users that come in parts, as row numbers, and yields the best items of each part in turn."""


@contextlib.contextmanager
def ranking(
    model: Model,
    rule: Rule,
    *,
    backend: BackendName = "auto",
    threads: int = 0,
    scheduler: str | None = None,
    name: str | Path = "",
) -> Iterator[tuple[Rank, str]]:
    """Yield a function that ranks users in parts, and the name of what it runs on.

    Parameters
    ----------
    model : Model
        The model to ask.
    rule : Rule
        Which items are recommended.
    backend : {"auto", "numpy", "numba", "cupy"}, default "auto"
        The array backend, here or on each worker.
    threads : int, default 0
        CPU threads; 0 takes all of this machine, and on a cluster one for each task.
    scheduler : str, optional
        Address of a Dask scheduler, or the path of its file; without it this process ranks.
    name : str or Path
        The directory of the model, which the workers of a cluster open.

    Raises
    ------
    BackendError
        When the backend is not usable, or the scheduler does not answer or has no workers.
    ConfigError
        When `name` is a model of a registry, which workers cannot open.
    """
    if scheduler is None:
        ranker = Ranker(model, rule, Backend.require(backend, threads))
        yield lambda parts: (ranker.best(part) for part in parts), ranker.backend.name
        return
    if is_registered(str(name)):
        raise ConfigError(
            f"on a Dask cluster the model must be a directory that all workers see, but got {name}: bring it "
            f"there with `mlflow artifacts download -u {name} -d DIR`, and name DIR/artifacts/model"
        )
    path = model_directory(name).resolve()
    job = RankingJob(str(path), model_checksum(path), rule, backend, threads or 1)
    with cluster_at(scheduler, WORDS) as engine:
        yield functools.partial(on_cluster, engine, job), f"the Dask cluster {mask(scheduler)}"
