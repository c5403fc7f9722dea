"""Models in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import ModelError
from toolkit.files import atomic, save_array

if TYPE_CHECKING:
    from toolkit.arrays import Array
    from toolkit.datasets import IdTable
    from toolkit.models.base import Model


def export_tutorial(model: Model, out: str | Path, *, overwrite: bool = False) -> dict[str, tuple[int, ...]]:
    """Write the four arrays of the TensorFlow WALS tutorial.

    Its code predicts by ``row[u] @ col[i]`` alone. So a model with a mean or biases gets two more columns,
    ``[x, b_u + μ, 1]`` and ``[y, 1, b_i]``, whose product is the whole prediction.

    Parameters
    ----------
    model : Model
        A fitted model.
    out : str or Path
        Directory to make: ``row.npy`` (n_users, k or k + 2), ``col.npy`` (n_items, k or k + 2), ``user.npy``
        (n_users,) and ``item.npy`` (n_items,) with the ids.
    overwrite : bool, default False
        Whether an existing directory is replaced.

    Returns
    -------
    dict of str to tuple of int
        The shape of each array written.

    Raises
    ------
    ModelError
        When `out` exists and `overwrite` is false, or it is not such a directory.
    """
    f = model.factors
    row, col = np.asarray(f.users.factors), np.asarray(f.items.factors)
    if f.mean or f.users.bias.any() or f.items.bias.any():
        ones_u, ones_i = np.ones((len(row), 1), row.dtype), np.ones((len(col), 1), col.dtype)
        row = np.hstack([row, (np.asarray(f.users.bias) + row.dtype.type(f.mean))[:, None], ones_u])
        col = np.hstack([col, ones_i, np.asarray(f.items.bias)[:, None]])
    arrays = {
        "row": row,
        "col": col,
        "user": _plain(model.users),
        "item": _plain(model.items),
    }
    try:
        with atomic.directory(out, overwrite=overwrite, holding="row.npy") as part:
            for name, array in arrays.items():
                save_array(part / f"{name}.npy", array)
    except FileExistsError as error:
        raise ModelError(str(error)) from error
    return {name: array.shape for name, array in arrays.items()}


def _plain(table: IdTable) -> Array:
    """Return ids as the tutorial's files have them: text at one width, which needs no pickle."""
    return table.ids.astype(str) if table.is_text else table.ids
