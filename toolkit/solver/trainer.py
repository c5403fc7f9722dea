"""Training one iteration at a time: state in and out, so that a search can drive it without knowing ALS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from toolkit.backends.rows import TrainingData
from toolkit.config import WALSConfig
from toolkit.errors import ConfigError
from toolkit.evaluation.metrics import item_weights, rmse
from toolkit.predictor import Side
from toolkit.solver.factors import Factors
from toolkit.solver.normal import require_solved, solve_rows
from toolkit.solver.pattern import solve_pattern


class Trainer:
    """Alternating least squares on one `TrainingData`.

    An iteration solves the items, then the users. So after every iteration each user's row is the exact
    solution for the current item factors, and folding a training user in gives the row it already has.

    Parameters
    ----------
    data : TrainingData
        The ratings; many trainers may share one.
    config : WALSConfig
        The hyperparameters.
    seed : int, default 0
        Seed of the random user factors that the first solve of the items starts from.

    Attributes
    ----------
    factors : Factors
        The current factors, on the device of `data`.
    """

    def __init__(self, data: TrainingData, config: WALSConfig, *, seed: int = 0) -> None:
        self.data = data
        self.config = config
        backend, k = data.backend, config.factors
        # Drawn by NumPy for every backend, so that the same seed starts from the same numbers everywhere. A
        # row's squared length is 1 on average whatever k is.
        start = np.random.default_rng(seed).standard_normal((data.n_users, k), dtype=np.float32) / np.sqrt(k)
        users = Side(backend.asarray(start, data.dtype), backend.xp.zeros(data.n_users, data.dtype))
        items = Side(
            backend.xp.zeros((data.n_items, k), data.dtype), backend.xp.zeros(data.n_items, data.dtype)
        )
        self._item_weight = backend.asarray(item_weights(data.item_counts, config), data.dtype)
        mean, scale = (
            0.0 if config.bias == "none" else data.mean,
            data.scale if config.clip == "scale" else None,
        )
        self.factors = Factors(users, items, mean, config, 0, scale=scale)
        if backend.kernels:
            backend.kernels.reserve((data.users, data.items), config)
        self._users_before: Side | None = None
        # Solved so far: the random users that it begins with are no step to go on from, and no taste.
        self._half_steps = 0

    @property
    def iterations(self) -> int:
        """Iterations done."""
        return self.factors.iterations

    def solve_items(self, *, wait: bool = True) -> None:
        """Solve the item side for the current users: the first half-step of an iteration.

        `wait` is that of `toolkit.solver.normal.solve_rows`.

        With momentum it is solved for users moved on by a share of their last change, and the items are moved
        on likewise (heavy ball; B. T. Polyak, USSR Computational Mathematics and Mathematical Physics 4(5),
        1964). The users that follow are solved exactly, so that folding in stays what training does.
        """
        before = self.factors.items if self._half_steps >= 2 else None
        if before and self.config.pattern_weight:
            self._set(user_pattern=solve_pattern(self.data.users, before.factors, self.config))
        items = solve_rows(
            self.data.items,
            self._ahead(self.factors.users, self._users_before),
            pattern=self.factors.user_pattern,
            mean=self.factors.mean,
            config=self.config,
            row_weight=self._item_weight,
            wait=wait,
        )
        self._half_steps += 1
        self._set(items=self._ahead(items, before))

    def solve_users(self, *, wait: bool = True) -> None:
        """Solve the user side for the current items: the second half-step of an iteration.

        `wait` is that of `toolkit.solver.normal.solve_rows`.
        """
        if self.config.pattern_weight and self._half_steps >= 2:
            self._set(item_pattern=solve_pattern(self.data.items, self.factors.users.factors, self.config))
        users = solve_rows(
            self.data.users,
            self.factors.items,
            pattern=self.factors.item_pattern,
            mean=self.factors.mean,
            config=self.config,
            column_weight=self._item_weight,
            wait=wait,
        )
        self._users_before = self.factors.users if self.config.momentum and self._half_steps >= 2 else None
        self._half_steps += 1
        self._set(users=users)

    def step(self) -> None:
        """Do one iteration.

        Raises
        ------
        SolverError
            When a row has no solution; what factors there are then says nothing.
        """
        # With kernels of our own, the host is ahead of the device for the whole of an iteration.
        self.solve_items(wait=False)
        self.solve_users(wait=False)
        for side in (self.data.items, self.data.users):
            require_solved(side, self.config)
        self._set(iterations=self.iterations + 1)

    def train_rmse(self) -> float:
        """Return the RMSE on the training ratings."""
        value = rmse(self.factors, *self.data.pairs, self.data.backend)
        assert value is not None  # noqa: S101 - TrainingData refuses an empty set
        return value

    def host_factors(self, factors: Factors | None = None) -> Factors:
        """Return the current factors, or earlier ones, in host memory, for `restore` to take back."""
        factors = factors or self.factors
        host = self.data.backend.to_numpy
        users, items = (Side(host(s.factors), host(s.bias)) for s in (factors.users, factors.items))
        patterns: dict[str, Any] = {
            name: None if getattr(factors, name) is None else host(getattr(factors, name))
            for name in ("item_pattern", "user_pattern")
        }
        return replace(factors, users=users, items=items, **patterns)

    def restore(self, factors: Factors) -> None:
        """Continue from factors that `host_factors` gave; momentum of the users begins anew.

        Raises
        ------
        ConfigError
            When they have another config or other shapes than this trainer's.
        """
        if factors.config != self.config:
            raise ConfigError(f"factors of {factors.config} cannot continue a training of {self.config}")
        shapes = [(len(f.users.bias), len(f.items.bias)) for f in (factors, self.factors)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"factors of {shapes[0]} users and items cannot continue a training of {shapes[1]}"
            )
        device, dtype = self.data.backend.asarray, self.data.dtype
        users, items = (
            Side(device(s.factors, dtype), device(s.bias, dtype)) for s in (factors.users, factors.items)
        )
        self._users_before = None
        self._half_steps = 2 * factors.iterations
        patterns = {
            name: None if getattr(factors, name) is None else device(getattr(factors, name), dtype)
            for name in ("item_pattern", "user_pattern")
        }
        self._set(users=users, items=items, iterations=factors.iterations, **patterns)

    def _ahead(self, now: Side, before: Side | None) -> Side:
        """Return a side moved on by what momentum keeps of its last change."""
        momentum = self.config.momentum
        if not momentum or before is None:
            return now
        return Side(*(a + momentum * (a - b) for a, b in zip(now, before, strict=True)))

    def _set(self, **changes: Any) -> None:
        self.factors = replace(self.factors, **changes)
