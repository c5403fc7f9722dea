"""The predictions of all samples on some ratings: mean and spread, and whether chains agree on them."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from toolkit.arrays import Array, FloatArray
from toolkit.evaluation import Pairs
from toolkit.models.posterior import Decile
from toolkit.predictor import predict_pairs
from toolkit.solver import Sampler, TrainingRatings, convergence

# Pairs whose predictions by every sample are kept, to see whether chains have converged.
_TRACED = 1000
# Probabilities of the intervals whose coverage is measured.
_LEVELS = (0.5, 0.8, 0.9, 0.95)
_DECILES = 10


class Calibration(NamedTuple):
    """How often intervals hold, and how the error follows their width."""

    coverage: dict[str, float]
    deciles: list[Decile]


class Watched:
    """Sums of the predictions of all samples of all chains.

    Parameters
    ----------
    data : TrainingRatings
        What is sampled.
    pairs : tuple of arrays, or None
        Validation ratings, as `toolkit.evaluation.pairs_on` gives them. Without them, predictions of training
        ratings show whether chains have converged, and nothing else is known.
    seed : int
        Chooses the pairs of which every prediction is kept.
    scale : tuple of float, or None
        What predictions are clipped to; None where they are not.
    """

    def __init__(
        self,
        data: TrainingRatings,
        pairs: Pairs | None,
        seed: int,
        scale: tuple[float, float] | None,
    ) -> None:
        self._data, self._held_out, self._scale = data, pairs, scale
        n_known = data.nnz if pairs is None else len(pairs[2])
        traced = np.sort(np.random.default_rng(seed).permutation(n_known)[:_TRACED])
        self._at = data.backend.asarray(traced if pairs is not None else np.arange(len(traced)))
        users, items, _ = data.pairs_at(traced) if pairs is None else pairs
        self._users, self._items = users, items
        n = len(users)
        self._n, self._total, self._squares = 0, np.zeros(n), np.zeros(n)
        self._traces: list[list[FloatArray]] = []

    def add(self, chain: int, sampler: Sampler) -> None:
        """Take the predictions of the current draw of a chain in."""
        backend = self._data.backend
        predicted = predict_pairs(sampler.factors, self._users, self._items, backend.xp, clip=False)
        if chain == len(self._traces):
            self._traces.append([])
        self._traces[chain].append(backend.to_numpy(predicted[self._at]).astype(np.float32))
        found = backend.to_numpy(predicted).astype(np.float64)
        self._n += 1
        self._total += found
        self._squares += found * found

    def rmse(self) -> float | None:
        """Return the RMSE of the mean predictions on the validation ratings, clipped as the model is."""
        if self._held_out is None or not self._n:
            return None
        return float(np.sqrt(np.mean(self._errors() ** 2)))

    def convergence(self) -> tuple[float | None, float | None]:
        """Return R-hat and the effective number of samples of predictions; both are medians over pairs.

        A chain of fewer samples than another counts with its last ones; None with fewer than four.
        """
        least = min(map(len, self._traces))
        draws = np.array([trace[-least:] for trace in self._traces])
        medians = [float(np.median(found)) for found in convergence(draws)]
        return (None, None) if any(map(math.isnan, medians)) else (medians[0], medians[1])

    def calibration(self, noise: FloatArray) -> Calibration | None:
        """Return how intervals of the predictions hold on the validation ratings; None without any.

        Parameters
        ----------
        noise : array of float, shape (n_items,)
            Standard deviation of a rating of each item around its prediction.
        """
        if self._held_out is None or self._n < 2:
            return None
        mean = self._total / self._n
        spread = (self._squares / self._n - mean**2).clip(min=0) * self._n / (self._n - 1)
        items = self._data.backend.to_numpy(self._items)
        deviation = np.sqrt(spread + noise[items] ** 2)
        ratings = self._data.backend.to_numpy(self._held_out[2]).astype(np.float64)
        coverage = {
            f"{level:g}": float(np.mean(abs(mean - ratings) <= _quantile(level) * deviation))
            for level in _LEVELS
        }
        errors, order = self._errors(), np.argsort(deviation, kind="stable")
        deciles: list[Decile] = [
            {
                "deviation": float(deviation[part].mean()),
                "rmse": float(np.sqrt(np.mean(errors[part] ** 2))),
            }
            for part in np.array_split(order, _DECILES)
            if len(part)
        ]
        return Calibration(coverage, deciles)

    def state(self) -> dict[str, Array]:
        """Return what `restore` takes back."""
        traces = {f"trace_{chain}": np.array(trace) for chain, trace in enumerate(self._traces)}
        return {"n": np.array(self._n), "total": self._total, "squares": self._squares, **traces}

    def restore(self, state: dict[str, Array]) -> None:
        """Continue from the predictions that others were in."""
        self._n = int(state["n"])
        self._total, self._squares = np.array(state["total"]), np.array(state["squares"])
        n_chains = sum(name.startswith("trace_") for name in state)
        self._traces = [list(state[f"trace_{chain}"]) for chain in range(n_chains)]

    def _errors(self) -> FloatArray:
        """Return the errors of the mean predictions on the validation ratings."""
        assert self._held_out is not None  # noqa: S101 - the callers ask
        mean = self._total / self._n
        scale = self._scale
        ratings = self._data.backend.to_numpy(self._held_out[2]).astype(np.float64)
        errors: FloatArray = (mean.clip(*scale) if scale else mean) - ratings
        return errors


def _quantile(level: float) -> float:
    """Return so many standard deviations on each side as hold a share of a normal distribution."""
    return NormalDist().inv_cdf((1 + level) / 2)
