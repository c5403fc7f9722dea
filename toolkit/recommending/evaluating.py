"""A model measured on the held-out ratings of a dataset, a shard of users at a time, here or on a cluster."""

from __future__ import annotations

import contextlib
import functools
import math
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import FloatArray, IntArray
from toolkit.backends import Backend
from toolkit.config import RunOptions
from toolkit.datasets import FileEntry, RatingsDataset
from toolkit.engines import Engine, Threads, Words, cluster_at
from toolkit.errors import ConfigError, DatasetError, ModelError
from toolkit.evaluation import RankingSums, at_least, checked_relevant, rank_rows
from toolkit.inputs import checked_number, checked_word
from toolkit.models import Evaluation, Model, ratings_in_shards, rows_or_average
from toolkit.predictor import Side, predict_rows
from toolkit.progress_bars import ShownSteps, shown_steps
from toolkit.recommending.tasks import model_checksum
from toolkit.solver import BaselineErrors

HeldOut = Literal["valid", "test"]
_HELD_OUT: tuple[HeldOut, ...] = ("valid", "test")
_WORDS = Words(
    "evaluate again",
    "",
    "put the model and the dataset where all workers see them under the same path",
)
_lock = threading.Lock()


@dataclass(frozen=True)
class EvaluationJob:
    """What all tasks of one evaluation share.

    Attributes
    ----------
    model, dataset : str
        Where they are.
    checksum, digest : str
        Which they are: `model_checksum` of the model, and the digest of the dataset.
    kind : str
        The shards to measure on, such as ``test/rows``.
    n : int
        How many items are recommended.
    relevant : float or None
        Smallest rating that makes an item relevant.
    exclude_seen : bool
        Whether items that the model saw a user rate are not recommended to this user.
    """

    model: str
    checksum: str
    dataset: str
    digest: str
    kind: str
    n: int
    relevant: float | None
    exclude_seen: bool


class Measured(NamedTuple):
    """A model on the held-out ratings of a dataset.

    Attributes
    ----------
    evaluation : Evaluation
    ratings : int
        How many there are.
    known : int
        How many are of a user and of an item of the model.
    trained : int
        How many the model was trained on: they do not tell how good it is.
    baselines : BaselineErrors or None
        The RMSE of the mean, and of mean and biases, on the same ratings, both trained on the training
        ratings of the dataset; None where there are none.
    sampled : bool
        Whether the model is of a posterior.
    """

    evaluation: Evaluation
    ratings: int
    known: int
    trained: int
    baselines: BaselineErrors | None
    sampled: bool


class _Sums(NamedTuple):
    squares: float
    ratings: int
    known: int
    strange: int
    trained: int
    ranking: RankingSums


def evaluate_on(
    model: str | Path,
    data: RatingsDataset,
    split: HeldOut = "test",
    *,
    n: int = 10,
    relevant: float | None = None,
    exclude_seen: bool = True,
    threads: int = 0,
    scheduler: str | None = None,
    progress: ShownSteps = None,
) -> Measured:
    """Return how well a model predicts the held-out ratings of a dataset, and ranks its users' items.

    Ratings are read a shard at a time by each thread, and the model's factors stay in its files. So memory is
    that of the ids, a shard for each thread, and the scores of some users.

    Parameters
    ----------
    model : str or Path
        The model directory. Users and items are found by id; one that the model lacks is an average one in
        the RMSE, and is left out of the ranking.
    data : RatingsDataset
        The dataset.
    split : {"valid", "test"}, default "test"
        The ratings to measure on.
    n, relevant, exclude_seen
        As `toolkit.Model.evaluate` takes them.
    threads : int, default 0
        CPU threads; 0 takes all of this machine. A task on a cluster has one.
    scheduler : str, optional
        Address of a Dask scheduler, or the path of its file; without it this process works.
    progress : bool or callable, optional
        As `toolkit.ingest_ratings` takes it.

    Returns
    -------
    Measured
        The same bits with every number of threads and workers.

    Raises
    ------
    ConfigError
        When an argument is out of range, there is no rating to measure on, or the model knows nobody and
        nothing in them.
    ModelError, DatasetError
        When one of the two is missing or damaged, or another one on a worker.
    BackendError
        When the cluster is gone, or a worker does not see the model.
    """
    checked_word("split", split, _HELD_OUT)
    if not data.counts[split]:
        raise ConfigError(f"{data.where} has no {split} ratings to measure on: ingest it with --{split} 0.1")
    path = Path(model).resolve()
    job = EvaluationJob(
        *(str(path), model_checksum(path), data.where, data.digest, f"{split}/rows"),
        checked_number("n", n, 1),
        checked_relevant(relevant),
        exclude_seen,
    )
    _opened(job)  # what is damaged is refused here, before any worker is asked
    entries = data.shards(job.kind)
    done = 0
    with shown_steps(progress) as show, _engine(threads, scheduler) as engine:
        engine.check(path, [])
        show("evaluating", 0, len(entries))

        def tick() -> None:
            nonlocal done
            done += 1
            show("evaluating", done, len(entries))

        parts = engine.map(functools.partial(_measure, job), entries, tick)
    ranking = RankingSums.none(len(parts[0].ranking.recommended))
    for part in parts:
        ranking += part.ranking
    ratings, known, strange, trained = (
        sum(getattr(part, name) for part in parts) for name in ("ratings", "known", "strange", "trained")
    )
    if strange == ratings:
        raise _other_ids(job)
    error = math.sqrt(math.fsum(part.squares for part in parts) / ratings)
    baselines = _baselines(data, split, threads, scheduler)
    sampled = _opened(job)[0].posterior is not None
    return Measured(Evaluation(error, *ranking.ranking()), ratings, known, trained, baselines, sampled)


def _baselines(
    data: RatingsDataset, split: HeldOut, threads: int, scheduler: str | None
) -> BaselineErrors | None:
    """Return the errors of the simplest models of the training ratings, which stay in their shards."""
    if not data.counts["train"]:
        return None
    with ratings_in_shards(data, RunOptions(threads=threads), dask_scheduler=scheduler) as placed:
        held_out = placed.test if split == "test" else placed.valid
        return None if held_out is None else placed.baselines().errors(held_out)


def _other_ids(job: EvaluationJob) -> ConfigError:
    """Return the error of a model whose users and items are others."""
    model, data, _ = _opened(job)
    ids = (table.id(0) for table in (model.users, model.items, data.users, data.items))
    user, item, own_user, own_item = map(repr, ids)
    return ConfigError(
        f"{job.model} knows no user and no item of the held-out ratings of {job.dataset}: its ids are such "
        f"as user {user} and item {item}, and those of the dataset such as user {own_user} and item "
        f"{own_item}; give a model of these users and items"
    )


@contextlib.contextmanager
def _engine(threads: int, scheduler: str | None) -> Iterator[Engine]:
    if scheduler is None:
        yield Threads(Backend(threads).threads)
        return
    with cluster_at(scheduler, _WORDS) as cluster:
        yield cluster


def _measure(job: EvaluationJob, entry: FileEntry) -> _Sums:
    """Return what the users of one shard add."""
    with _lock:
        model, data, columns = _opened(job)
    indptr, items, ratings = data.read_shard(job.kind, entry)
    counts = np.diff(indptr)
    own = data.users.at(np.arange(entry["start"], entry["stop"]))
    rows = model.users.find(own)
    items = items if columns is None else columns[items]
    users = np.repeat(rows, counts)
    squares = _squares(model, users, items, ratings)
    known = (users >= 0) & (items >= 0)
    local = np.repeat(np.arange(len(rows)), counts)[known]
    shape = len(rows), len(model.items)
    wanted = sp.csr_matrix((ratings[known], (local, items[known])), shape=shape)
    strange = int(((users < 0) & (items < 0)).sum())
    found = len(ratings), int(known.sum()), strange, _trained(model, wanted, rows)
    if job.relevant is not None:
        wanted = at_least(wanted, job.relevant)
    return _Sums(squares, *found, _ranked(job, model, wanted, rows))


def _trained(model: Model, wanted: sp.csr_matrix, rows: IntArray) -> int:
    """Return how many of the ratings of some users are among those that the model was trained on."""
    asked = np.flatnonzero(np.diff(wanted.indptr))
    own, known = wanted[asked], model.rated[rows[asked]]
    # Not their ratings, of which one may be 0.
    ones = (sp.csr_matrix((np.ones(m.nnz, np.int8), m.indices, m.indptr), m.shape) for m in (own, known))
    return int(next(ones).multiply(next(ones)).nnz)


def _squares(model: Model, users: IntArray, items: IntArray, ratings: FloatArray) -> float:
    """Return the sum of squared errors; row numbers below 0 are average ones."""
    factors, backend = model.factors, Backend(1)
    unknown = np.flatnonzero((users < 0) | (items < 0))
    known = np.flatnonzero((users >= 0) & (items >= 0))
    total = backend.squared_errors(factors, users[known], items[known], ratings[known])
    if len(unknown):
        own = rows_or_average(factors.users, users[unknown], factors.average_user)
        other = rows_or_average(factors.items, items[unknown], factors.average_item)
        guessed = predict_rows(own, other, factors, np)
        total += float(np.square(guessed - ratings[unknown], dtype=np.float64).sum())
    return total


def _ranked(job: EvaluationJob, model: Model, wanted: sp.csr_matrix, rows: IntArray) -> RankingSums:
    backend, factors = Backend.prefer("numba", 1), model.factors
    asked = np.flatnonzero(np.diff(wanted.indptr))
    step = max(1, backend.batch_scores // max(1, wanted.shape[1]))
    sums = RankingSums.none(wanted.shape[1])
    for begin in range(0, len(asked), step):
        part = asked[begin : begin + step]
        sums += rank_rows(
            Side(*map(np.asarray, factors.users.at(rows[part]))),
            factors.items,
            wanted[part],
            hidden=[model.rated[rows[part]]] if job.exclude_seen else [],
            n=job.n,
            backend=backend,
        )
    return sums


@functools.lru_cache(maxsize=1)
def _opened(job: EvaluationJob) -> tuple[Model, RatingsDataset, IntArray | None]:
    """Return the model, the dataset, and the row in the model of each item; None where that is the same."""
    model, data = Model.load(job.model), RatingsDataset.open(job.dataset)
    here = socket.gethostname()
    if model_checksum(job.model) != job.checksum:
        raise ModelError(f"{here} has another model in {job.model} than this machine: {_WORDS.share}")
    if data.digest != job.digest:
        raise DatasetError(f"{here} has another dataset in {job.dataset} than this machine: {_WORDS.share}")
    same = model.items.same_as(data.items)
    return model, data, None if same else model.items.find(data.items.ids)
