"""The normal equations of one side: built and solved here for training, fold-in, and both array modules.

With the other side fixed, the objective (``docs/objective.md``) is a separate least-squares problem for each
row. Write ``z = [y, 1]`` for the fixed factors of a column with a one appended where biases are fitted, and
``v = [x, b]`` for the row's unknowns. Setting the gradient to zero gives, for a row with observed columns Ω
and n = |Ω|,

    ( Σ_Ω (w0 + c) z zᵀ  +  w0 Σ_{not Ω} [y, 0] [y, 0]ᵀ  +  λ n^ν I ) v  =  Σ_Ω (w0 + c) (r − μ − b_column) z

The second sum would run over every column. It is G = w0 YᵀY, the same for every row, less its observed part,
so that only

    ( Σ_Ω c z zᵀ  +  w0 [ G  s ; sᵀ  n ]  +  λ n^ν I ) v  =  …        with  G = YᵀY  and  s = Σ_Ω y

is left to compute: cost proportional to ratings (Hu, Koren and Volinsky, ICDM 2008, eq. 4; here with biases).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.backends.base import Backend
from toolkit.backends.rows import Batch, RatingRows
from toolkit.config import WALSConfig
from toolkit.errors import SolverError
from toolkit.predictor import Side
from toolkit.solver.pattern import sum_rated

# A penalty smaller than this many rounding errors of the matrix beside it is lost in them.
_VISIBLE = 64


def solve_rows(
    ratings: RatingRows,
    fixed: Side,
    *,
    mean: float,
    config: WALSConfig,
    row_weight: Any = None,
    column_weight: Any = None,
    pattern: Any = None,
    wait: bool = True,
) -> Side:
    """Return the factors and biases of every row that minimise the objective, the other side being fixed.

    Parameters
    ----------
    ratings : RatingRows, n_rows by n_columns
        The observed ratings of the rows to solve.
    fixed : Side
        Factors, shape (n_columns, k), and biases, shape (n_columns,), of the other side.
    mean : float
        Global mean μ that is taken off the ratings; 0 where the model has none.
    config : WALSConfig
        The hyperparameters.
    row_weight, column_weight : array of float, shape (n_rows,) or (n_columns,), optional
        The c of an observed rating, as a property of its row or of its column; pass one of them.
    pattern : array of float, shape (n_columns, k), optional
        Pattern factors of the other side, where the rows also explain who rated what.
    wait : bool, default True
        Whether rows without a solution are told at once. Otherwise kernels of our own are not waited for, and
        `require_solved` tells.

    Returns
    -------
    Side
        Factors, shape (n_rows, k), and biases, shape (n_rows,). A row without ratings is zero.

    Raises
    ------
    SolverError
        When the solution of a row is not finite or not determined.
    """
    backend, xp, dtype = ratings.backend, ratings.backend.xp, fixed.factors.dtype
    unknowns = config.factors + (config.bias == "full")
    _require_determined(ratings, config, unknowns)
    gram, pull = _shared(ratings, fixed, config, pattern)
    visible = _VISIBLE * float(xp.finfo(dtype).eps) if dtype != xp.float64 else 0.0
    if backend.kernels:
        weights = {"row_weight": row_weight, "column_weight": column_weight}
        shared = {"mean": mean, "gram": gram, "pull": pull, "visible": visible}
        solved = backend.kernels.solve(ratings, fixed, config=config, **weights, **shared)
        if solved is not None:
            if wait:
                require_solved(ratings, config)
            return solved
    solution = xp.zeros((ratings.n_rows, unknowns), dtype)
    system: dict[str, Any] = dict(  # noqa: C408 - read as arguments
        ratings=ratings,
        fixed=fixed,
        mean=mean,
        config=config,
        row_weight=row_weight,
        column_weight=column_weight,
        gram=gram,
        pull=pull,
    )
    limits: dict[str, Any] = {
        # What every eigenvalue gets from the unobserved part, at least roughly.
        "floor": float(xp.trace(gram)) / unknowns if gram is not None else 0.0,
        "visible": visible,
        "out": solution,
    }
    solve = None
    if backend.compiled:
        from toolkit.backends.numba.normal import batch_solver

        solve = batch_solver(**system, **limits)
    if solve:
        backend.each(solve, ratings.batches)
    else:
        # Gathered factors, and the systems with the solver's copy of them.
        size = xp.dtype(dtype).itemsize
        batches = ratings.batches_within(lambda width: size * unknowns * (width + 2 * unknowns))
        backend.each(_batch_solver(_batch_builder(**system), backend, **limits), batches, blas=True)
    if not bool(xp.isfinite(solution).all()):
        raise _without_solution(ratings, config, int(xp.argmin(xp.isfinite(solution).all(axis=1))))
    k = config.factors
    bias = solution[:, k].copy() if unknowns > k else xp.zeros(ratings.n_rows, dtype)
    return Side(xp.ascontiguousarray(solution[:, :k]), bias)


def require_solved(ratings: RatingRows, config: WALSConfig) -> None:
    """Make sure that the rows that were solved last, without waiting, all have a solution.

    Raises
    ------
    SolverError
        When one has none.
    """
    row = ratings.kernels.unsolved() if ratings.kernels else None
    if row is not None:
        raise _without_solution(ratings, config, row)


def row_equations(
    ratings: RatingRows, fixed: Side, *, mean: float, config: WALSConfig, column_weight: Any, pattern: Any
) -> tuple[Any, Any]:
    """Return the matrix and the right side that `solve_rows` solves for a single row, in float64.

    Parameters
    ----------
    ratings : RatingRows, 1 by n_columns
        Of at least one rating.
    fixed, mean, config, column_weight, pattern
        As `solve_rows`.

    Returns
    -------
    left : array of float64, shape (m, m)
        With m = k, and one more where biases are fitted.
    right : array of float64, shape (m,)
    """
    gram, pull = _shared(ratings, fixed, config, pattern)
    build = _batch_builder(
        ratings=ratings,
        fixed=fixed,
        mean=mean,
        config=config,
        row_weight=None,
        column_weight=column_weight,
        gram=gram,
        pull=pull,
    )
    (batch,) = ratings.batches
    left, right, _ = build(batch, ratings.backend.xp.float64)
    return left[0], right[0]


def _shared(ratings: RatingRows, fixed: Side, config: WALSConfig, pattern: Any) -> tuple[Any, Any]:
    """Return what is added to the matrix of every row, and to the right side of each; None for nothing."""
    w0 = config.unobserved_weight
    gram = w0 * (fixed.factors.T @ fixed.factors) if w0 else None
    if pattern is None:
        return gram, None
    explained = config.pattern_weight * (pattern.T @ pattern)
    pull = config.pattern_weight * sum_rated(ratings, pattern)
    return explained if gram is None else gram + explained, pull


def _batch_builder(
    *,
    ratings: RatingRows,
    fixed: Side,
    mean: float,
    config: WALSConfig,
    row_weight: Any,
    column_weight: Any,
    gram: Any,
    pull: Any,
) -> Callable[[Batch, Any], tuple[Any, Any, Any]]:
    """Return what builds the systems of a batch of rows in padded stacks, in a given precision."""
    xp, dtype = ratings.backend.xp, fixed.factors.dtype
    k, w0 = config.factors, config.unobserved_weight
    fit_bias = config.bias == "full"
    unknowns = k + fit_bias
    # Padding points one past the last column: a row of zeros that adds nothing to any sum.
    table = xp.zeros((ratings.n_columns + 1, unknowns), dtype)
    table[:-1, :k] = fixed.factors
    if fit_bias:
        table[:-1, k] = 1
    offset = xp.full(ratings.n_columns + 1, mean, dtype)
    offset[:-1] += fixed.bias
    padded_weight = None
    if column_weight is not None:
        padded_weight = xp.zeros(ratings.n_columns + 1, dtype)
        padded_weight[:-1] = column_weight
    diagonal = xp.arange(unknowns)

    def build(batch: Batch, precision: Any) -> tuple[Any, Any, Any]:
        columns, values = ratings.gather(batch)
        z = table[columns].astype(precision, copy=False)  # (rows, width, unknowns)
        c = row_weight[batch.rows][:, None] if padded_weight is None else padded_weight[columns]
        c = c.astype(precision, copy=False)
        right = xp.matmul(((w0 + c) * (values - offset[columns]))[:, None, :], z)[:, 0, :]
        border = w0 * z.sum(axis=1) if w0 and fit_bias else None
        # From here on z is scaled by √c, so that the sum of outer products is one product of z with itself.
        z *= xp.sqrt(c)[..., None]
        left = xp.matmul(z.transpose(0, 2, 1), z)  # (rows, unknowns, unknowns)
        if gram is not None:
            left[:, :k, :k] += gram
        if border is not None:
            left[:, k, :] += border
            left[:, :k, k] += border[:, :k]
        if pull is not None:
            right[:, :k] += pull[batch.rows]
        penalty = config.regularization * batch.counts.astype(precision) ** config.regularization_exponent
        left[:, diagonal, diagonal] += penalty[:, None]
        return left, right, penalty

    return build


def _batch_solver(
    build: Callable[[Batch, Any], tuple[Any, Any, Any]],
    backend: Backend,
    *,
    floor: float,
    visible: float,
    out: Any,
) -> Callable[[Batch], None]:
    """Return what solves a batch of rows; as `toolkit.backends.numba.normal.batch_solver`."""
    xp, unknowns = backend.xp, out.shape[1]
    diagonal = xp.arange(unknowns)

    def solve(batch: Batch) -> None:
        left, right, penalty = build(batch, out.dtype)
        if visible:
            # Fewer ratings than unknowns: the penalty alone keeps the matrix from being singular, and single
            # precision must be able to see it beside the largest entries.
            trace = left[:, diagonal, diagonal].sum(axis=1)
            if bool(((batch.counts < unknowns) & (penalty + floor < visible * trace)).any()):
                left, right, _ = build(batch, xp.float64)
        out[batch.rows] = backend.solve_spd(left, right)

    return solve


def _require_determined(ratings: RatingRows, config: WALSConfig, unknowns: int) -> None:
    """Refuse rows with fewer ratings than unknowns when nothing else in the objective determines them."""
    if config.regularization > 0 or (config.unobserved_weight > 0 and ratings.n_columns >= unknowns):
        return
    short = (ratings.host_counts > 0) & (ratings.host_counts < unknowns)
    if short.any():
        row = int(short.argmax())
        raise SolverError(
            f"row {row} has {int(ratings.host_counts[row])} ratings for {unknowns} unknowns, "
            f"and {_describe(config)} leaves it undetermined: set regularization above 0"
        )


def _without_solution(ratings: RatingRows, config: WALSConfig, row: int) -> SolverError:
    return SolverError(
        f"the normal equations of row {row} ({int(ratings.host_counts[row])} ratings, "
        f"{config.factors + (config.bias == 'full')} unknowns) have no finite solution with "
        f"{_describe(config)}: raise regularization, or bring the weights nearer to 1"
    )


def _describe(config: WALSConfig) -> str:
    return (
        f"regularization={config.regularization:g}, unobserved_weight={config.unobserved_weight:g}, "
        f"observed_weight={config.observed_weight:g}, weight_exponent={config.weight_exponent:g}"
    )
