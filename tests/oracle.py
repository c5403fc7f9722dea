"""The objective and its solution, written a second time from the formula alone: slow, dense, float64.

Nothing here imports the solver. Ratings are a dense array with a mask of what is observed; every sum runs
over all pairs of users and items, so the Gram trick, the padding, the batches and the threads of the solver
have no counterpart here. The formula is in ``docs/objective.md``:

    Σ_Ω (w0 + c_i) (r_ui − μ − b_u − b_i − x_u·y_i)²  +  w0 Σ_{not Ω} (x_u·y_i)²
        + λ (Σ_u (n_u + n0)^ν |x_u|² + Σ_i (n_i + n0)^ν |y_i|²) + Σ_u p_u b_u² + Σ_i p_i b_i²,
    c_i = observed_weight · n_i^(−weight_exponent),  p = λ (n + n0)^ν, or the same number for all

With ``scale="standard"`` it is the objective of ratings (r − m) / σ. The ratings are standardised here, the
sums are taken, and the solution is put back into the unit of the ratings.

The penalty runs over rows and columns that have ratings; those without are zero by definition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

Array = np.ndarray[Any, Any]


class Hyperparameters(Protocol):
    """What the formula needs to know; any object with these attributes will do."""

    regularization: float
    regularization_exponent: float
    regularization_offset: float
    bias_regularization: float | None
    scale: Literal["none", "standard"]
    unobserved_weight: float
    observed_weight: float
    weight_exponent: float
    bias: Literal["none", "mean", "full"]
    pattern_weight: float
    momentum: float


@dataclass(frozen=True)
class Problem:
    """Ratings, shape (n_users, n_items), and which of them are observed; the others are never read."""

    ratings: Array
    observed: Array

    @classmethod
    def from_sparse(cls, matrix: Any) -> Problem:
        """Take every stored entry as observed, a stored zero too."""
        coo = matrix.tocoo()
        ratings, observed = np.full(coo.shape, np.nan), np.zeros(coo.shape, bool)
        for user, item, rating in zip(coo.row, coo.col, coo.data, strict=True):
            ratings[user, item], observed[user, item] = rating, True
        return cls(ratings, observed)

    def scale(self, h: Hyperparameters) -> tuple[float, float]:
        """Return the centre and the spread that ratings are standardised by: 0 and 1 where they are not."""
        ratings = self.ratings[self.observed]
        if h.scale == "none":
            return 0.0, 1.0
        mean = math.fsum(ratings) / len(ratings)
        return mean, math.sqrt(math.fsum((ratings - mean) ** 2) / len(ratings)) or 1.0

    def standardised(self, h: Hyperparameters) -> Problem:
        """Return the same with standardised ratings, where they are asked for."""
        mean, spread = self.scale(h)
        return Problem((self.ratings - mean) / spread, self.observed)

    @property
    def transposed(self) -> Problem:
        """The same with users and items in each other's place."""
        return Problem(self.ratings.T, self.observed.T)


@dataclass(frozen=True)
class State:
    """The unknowns: x (n_users, k), y (n_items, k), b_u (n_users,), b_i (n_items,); and the constant μ.

    And x̃ (n_users, k) and ỹ (n_items, k), with which y and x explain who rated what; None is zero.
    """

    x: Array
    y: Array
    user_bias: Array
    item_bias: Array
    mean: float
    user_pattern: Array | None = None
    item_pattern: Array | None = None

    @classmethod
    def of(cls, factors: Any) -> State:
        """Take fitted factors in host memory, as float64."""
        arrays = (factors.users.factors, factors.items.factors, factors.users.bias, factors.items.bias)
        patterns = (
            None if a is None else np.array(a, np.float64)
            for a in (factors.user_pattern, factors.item_pattern)
        )
        return cls(*(np.array(a, np.float64) for a in arrays), factors.mean, *patterns)

    def standardised(self, mean: float, spread: float) -> State:
        """Return the unknowns that predict (r − mean) / spread where these predict r."""
        root = math.sqrt(spread)
        patterns = (None if a is None else a * root for a in (self.user_pattern, self.item_pattern))
        return State(
            *(self.x / root, self.y / root, self.user_bias / spread, self.item_bias / spread),
            *((self.mean - mean) / spread, *patterns),
        )

    def back(self, mean: float, spread: float) -> State:
        """Return the unknowns that predict mean + spread · r where these predict r."""
        return self.standardised(-mean / spread, 1 / spread)

    @property
    def transposed(self) -> State:
        """The same with users and items in each other's place."""
        return State(
            self.y, self.x, self.item_bias, self.user_bias, self.mean, self.item_pattern, self.user_pattern
        )


def start(problem: Problem, x: Array, h: Hyperparameters) -> State:
    """Return the state before the first iteration, from given user factors, shape (n_users, k)."""
    n_users, n_items = problem.observed.shape
    mean = (
        0.0
        if h.bias == h.scale == "none"
        else math.fsum(problem.ratings[problem.observed]) / problem.observed.sum()
    )
    zeros = np.zeros((n_items, x.shape[1]))
    return State(np.array(x, np.float64), zeros, np.zeros(n_users), np.zeros(n_items), mean)


def item_weight(problem: Problem, h: Hyperparameters) -> Array:
    """Return c_i of every item; never read for an item without ratings."""
    counts = problem.observed.sum(axis=0)
    return np.array([h.observed_weight * float(max(n, 1)) ** -h.weight_exponent for n in counts])


def predictions(state: State) -> Array:
    """Return the predicted ratings of all pairs, unclipped, shape (n_users, n_items)."""
    return np.asarray(state.mean + state.user_bias[:, None] + state.item_bias + state.x @ state.y.T)


def rmse(problem: Problem, state: State) -> float:
    """Return the root mean squared error over the observed pairs."""
    errors = (predictions(state) - problem.ratings)[problem.observed]
    return math.sqrt(math.fsum(errors**2) / len(errors))


def penalty(n: Array, h: Hyperparameters) -> Array:
    """Return the penalty of the factors of rows with n ratings; those of rows without are zero anyway."""
    return np.where(n > 0, h.regularization * (n + h.regularization_offset) ** h.regularization_exponent, 0)


def objective(problem: Problem, state: State, h: Hyperparameters) -> float:
    """Return the objective, in the unit of the ratings squared, by summing over every pair."""
    mean, spread = problem.scale(h)
    problem, state = problem.standardised(h), state.standardised(mean, spread)
    w0, rated = h.unobserved_weight, problem.observed
    errors = problem.ratings - predictions(state)
    terms = [np.where(rated, (w0 + item_weight(problem, h)) * errors**2, w0 * (state.x @ state.y.T) ** 2)]
    for factors, bias, explains, rated in (
        (state.x, state.user_bias, state.item_pattern, problem.observed),
        (state.y, state.item_bias, state.user_pattern, problem.observed.T),
    ):
        n = rated.sum(axis=1)
        terms += [penalty(n, h)[:, None] * factors**2, bias_penalty(n, h) * bias**2]
        explained = 0.0
        if explains is not None:
            explained = factors @ explains.T
            terms.append(penalty(rated.sum(axis=0), h)[:, None] * explains**2)
        terms.append(h.pattern_weight * (rated - explained) ** 2)
    return spread**2 * math.fsum(np.concatenate([np.ravel(term) for term in terms]))


def bias_penalty(n: Array, h: Hyperparameters) -> Array:
    """Return the penalty of the biases of rows with n ratings."""
    if h.bias_regularization is not None:
        return np.where(n > 0, h.bias_regularization, 0)
    return penalty(n, h)


def user_gradient(problem: Problem, state: State, h: Hyperparameters, weight: Array) -> tuple[Array, Array]:
    """Return the derivatives of the objective by x and b_u; `weight`, (n_users, n_items), is every c."""
    rated, n = problem.observed, problem.observed.sum(axis=1)
    errors = np.where(rated, problem.ratings - predictions(state), 0)
    pull = -2 * (h.unobserved_weight + weight) * errors
    by_bias = pull.sum(axis=1) + 2 * bias_penalty(n, h) * state.user_bias
    by_x = np.where(rated, pull, 2 * h.unobserved_weight * (state.x @ state.y.T)) @ state.y
    by_x += 2 * penalty(n, h)[:, None] * state.x
    if state.item_pattern is not None:
        by_x -= 2 * h.pattern_weight * (rated - state.x @ state.item_pattern.T) @ state.item_pattern
    # Without biases b is a constant zero, and nothing is derived by it.
    return by_x, by_bias if h.bias == "full" else np.zeros_like(by_bias)


def gradient(problem: Problem, state: State, h: Hyperparameters) -> tuple[Array, Array, Array, Array]:
    """Return the derivatives of the objective by x, y, b_u and b_i."""
    mean, spread = problem.scale(h)
    problem, state = problem.standardised(h), state.standardised(mean, spread)
    weight = np.broadcast_to(item_weight(problem, h), problem.observed.shape)
    by_x, by_user_bias = user_gradient(problem, state, h, weight)
    by_y, by_item_bias = user_gradient(problem.transposed, state.transposed, h, weight.T)
    # The chain rule: σ² J by x = √σ x' and by b = σ b'.
    by_factors, by_biases = spread**1.5, spread
    return by_factors * by_x, by_factors * by_y, by_biases * by_user_bias, by_biases * by_item_bias


def solve_users(problem: Problem, state: State, h: Hyperparameters, weight: Array) -> tuple[Array, Array]:
    """Return the x and b_u that minimise the objective, each user by its own dense normal equations."""
    k, fit_bias = state.x.shape[1], h.bias == "full"
    x, bias = np.zeros_like(state.x), np.zeros_like(state.user_bias)
    counts = problem.observed.sum(axis=1)
    for u in np.flatnonzero(counts):
        rated, n = problem.observed[u], counts[u]
        z = np.column_stack([state.y, rated])  # the bias belongs to what is observed
        w = h.unobserved_weight + rated * weight[u]
        aim = np.where(rated, problem.ratings[u] - state.mean - state.item_bias, 0)
        left = np.diag([*k * [float(penalty(n, h))], float(bias_penalty(n, h))]) + z.T @ (w[:, None] * z)
        right = z.T @ (w * aim)
        if state.item_pattern is not None:
            left[:k, :k] += h.pattern_weight * state.item_pattern.T @ state.item_pattern
            right[:k] += h.pattern_weight * rated @ state.item_pattern
        if fit_bias:
            solution = np.linalg.solve(left, right)
            x[u], bias[u] = solution[:k], solution[k]
        else:
            x[u] = np.linalg.solve(left[:k, :k], right[:k])
    return x, bias


def solve_pattern(problem: Problem, y: Array, h: Hyperparameters) -> Array:
    """Return the x̃ that minimises the objective, each user by its own dense normal equations."""
    found = np.zeros((len(problem.observed), y.shape[1]))
    counts = problem.observed.sum(axis=1)
    for u in np.flatnonzero(counts):
        left = h.pattern_weight * (y.T @ y) + float(penalty(counts[u], h)) * np.eye(y.shape[1])
        found[u] = np.linalg.solve(left, h.pattern_weight * (problem.observed[u] @ y))
    return found


def half_step_items(problem: Problem, state: State, h: Hyperparameters) -> State:
    """Return the state with every item solved for the current users."""
    weight = np.broadcast_to(item_weight(problem, h), problem.observed.shape)
    y, bias = solve_users(problem.transposed, state.transposed, h, weight.T)
    return replace(state, y=y, item_bias=bias)


def half_step_users(problem: Problem, state: State, h: Hyperparameters) -> State:
    """Return the state with every user solved for the current items."""
    weight = np.broadcast_to(item_weight(problem, h), problem.observed.shape)
    x, bias = solve_users(problem, state, h, weight)
    return replace(state, x=x, user_bias=bias)


def iterate(problem: Problem, state: State, h: Hyperparameters, iterations: int) -> State:
    """Return the state after whole iterations: the items first, then the users.

    With momentum, each side but the users that come out goes on by a share of its last change; the start,
    which is random, and the items of no iteration yet do not count as a change.
    """
    mean, spread = problem.scale(h)
    problem, state = problem.standardised(h), state.standardised(mean, spread)
    users_before: State | None = None
    for n in range(iterations):
        ahead = state
        if users_before is not None:
            ahead = replace(
                state,
                x=state.x + h.momentum * (state.x - users_before.x),
                user_bias=state.user_bias + h.momentum * (state.user_bias - users_before.user_bias),
            )
        if n and h.pattern_weight:
            ahead = replace(ahead, user_pattern=solve_pattern(problem, state.y, h))
        solved = half_step_items(problem, ahead, h)
        y, item_bias = solved.y, solved.item_bias
        if n:
            y = y + h.momentum * (y - state.y)
            item_bias = item_bias + h.momentum * (item_bias - state.item_bias)
            users_before = state
        state = replace(state, y=y, item_bias=item_bias, user_pattern=ahead.user_pattern)
        if n and h.pattern_weight:
            state = replace(state, item_pattern=solve_pattern(problem.transposed, state.x, h))
        state = half_step_users(problem, state, h)
    return state.back(mean, spread)
