"""A model as a directory: plain ``.npy`` arrays and JSON, complete or not there, nothing pickled."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit import atomic
from toolkit.config import RunOptions
from toolkit.errors import ConfigError, ModelError
from toolkit.factors import Factors, read_array, read_meta
from toolkit.ids import IdTable

if TYPE_CHECKING:
    from toolkit.wals import WALS

_FORMAT = "walslab-model"
_VERSION = 1
_HEADER = "model.json"
_ARRAYS = ("user_ids", "item_ids", "item_counts", "seen_indptr", "seen_items")


def save(model: WALS, path: str | Path, *, overwrite: bool = False, **facts: Any) -> None:
    """Write a model; as `toolkit.wals.WALS.save`."""
    check_target(path, overwrite=overwrite)
    with atomic.directory(path, overwrite=overwrite, holding=_HEADER) as part:
        model.factors.save(part)
        arrays = (model.users.ids, model.items.ids, model.item_counts, model.seen_indptr, model.seen_items)
        for name, array in zip(_ARRAYS, arrays, strict=True):
            np.save(part / f"{name}.npy", np.asarray(array), allow_pickle=False)
        meta = {
            "format": _FORMAT,
            "format_version": _VERSION,
            "config": model.config.to_dict(),
            "options": asdict(model.options),
            "dataset_digest": model.dataset_digest,
            "n_users": len(model.users),
            "n_items": len(model.items),
            "history": model.history,
            **facts,
        }
        (part / _HEADER).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def load(path: str | Path) -> WALS:
    """Read a model; as `toolkit.wals.WALS.load`."""
    from toolkit.wals import WALS

    path = Path(path)
    meta = read_meta(path / _HEADER, _FORMAT, _VERSION)
    factors = Factors.load(path)
    arrays = [read_array(path / f"{name}.npy") for name in _ARRAYS]
    n_users, n_items = len(factors.users.bias), len(factors.items.bias)
    n_seen = int(arrays[3][-1]) if arrays[3].shape == (n_users + 1,) else 0
    for name, array, size in zip(
        _ARRAYS, arrays, (n_users, n_items, n_items, n_users + 1, n_seen), strict=True
    ):
        if array.shape != (size,):
            raise ModelError(
                f"{path / name}.npy must have shape ({size},) for {n_users} users and {n_items} items, "
                f"but has {array.shape}: train the model again"
            )
    try:
        model = WALS(factors.config, RunOptions(**meta["options"]))
        model.history, model.dataset_digest = meta["history"], meta["dataset_digest"]
        users, items = IdTable(arrays[0], "user"), IdTable(arrays[1], "item")
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelError(f"{path / _HEADER} is not as it was written: {error!r}") from error
    counts, indptr, seen = arrays[2:]
    model.take(factors, users=users, items=items, item_counts=counts, seen_indptr=indptr, seen_items=seen)
    return model


def check_target(path: str | Path, *, overwrite: bool) -> None:
    """Refuse, before any training, a path that `WALS.save` would refuse.

    Raises
    ------
    ModelError
        When `path` exists and `overwrite` is false, or it is not a model directory.
    """
    try:
        atomic.check_free(Path(path), overwrite=overwrite, holding=_HEADER)
    except FileExistsError as error:
        raise ModelError(str(error)) from error
