"""A model as a directory: plain ``.npy`` arrays and JSON, complete or not there, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import Array
from toolkit.datasets import IdTable
from toolkit.errors import ModelError
from toolkit.files import atomic
from toolkit.inputs import checked_path, structure_problem
from toolkit.models.fitted import Fitted, Training
from toolkit.predictor import Predictor
from toolkit.solver import Factors, read_array, read_meta

HEADER = "model.json"
# Words of the header that every kind of model has.
WORDS = frozenset(
    ("format", "format_version", "dataset_digest", "n_users", "n_items", "titles", "weight_counts")
)
_FORMAT = "walslab-model"
_VERSION = 3
_ARRAYS = ("user_ids", "item_ids", "item_counts", "rated_indptr", "rated_items", "ratings")
_TITLES, _WEIGHT_COUNTS = "item_titles", "weight_counts"
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
    arrays = (
        *(fitted.users.ids, fitted.items.ids, fitted.item_counts),
        *(rated.indptr, rated.indices, rated.data),
    )
    named = dict(zip(_ARRAYS, arrays, strict=True))
    # Those of a training that was not updated are the counts of all ratings.
    own_weights = not np.array_equal(fitted.weight_counts, fitted.item_counts)
    if own_weights:
        named[_WEIGHT_COUNTS] = fitted.weight_counts
    if titles is not None:
        named[_TITLES] = titles
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
            np.save(part / f"{name}.npy", np.asarray(array), allow_pickle=False)
        (part / HEADER).write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")


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
    sizes = dict(zip(_ARRAYS, (n_users, n_items, n_items, n_users + 1, n_rated, n_rated), strict=True))
    optional = {"titles": _TITLES, "weight_counts": _WEIGHT_COUNTS}
    for word, name in optional.items():
        if header.get(word):
            arrays[name], sizes[name] = read_array(path / f"{name}.npy"), n_items
    for name, array in arrays.items():
        if array.shape != (sizes[name],):
            raise ModelError(
                f"{path / name}.npy must have shape ({sizes[name]},) for {n_users} users and {n_items} "
                f"items, but has {array.shape}: {_AGAIN}"
            )
    counts = arrays["item_counts"]
    return Training(
        factors,
        IdTable(arrays["user_ids"], "user"),
        IdTable(arrays["item_ids"], "item"),
        _ratings(path, arrays, (n_users, n_items)),
        counts,
        arrays.get(_WEIGHT_COUNTS, counts),
        arrays.get(_TITLES),
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
