"""Intervals of predicted ratings, from the spread of the samples of a posterior and the noise of a rating."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from toolkit.arrays import Array, FloatArray, IntArray
from toolkit.errors import ConfigError
from toolkit.models.fitted import Fitted, Training
from toolkit.models.folding import Draw
from toolkit.models.posterior import Posterior
from toolkit.models.predicting import rows_or_average
from toolkit.predictor import Predictor, Side, predict_rows
from toolkit.solver import Factors, Prior, observation_weights


class Interval(NamedTuple):
    """Predicted ratings, and the ends between which a rating lies with some probability.

    Attributes
    ----------
    mean, low, high : array of float, shape (n,)
        In rating units. All three are clipped where the model clips: an end of the scale may stand for what
        lies beyond it.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray


def checked_probability(interval: object) -> float:
    """Return the probability of an interval.

    Raises
    ------
    ConfigError
        When it is not between 0 and 1, both excluded.
    """
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval < 1:
        raise ConfigError(f"interval must be a probability between 0 and 1, such as 0.8, but is {interval!r}")
    return float(interval)


def require_samples(posterior: Posterior | None) -> Posterior:
    """Return the posterior of a model that keeps samples.

    Raises
    ------
    ConfigError
        When it keeps fewer than two.
    """
    if posterior is None or len(posterior.samples) <= 1:
        raise ConfigError(
            "this model keeps no samples of a posterior: fit it by fit_posterior(..., keep=16), or "
            "walslab train --posterior --keep 16"
        )
    return posterior


def interval_of(
    mean: FloatArray, deviation: FloatArray, probability: float, scale: tuple[float, float] | None
) -> Interval:
    """Return the interval that a normal distribution has around predictions.

    Parameters
    ----------
    mean : array of float, shape (n,)
        Predictions, not clipped.
    deviation : array of float, shape (n,)
        Standard deviation of a rating around each of them.
    probability : float
        With which a rating lies in the interval.
    scale : tuple of float, or None
        What to clip to.
    """
    half = NormalDist().inv_cdf((1 + probability) / 2) * deviation
    ends = (mean, mean - half, mean + half)
    return Interval(*(np.clip(end, *scale) if scale else end for end in ends))


def sampled_trainings(posterior: Posterior, state: Fitted[Predictor]) -> list[Training]:
    """Return the samples as trainings of the ratings of the model, whose fold-in draws."""
    known = {field.name: getattr(state, field.name) for field in dataclasses.fields(Fitted)}
    return [
        Training(**{**known, "factors": factors, "draw": Draw(noise, (at,))})
        for at, (factors, noise) in enumerate(zip(posterior.samples, posterior.noises, strict=True))
    ]


def deviations(
    posterior: Posterior,
    users: IntArray,
    items: IntArray,
    item_counts: IntArray,
    *,
    new: Sequence[Side] | None = None,
) -> FloatArray:
    """Return the standard deviation of a rating around each prediction.

    It is made of the spread of the predictions of the samples, and of the noise of a rating. What an unknown
    user or item could be, by the priors of the samples, is a part of the spread.

    Parameters
    ----------
    posterior : Posterior
        With samples.
    users, items : array of int, shape (n,)
        Row numbers; below 0 for one that the model lacks.
    item_counts : array of int, shape (n_items,)
        The number of ratings of each item, which the noise of a rating depends on.
    new : sequence of Side, optional
        For each sample the rows that `users` numbers, where these are new users; those of the sample
        otherwise.
    """
    predicted, inside = [], np.zeros(len(users))
    for at, (sample, noise) in enumerate(zip(posterior.samples, posterior.noises, strict=True)):
        own = sample.users if new is None else new[at]
        rows = _rows(own, users, sample.user_prior), _rows(sample.items, items, sample.item_prior)
        predicted.append(predict_rows(*rows, sample, np, clip=False).astype(np.float64))
        inside += _unknown(sample, rows, (users < 0, items < 0), noise)
    counts = np.where(items < 0, 1, item_counts[items])
    noise_squared = posterior.noise**2 / observation_weights(counts, posterior.samples[0].config)
    spread = np.var(predicted, axis=0, ddof=1) + inside / len(predicted)
    deviation: FloatArray = np.sqrt(spread + noise_squared)
    return deviation


def _rows(side: Side, rows: IntArray, prior: Prior | None) -> Side:
    """Return rows of a sample, with the mean of the prior for those that it lacks."""
    assert prior is not None  # noqa: S101 - a sample has priors
    k = side.factors.shape[1]
    mean = prior.mean.astype(side.factors.dtype)
    return rows_or_average(
        side, rows, Side(mean[None, :k], mean[k:] if len(mean) > k else np.zeros(1, mean.dtype))
    )


def _unknown(
    sample: Factors, rows: tuple[Side, Side], unknown: tuple[Array, Array], noise: float
) -> FloatArray:
    """Return the variance of predictions around those of mean rows, where a row is known by its prior alone.

    With S and T the covariances of the user and the item, each zero where it is known, it is
    [y, 1]ᵀ S [y, 1] + [x, 1]ᵀ T [x, 1] + tr(S T), the trace over the factors.
    """
    n, k = len(unknown[0]), sample.config.factors
    variance = np.zeros(n)
    if not (unknown[0].any() or unknown[1].any()):
        return variance
    covariances = []
    for prior in (sample.user_prior, sample.item_prior):
        assert prior is not None  # noqa: S101 - a sample has priors
        covariances.append(noise**2 * np.linalg.inv(prior.precision))
    for covariance, other, of in zip(covariances, rows[::-1], unknown, strict=True):
        ones = np.ones((int(of.sum()), len(covariance) - k))
        z = np.hstack([other.factors[of].astype(np.float64), ones])
        variance[of] += np.einsum("na,ab,nb->n", z, covariance, z)
    both = unknown[0] & unknown[1]
    variance[both] += np.sum(covariances[0][:k, :k] * covariances[1][:k, :k])
    return variance
