"""A model as a directory: plain ``.npy`` arrays and JSON, complete or not there, nothing pickled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import Array
from toolkit.datasets import IdTable, Texts, as_objects
from toolkit.errors import ModelError
from toolkit.files import atomic, save_array
from toolkit.inputs import checked_path, structure_problem
from toolkit.models.fitted import Fitted, Training
from toolkit.predictor import Predictor
from toolkit.sharded import mapped_file
from toolkit.solver import Factors, read_array, read_meta

HEADER = "model.json"
# Words of the header that are not for the facts of a caller, beside those that tell the kinds.
WORDS = frozenset(
    (
        *("format", "format_version", "dataset_digest", "n_users", "n_items", "titles", "weight_counts"),
        *("baselines", "posterior"),
    )
)
# The word of a model that was sampled.
POSTERIOR = "posterior"
_FORMAT = "walslab-model"
_VERSION = 4
_ARRAYS = ("item_counts", "rated_indptr", "rated_items", "ratings")
_USERS, _ITEMS, _TITLES, _WEIGHT_COUNTS = "user_ids", "item_ids", "item_titles", "weight_counts"
# The array of the ends of texts, whose bytes the array without this ending holds.
_ENDS = "_ends"
_AGAIN = "copy the whole directory, or train the model again"


def write(
    path: str | Path,
    fitted: Fitted[Predictor],
    own: Mapping[str, object],
    save_factors: Callable[[Path], None],
    *,
    overwrite: bool,
    facts: Mapping[str, object],
) -> None:
    """Write a model directory, complete or not at all.

    Parameters
    ----------
    path : str or Path
        The directory to make.
    fitted : Fitted
        What is written beside the factors.
    own : mapping
        Words of the header that the kind of model adds.
    save_factors : callable
        Writes the factors into the directory that it is given.
    overwrite : bool
        Whether an existing model directory is replaced.
    facts : mapping
        JSON values that the caller adds to the header.

    Raises
    ------
    ModelError
        When `path` exists and `overwrite` is false, or it is not a model directory.
    """
    path, rated, titles = checked_path("path", path), fitted.rated, fitted.titles
    arrays = (fitted.item_counts, rated.indptr, rated.indices, rated.data)
    named = dict(zip(_ARRAYS, arrays, strict=True))
    named |= _arrays_of(_USERS, fitted.users.stored) | _arrays_of(_ITEMS, fitted.items.stored)
    # Those of a training that was not updated are the counts of all ratings.
    own_weights = not np.array_equal(fitted.weight_counts, fitted.item_counts)
    if own_weights:
        named[_WEIGHT_COUNTS] = fitted.weight_counts
    if titles is not None:
        named |= _arrays_of(_TITLES, Texts.of(titles.tolist()))
    header = {
        "format": _FORMAT,
        "format_version": _VERSION,
        **own,
        "dataset_digest": fitted.dataset_digest,
        "n_users": len(fitted.users),
        "n_items": len(fitted.items),
        "titles": titles is not None,
        "weight_counts": own_weights,
        **facts,
    }
    check_target(path, overwrite=overwrite)
    with atomic.directory(path, overwrite=overwrite, holding=HEADER) as part:
        save_factors(part)
        for name, array in named.items():
            _save(part / f"{name}.npy", np.asarray(array))
        (part / HEADER).write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")


def _save(path: Path, array: Array) -> None:
    """Write an array; one that is mapped from a file of ours as a copy of that."""
    file = mapped_file(array)
    if file is None:
        save_array(path, array)
    else:
        shutil.copyfile(file, path)


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a model directory.

    Raises
    ------
    ModelError
        When it is missing or malformed, or states another format or version.
    """
    return read_meta(path / HEADER, _FORMAT, _VERSION)


def read_training(path: Path, header: Mapping[str, Any], factors: Factors) -> Training:
    """Return what a model directory holds once, with the factors of a training; arrays stay in the files.

    Parameters
    ----------
    path : Path
        The directory.
    header : mapping
        Its header.
    factors : Factors
        Of the users and items of the directory.

    Raises
    ------
    ModelError
        When an array is missing, does not fit the factors, or holds what no model wrote.
    """
    n_users, n_items = len(factors.users.bias), len(factors.items.bias)
    arrays = {name: read_array(path / f"{name}.npy") for name in _ARRAYS}
    indptr = arrays["rated_indptr"]
    n_rated = int(indptr[-1]) if indptr.shape == (n_users + 1,) else 0
    sizes = dict(zip(_ARRAYS, (n_items, n_users + 1, n_rated, n_rated), strict=True))
    if header.get(_WEIGHT_COUNTS):
        arrays[_WEIGHT_COUNTS], sizes[_WEIGHT_COUNTS] = read_array(path / f"{_WEIGHT_COUNTS}.npy"), n_items
    for name, array in arrays.items():
        _check_shape(path / name, array, sizes[name])
    counts = arrays["item_counts"]
    titles = _read_texts(path / _TITLES, n_items) if header.get("titles") else None
    return Training(
        factors,
        IdTable(_read_ids(path / _USERS, n_users), "user"),
        IdTable(_read_ids(path / _ITEMS, n_items), "item"),
        _ratings(path, arrays, (n_users, n_items)),
        counts,
        arrays.get(_WEIGHT_COUNTS, counts),
        None if titles is None else as_objects(titles, n_items),
        header["dataset_digest"],
    )


def check_target(path: str | Path, *, overwrite: bool) -> None:
    """Refuse, before any training, a path that a model cannot be saved under.

    Raises
    ------
    ModelError
        When `path` exists and `overwrite` is false, or it is not a model directory.
    """
    try:
        atomic.check_free(Path(path), overwrite=overwrite, holding=HEADER)
    except FileExistsError as error:
        raise ModelError(str(error)) from error


def _arrays_of(name: str, values: Array | Texts) -> dict[str, Array]:
    """Return the arrays that hold whole numbers or texts, by the names of their files."""
    return {name: values.data, name + _ENDS: values.ends} if isinstance(values, Texts) else {name: values}


def _read_ids(stem: Path, n: int) -> Array | Texts:
    array = read_array(stem.with_name(f"{stem.name}.npy"))
    if array.dtype == np.uint8:
        return _read_texts(stem, n)
    _check_shape(stem, array, n)
    if array.dtype != np.int64:
        raise ModelError(
            f"{stem}.npy must hold int64, or the bytes of text, but holds {array.dtype}: {_AGAIN}"
        )
    return array


def _read_texts(stem: Path, n: int) -> Texts:
    data, ends = (read_array(stem.with_name(f"{name}.npy")) for name in (stem.name, stem.name + _ENDS))
    _check_shape(stem.with_name(stem.name + _ENDS), ends, n)
    texts = Texts(data, ends)
    if problem := texts.problem():
        raise ModelError(f"{stem}.npy with {stem.name}{_ENDS}.npy {problem}: {_AGAIN}")
    return texts


def _check_shape(stem: Path, array: Array, n: int) -> None:
    if array.shape != (n,):
        raise ModelError(
            f"{stem}.npy must have shape ({n},) for the users and items of the factors, but has "
            f"{array.shape}: {_AGAIN}"
        )


def _ratings(path: Path, arrays: Mapping[str, Array], shape: tuple[int, int]) -> sp.csr_matrix:
    """Return the ratings after a look at each of them: a damaged column number would end the process."""
    indptr, items, ratings = (arrays[name] for name in ("rated_indptr", "rated_items", "ratings"))
    problem = structure_problem(indptr, items, ratings, *shape)
    if problem:
        raise ModelError(f"{path / 'rated_items'}.npy with rated_indptr.npy {problem}: {_AGAIN}")
    # NaN is the least and the greatest of numbers among which it is.
    if len(ratings) and not (np.isfinite(ratings.min()) and np.isfinite(ratings.max())):
        raise ModelError(f"{path / 'ratings'}.npy must hold finite numbers: {_AGAIN}")
    rated = sp.csr_matrix((ratings, items, indptr), shape=shape)
    if not rated.has_canonical_format:
        raise ModelError(f"{path / 'rated_items'}.npy must hold items that rise within each user: {_AGAIN}")
    return rated
