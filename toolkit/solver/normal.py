"""The half-step of training, of fold-in and of updates: built here for every backend, and solved by it."""

from __future__ import annotations

from dataclasses import replace

from toolkit.arrays import Array, DeviceArray
from toolkit.backends import Backend, EquationBuilder, HalfStep, RowCounts
from toolkit.config import WALSConfig
from toolkit.predictor import Side
from toolkit.solver.prior import Prior
from toolkit.solver.weights import bias_penalties, pattern_weight, penalties


def half_step(
    rows: RowCounts,
    fixed: Side,
    *,
    backend: Backend,
    config: WALSConfig,
    mean: float,
    spread: float,
    row_weight: DeviceArray | None = None,
    column_weight: DeviceArray | None = None,
    pattern: DeviceArray | None = None,
    gram: DeviceArray | None = None,
    n_fixed: int | None = None,
    start: Side | None = None,
    prior: Prior | None = None,
) -> HalfStep:
    """Return what a backend needs to solve the rows of one side, the other side being fixed.

    Parameters
    ----------
    rows : RowCounts, n_rows by n_columns
        The rows to solve: `toolkit.backends.RatingRows` with their ratings, or counts alone for a
        step that is solved in parts.
    fixed : Side
        Factors, shape (n_columns, k), and biases, shape (n_columns,), of the other side.
    backend : Backend
        Where the arrays are, and where sums over them are taken.
    config : WALSConfig
        The hyperparameters.
    mean : float
        Global mean μ that is taken off the ratings; 0 where the model has none.
    spread : float
        σ, the unit in which the objective measures ratings.
    row_weight, column_weight : array of float, shape (n_rows,) or (n_columns,), optional
        The weight c of an observed rating, as a property of its row or of its column; pass one of them.
    pattern : array of float, shape (n_columns, k), optional
        Pattern factors of the other side, where the rows also explain who rated what.
    gram : array of float, shape (k, k), optional
        `shared_gram` of the whole other side, where `rows`, `fixed` and `pattern` hold only the columns that
        are rated; without it, it is computed from `fixed` and `pattern`.
    n_fixed : int, optional
        Rows of the other side that `gram` stands for; by default n_columns.
    start : Side, optional
        Factors and biases of the rows, from which a solution by steps begins; without them it is exact.
    prior : Prior, optional
        What the rows are drawn to, in place of the penalties.

    Returns
    -------
    HalfStep

    Raises
    ------
    SolverError
        When a row has fewer ratings than unknowns and nothing else determines it.
    """
    if gram is None:
        gram = shared_gram(fixed.factors, pattern, config, spread, backend=backend)
    step = HalfStep(
        rows=rows,
        fixed=fixed,
        config=config,
        mean=mean,
        penalty=penalties(rows.counts, config, spread),
        bias_penalty=bias_penalties(rows.counts, config),
        row_weight=row_weight,
        column_weight=column_weight,
        gram=gram,
        pull=None,
        n_fixed=rows.n_columns if n_fixed is None else n_fixed,
        pattern=pattern,
        pattern_weight=pattern_weight(config, spread),
        start=start,
    )
    if prior is not None:
        return _with_prior(step, prior, backend)
    step.require_determined()
    return step


def _with_prior(step: HalfStep, prior: Prior, backend: Backend) -> HalfStep:
    """Return a half-step with a prior in place of its penalties."""
    k, dtype = step.config.factors, step.dtype
    gram = backend.asarray(prior.precision, "float64")
    if step.gram is not None:
        gram = gram.copy()
        gram[:k, :k] += step.gram
    pull = backend.xp.zeros((step.rows.n_rows, step.unknowns), dtype)
    pull += backend.asarray(prior.pull, dtype)
    return replace(
        step,
        penalty=prior.per_rating * step.rows.counts.astype("float64"),
        bias_penalty=0 * step.bias_penalty,
        gram=gram.astype(dtype),
        pull=pull,
        unrated=backend.asarray(prior.mean, dtype),
    )


def solve(step: HalfStep, *, backend: Backend, wait: bool = True) -> Side:
    """Return the factors and biases of every row of a half-step.

    Parameters
    ----------
    step : HalfStep
        What to solve.
    backend : Backend
        The backend that the step was made for.
    wait : bool, default True
        Whether to make sure at once that every row has a solution. Otherwise a backend that does not wait for
        its device says so in `toolkit.backends.Backend.require_solved`.

    Returns
    -------
    Side
        Factors, shape (n_rows, k), and biases, shape (n_rows,). A row without ratings is zero.

    Raises
    ------
    SolverError
        When the solution of a row is not finite.
    """
    return solve_and_sum(step, backend=backend, wait=wait, summed=False)[0]


def solve_and_sum(
    step: HalfStep, *, backend: Backend, wait: bool = True, summed: bool = True
) -> tuple[Side, DeviceArray | None]:
    """Return what `solve` does, and the sum of the fixed factors over the columns that each row has rated.

    Parameters
    ----------
    step, backend, wait
        As for `solve`.
    summed : bool, default True
        Whether to sum at all.

    Returns
    -------
    solution : Side
    sums : array of float, shape (n_rows, k), or None
        None where the sums are no cheaper beside the solution than by `toolkit.backends.Backend.sum_rated`.

    Raises
    ------
    SolverError
        When the solution of a row is not finite.
    """
    if not step.unknowns:
        return step.side(step.new_solution()), None
    solved, sums = backend.solve_and_sum(step) if summed else (backend.solve_rows(step), None)
    if wait:
        backend.require_solved(step.ratings, step.config)
    return solved, sums


def shared_gram(
    factors: DeviceArray,
    pattern: DeviceArray | None,
    config: WALSConfig,
    spread: float,
    *,
    backend: Backend,
    dtype: str | None = None,
) -> DeviceArray | None:
    """Return what the fixed side adds to the matrix of every row: w0 YᵀY + σ² w_p QᵀQ; None for nothing.

    Parameters
    ----------
    factors : array of float, shape (n, k)
        Factors Y of the fixed side.
    pattern : array of float, shape (n, k), or None
        Pattern factors Q of the fixed side.
    config : WALSConfig
        Gives the weights w0 (``unobserved_weight``) and w_p (``pattern_weight``).
    spread : float
        σ, the unit in which the objective measures ratings.
    backend : Backend
        Where the arrays are.
    dtype : str, optional
        Precision of the sums; by default that of the arrays.

    Returns
    -------
    array of float, shape (k, k), or None
    """
    w0 = config.unobserved_weight
    gram: DeviceArray | None = w0 * backend.gram(factors, dtype) if w0 else None
    if pattern is None:
        return gram
    explained: DeviceArray = pattern_weight(config, spread) * backend.gram(pattern, dtype)
    return explained if gram is None else gram + explained


def row_equations(step: HalfStep) -> tuple[Array, Array]:
    """Return the matrix and the right-hand side that a half-step of a single row solves, in float64.

    Parameters
    ----------
    step : HalfStep
        Of one row, with at least one rating.

    Returns
    -------
    left : array of float64, shape (m, m)
        With m = k, and one more where biases are fitted.
    right : array of float64, shape (m,)
    """
    (batch,) = step.ratings.batches
    left, right, _ = EquationBuilder(step).build(batch, "float64")
    return left[0], right[0]
