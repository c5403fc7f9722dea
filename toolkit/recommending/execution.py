"""Where the best items are computed: in this process, or by the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.backends.base import Backend, BackendName
from toolkit.engines import cluster_at
from toolkit.errors import ConfigError
from toolkit.evaluation.top_n import Best
from toolkit.files.masking import mask
from toolkit.models.base import Model
from toolkit.recommending.ranker import Ranker, Rule
from toolkit.recommending.tasks import WORDS, Order, identity, on_cluster
from toolkit.serving.opening import is_registered, model_directory

Rank = Callable[[Sequence[np.ndarray[Any, Any]]], Generator[Best]]


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
    """Yield what ranks users in parts, and what it runs on in a word or two.

    Parameters
    ----------
    model : Model
    rule : Rule
        What is recommended.
    backend : {"auto", "numpy", "numba", "cupy"}
    threads : int
        CPU threads; 0 is all, and on a cluster one for each task.
    scheduler : str, optional
        Address of a Dask scheduler, or the path of its file.
    name : str or Path
        On a cluster, the directory of the model.

    Raises
    ------
    BackendError
        When the backend is not usable, or the scheduler does not answer or has no workers.
    ConfigError
        When a model of a registry is to be used on a cluster.
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
    order = Order(str(path), identity(path), rule, backend, threads or 1)
    with cluster_at(scheduler, WORDS) as engine:
        yield functools.partial(on_cluster, engine, order), f"the Dask cluster {mask(scheduler)}"
