"""Parts of the users as tasks of a Dask cluster; a worker opens the model once and keeps it."""

from __future__ import annotations

import functools
import hashlib
import socket
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.arrays import IntArray
from toolkit.backends import Backend, BackendName, Best
from toolkit.engines import Cluster, Words
from toolkit.errors import ModelError
from toolkit.models import Model
from toolkit.recommending.ranker import Ranker, Rule

WORDS = Words(
    "recommend again",
    "or fewer threads",
    "put the model where all workers see it under the same path, or copy it there",
)
# Parts that wait with the workers for their turn: for each task that runs, and at most.
_AHEAD, _MOST_AHEAD = 2, 256
_lock = threading.Lock()


@dataclass(frozen=True)
class RankingJob:
    """What all tasks of one job share.

    Attributes
    ----------
    path : str
        The model directory.
    checksum : str
        The checksum of the model there, as `model_checksum` returns it.
    rule : Rule
        Which items are recommended.
    backend : str
        The name of the array backend.
    threads : int
        CPU threads of each task.
    """

    path: str
    checksum: str
    rule: Rule
    backend: BackendName
    threads: int


def model_checksum(path: str | Path) -> str:
    """Return the SHA-256 of a model's header, whose figures of the training no other model has.

    Raises
    ------
    ModelError
        When there is none.
    """
    try:
        return hashlib.sha256((Path(path) / "model.json").read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(
            f"{path} is not a model: it has no model.json; make one with `walslab train DATASET --out {path}`"
        ) from error


def on_cluster(engine: Cluster, job: RankingJob, parts: Sequence[IntArray]) -> Generator[Best]:
    """Yield the best items of each part of the users, in the order of the parts.

    Raises
    ------
    BackendError
        When the cluster is gone, or a worker does not see the model or lacks the backend.
    ModelError
        When a worker has another model under that path.
    """
    engine.check(Path(job.path), [])
    ahead = min(max(1, engine.workers) * _AHEAD, _MOST_AHEAD)
    return engine.stream(functools.partial(rank_part, job), parts, ahead=ahead)


def rank_part(job: RankingJob, rows: IntArray) -> Best:
    """Return the best items of some users; this runs on a worker."""
    with _lock:
        ranker = _ranker(job)
    return ranker.best(rows)


@functools.lru_cache(maxsize=1)
def _ranker(job: RankingJob) -> Ranker:
    model = Model.load(job.path)
    if model_checksum(job.path) != job.checksum:
        raise ModelError(
            f"{socket.gethostname()} has another model in {job.path} than this machine: {WORDS.share}"
        )
    return Ranker(model, job.rule, Backend.require(job.backend, job.threads))
