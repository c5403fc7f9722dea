"""Users as tasks of a Dask cluster; a worker opens the model once and keeps it for its next task."""

from __future__ import annotations

import functools
import hashlib
import socket
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.backends.base import Backend, BackendName
from toolkit.engines import Cluster, Words
from toolkit.errors import ModelError
from toolkit.evaluation.top_n import Best
from toolkit.models.base import Model
from toolkit.recommending.ranker import Ranker, Rule

if TYPE_CHECKING:
    import numpy as np

WORDS = Words(
    "recommend again",
    "or fewer threads",
    "put the model where all workers see it under the same path, or copy it there",
)
# Parts that wait for their turn with the workers, for each task that runs, and at most.
_AHEAD, _MOST_AHEAD = 2, 256
_lock = threading.Lock()


@dataclass(frozen=True)
class Order:
    """What a worker is told, whichever users come.

    Attributes
    ----------
    path : str
        The model directory.
    identity : str
        Of the model there, as `identity` gives it.
    rule : Rule
    backend : str
    threads : int
        Of each task.
    """

    path: str
    identity: str
    rule: Rule
    backend: BackendName
    threads: int


def identity(path: str | Path) -> str:
    """Return what tells a model from others: a checksum of its header, which has figures of its training."""
    return hashlib.sha256((Path(path) / "model.json").read_bytes()).hexdigest()


def on_cluster(engine: Cluster, order: Order, parts: Sequence[np.ndarray[Any, Any]]) -> Generator[Best]:
    """Yield the best items of each part, in order.

    Raises
    ------
    BackendError
        When the cluster is gone, or a worker does not see the model or lacks the backend.
    ModelError
        When a worker has another model under that path.
    """
    engine.check(Path(order.path), [])
    ahead = min(max(1, engine.workers) * _AHEAD, _MOST_AHEAD)
    return engine.stream(functools.partial(rank_part, order), parts, ahead=ahead)


def rank_part(order: Order, rows: np.ndarray[Any, Any]) -> Best:
    """Return the best items of some users; runs on a worker."""
    with _lock:
        ranker = _ranker(order)
    return ranker.best(rows)


@functools.lru_cache(maxsize=1)
def _ranker(order: Order) -> Ranker:
    model = Model.load(order.path)
    if identity(order.path) != order.identity:
        raise ModelError(
            f"{socket.gethostname()} has another model in {order.path} than this machine: {WORDS.share}"
        )
    return Ranker(model, order.rule, Backend.require(order.backend, order.threads))
