"""Systems without an answer, or nearly: an error that names the row, or factors that are finite."""

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
from toolkit.errors import RatingsError, SolverError
from toolkit.predictor import Side
from toolkit.solver import Factors, Trainer, TrainingData, half_step, objective, solve


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_rating_that_is_not_finite_is_named(backend, made_up_ratings, bad):
    ratings = made_up_ratings(empty_users=(0,)).tocoo()
    where = 20
    ratings.data[where] = bad
    text = f"row {ratings.row[where]}, column {ratings.col[where]} has {bad}"
    with pytest.raises(RatingsError, match=text):
        TrainingData(ratings, backend=backend)


@pytest.mark.parametrize("shape", [(3, 4), (0, 0), (0, 3)])
def test_no_rating_at_all_is_an_error(backend, shape):
    with pytest.raises(RatingsError, match="at least one rating"):
        TrainingData(sp.csr_matrix(shape), backend=backend)


@pytest.mark.parametrize(("bias", "unknowns"), [("none", 4), ("mean", 4), ("full", 5)])
@pytest.mark.parametrize("unobserved_weight", [0.0, 0.2])
def test_an_undetermined_row_without_regularization_is_an_error(backend, bias, unknowns, unobserved_weight):
    # Three columns can never determine four factors, however large their unobserved weight is.
    ratings = sp.csr_matrix(np.array([[0, 0, 0], [0, 1.0, 2], [3, 4, 5], [1, 1, 1], [2, 3, 4], [5, 4, 4]]))
    config = WALSConfig(factors=4, bias=bias, regularization=0, unobserved_weight=unobserved_weight)
    trainer = Trainer(TrainingData(ratings, backend=backend), config)
    with pytest.raises(
        SolverError, match=rf"row 1 has 2 ratings for {unknowns} unknowns.*regularization above 0"
    ):
        trainer.solve_users()


def test_a_singular_system_is_an_error(backend):
    # With biases, equal ratings leave nothing to the factors: they become zero, and zeros determine nothing.
    ratings = sp.csr_matrix(np.full((6, 4), 3.0))
    trainer = Trainer(TrainingData(ratings, backend=backend), WALSConfig(factors=2, regularization=0))
    trainer.solve_items()
    with pytest.raises(
        SolverError, match=r"row 0 \(4 ratings, 3 unknowns\).*no\s+finite solution.*regularization=0"
    ):
        trainer.solve_users()


def test_enough_ratings_need_no_regularization(backend, made_up_ratings):
    config = WALSConfig(factors=2, iterations=3, regularization=0)
    assert_equals_oracle(made_up_ratings(12, 11, density=0.9), config, backend)


def test_enough_unobserved_pairs_need_no_regularization(backend, made_up_ratings):
    config = WALSConfig(factors=4, iterations=3, regularization=0, unobserved_weight=0.1, bias="none")
    assert_equals_oracle(made_up_ratings(12, 11, density=0.2), config, backend)


WEIGHTS = st.one_of(st.just(0.0), st.floats(-30, 6).map(lambda e: min(10.0**e, 1e6)))


@given(
    regularization=WEIGHTS,
    unobserved_weight=WEIGHTS,
    observed_weight=WEIGHTS.filter(bool),
    weight_exponent=st.sampled_from([0.0, 1.0, 10.0]),
    regularization_exponent=st.sampled_from([0.0, 1.0, 2.0]),
    bias=st.sampled_from(["none", "mean", "full"]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_huge_and_tiny_weights_give_finite_factors_or_an_error(backend, made_up_ratings, dtype, **values):
    data = TrainingData(made_up_ratings(), backend=backend, dtype=dtype)
    trainer = Trainer(data, WALSConfig(factors=4, **values))
    try:
        trainer.step()
        trainer.step()
    except SolverError as error:
        assert "raise regularization" in str(error) or "regularization above 0" in str(error)  # noqa: PT017
        return
    factors = trainer.host_factors()
    for array in (*factors.users, *factors.items):
        assert np.isfinite(array).all()


def test_regularization_lost_in_float32_is_an_error_or_harmless(made_up_ratings):
    # The smallest eigenvalue of a row with fewer ratings than factors is the regularization itself: beside a
    # trace of about 10, 1e-8 is below the resolution of float32.
    config = WALSConfig(factors=16, regularization=1e-8)
    ratings = made_up_ratings(40, 30, density=0.2)
    trainer = Trainer(TrainingData(ratings, backend=Backend(1), dtype="float32"), config)
    try:
        trainer.solve_items()
        before = objective(trainer.factors, trainer.data)
        for _ in range(10):
            trainer.step()
    except SolverError:
        return
    assert objective(trainer.factors, trainer.data) <= before + 1e-3


def test_the_row_that_has_no_solution_is_the_one_named():
    # Row 1 rated only items whose factors are zero; row 0, of the same length, is well determined.
    ratings = sp.csr_matrix(np.array([[1.0, 2, 0, 0], [0, 0, 3, 4]]))
    backend = Backend(1)
    fixed = Side(np.array([[1.0, 0], [0, 1], [0, 0], [0, 0]]), np.zeros(4))
    config = WALSConfig(factors=2, regularization=0, bias="none")
    rows = backend.rows(ratings, "float64")
    step = half_step(
        rows, fixed, backend=backend, mean=0, spread=1.0, config=config, column_weight=np.ones(4)
    )
    with pytest.raises(SolverError, match="row 1"):
        solve(step, backend=backend)


def test_a_rating_beyond_the_precision_is_an_error():
    ratings = sp.csr_matrix(np.array([[1e39, 1.0], [2.0, 3.0]]))
    with np.errstate(over="ignore"), pytest.raises(RatingsError):
        TrainingData(ratings, backend=Backend(1), dtype="float32")


def test_factors_are_contiguous_and_of_the_asked_precision(backend, made_up_ratings):
    for dtype in ("float32", "float64"):
        factors, _ = fit(made_up_ratings(), WALSConfig(factors=3, iterations=1), backend, dtype)
        assert isinstance(factors, Factors)
        for array in (*factors.users, *factors.items):
            assert array.dtype == dtype
            assert array.flags.c_contiguous


@pytest.mark.parametrize(
    ("bias", "value"),
    [
        ("none", 3.0),
        ("mean", 0.0),
        ("full", 3.0),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (("none", 0.0), ("mean", 3.0), ("full", 0.0))
        ),
    ],
)
def test_constant_ratings_are_predicted_as_they_are(backend, made_up_ratings, bias, value):
    ratings = made_up_ratings(empty_users=(1,))
    ratings.data[:] = value
    config = WALSConfig(factors=3, iterations=40, bias=bias, regularization=1e-4)
    factors, _ = fit(ratings, config, backend)
    predicted = oracle.predictions(oracle.State.of(factors))[ratings.toarray() != 0]
    assert np.isfinite(oracle.predictions(oracle.State.of(factors))).all()
    np.testing.assert_allclose(predicted, value, atol=0.05)
