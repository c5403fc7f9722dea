"""The stand-in for CuPy refuses what CuPy refuses: each of these is a difference that CuPy documents."""

from __future__ import annotations

import importlib

import cupy_stand_in
import device_arrays
import numpy as np
import pytest

HOST = np.arange(3, dtype=np.float32)
INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])


@pytest.fixture
def pool(monkeypatch):
    return cupy_stand_in.install(monkeypatch)


@pytest.fixture
def xp(pool):
    return importlib.import_module("cupy")


@pytest.mark.parametrize(
    "mixed",
    [
        lambda _, a: np.asarray(a),
        lambda _, a: np.array(a),
        lambda _, a: np.testing.assert_array_equal(a, HOST),
        lambda _, a: a + HOST,
        lambda _, a: HOST + a,
        lambda _, a: a @ HOST,
        lambda _, a: np.add(a, HOST),
        lambda _, a: a < HOST,
        lambda _, a: a.__iadd__(HOST),
        lambda _, a: a.__setitem__(slice(None), HOST),
        lambda xp, a: xp.concatenate([a, HOST]),
        lambda xp, a: xp.where(a > 0, a, HOST),
        lambda xp, _: xp.sqrt(HOST),
        lambda xp, _: xp.bincount(np.array([0, 1])),
        lambda _, a: a.dot(HOST),
        lambda xp, a: a.repeat(xp.asarray([1, 2, 3])),
    ],
)
def test_arrays_of_the_host_and_of_the_device_are_not_mixed(xp, mixed):
    with pytest.raises(TypeError):
        mixed(xp, xp.asarray(HOST))


def test_what_numpy_dispatches_stays_on_the_device(xp):
    a = xp.asarray(HOST)
    for found in (np.sqrt(a), np.concatenate([a, a]), np.float64(2) * a, a * 2, np.where(a > 0, a, 0)):
        assert isinstance(found, xp.ndarray)


@pytest.mark.parametrize("values", [["a"], [None], np.array([b"x"]), np.array(["2000"], "datetime64[Y]")])
def test_text_and_objects_have_no_type_on_a_device(xp, values):
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.asarray(values)


@pytest.mark.parametrize(
    "reduced",
    [
        lambda _, a: a.sum(),
        lambda xp, a: xp.sum(a),
        lambda _, a: a.max(),
        lambda _, a: a @ a,
        lambda _, a: a[1],
        lambda _, a: a.argmax(),
        lambda _, a: (a > 0).any(),
        lambda xp, a: xp.einsum("i,i->", a, a),
    ],
)
def test_a_number_stays_on_the_device_until_the_host_waits_for_it(pool, xp, reduced):
    found = reduced(xp, xp.asarray(HOST))
    assert isinstance(found, xp.ndarray)
    assert found.shape == ()
    assert pool.waits == 0
    float(found)
    bool(found)
    assert pool.waits == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)


def test_places_that_are_found_are_waited_for(pool, xp):
    a = xp.asarray(HOST)
    a[a > 0]
    xp.asnumpy(a)
    a.nonzero()
    assert pool.waits == 3


@pytest.mark.parametrize("at", [[3], [-4]])
def test_an_index_out_of_bounds_is_an_error_where_cupy_wraps_it(xp, at):
    with pytest.raises(IndexError):
        xp.asarray(HOST)[xp.asarray(at)]


def test_a_place_is_written_once(xp):
    a = xp.asarray(HOST)
    with pytest.raises(ValueError, match="twice"):
        a[xp.asarray([0, 0])] = xp.asarray(HOST[:2])


def test_a_matrix_that_is_not_definite_is_no_error_unless_asked(xp):
    cupyx = importlib.import_module("cupyx")
    matrix = xp.asarray(INDEFINITE)
    for solve in (lambda: xp.linalg.cholesky(matrix), lambda: cupyx.lapack.posv(matrix[None], matrix[:1])):
        assert np.isfinite(xp.asnumpy(solve())).all()
        with cupyx.errstate(linalg="raise"), pytest.raises(np.linalg.LinAlgError):
            solve()


def test_memory_that_was_not_written_is_no_number(xp):
    for array in (xp.empty(3), xp.empty_like(xp.asarray(HOST)), xp.empty((2, 2), np.float32)):
        assert np.isnan(xp.asnumpy(array)).all()


def test_kernels_take_the_very_memory(xp):
    a = xp.zeros(3)
    device_arrays.host_of(a)[1] = 5
    assert float(a.sum()) == 5
