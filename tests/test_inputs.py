"""The front door: whatever comes in from Python is used as it is meant, or refused with an error of ours."""

from __future__ import annotations

import copy

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from small_models import CONFIG, ITEM_IDS, N_ITEMS, N_USERS, OPTIONS, USER_IDS, dense, named

from toolkit import WALS, Backend, Model, RatingsSource, RunOptions, WALSConfig, ingest_ratings
from toolkit.errors import ConfigError, ModelError, NotFittedError, RatingsError, UnknownIdError, WalslabError
from toolkit.evaluation import rank
from toolkit.inputs import checked_ratings
from toolkit.solver import Trainer, TrainingData

FORMATS = [
    *(sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array, sp.coo_matrix, sp.coo_array),
    *(sp.lil_matrix, sp.lil_array, sp.dok_matrix, sp.dok_array, sp.dia_matrix, sp.dia_array),
]


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings()


@pytest.fixture(scope="module")
def model(ratings):
    return named(ratings)


# Structure of sparse matrices


@st.composite
def pairs(draw):
    """Return a shape, and different pairs of row and column in any order."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    cells = st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1))
    return shape, draw(st.lists(cells, min_size=1, max_size=12, unique=True))


@given(pairs(), st.sampled_from(FORMATS), st.sampled_from(["int64", "uint8", "float32", "float64"]))
def test_every_format_and_type_holds_the_same_ratings(drawn, form, dtype):
    shape, cells = drawn
    rows, columns = np.array(cells).T
    values = np.arange(1, len(cells) + 1).astype(dtype)
    matrix = form(sp.coo_array((values, (rows, columns)), shape=shape))
    checked = checked_ratings(matrix, "float32")
    assert (checked.format, checked.dtype, checked.nnz) == ("csr", dtype, len(cells))
    assert checked.has_canonical_format
    assert (checked.toarray()[rows, columns] == values).all()


@given(pairs(), st.data(), st.sampled_from(["coo", "csr", "csc", "bsr"]))
def test_a_pair_that_is_stored_twice_is_refused_by_name_in_every_format(drawn, data, form):
    shape, cells = drawn
    again = data.draw(st.sampled_from(cells))
    mixed = data.draw(st.permutations([*cells, again]))
    rows, columns = np.array(mixed).T
    values = np.ones(len(mixed))
    if form == "coo":
        matrix = sp.coo_array((values, (rows, columns)), shape=shape)
    else:
        own, other = (columns, rows) if form == "csc" else (rows, columns)
        order = np.argsort(own, kind="stable")
        limits = np.searchsorted(own[order], np.arange((shape[1] if form == "csc" else shape[0]) + 1))
        arrays = (values, other[order], limits)
        matrix = {"csr": sp.csr_array, "csc": sp.csc_array, "bsr": sp.bsr_array}[form](
            (values[:, None, None], *arrays[1:]) if form == "bsr" else arrays, shape=shape
        )
    with pytest.raises(RatingsError, match=rf"row {again[0]}, column {again[1]} occurs twice: keep one"):
        checked_ratings(matrix)


ANY_INTS = st.lists(st.integers(-3, 9) | st.sampled_from([2**31 - 1, -(2**31), 2**40]), max_size=9)


@given(ANY_INTS, ANY_INTS, st.booleans(), st.sampled_from(["csr", "csc", "coo"]))
def test_any_damage_to_the_arrays_is_refused_or_harmless(first, second, stale, form):
    """Compiled loops would read or write outside of the arrays, and the process would end."""
    matrix = sp.coo_array(([1.0, 2.0, 3.0], ([0, 1, 2], [2, 0, 1])), shape=(3, 4)).asformat(form)
    if stale and form != "coo":
        # SciPy keeps what it found of the arrays as they were.
        assert matrix.has_canonical_format
    if form == "coo":
        matrix.coords = (np.array(first, np.int64), np.array(second, np.int64))
        matrix.data = np.ones(len(first))
    else:
        matrix.indptr, matrix.indices = np.array(first, np.int64), np.array(second, np.int64)
        matrix.data = np.ones(len(second))
    try:
        checked = checked_ratings(matrix)
    except RatingsError:
        return
    assert checked.has_canonical_format
    assert checked.shape == (3, 4)
    assert checked.toarray().sum() == checked.nnz


def past_the_width(ratings):
    """Return ratings with a column number that does not exist."""
    damaged = sp.csr_matrix(ratings, copy=True)
    damaged.indices[-1] = 10**6
    return damaged


def stored_twice(ratings):
    coo = ratings.tocoo()
    return sp.coo_matrix(
        (np.append(coo.data, 1), (np.append(coo.row, coo.row[0]), np.append(coo.col, coo.col[0]))), coo.shape
    )


def with_value(ratings, value):
    changed = sp.csr_matrix(ratings, copy=True)
    changed.data[0] = value
    return changed


BAD_RATINGS = {
    "column past the width": (past_the_width, "damaged"),
    "pair twice": (stored_twice, "occurs twice"),
    "NaN": (lambda r: with_value(r, np.nan), "must be finite"),
    "infinity": (lambda r: with_value(r, -np.inf), "must be finite"),
    "dense": (lambda r: r.toarray(), "must be a scipy.sparse matrix, but got ndarray of the shape"),
    "np.matrix": (lambda r: r.todense(), "must be a scipy.sparse matrix, but got matrix"),
    "DataFrame": (lambda r: pd.DataFrame(r.toarray()), r"got DataFrame .*pandas\.factorize"),
    "Dask": (
        lambda r: dd.from_pandas(pd.DataFrame(r.toarray()), npartitions=1),
        r"got DataFrame.*compute\(\)",
    ),
    "list": (lambda r: r.toarray().tolist(), "must be a scipy.sparse matrix, but got list"),
    "None": (lambda _: None, "must be a scipy.sparse matrix, but got NoneType"),
    "path": (lambda _: "ratings.csv", "must be a scipy.sparse matrix, but got str"),
    "complex": (lambda r: r.astype(complex), "must be real numbers, but are of the type complex128"),
    "bool": (lambda r: r.astype(bool), "must be real numbers, but are of the type bool"),
    "object": (lambda r: sp.csr_array((r.data.astype(object), r.indices, r.indptr), r.shape), "real numbers"),
    "one dimension": (lambda r: sp.coo_array(r.toarray()[0]), "must have rows and columns"),
    "blocks": (lambda _: sp.bsr_array(np.ones((4, 4)), blocksize=(2, 2)), "store zeros in their blocks"),
}
DOORS = {
    "fit": lambda _, bad: WALS(CONFIG, OPTIONS).fit(bad),
    "valid": lambda m, bad: WALS(CONFIG, OPTIONS).fit(m.rated, valid=bad),
    "fold_in": lambda m, bad: m.fold_in(bad),
    "fold_in_items": lambda m, bad: m.fold_in_items(bad),
    "partial_fit": lambda m, bad: m.partial_fit(bad, user_ids=USER_IDS),
    "partial_fit_items": lambda m, bad: m.partial_fit_items(bad, item_ids=ITEM_IDS),
    "explain_ratings": lambda m, bad: m.explain_ratings(bad, 100),
    "rmse": lambda m, bad: m.rmse(bad),
    "from_factors": lambda m, bad: WALS.from_factors(m.factors, bad),
    "best_of": lambda m, bad: m.best_of(m.factors.users, hidden=[bad]),
    "TrainingData": lambda _, bad: TrainingData(bad, backend=Backend(1)),
    "rank": lambda m, bad: rank(m.factors, bad),
    "rank, seen": lambda m, bad: rank(m.factors, m.rated, seen=[bad]),
    "score": lambda m, bad: m.score(bad),
    "evaluate": lambda m, bad: m.evaluate(bad),
}
TABLE_DOORS = ("fit", "valid", "rmse", "score", "evaluate")


@pytest.mark.parametrize("bad", BAD_RATINGS)
@pytest.mark.parametrize("door", DOORS)
def test_ratings_are_refused_at_every_door(model, ratings, door, bad):
    before = dense(model).copy()
    make, text = BAD_RATINGS[bad]
    if door == "valid" and bad == "None":
        pytest.skip("None is no validation ratings")
    wanted = RatingsError
    if bad == "DataFrame" and door in TABLE_DOORS:
        wanted, text = ConfigError, "must have columns of users, items and ratings"
    with pytest.raises(wanted, match=text):
        DOORS[door](model, make(ratings))
    np.testing.assert_array_equal(dense(model), before)
    assert model.rated.nnz == ratings.nnz


@pytest.mark.parametrize("door", ["fold_in", "fold_in_items", "partial_fit", "explain_ratings", "rmse"])
@pytest.mark.parametrize("shape", [(15, 12), (11, 16), (15, 0), (0, 0)])
def test_ratings_of_another_width_are_refused_at_every_door(model, door, shape):
    with pytest.raises(ConfigError, match=r"must have|must be a row"):
        DOORS[door](model, sp.csr_matrix(shape))


def test_no_rows_are_no_work(model):
    none = sp.csr_matrix((0, N_ITEMS))
    assert model.fold_in(none).factors.shape == (0, 3)
    before = model.users.ids.tolist()
    assert copy.copy(model).partial_fit(none, user_ids=[]).users.ids.tolist() == before
    assert model.recommend([])[0].shape[0] == 0
    assert model.explain_many("user 0", []) == []


def test_what_cannot_be_folded_in_cannot_be_explained(made_up_ratings):
    config = WALSConfig(factors=2, iterations=2, bias="none", regularization=0)
    model = WALS(config, OPTIONS).fit(made_up_ratings(density=0.9))
    one = sp.csr_matrix(([4.0], ([0], [3])), shape=(1, N_ITEMS))
    for ask in (lambda: model.fold_in(one), lambda: model.explain_ratings(one, 2)):
        with pytest.raises(WalslabError, match="row 0 has 1 ratings for 2 unknowns"):
            ask()
    # With a pull of all other pairs the same ratings determine a user, however few items they name.
    pulled = WALS(config.replace(unobserved_weight=0.1), OPTIONS).fit(made_up_ratings(density=0.9))
    assert np.isfinite(pulled.fold_in(one).factors).all()
    assert np.isfinite(pulled.explain_ratings(one, 2).score)


# Ids, numbers, and other arguments

NOT_ONE_ID = [[1, 2], ["user 1"], [], np.array([100]), (100,)]


@pytest.mark.parametrize("one", NOT_ONE_ID, ids=repr)
@pytest.mark.parametrize(
    "ask",
    [
        lambda m, one: m.explain(one, 100),
        lambda m, one: m.explain("user 1", one),
        lambda m, one: m.explain_many(one, [100]),
        lambda m, one: m.explain_ratings(m.rated[:1], one),
    ],
)
def test_several_ids_are_refused_where_one_is_asked_for(model, ask, one):
    with pytest.raises(ConfigError, match="must be one id, but got"):
        ask(model, one)


# None of these is an id of a model whose users have text and whose items have whole numbers.
STRANGE = st.one_of(
    *(st.floats(), st.booleans(), st.none(), st.binary(max_size=3), st.complex_numbers()),
    *(st.lists(st.floats(), min_size=1, max_size=3), st.lists(st.booleans(), min_size=1, max_size=3)),
    *(
        st.just(x)
        for x in ([1, [2]], [[1], [2, 3]], [[100, 107]], {}, {1, 2}, object(), np.datetime64("2020"))
    ),
    *(st.just(np.array(x)) for x in (np.nan, [np.nan], [True], [1 + 2j], [b"a"])),
    *(st.just(x) for x in ([True, 100], [100, True], ["user 1", True], [None, "user 1"], [np.True_])),
)


@given(STRANGE)
def test_strange_ids_are_refused_with_an_error_of_ours(model, one):
    asks = (
        lambda: model.predict(one, 100),
        lambda: model.predict("user 1", one),
        lambda: model.recommend(one),
        lambda: model.similar_items(one),
        lambda: model.explain_many("user 1", one),
    )
    for ask in asks:
        with pytest.raises((ConfigError, UnknownIdError)):
            ask()
    for arguments in ({"user_ids": one}, {"item_ids": one}):
        if one is not None:
            with pytest.raises(ConfigError):
                WALS(CONFIG, OPTIONS).fit(model.rated, **arguments)


@pytest.mark.parametrize("n", [0, -1, 2.0, 2.5, "3", None, True, np.float64(3), [3], np.nan])
def test_a_number_of_items_that_is_none_is_refused(model, n):
    side = model.fold_in(model.rated[:1])
    for ask in (
        lambda: model.recommend("user 0", n),
        lambda: model.recommend(USER_IDS, n),
        lambda: model.best_of(side, n),
        lambda: model.similar_items(100, n),
    ):
        with pytest.raises(ConfigError, match="n must be"):
            ask()


@pytest.mark.parametrize("n", [3, np.int8(3), np.uint64(3)])
def test_whole_numbers_of_numpy_are_numbers(model, n):
    assert len(model.recommend("user 0", n)[0]) == 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"patience": -1}, "patience must be at least 0, but got -1"),
        ({"patience": 1.5}, "patience must be a whole number"),
        ({"on_iteration": "print"}, "on_iteration must be a function, but got 'print'"),
    ],
)
def test_other_arguments_of_fit_are_refused_before_training(ratings, arguments, text):
    with pytest.raises(ConfigError, match=text):
        WALS(CONFIG, OPTIONS).fit(ratings, **arguments)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda _: WALS({"factors": 3}),
            r"config must be a WALSConfig, but got .*give factors=32 by name",
        ),
        (lambda _: WALS(options={"seed": 1}), "options must be a RunOptions"),
        (lambda _: WALS().set_params(config={"factors": 3}), "config must be a WALSConfig"),
        (lambda m: m.best_of(np.ones((1, 3))), "users must be a Side"),
        (lambda m: m.best_of(m.factors.users, hidden=[m.rated[:2]]), "hidden items must have the shape"),
        (lambda m: m.recommend(USER_IDS, backend="numpy"), "backend must be a Backend"),
        (lambda m: m.fold_in(m.rated, backend="numba"), "backend must be a Backend"),
    ],
)
def test_arguments_of_another_class_are_refused_with_the_way_out(model, make, text):
    with pytest.raises(ConfigError, match=text):
        make(model)


# Before and between fits


def test_a_model_that_is_not_fitted_says_so(ratings, tmp_path):
    empty = WALS(CONFIG, OPTIONS)
    asks = [
        lambda: empty.predict(1, 1),
        lambda: empty.recommend(1),
        lambda: empty.recommend([1]),
        lambda: empty.similar_items(1),
        lambda: empty.explain(1, 1),
        lambda: empty.explain_ratings(ratings[:1], 1),
        lambda: empty.rmse(ratings),
        lambda: empty.fold_in(ratings),
        lambda: empty.fold_in_items(ratings),
        lambda: empty.partial_fit(ratings, user_ids=range(N_USERS)),
        lambda: empty.save(tmp_path / "model"),
        lambda: empty.factors,
        lambda: empty.users,
        lambda: empty.titles,
        lambda: setattr(empty, "titles", None),
    ]
    for ask in asks:
        with pytest.raises(NotFittedError, match="this WALS is not fitted: call fit first"):
            ask()
    assert list(tmp_path.iterdir()) == []
    assert issubclass(NotFittedError, ModelError)
    assert not hasattr(empty, "rated")


def test_fitting_again_forgets_all_of_the_fit_before(made_up_ratings, tmp_path):
    model = named(made_up_ratings())
    model.titles = [f"Title {n}" for n in range(N_ITEMS)]
    model.dataset_digest = "of the first"
    model.fit(made_up_ratings(9, 7, seed=1))
    fresh = WALS(CONFIG, OPTIONS).fit(made_up_ratings(9, 7, seed=1))
    assert (model.titles, model.dataset_digest) == (None, None)
    assert (model.users.ids.tolist(), model.items.ids.tolist()) == ([*range(9)], [*range(7)])
    np.testing.assert_array_equal(dense(model), dense(fresh))
    model.save(tmp_path / "model")


def test_a_fit_that_fails_leaves_the_fit_before(model, ratings):
    again = copy.copy(model)
    again.set_params(factors=8, regularization=0)
    before = (dense(again).copy(), list(again.history), again.items.ids.tolist())
    with pytest.raises(WalslabError):
        again.fit(ratings)
    np.testing.assert_array_equal(dense(again), before[0])
    assert (again.history, again.items.ids.tolist()) == before[1:]


def test_a_dataset_brings_its_own_ids(tmp_path):
    (tmp_path / "ratings.csv").write_text("user,item,rating\n1,2,3\n2,2,4\n1,3,5\n")
    data = ingest_ratings(RatingsSource.detect([tmp_path / "ratings.csv"]), tmp_path / "data")
    for arguments in ({"user_ids": range(3)}, {"item_ids": range(3)}):
        with pytest.raises(
            ConfigError, match="a dataset brings its own ids: leave user_ids and item_ids out"
        ):
            WALS(CONFIG, RunOptions(threads=1)).fit(data, **arguments)


def data_of(model):
    return TrainingData(model.rated, backend=Backend(1))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: TrainingData(m.rated, backend="numpy"), "backend must be a Backend, but got 'numpy'"),
        (lambda m: TrainingData(m.rated, backend=Backend(1), dtype="int8"), "dtype must be one of float32"),
        (lambda m: Trainer(m.rated, CONFIG), "data must be a TrainingRatings"),
        (lambda m: Trainer(data_of(m), {}), "config must be a WALSConfig"),
        (
            lambda m: Trainer(TrainingData(m.rated, backend=Backend(1)), CONFIG, seed=-1),
            "seed must be at least 0",
        ),
        (lambda m: rank(m.factors, m.rated, n="10"), "n must be a whole number"),
        (lambda m: rank(m.factors, m.rated[:3]), "held_out must be of 15 users and 11 items"),
        (lambda _: Model.load(3), "path must be a path, but got 3"),
        (lambda m: m.save(b"model"), "path must be a path, but got b'model'"),
        (lambda m: m.save(""), "path must be a path, but got ''"),
    ],
)
def test_arguments_of_another_kind_are_refused(model, call, text):
    with pytest.raises(ConfigError, match=text):
        call(model)
