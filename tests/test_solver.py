"""The row solver against the oracle for every hyperparameter, and its edges: shapes, batches, folding in."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import scipy.sparse as sp
from against_oracle import assert_equals_oracle, fit
from hypothesis import given
from hypothesis import strategies as st

from toolkit.backends import Backend
from toolkit.config import WALSConfig
from toolkit.predictor import Side
from toolkit.solver import Trainer, TrainingData, half_step, solve

# Every hyperparameter at values that are not its default; a test of this section holds the list complete.
CASES = [
    ("factors", 1),
    ("factors", 7),
    ("factors", 0),
    ("iterations", 1),
    ("iterations", 6),
    ("regularization", 1e-3),
    ("regularization", 2.5),
    ("regularization_exponent", 0.0),
    ("regularization_exponent", 0.6),
    ("regularization_exponent", 2.0),
    ("unobserved_weight", 0.01),
    ("unobserved_weight", 0.8),
    ("observed_weight", 0.2),
    ("observed_weight", 40.0),
    ("weight_exponent", 0.3),
    ("weight_exponent", 1.0),
    ("bias", "none"),
    ("bias", "mean"),
    ("pattern_weight", 0.3),
    ("regularization_offset", 20.0),
    ("bias_regularization", 3.0),
    ("scale", "none"),
    ("momentum", 0.4),
]
# Of a size that a dense oracle can follow. The defaults leave next to nothing of factors of so few ratings,
# so the first background is ALS-WR with biases; in the second nothing has its default. The factors are as
# many as those of other tests of kernels, which are compiled for each number.
BACKGROUNDS = {
    "plain": {
        "factors": 5,
        "iterations": 3,
        "regularization": 0.1,
        "regularization_offset": 0.0,
        "bias_regularization": None,
        "pattern_weight": 0.0,
    },
    "weighted": {
        "factors": 5,
        "iterations": 4,
        "regularization": 0.5,
        "regularization_exponent": 0.4,
        "regularization_offset": 0.5,
        "bias_regularization": 0.7,
        "unobserved_weight": 0.15,
        "observed_weight": 2.0,
        "weight_exponent": 0.5,
        "pattern_weight": 0.2,
        "momentum": 0.2,
    },
}

# Each kind of bias, with and without what is not observed; the other pairs are in `make test-all`.
BIAS_AND_WEIGHT = [
    ("none", 0.3),
    ("mean", 0.3),
    ("full", 0.0),
    *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (("none", 0.0), ("mean", 0.0), ("full", 0.3))),
]


# -------------------------------------------------------------------------------- against the oracle


@pytest.mark.parametrize(
    ("background", "dtype"),
    [
        ("plain", "float64"),
        ("weighted", "float64"),
        pytest.param("weighted", "float32", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("name", "value"), CASES)
def test_hyperparameter_equals_oracle(*, backend, made_up_ratings, background, name, value, dtype):
    config = WALSConfig(**{**BACKGROUNDS[background], name: value})
    assert_equals_oracle(made_up_ratings(empty_users=(4,), empty_items=(0, 10)), config, backend, dtype)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_single_precision_equals_oracle(backend, made_up_ratings, background):
    ratings = made_up_ratings(empty_users=(4,), empty_items=(0, 10))
    assert_equals_oracle(ratings, WALSConfig(**BACKGROUNDS[background]), backend, "float32")


@pytest.fixture(scope="module")
def unchanged(made_up_ratings):
    """What the model of each background predicts."""
    factors = {
        name: fit(made_up_ratings(), WALSConfig(**values), Backend(1))[0]
        for name, values in BACKGROUNDS.items()
    }
    return {name: oracle.predictions(oracle.State.of(found)) for name, found in factors.items()}


@pytest.mark.parametrize("background", ["plain", pytest.param("weighted", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "value"), CASES)
def test_hyperparameter_has_an_effect(unchanged, made_up_ratings, background, name, value):
    """All backends equal the oracle, so that what one shows is true of each."""
    config = WALSConfig(**{**BACKGROUNDS[background], name: value})
    changed = oracle.predictions(oracle.State.of(fit(made_up_ratings(), config, Backend(1))[0]))
    assert np.abs(changed - unchanged[background]).max() > 1e-3


def test_every_hyperparameter_is_among_the_cases():
    # What predictions are clipped to is no business of the solver: tests/test_wals.py.
    assert {name for name, _ in CASES} == set(WALSConfig.valid()) - {"clip"}
    plain = WALSConfig(**BACKGROUNDS["plain"]).to_dict()
    assert all(plain[name] != value for name, value in CASES)


@pytest.mark.parametrize(("bias", "unobserved_weight"), BIAS_AND_WEIGHT)
@pytest.mark.parametrize(
    ("n_users", "n_items", "factors", "density"),
    [
        pytest.param(1, 9, 3, 1.0, id="one user"),
        pytest.param(12, 1, 3, 1.0, id="one item"),
        pytest.param(1, 1, 2, 1.0, id="one rating"),
        pytest.param(8, 6, 20, 0.3, id="more factors than ratings"),
        pytest.param(8, 6, 2, 1.0, id="every pair rated"),
    ],
)
def test_extreme_shapes_equal_oracle(
    *, backend, made_up_ratings, n_users, n_items, factors, density, bias, unobserved_weight
):
    config = WALSConfig(factors=factors, iterations=3, bias=bias, unobserved_weight=unobserved_weight)
    assert_equals_oracle(made_up_ratings(n_users, n_items, density=density), config, backend)


@pytest.mark.parametrize(("bias", "unobserved_weight"), BIAS_AND_WEIGHT)
def test_rows_and_columns_without_ratings_are_zero(backend, made_up_ratings, bias, unobserved_weight):
    ratings = made_up_ratings(empty_users=(0, 7, 14), empty_items=(5,))
    config = WALSConfig(factors=3, iterations=2, bias=bias, unobserved_weight=unobserved_weight)
    factors, _ = fit(ratings, config, backend)
    for side, empty in ((factors.users, [0, 7, 14]), (factors.items, [5])):
        assert not side.factors[empty].any()
        assert not side.bias[empty].any()
        assert side.factors.any(axis=1).sum() == len(side.factors) - len(empty)


def test_a_stored_zero_is_a_rating(backend):
    ratings = sp.csr_matrix((np.array([0.0, 4.0, 2.0]), ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    assert TrainingData(ratings, backend=backend).nnz == 3
    assert_equals_oracle(ratings, WALSConfig(factors=2, iterations=2), backend)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(sp.csr_matrix, "int64"), (sp.csc_array, "int8"), (sp.coo_matrix, "float32"), (sp.csr_array, "int8")],
)
def test_any_sparse_format_and_type_of_rating(backend, made_up_ratings, kind, dtype):
    ratings = made_up_ratings(whole=True)
    config = WALSConfig(factors=2, iterations=2)
    expected, _ = fit(ratings, config, backend)
    actual, _ = fit(kind(ratings.astype(dtype)), config, backend)
    np.testing.assert_allclose(actual.users.factors, expected.users.factors, rtol=1e-12)


def test_a_given_transpose_is_used_as_it_is(backend, made_up_ratings):
    ratings = made_up_ratings()
    config = WALSConfig(factors=2, iterations=2)
    data = TrainingData(ratings, sp.csr_matrix(ratings.T), backend=backend, dtype="float64")
    trainer = Trainer(data, config)
    trainer.step()
    trainer.step()
    np.testing.assert_array_equal(
        trainer.host_factors().users.factors, fit(ratings, config, backend)[0].users.factors
    )


def test_order_of_entries_within_a_row_does_not_matter(backend, made_up_ratings):
    ratings = made_up_ratings()
    shuffled = ratings.copy()
    rng = np.random.default_rng(0)
    for begin, end in zip(ratings.indptr, ratings.indptr[1:], strict=False):
        order = begin + rng.permutation(end - begin)
        shuffled.indices[begin:end], shuffled.data[begin:end] = ratings.indices[order], ratings.data[order]
    config = WALSConfig(factors=3, iterations=3, unobserved_weight=0.1)
    expected, actual = (fit(r, config, backend)[0] for r in (ratings, shuffled))
    np.testing.assert_allclose(actual.users.factors, expected.users.factors, rtol=1e-9, atol=1e-11)


# -------------------------------------------------------------------------------- batches and threads


def long_and_short(made_up_ratings):
    """One user who rated everything among many who rated next to nothing, and one item everybody rated."""
    ratings = made_up_ratings(60, 50, density=0.03).tolil()
    ratings[17] = np.linspace(1, 5, 50)
    ratings[:, 3] = np.linspace(5, 1, 60)[:, None]
    return ratings.tocsr()


def with_batches(backend, entries, rows, threads=1):
    small = Backend.require(backend.name, threads)
    small.batch_entries, small.batch_rows = entries, rows
    return small


@pytest.mark.parametrize(
    ("entries", "rows", "bias"),
    [(1, 1, "full"), (1, 100, "none"), (1000, 1, "full"), (7, 3, "none"), (64, 8, "full")],
)
def test_batches_do_not_change_the_result(backend, made_up_ratings, entries, rows, bias):
    ratings = long_and_short(made_up_ratings)
    config = WALSConfig(factors=3, iterations=2, unobserved_weight=0.1, bias=bias)
    expected, _ = fit(ratings, config, backend)
    small = with_batches(backend, entries, rows)
    assert len(small.rows(ratings).batches) > len(backend.rows(ratings).batches)
    actual, _ = fit(ratings, config, small)
    for side in ("users", "items"):
        # Not bit for bit: padding changes the length of a sum, and with it the order BLAS adds in.
        for a, b in zip(getattr(actual, side), getattr(expected, side), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)


def test_long_and_short_rows_equal_oracle(backend, made_up_ratings):
    config = WALSConfig(factors=3, iterations=1, unobserved_weight=0.1)
    assert_equals_oracle(long_and_short(made_up_ratings), config, with_batches(backend, 64, 8))


@pytest.mark.parametrize(("threads", "dtype"), [(2, "float64"), (5, "float32")])
def test_threads_do_not_change_a_bit(made_up_ratings, threads, dtype):
    ratings = made_up_ratings(150, 80, density=0.2, empty_users=(1,))
    config = WALSConfig(factors=8, iterations=3, unobserved_weight=0.05)
    one, several = (
        fit(ratings, config, with_batches(Backend(), 256, 16, threads=t), dtype)[0] for t in (1, threads)
    )
    for side in ("users", "items"):
        for a, b in zip(getattr(one, side), getattr(several, side), strict=True):
            np.testing.assert_array_equal(a, b)


COUNTS = st.lists(st.one_of(st.integers(0, 6), st.integers(0, 200)), min_size=1, max_size=60)


@given(counts=COUNTS, entries=st.integers(1, 400), rows=st.integers(1, 20))
def test_batches_hold_every_row_once_within_their_limits(backend, counts, entries, rows):
    matrix = sp.csr_matrix(
        (np.ones(sum(counts)), _ranges(counts), np.cumsum([0, *counts])), shape=(len(counts), 200)
    )
    planned = with_batches(backend, entries, rows).rows(matrix)

    def fits(sizes):
        # Where rows of any length share a batch, nobody pads them.
        held = len(sizes) * max(sizes) if np.isfinite(backend.batch_stretch) else sum(sizes)
        alike = max(sizes) <= max(backend.batch_stretch * min(sizes), min(sizes) + 3)
        return len(sizes) == 1 or (held <= entries and len(sizes) <= rows and alike)

    seen, longer = [], None
    for batch in planned.batches:
        numbers, starts, sizes = (backend.to_numpy(a) for a in (batch.rows, batch.starts, batch.counts))
        assert fits(sizes)
        # It has no room for the next one: batches are as few as they can be.
        assert longer is None or not fits([*sizes, longer])
        assert batch.width == max(sizes)
        longer = min(sizes)
        np.testing.assert_array_equal(sizes, np.array(counts)[numbers])
        np.testing.assert_array_equal(starts, matrix.indptr[numbers])
        seen.extend(numbers.tolist())
    assert sorted(seen) == [row for row, n in enumerate(counts) if n]


def _ranges(counts):
    return np.concatenate([np.arange(n) for n in counts]).astype(np.int32)


def test_a_batch_is_gathered_with_its_padding(backend):
    matrix = sp.csr_matrix(np.array([[0, 0, 7.0, 0, 0], [1, 0, 2, 0, 3], [0, 0, 0, 0, 0]]))
    rows = backend.rows(matrix)
    (batch,) = rows.batches
    columns, values = (backend.to_numpy(a) for a in rows.gather(batch))
    assert backend.to_numpy(batch.rows).tolist() == [0, 1]
    assert columns.tolist() == [[2, 5, 5], [0, 2, 4]]
    assert values.tolist() == [[7, 0, 0], [1, 2, 3]]
    assert values.dtype == np.float32


def test_rows_of_no_ratings_at_all_are_solved_to_zero(backend):
    # A new user without a rating, folded in alone: no batch at all.
    rows = backend.rows(sp.csr_matrix((2, 4)), "float64")
    fixed = Side(backend.asarray(np.ones((4, 3))), backend.asarray(np.zeros(4)))
    weight = backend.asarray(np.ones(4))
    config = WALSConfig(factors=3)
    step = half_step(rows, fixed, backend=backend, mean=3.0, spread=1.0, config=config, column_weight=weight)
    solved = solve(step, backend=backend)
    assert solved.factors.shape == (2, 3)
    assert not backend.to_numpy(solved.factors).any()
    assert not backend.to_numpy(solved.bias).any()


# -------------------------------------------------------------------------------- fold-in


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("bias", "unobserved_weight"), BIAS_AND_WEIGHT)
def test_folding_a_training_user_in_gives_its_trained_row(
    backend, made_up_ratings, bias, unobserved_weight, dtype
):
    ratings = made_up_ratings(empty_users=(2,))
    config = WALSConfig(factors=3, bias=bias, unobserved_weight=unobserved_weight, weight_exponent=0.5)
    trainer = Trainer(TrainingData(ratings, backend=backend, dtype=dtype), config)
    trainer.step()
    trainer.step()
    trained = trainer.host_factors().users
    for user in (0, 2, 7):  # the third has no rating
        step = half_step(
            backend.rows(ratings[user], dtype),
            trainer.factors.items,
            backend=backend,
            mean=trainer.factors.mean,
            spread=trainer.factors.spread,
            config=config,
            column_weight=trainer._item_weight,
            pattern=trainer.factors.item_pattern,
        )
        folded = solve(step, backend=backend)
        tolerance = 1e-11 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(backend.to_numpy(folded.factors)[0], trained.factors[user], atol=tolerance)
        np.testing.assert_allclose(backend.to_numpy(folded.bias)[0], trained.bias[user], atol=tolerance)
