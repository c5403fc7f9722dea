"""The Gibbs sampler: sweeps that draw factors where training solves for them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from toolkit.arrays import DeviceArray, FloatArray, SideName
from toolkit.backends import RowCounts
from toolkit.config import WALSConfig
from toolkit.errors import ConfigError
from toolkit.inputs import checked_number, checked_type
from toolkit.predictor import Predictor, Side
from toolkit.solver.factors import Factors
from toolkit.solver.normal import half_step
from toolkit.solver.pattern import solve_pattern
from toolkit.solver.perturbing import perturbed
from toolkit.solver.prior import Prior, draw_prior
from toolkit.solver.training_ratings import TrainingRatings
from toolkit.solver.weights import observation_weights, pattern_weight

# Parts of a key: what numbers are drawn for.
_START, _NOISE, _ITEMS, _USERS, _UNRATED = range(5)
# The precision of a standardised rating has a gamma distribution with this shape and rate before the ratings.
_SHAPE, _RATE = 1.0, 1.0


class SamplerState(NamedTuple):
    """What a chain goes on from, in host memory."""

    sweeps: int
    noise: float
    users: Side
    items: Side


class Sampler:
    """A chain of draws from the posterior distribution of factors, biases, priors and noise.

    A sweep draws the prior of the items and the items, the prior of the users and the users, and the noise of
    the ratings, each given all the rest. ``docs/posterior.md`` states the model. Pattern factors are not
    drawn: they are their conditional mean, with the penalty that training gives them.

    Parameters
    ----------
    data : TrainingRatings
        The ratings; many samplers may share one.
    config : WALSConfig
        The hyperparameters. Penalties are those of the pattern factors alone.
    seed : int, default 0
        Of all that is drawn.
    chain : int, default 0
        Chains of one seed are independent.

    Attributes
    ----------
    factors : Factors
        The current draw, with its priors, on the device of `data`.
    noise : float
        The current standard deviation of a rating of weight 1 around its prediction, in rating units.
    sweeps : int
        Sweeps done.
    fit_rmse : float
        RMSE of the current draw on the training ratings, not clipped; NaN before the first sweep.

    Raises
    ------
    ConfigError
        When an argument is of another kind, or the config has what a posterior has no counterpart of.
    """

    def __init__(self, data: TrainingRatings, config: WALSConfig, *, seed: int = 0, chain: int = 0) -> None:
        self.data = checked_type("data", data, TrainingRatings, "TrainingData(ratings, backend=backend)")  # type: ignore[type-abstract]
        self.config = require_posterior(config)
        self._key = (checked_number("seed", seed, 0), checked_number("chain", chain, 0))
        backend, k, dtype = data.backend, config.factors, data.dtype
        spread = data.spread if config.scale == "standard" else 1.0
        # The unit of each unknown, in units of the ratings.
        units = [math.sqrt(spread)] * k + [spread] * (config.bias == "full")
        self._units: FloatArray = np.array(units, np.float64)
        self._device_units = backend.asarray(self._units)
        start = backend.normals((*self._key, 0, _START), (data.n_users, k), dtype)
        start *= math.sqrt(spread / max(k, 1))
        zeros = [np.zeros(n) for n in (data.n_users, data.n_items)]
        weights = observation_weights(data.item_counts, config)
        self._item_weight = backend.asarray(weights, dtype)
        self._patterned = pattern_weight(config, spread) > 0
        self.sweeps, self.noise, self.fit_rmse = 0, spread, math.nan
        # Factors, and their sums over what each row of the other side has rated: from a draw to the pattern.
        self._summed: tuple[DeviceArray, DeviceArray] | None = None
        self.factors = Factors(
            Side(start, backend.asarray(zeros[0], dtype)),
            backend.side(Side(np.zeros((data.n_items, k)), zeros[1]), dtype),
            0.0 if config.bias == config.scale == "none" else data.mean,
            config,
            0,
            scale=data.scale if config.clip == "scale" else None,
            spread=spread,
        )

    def sweep(self) -> None:
        """Draw everything once.

        Raises
        ------
        SolverError
            When a row has no finite draw.
        """
        # The small products outside of the rows would otherwise wake all threads of BLAS.
        with self.data.backend.one_blas_thread():
            self.sweeps += 1
            self._draw("item")
            self._draw("user")
            self._draw_noise()
        self.factors = replace(self.factors, iterations=self.sweeps)

    def kept(self) -> Factors:
        """Return the current draw in host memory, with rows that have no ratings drawn from the priors."""
        factors = self.factors.mapped(self.data.backend.to_numpy)
        return replace(
            factors,
            users=self._with_unrated(factors.users, factors.user_prior, self.data.rows("user"), _USERS),
            items=self._with_unrated(factors.items, factors.item_prior, self.data.rows("item"), _ITEMS),
        )

    def _with_unrated(self, side: Side, prior: Prior | None, rows: RowCounts, part: int) -> Side:
        unrated = np.flatnonzero(rows.host_counts == 0)
        if prior is None or not len(unrated):
            return side
        generator = np.random.default_rng((*self._key, self.sweeps, _UNRATED, part))
        drawn = prior.rows(generator.standard_normal((len(unrated), len(self._units))), self.noise)
        k, table, bias = self.config.factors, np.array(side.factors), np.array(side.bias)
        table[unrated] = drawn[:, :k]
        if self.config.bias == "full":
            bias[unrated] = drawn[:, k]
        return Side(table, bias)

    def host_state(self) -> SamplerState:
        """Return what `restore` takes back."""
        to_numpy = self.data.backend.to_numpy
        users, items = (Side(*map(to_numpy, side)) for side in (self.factors.users, self.factors.items))
        return SamplerState(self.sweeps, self.noise, users, items)

    def restore(self, state: SamplerState) -> None:
        """Continue from where another sampler of the same arguments was: every later draw has the same bits.

        Raises
        ------
        ConfigError
            When the state is of other sizes.
        """
        own, given = self.factors, [*state.users, *state.items]
        shapes = [tuple(array.shape) for array in given]
        wanted = [tuple(array.shape) for array in (*own.users, *own.items)]
        if shapes != wanted:
            raise ConfigError(f"a state of arrays of the shapes {shapes} cannot continue one of {wanted}")
        backend, dtype = self.data.backend, self.data.dtype
        users, items = (backend.side(side, dtype) for side in (state.users, state.items))
        self.sweeps, self.noise = state.sweeps, state.noise
        self.factors = replace(own, users=users, items=items, iterations=state.sweeps)

    def _draw_noise(self) -> None:
        """Draw the noise of ratings, given the factors: its precision has a gamma distribution."""
        squares, fit = self._squares()
        spread, n = self.factors.spread, self.data.nnz
        generator = np.random.default_rng((*self._key, self.sweeps, _NOISE))
        precision = generator.gamma(_SHAPE + n / 2) / (_RATE + squares / spread**2 / 2)
        before, self.noise, self.fit_rmse = self.noise, spread / math.sqrt(precision), math.sqrt(fit / n)
        # Priors stand beside sums over ratings, whose unit the noise is.
        user_prior, item_prior = (
            prior and prior.in_noise(self.noise / before)
            for prior in (self.factors.user_prior, self.factors.item_prior)
        )
        self.factors = replace(self.factors, user_prior=user_prior, item_prior=item_prior)

    def _squares(self) -> tuple[float, float]:
        """Return the sums of squared errors on the ratings, weighted and not."""
        config = self.config
        unclipped = Predictor(self.factors.users, self.factors.items, self.factors.mean)
        if not config.weight_exponent:
            squares, _ = self.data.squared_errors(unclipped)
            return config.observed_weight * squares, squares
        squares, weighted = self.data.squared_errors(unclipped, self._item_weight)
        return weighted, squares

    def _draw(self, side: SideName) -> None:
        """Draw the prior of a side and its rows, given the other side."""
        backend, factors, rows = self.data.backend, self.factors, self.data.rows(side)
        other: SideName = "item" if side == "user" else "user"
        own, fixed = factors.users, factors.items
        if side == "item":
            own, fixed = fixed, own
        key = (*self._key, self.sweeps, _ITEMS if side == "item" else _USERS)
        prior = self._draw_prior(own, rows, np.random.default_rng(key))
        pattern = None
        # The random users of the start give no pattern.
        if self._patterned and self.sweeps > 1:
            # Sums over what each row of the other side has rated were taken when it was drawn.
            summed, self._summed = self._summed, None
            known = summed is not None and summed[0] is own.factors
            pattern = solve_pattern(
                self.data.rows(other),
                own.factors,
                self.config,
                spread=factors.spread,
                backend=backend,
                sums=summed[1] if summed and known else self.data.sum_rated(other, own.factors),
            )
        step = half_step(
            rows,
            fixed,
            backend=backend,
            config=self.config,
            mean=factors.mean,
            spread=factors.spread,
            row_weight=self._item_weight if side == "item" else None,
            column_weight=self._item_weight if side == "user" else None,
            pattern=pattern,
            prior=prior,
        )
        # A backend whose kernels do not wait for the device leaves priors to one that does.
        step = perturbed(step, self.noise, key, backend=backend)
        drawn, sums = self.data.solve(side, step, wait=False, summed=self._patterned)
        self._summed = None if sums is None else (fixed.factors, sums)
        if side == "item":
            self.factors = replace(factors, items=drawn, item_prior=prior, user_pattern=pattern)
        else:
            self.factors = replace(factors, users=drawn, user_prior=prior, item_pattern=pattern)

    def _draw_prior(self, side: Side, rows: RowCounts, generator: np.random.Generator) -> Prior:
        """Draw the prior of a side, given those of its rows that have ratings."""
        m, units = len(self._units), self._units
        mean: FloatArray = np.zeros(m)
        precision: FloatArray = m * np.eye(m)
        # The rows of the start say nothing of a prior.
        if self.sweeps > 1:
            mean, precision = draw_prior(*self._moments(side, rows), generator)
        # Put back from standardised ratings, and beside sums over ratings.
        return Prior.of(mean * units, self.noise**2 * precision / np.outer(units, units))

    def _moments(self, side: Side, rows: RowCounts) -> tuple[int, FloatArray, FloatArray]:
        """Return how many rows have ratings, their sum, and that of their outer products, standardised."""
        backend, xp = self.data.backend, self.data.backend.xp
        parts = [side.factors, side.bias[:, None]] if self.config.bias == "full" else [side.factors]
        table = xp.concatenate(parts, axis=1).astype("float64") / self._device_units
        n = int((rows.host_counts > 0).sum())
        if n < rows.n_rows:
            table = table[rows.counts > 0]
        total, squares = (backend.to_numpy(array) for array in (table.sum(axis=0), table.T @ table))
        return n, total, squares


def require_posterior(config: WALSConfig) -> WALSConfig:
    """Return a config that a posterior can have.

    Raises
    ------
    ConfigError
        When it is no config, or it has an ``unobserved_weight``, no ``observed_weight``, or no unknowns.
    """
    config = checked_type("config", config, WALSConfig, "WALSConfig(factors=32)")
    problems = []
    if config.unobserved_weight:
        problems.append(
            "unobserved_weight must be 0: a pair that nobody rated is no observation; pattern_weight has who "
            "rated what"
        )
    if not config.observed_weight:
        problems.append("observed_weight must be above 0: it is the precision of a rating")
    if not config.factors and config.bias != "full":
        problems.append("factors must be above 0 without fitted biases: there is nothing to draw")
    if problems:
        raise ConfigError("a posterior cannot be sampled: " + "; ".join(problems))
    return config
