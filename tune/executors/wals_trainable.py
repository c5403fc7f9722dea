"""A training that Ray Tune's own searchers, schedulers and loggers can drive: one step is an iteration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import ray
import ray.tune as ray_tune

from toolkit.arrays import AnySparse, IdLike
from toolkit.backends import BackendName
from toolkit.config import BACKENDS, PRESETS, Choice, WALSConfig
from toolkit.datasets import RatingsDataset
from toolkit.errors import ConfigError, StudyError, did_you_mean
from toolkit.files import is_address
from toolkit.inputs import checked_list, checked_number, checked_ratings, checked_type, checked_word
from toolkit.models import WALS
from toolkit.predictor import Side
from toolkit.solver import Trainer
from tune.executors.laid_out import LaidOutRatings, TrialRatings, checkpoint_of
from tune.executors.node_ratings import RatingsAt, ratings_for_ray, require_valid, trial_ratings
from tune.executors.trial_losses import NotFiniteError
from tune.search import Checkpoint
from tune.spec import SearchMetric

if TYPE_CHECKING:
    from ray.tune import Result


class WALSTrainable(ray_tune.Trainable):  # type: ignore[misc]
    """A training for a `ray.tune.Tuner` of your own, with any of Ray's searchers and schedulers.

    The configuration of a trial is flat: hyperparameters by their names in `WALSConfig`, and ``preset``,
    which has the others (``default`` where it is not given). All else comes by `ray.tune.with_parameters`.

    A step is one iteration. It returns ``valid_rmse``, ``train_rmse``, ``seconds`` (what the iteration took,
    without measuring), and for each k among `metrics` ``valid_recall_k`` and ``valid_ndcg_k``. The trial is
    done after ``iterations``. A trial that goes on from a checkpoint has the same figures and factors, bit
    for bit, as one that never stopped.

    A trial computes with the processors and the share of a GPU that Ray gives it
    (`ray.tune.with_resources`); without a GPU, on Numba.

    Parameters
    ----------
    data : str, Path, RatingsDataset or scipy.sparse matrix
        A dataset's directory or address, an open dataset, or training ratings of shape (n_users, n_items).
        Each process reads a dataset in a directory by itself. Matrices are in Ray's object store once, and
        the processes of a node share them. An address is read once a node.
    valid : scipy.sparse matrix, shape (n_users, n_items), optional
        The ratings that trials are judged by, for a matrix; a dataset has its own.
    metrics : iterable of str, default none
        Rankings to measure after each iteration, such as ``ndcg@10``.
    seed : int, default 0
        The seed of every trial's random start.
    backend : {"auto", "numpy", "numba", "cupy", "cuda"}, default "auto"

    Raises
    ------
    ConfigError
        When a hyperparameter is unknown or out of range, or an argument is of another kind.
    StudyError
        When the dataset has no validation ratings.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> import ray.tune as ray_tune
    >>> from tune import WALSTrainable
    >>> train = sp.random_array((30, 20), density=0.3, rng=0, format="csr")
    >>> valid = sp.random_array((30, 20), density=0.1, rng=1, format="csr")
    >>> tuner = ray_tune.Tuner(
    ...     ray_tune.with_parameters(WALSTrainable, data=train, valid=valid),
    ...     param_space={"factors": 4, "regularization": ray_tune.loguniform(0.01, 0.2)},
    ...     tune_config=ray_tune.TuneConfig(metric="valid_rmse", mode="min", reuse_actors=True),
    ... )  # doctest: +SKIP
    >>> best = tuner.fit().get_best_result()  # doctest: +SKIP
    >>> model = WALSTrainable.model_of(best, train)  # doctest: +SKIP
    """

    _trainer: Trainer

    def setup(
        self,
        config: Mapping[str, Any],
        data: str | os.PathLike[str] | RatingsDataset | AnySparse | None = None,
        *,
        valid: AnySparse | None = None,
        metrics: Iterable[str] = (),
        seed: int = 0,
        backend: BackendName | Literal["auto"] = "auto",
    ) -> None:
        """Lay the ratings out on the device of this process, and begin the trial; Ray calls it."""
        self._config = _config_of(config)
        self._seed = checked_number("seed", seed, 0)
        self._rankings = [_ranking(text) for text in checked_list("metrics", metrics, (str,), '["ndcg@10"]')]
        checked_word("backend", backend, BACKENDS)
        resources = self.trial_resources.required_resources if self.trial_resources else {}
        self._laid_out = LaidOutRatings(
            _ratings(data, valid),
            backend=backend,
            # Without Ray Tune, nothing says how many processors the training may use.
            threads=max(1, int(resources.get("CPU", 0))) if resources else 0,
            gpu=resources.get("GPU", 0.0),
        )
        self._begin()

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Begin another trial on the ratings that are laid out, for ``reuse_actors``; Ray calls it."""
        self._config = _config_of(new_config)
        self._begin()
        return True

    def _begin(self, checkpoint: Checkpoint | None = None) -> None:
        # What the last trial held is free before the next asks for memory.
        self.__dict__.pop("_trainer", None)
        self._laid_out.release()
        self._trainer = self._laid_out.start(self._config, seed=self._seed, checkpoint=checkpoint)

    def step(self) -> dict[str, Any]:
        """Do an iteration, and return the figures after it.

        Raises
        ------
        NotFiniteError
            When the RMSE on the validation ratings is no finite number.
        SolverError
            When the normal equations have no finite solution.
        """
        figures = self._laid_out.step(self._trainer, self._rankings)
        if not np.isfinite(figures["valid_rmse"]):
            raise NotFiniteError(
                f"valid RMSE is not finite after iteration {self._trainer.iterations}: more "
                "regularization is needed"
            )
        return {**figures, "done": self._trainer.iterations >= self._config.iterations}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the state of the training into a folder, as plain arrays and JSON."""
        checkpoint_of(self._trainer).save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Go on from a checkpoint of this trial, or of another one with this one's hyperparameters.

        Parameters
        ----------
        checkpoint : str
            The folder that `save_checkpoint` wrote.

        Raises
        ------
        ConfigError
            When it has another number of factors, or is of other ratings.
        """
        self._begin(_under(_copied(Path(checkpoint)), self._config))

    @staticmethod
    def model_of(
        result: Result,
        data: str | os.PathLike[str] | RatingsDataset | AnySparse,
        *,
        user_ids: IdLike | None = None,
        item_ids: IdLike | None = None,
    ) -> WALS:
        """Return the fitted model of a trial, such as `ray.tune.ResultGrid.get_best_result` returns.

        Its factors are those of the trial's last checkpoint. Nothing is trained again.

        Parameters
        ----------
        result : ray.tune.Result
        data : str, Path, RatingsDataset or scipy.sparse matrix
            What the trials were trained on.
        user_ids, item_ids : array-like, shape (n_users,) and (n_items,), optional
            Ids of rows and columns of a matrix; row numbers where they are not given. A dataset has its own.

        Raises
        ------
        StudyError
            When the trial left no checkpoint.
        ConfigError
            When the data is not what the trial was trained on.
        """
        checked_type("result", result, ray_tune.Result, "what ResultGrid.get_best_result returns")
        if result.checkpoint is None:
            raise StudyError(
                f"trial {Path(result.path).name} left no checkpoint: let "
                "CheckpointConfig.checkpoint_at_end be True, or train the configuration again by "
                "WALS(WALSConfig(...)).fit(data)"
            )
        with result.checkpoint.as_directory() as folder:
            factors = _copied(Path(folder)).factors
        dataset = _dataset(data)
        if dataset is None:
            return WALS.from_factors(factors, data, user_ids=user_ids, item_ids=item_ids)  # type: ignore[arg-type]
        if user_ids is not None or item_ids is not None:
            raise ConfigError("a dataset brings its own ids: leave user_ids and item_ids out")
        model = WALS.from_factors(factors, dataset.train, user_ids=dataset.users, item_ids=dataset.items)
        model.dataset_digest = dataset.digest
        return model


def _config_of(flat: Mapping[str, Any]) -> WALSConfig:
    """Return the hyperparameters of a trial's configuration."""
    values = dict(flat)
    preset = values.pop("preset", "default")
    if "model" in values:
        raise ConfigError("WALSTrainable trains: `model: posterior` is for a specification of `walslab tune`")
    if problem := Choice(tuple(PRESETS)).problem(preset):
        raise ConfigError(f"preset {problem}")
    return PRESETS[preset].replace(**values)


def _ranking(text: object) -> SearchMetric:
    metric = SearchMetric.parse(text)
    if metric is None or not metric.k:
        hint = did_you_mean(str(text), ("recall@10", "ndcg@10"))
        raise ConfigError(f"metrics must be recall@K or ndcg@K, such as ndcg@10, but got {text!r}{hint}")
    return metric


def _dataset(data: object) -> RatingsDataset | None:
    """Return the dataset that is meant, or None where it is a matrix."""
    if isinstance(data, str | os.PathLike):
        if not is_address(os.fspath(data)):
            # Ray gives each trial a folder of its own to work in; the path was written before.
            data = Path(os.environ.get("TUNE_ORIG_WORKING_DIR", ""), data)
        return RatingsDataset.open(data)
    return data if isinstance(data, RatingsDataset) else None


def _ratings(data: object, valid: object) -> TrialRatings:
    """Return the ratings to train and to judge by, after a check of all that was given."""
    if data is None:
        raise ConfigError("data is missing: give it by ray.tune.with_parameters(WALSTrainable, data=...)")
    dataset = _dataset(data)
    if dataset is None:
        train = checked_ratings(data, "float32", name="data").astype(np.float32)
        if valid is None:
            raise ConfigError(
                "data is a matrix, and trials are judged by valid=: hold some ratings out for it"
            )
        held_out = checked_ratings(valid, "float32", name="valid").astype(np.float32)
        if held_out.shape != train.shape:
            raise ConfigError(f"valid must have the shape of data, {train.shape}, but has {held_out.shape}")
        if not held_out.nnz:
            raise ConfigError("valid must hold at least one rating, but it is empty")
        return {"train": train, "train_by_item": train.T.tocsr(), "valid": held_out.tocoo()}
    if valid is not None:
        raise ConfigError("a dataset brings its own validation ratings: leave valid out, or give data.train")
    require_valid(dataset)
    if not ray.is_initialized():
        return trial_ratings(dataset)
    # Each node reads a dataset at an address once.
    ratings = ratings_for_ray(dataset)
    return ratings.here() if isinstance(ratings, RatingsAt) else ratings


def _copied(folder: Path) -> Checkpoint:
    """Return a checkpoint whose arrays are in memory: Ray may remove or replace the folder at any time."""
    try:
        kept = Checkpoint.load(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{folder} is no checkpoint of a WALSTrainable: {error}") from error
    before = kept.users_before and Side(*map(np.array, kept.users_before))
    return replace(kept, factors=kept.factors.mapped(np.array), users_before=before)


def _under(kept: Checkpoint, config: WALSConfig) -> Checkpoint:
    """Return a checkpoint to go on from with other hyperparameters, as population-based training does."""
    factors = kept.factors
    if factors.config.factors != config.factors:
        raise ConfigError(
            f"a checkpoint of {factors.config.factors} factors cannot go on with {config.factors}: leave "
            "`factors` out of what the scheduler changes"
        )
    # Without a weight nothing solves the pattern anew, and the old one must not stay.
    pattern = factors.item_pattern if config.pattern_weight else None
    return replace(kept, factors=replace(factors, config=config, item_pattern=pattern))
