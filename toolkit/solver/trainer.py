"""Training one iteration at a time: state in and out, so that a search can drive it without knowing ALS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from toolkit.arrays import DeviceArray, SideName
from toolkit.config import SolverName, WALSConfig
from toolkit.errors import ConfigError
from toolkit.inputs import checked_number, checked_type
from toolkit.predictor import Side
from toolkit.solver.factors import Factors
from toolkit.solver.normal import half_step
from toolkit.solver.pattern import solve_pattern
from toolkit.solver.solver_choice import chosen_solver
from toolkit.solver.training_ratings import TrainingRatings
from toolkit.solver.weights import observation_weights, pattern_weight


class Trainer:
    """Alternating least squares on one `TrainingData`, or other `TrainingRatings`.

    An iteration solves the items, then the users. So after every iteration the row of each user is the exact
    solution for the current item factors, and folding a training user in gives the row she already has.

    Parameters
    ----------
    data : TrainingRatings
        The ratings; many trainers may share one.
    config : WALSConfig
        The hyperparameters.
    seed : int, default 0
        Seed of the random user factors that the first solve of the items starts from.
    solver : {"auto", "exact", "cg"}, default "auto"
        How rows are solved. ``"cg"`` goes on from the last solution of each row by a few steps of conjugate
        gradients, and solves the last users exactly; ``"auto"`` does so where it is faster.

    Attributes
    ----------
    factors : Factors
        The current factors, on the device of `data`.
    solver : {"exact", "cg"}
        How rows are solved.

    Raises
    ------
    ConfigError
        When an argument is of another kind, or `seed` is below 0.
    BackendError
        When `solver` is ``"cg"``, and the backend of `data` takes no steps.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from toolkit import Backend, WALSConfig
    >>> from toolkit.solver import TrainingData
    >>> ratings = sp.random_array((30, 20), density=0.3, rng=0, format="csr")
    >>> data = TrainingData(ratings, backend=Backend.require("numpy"))
    >>> trainer = Trainer(data, WALSConfig(factors=4))
    >>> trainer.step()
    >>> trainer.iterations
    1
    """

    def __init__(
        self, data: TrainingRatings, config: WALSConfig, *, seed: int = 0, solver: SolverName = "auto"
    ) -> None:
        self.data = checked_type("data", data, TrainingRatings, "TrainingData(ratings, backend=backend)")  # type: ignore[type-abstract]
        self.config = checked_type("config", config, WALSConfig, "WALSConfig(factors=32)")
        seed = checked_number("seed", seed, 0)
        backend, k = data.backend, config.factors
        self.solver = chosen_solver(solver, config, backend)
        # Drawn by NumPy for every backend, so that the same seed starts from the same numbers everywhere. The
        # squared length of a row is 1 on average for standardised ratings, whatever k is.
        spread = data.spread if config.scale == "standard" else 1.0
        start = np.random.default_rng(seed).standard_normal((data.n_users, k), dtype=np.float32) / np.sqrt(k)
        start *= np.sqrt(spread)
        users = backend.side(Side(start, np.zeros(data.n_users)), data.dtype)
        items = backend.side(Side(np.zeros((data.n_items, k)), np.zeros(data.n_items)), data.dtype)
        self._item_weight = backend.asarray(observation_weights(data.item_counts, config), data.dtype)
        self.factors = Factors(
            users,
            items,
            0.0 if config.bias == config.scale == "none" else data.mean,
            config,
            0,
            scale=data.scale if config.clip == "scale" else None,
            spread=spread,
        )
        data.reserve(config)
        self._users_before: Side | None = None
        # Half-steps done. The random users of the start give no direction to go on in, and no pattern.
        self._half_steps = 0
        self._patterned = pattern_weight(config, spread) > 0
        # Factors, and their sums over what each row of the other side has rated: from a solve to the pattern.
        self._summed: tuple[DeviceArray, DeviceArray] | None = None

    @property
    def iterations(self) -> int:
        """Iterations done."""
        return self.factors.iterations

    def solve_items(self, *, wait: bool = True) -> None:
        """Solve the items for the current users: the first half-step of an iteration.

        With momentum the items are solved for users that are moved on by a share of their last change, and
        the items are moved on likewise (heavy ball; B. T. Polyak, USSR Computational Mathematics and
        Mathematical Physics 4(5), 1964). The users that follow are solved exactly, so that folding in stays
        what training does.

        Parameters
        ----------
        wait : bool, default True
            Whether to make sure at once that every row has a solution; otherwise
            `toolkit.backends.Backend.require_solved` does so later.
        """
        before = self.factors.items if self._half_steps >= 2 else None
        if before and self._patterned:
            self._set(user_pattern=self._pattern("user", before))
        users = self._ahead(self.factors.users, self._users_before)
        items = self._solve("item", users, pattern=self.factors.user_pattern, wait=wait)
        self._half_steps += 1
        self._set(items=self._ahead(items, before))

    def solve_users(self, *, wait: bool = True) -> None:
        """Solve the users for the current items: the second half-step of an iteration.

        Parameters
        ----------
        wait : bool, default True
            As for `solve_items`.
        """
        if self._patterned and self._half_steps >= 2:
            self._set(item_pattern=self._pattern("item", self.factors.users))
        # The last users are solved exactly, so that folding in stays what training does.
        last = self._half_steps >= 2 * self.config.iterations - 1
        users = self._solve(
            "user", self.factors.items, pattern=self.factors.item_pattern, wait=wait, exact=last
        )
        self._users_before = self.factors.users if self.config.momentum and self._half_steps >= 2 else None
        self._half_steps += 1
        self._set(users=users)

    def step(self) -> None:
        """Do one iteration.

        Raises
        ------
        SolverError
            When a row has no solution; the factors say nothing then.
        """
        # The small products outside of the rows would otherwise wake all threads of BLAS.
        with self.data.backend.one_blas_thread():
            # With kernels of our own, the host is ahead of the device for the whole of an iteration.
            self.solve_items(wait=False)
            self.solve_users(wait=False)
            self.data.require_solved(self.config)
        self._set(iterations=self.iterations + 1)

    def finished(self, factors: Factors | None = None) -> Factors:
        """Return the current factors, or earlier ones of this training, with every user solved exactly.

        With ``solver="exact"``, and after the last iteration, they are so already.
        """
        factors = factors or self.factors
        if self.solver == "exact" or not 0 < factors.iterations < self.config.iterations:
            return factors
        users = self._solve("user", factors.items, pattern=factors.item_pattern, wait=True, exact=True)
        return replace(factors, users=users)

    def train_rmse(self) -> float:
        """Return the RMSE on the training ratings."""
        return self.data.rmse(self.factors)

    def host_factors(self, factors: Factors | None = None) -> Factors:
        """Return the current factors, or earlier ones, in host memory, for `restore` to take back."""
        return (factors or self.factors).mapped(self.data.backend.to_numpy)

    def host_users_before(self) -> Side | None:
        """Return the users as they were one iteration ago, in host memory; None where momentum needs none."""
        before = self._users_before
        return None if before is None else Side(*map(self.data.backend.to_numpy, before))

    def restore(self, factors: Factors, users_before: Side | None = None) -> None:
        """Continue from the state that another trainer of the same ratings and config was in.

        Parameters
        ----------
        factors : Factors
            What `host_factors` gave.
        users_before : Side, optional
            What `host_users_before` gave at the same moment. With both, every later iteration has the same
            bits as without the interruption. Without it, the momentum of the users begins anew.

        Raises
        ------
        ConfigError
            When the factors have another config or other shapes than this trainer's.
        """
        if factors.config != self.config:
            raise ConfigError(f"factors of {factors.config} cannot continue a training of {self.config}")
        shapes = [(len(f.users.bias), len(f.items.bias)) for f in (factors, self.factors)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"factors of {shapes[0]} users and items cannot continue a training of {shapes[1]}"
            )
        backend, dtype = self.data.backend, self.data.dtype
        self._users_before = None if users_before is None else backend.side(users_before, dtype)
        self._half_steps = 2 * factors.iterations
        self.factors = self.on_device(factors)

    def on_device(self, factors: Factors) -> Factors:
        """Return factors of this training that were in host memory, on the device of its ratings."""
        own, dtype = self.factors, self.data.dtype
        moved = factors.mapped(lambda array: self.data.backend.asarray(array, dtype))
        return replace(moved, mean=own.mean, scale=own.scale, spread=own.spread)

    def _solve(
        self,
        side: SideName,
        fixed: Side,
        *,
        pattern: DeviceArray | None,
        wait: bool,
        exact: bool = False,
    ) -> Side:
        """Return the solved rows of a side."""
        # The weight of a rating is its item's: that of the column where users are solved.
        by_column = side == "user"
        step = half_step(
            self.data.rows(side),
            fixed,
            backend=self.data.backend,
            config=self.config,
            mean=self.factors.mean,
            spread=self.factors.spread,
            row_weight=None if by_column else self._item_weight,
            column_weight=self._item_weight if by_column else None,
            pattern=pattern,
            start=None if exact or self.solver == "exact" else self._start(side),
        )
        # The first iteration has no pattern, and the last users are followed by none.
        summed = self._patterned and 0 < self._half_steps < 2 * self.config.iterations - 1
        # Steps sum in a basis of their own, whose rounding a restored training would not have.
        summed = summed and (side == "item" or step.start is None)
        summed = summed and fixed is (self.factors.items if side == "user" else self.factors.users)
        solved, sums = self.data.solve(side, step, wait=wait, summed=summed)
        self._summed = None if sums is None else (fixed.factors, sums)
        return solved

    def _start(self, side: SideName) -> Side:
        """Return what the rows of a side begin their steps from: their last solution."""
        own = self.factors.users if side == "user" else self.factors.items
        # The random users of the start are not a solution.
        return own if self._half_steps >= 2 else Side(0 * own.factors, 0 * own.bias)

    def _pattern(self, side: SideName, other: Side) -> DeviceArray:
        """Return the pattern factors of a side, the factors of the other side being fixed."""
        summed, self._summed = self._summed, None
        known = summed is not None and summed[0] is other.factors
        return solve_pattern(
            self.data.rows(side),
            other.factors,
            self.config,
            spread=self.factors.spread,
            backend=self.data.backend,
            sums=summed[1] if summed and known else self.data.sum_rated(side, other.factors),
        )

    def _ahead(self, now: Side, before: Side | None) -> Side:
        """Return a side moved on by the share of its last change that momentum keeps."""
        momentum = self.config.momentum
        if not momentum or before is None:
            return now
        return Side(*(a + momentum * (a - b) for a, b in zip(now, before, strict=True)))

    def _set(self, **changes: Any) -> None:
        self.factors = replace(self.factors, **changes)
