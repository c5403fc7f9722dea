"""The kernels of the rows, their own source run on the processor, against the oracle."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import scipy.sparse as sp
from cuda_on_cpu.build import needs_compiler
from cuda_on_cpu.launcher import ProcessorLauncher

from toolkit.backends import Backend, HalfStep, RatingRows
from toolkit.backends.cuda.arena import Arena
from toolkit.backends.cuda.row_solver import RowSolver
from toolkit.backends.cuda.shape import Shape
from toolkit.config import WALSConfig
from toolkit.predictor import Side
from toolkit.solver import bias_penalties, observation_weights, penalties, shared_gram

pytestmark = needs_compiler

# A row of at most SHORT ratings shares a block, one of more than PART is cut; chunks are of 32 or 16.
SHORT, PART = 20, 45
LENGTHS = (0, 1, 2, 3, 7, 8, 15, 16, 17, 19, 20, 21, 31, 32, 33, 44, 45, 46, 90, 91, 130, 0, 4)
# Nothing at its default.
WEIGHTED = {
    "regularization": 0.5,
    "regularization_exponent": 0.4,
    "unobserved_weight": 0.15,
    "observed_weight": 2.0,
    "weight_exponent": 0.5,
    "pattern_weight": 0.3,
}
# Of the solution's largest number.
TOLERANCE = 5e-6


def ratings_of(lengths=LENGTHS, n_columns=140, seed=0):
    """Return ratings with so many in each row."""
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = [np.sort(rng.choice(n_columns, n, replace=False)) for n in lengths]
    values = rng.integers(1, 11, indptr[-1]) / 2
    return sp.csr_matrix((values, np.concatenate(indices), indptr), shape=(len(lengths), n_columns))


def solver_of(matrix, launch, arena=None, *, column=np.int32, **cuts):
    arrays = (matrix.indptr, matrix.indices.astype(column), matrix.data.astype(np.float32))
    return RowSolver(launch, arena or Arena(np), *arrays, n_columns=matrix.shape[1], **cuts)


def step_of(matrix, fixed, config, **given):
    """Return the half-step of some rows, as `toolkit.solver.half_step` makes it."""
    rows = RatingRows(matrix, np, batch_entries=1 << 15, batch_rows=1 << 9)
    nothing = dict.fromkeys(("row_weight", "column_weight", "gram", "pull"))
    mean = 0.0 if config.bias == "none" else 3.0
    values = {
        "mean": mean,
        "penalty": penalties(rows.counts, config, 1.0),
        "bias_penalty": bias_penalties(rows.counts, config),
        "n_fixed": matrix.shape[1],
    }
    return HalfStep(rows=rows, fixed=fixed, config=config, **{**values, **nothing, **given})


def half_step(matrix, config, by, *, order=0, column=np.int32, seed=1, **cuts):
    """Solve the rows, as users or as items; return the solution, the oracle's, and the solver."""
    rng = np.random.default_rng(seed)
    k, n = config.factors, matrix.shape
    biased = config.bias == "full"
    fixed = Side(
        (rng.standard_normal((n[1], k)) / np.sqrt(k)).astype(np.float32),
        (biased * 0.2 * rng.standard_normal(n[1])).astype(np.float32),
    )
    pattern = None
    if config.pattern_weight:
        pattern = (rng.standard_normal((n[1], k)) / np.sqrt(k)).astype(np.float32)
    # As users, the weight is the columns'; as items, the rows'.
    counts = np.diff(matrix.indptr if by == "row" else matrix.tocsc().indptr)
    weight = observation_weights(counts, config).astype(np.float32)
    # Long rows of LENGTHS have 3, 3, 2 and 2 parts: two waves.
    wave_bytes = 6 * 4 * Shape.of(k, biased=biased).triangle
    cuts = {"part": PART, "short": SHORT, "wave_bytes": wave_bytes, **cuts}
    solver = solver_of(matrix, ProcessorLauncher(order), column=column, **cuts)
    gram = shared_gram(fixed.factors, pattern, config, 1.0, backend=Backend(threads=1))
    pull = None if pattern is None else np.float32(config.pattern_weight) * solver.sum_rated(pattern)
    given = {f"{by}_weight": weight, "gram": gram, "pull": pull}
    step = step_of(matrix, fixed, config, **given)
    solution, mean = solver.solve(step), step.mean
    problem = oracle.Problem.from_sparse(matrix)
    state = oracle.State(
        np.zeros((n[0], k)),
        fixed.factors.astype(np.float64),
        np.zeros(n[0]),
        fixed.bias.astype(np.float64),
        mean,
        item_pattern=None if pattern is None else pattern.astype(np.float64),
    )
    every = np.broadcast_to(weight[:, None] if by == "row" else weight, n).astype(np.float64)
    return solution, Side(*oracle.solve_users(problem, state, config, every)), solver


def assert_close(actual, expected, tolerance):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(expected.factors).max()))


def assert_half_step(k, bias="full", by="column", lengths=LENGTHS, **values):
    config = WALSConfig(factors=k, bias=bias, **{**WEIGHTED, **values})
    actual, expected, solver = half_step(ratings_of(lengths), config, by)
    assert_close(actual, expected, TOLERANCE)
    assert solver.unsolved() is None
    # Rows without ratings are zero, not nearly.
    empty = np.array(lengths) == 0
    assert not actual.factors[empty].any()
    assert not actual.bias[empty].any()
    assert solver._launch.launched.count("part_rows") == 2


# -------------------------------------------------------------------------------- against the oracle


def slow_pairs(*pairs):
    return [pytest.param(*pair, marks=pytest.mark.slow) for pair in pairs]


DEFAULTS = {
    "unobserved_weight": 0.0,
    "pattern_weight": 0.0,
    "weight_exponent": 0.0,
    "observed_weight": 1.0,
    "regularization_exponent": 1.0,
}


@pytest.mark.parametrize(("k", "by"), [(5, "row"), (64, "column"), *slow_pairs((5, "column"), (64, "row"))])
@pytest.mark.parametrize("values", [{}, *({name: value} for name, value in DEFAULTS.items())], ids=str)
def test_every_hyperparameter_equals_oracle(k, by, values):
    assert_half_step(k, by=by, **values)


@pytest.mark.parametrize("by", ["row", pytest.param("column", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("bias", "unobserved_weight"), [("none", 0.0), ("mean", 0.15), *slow_pairs(("none", 0.15), ("mean", 0.0))]
)
def test_without_fitted_biases(by, bias, unobserved_weight):
    assert_half_step(5, by=by, bias=bias, unobserved_weight=unobserved_weight)


@pytest.mark.parametrize("by", ["row", "column"])
def test_nothing_but_the_defaults(by):
    assert_half_step(5, by=by, **DEFAULTS)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["row", "column"])
@pytest.mark.parametrize("bias", ["full", "mean"])
# Around the change from narrow tiles to wide ones (47), and from shared memory to slots.
@pytest.mark.parametrize(
    "k", [1, 2, 3, 7, 8, 16, 31, 33, 34, 46, 47, 48, 100, 127, 128, 130, 168, 176, 256, 262]
)
def test_every_rank_equals_oracle(k, bias, by):
    assert_half_step(k, by=by, bias=bias)


@pytest.mark.slow
def test_long_column_numbers():
    config = WALSConfig(factors=5, **WEIGHTED)
    expected, _, _ = half_step(ratings_of(), config, "column")
    actual, _, _ = half_step(ratings_of(), config, "column", column=np.int64)
    assert_identical(actual, expected)


@pytest.mark.parametrize("lengths", [(0, 0, 0), (1,), (0, 5, 0), (46,), (45, 45, 46, 46)], ids=str)
def test_one_tier_alone(lengths):
    config = WALSConfig(factors=5, **WEIGHTED)
    actual, expected, _ = half_step(ratings_of(lengths), config, "column")
    assert_close(actual, expected, TOLERANCE)


# -------------------------------------------------------------------------------- the same bits


def assert_identical(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


# 0 is forwards, 1 backwards, others are seeds of a shuffle, a new one after each barrier.
@pytest.mark.parametrize(("k", "order"), [(5, 1), (64, 2), *slow_pairs((5, 2), (5, 3), (64, 1), (64, 3))])
def test_the_order_of_threads_and_blocks_does_not_matter(k, order):
    config = WALSConfig(factors=k, **WEIGHTED)
    first, again = (half_step(ratings_of(), config, "column", order=o)[0] for o in (0, order))
    assert_identical(again, first)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("k", [34, 256])
def test_the_order_of_threads_and_blocks_does_not_matter_for_others(k, order):
    config = WALSConfig(factors=k, **WEIGHTED)
    first, again = (half_step(ratings_of(), config, "row", order=o)[0] for o in (0, order))
    assert_identical(again, first)


def test_waves_of_any_size_give_the_same_bits():
    config = WALSConfig(factors=5, **WEIGHTED)
    first, again = (half_step(ratings_of(), config, "column", wave_bytes=n)[0] for n in (1, 1 << 30))
    assert_identical(again, first)


def test_a_row_has_the_same_bits_among_others_of_its_tier():
    config = WALSConfig(factors=5, **DEFAULTS)
    matrix = ratings_of()
    whole, _, _ = half_step(matrix, config, "column")
    few = [3, 9, 14, 19]
    some, _, _ = half_step(matrix[few], config, "column")
    assert_identical(some, Side(*(a[few] for a in whole)))


# ------------------------------------------------------------------------------- what single precision cannot


@pytest.mark.parametrize(
    ("by", "unobserved_weight"),
    [("row", 1e-9), ("column", 0.0), *slow_pairs(("row", 0.0), ("column", 1e-9))],
)
def test_rows_whose_penalty_is_lost_are_solved_again(by, unobserved_weight):
    # Beside a trace of a few, 1e-6 is below 64 roundings of float32, and far above those of float64.
    values = {"regularization": 1e-6, "regularization_exponent": 0.0, "unobserved_weight": unobserved_weight}
    config = WALSConfig(factors=64, **{**DEFAULTS, **values})
    actual, expected, solver = half_step(ratings_of(), config, by)
    assert_close(actual, expected, 2e-4)
    assert solver.unsolved() is None


def test_rows_that_are_mended_were_marked(monkeypatch):
    seen = []
    launch = ProcessorLauncher.__call__

    def watched(self, kernel, *args, **keywords):
        if kernel.name == "mend_rows":
            seen.append(next(a for a in reversed(args) if isinstance(a, np.ndarray)).copy())
        launch(self, kernel, *args, **keywords)

    monkeypatch.setattr(ProcessorLauncher, "__call__", watched)
    config = WALSConfig(factors=64, **{**DEFAULTS, "regularization": 1e-8, "regularization_exponent": 0.0})
    half_step(ratings_of(), config, "column")
    (state,) = seen
    np.testing.assert_array_equal(state, [0 < n < 65 for n in LENGTHS])


def test_a_row_without_a_solution_is_named():
    config = WALSConfig(factors=5, bias="none", **{**DEFAULTS, "regularization": 0.0})
    # More ratings than unknowns: only rows without ratings and these are determined.
    matrix = ratings_of((9, 30, 60))
    actual, _, solver = half_step(matrix, config, "column")
    assert solver.unsolved() is None
    assert np.isfinite(actual.factors).all()
    # A rating that is no number has no solution in any precision.
    matrix.data[matrix.indptr[1] + 3] = np.inf
    with np.errstate(all="ignore"):
        actual, _, solver = half_step(matrix, config, "column")
    assert solver.unsolved() == 1
    assert np.isnan(actual.factors[1]).all()
    assert np.isfinite(actual.factors[[0, 2]]).all()


# -------------------------------------------------------------------------------- the arena


def solve_plainly(solver, matrix, k):
    config = WALSConfig(factors=k, regularization=1.0)
    fixed = Side(np.ones((140, k), np.float32), np.zeros(140, np.float32))
    return solver.solve(step_of(matrix, fixed, config, mean=0.0, column_weight=np.ones(140, np.float32)))


def test_a_second_trial_allocates_nothing():
    arena, matrix = Arena(np), ratings_of()
    solver = solver_of(matrix, ProcessorLauncher(), arena)
    arena.reserve(max(solver.scratch_bytes(k, biased=b) for k in (5, 64, 256) for b in (True, False)))
    for k in (5, 64):
        assert solve_plainly(solver, matrix, k) is not None
    assert arena.allocations == 1


def test_a_rank_that_fits_no_block_is_refused():
    matrix = ratings_of((3,))
    solver = solver_of(matrix, ProcessorLauncher())
    assert solve_plainly(solver, matrix, 300) is None
    assert solver.scratch_bytes(300, biased=True) == 0  # but for the sums of parts, of which there are none
