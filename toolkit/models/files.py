"""A model as a directory: plain ``.npy`` arrays and JSON, complete or not there, nothing pickled."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from toolkit.config import RunOptions
from toolkit.datasets.ids import IdTable
from toolkit.errors import ModelError
from toolkit.files import atomic
from toolkit.solver import Factors, read_array, read_meta

if TYPE_CHECKING:
    from toolkit.models.base import Model
    from toolkit.models.wals import WALS

_FORMAT = "walslab-model"
_VERSION = 3
_HEADER = "model.json"
_ARRAYS = ("user_ids", "item_ids", "item_counts", "rated_indptr", "rated_items", "ratings")
_TITLES = "item_titles"
_MEMBERS = "members"


def save(model: Model, path: str | Path, *, overwrite: bool = False, **facts: Any) -> None:
    """Write a model; as `toolkit.Model.save`.

    An ensemble has ``members/0``, ``members/1``, … with the factors of each, and all else once.
    """
    from toolkit.models.ensemble import Ensemble
    from toolkit.models.wals import WALS

    check_target(path, overwrite=overwrite)
    titles = None if model.titles is None else np.asarray(model.titles).astype(str)
    if titles is not None and titles.shape != (len(model.items),):
        raise ModelError(f"titles must be {len(model.items)}, one for each item, but are {titles.shape}")
    with atomic.directory(path, overwrite=overwrite, holding=_HEADER) as part:
        own: dict[str, Any] = {}
        if isinstance(model, WALS):
            model.factors.save(part)
            own = {"config": model.config.to_dict(), **_training(model)}
        elif isinstance(model, Ensemble):
            for at, member in enumerate(model.members):
                folder = part / _MEMBERS / str(at)
                folder.mkdir(parents=True)
                member.factors.save(folder)
            own = {
                "members": len(model.members),
                "weights": model.weights,
                "trainings": [_training(member) for member in model.members],
            }
        rated = model.rated
        arrays = (
            model.users.ids,
            model.items.ids,
            model.item_counts,
            rated.indptr,
            rated.indices,
            rated.data,
        )
        for name, array in zip(_ARRAYS, arrays, strict=True):
            np.save(part / f"{name}.npy", np.asarray(array), allow_pickle=False)
        if titles is not None:
            np.save(part / f"{_TITLES}.npy", titles, allow_pickle=False)
        meta = {
            "format": _FORMAT,
            "format_version": _VERSION,
            **own,
            "dataset_digest": model.dataset_digest,
            "n_users": len(model.users),
            "n_items": len(model.items),
            "titles": titles is not None,
            **facts,
        }
        (part / _HEADER).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def load(path: str | Path) -> Model:
    """Read a model of any kind; as `toolkit.Model.load`."""
    from toolkit.models.ensemble import Ensemble
    from toolkit.models.wals import WALS

    path = Path(path)
    meta = read_meta(path / _HEADER, _FORMAT, _VERSION)
    n_members = meta.get("members")
    if n_members is None:
        factors = [Factors.load(path)]
    elif isinstance(n_members, int) and n_members > 0:
        factors = [Factors.load(path / _MEMBERS / str(at)) for at in range(n_members)]
    else:
        raise ModelError(
            f"{path / _HEADER} must have a whole number above 0 as members, but has {n_members!r}"
        )
    arrays = _arrays(path, factors)
    titles = read_array(path / f"{_TITLES}.npy") if meta.get("titles") else None
    if titles is not None and titles.shape != arrays[1].shape:
        raise ModelError(
            f"{path / _TITLES}.npy must have shape {arrays[1].shape}, but has {titles.shape}: train the "
            "model again"
        )
    try:
        shape = (len(arrays[0]), len(arrays[1]))
        rated = sp.csr_matrix((arrays[5], arrays[4], arrays[3]), shape=shape)
        users, items = IdTable(arrays[0], "user"), IdTable(arrays[1], "item")
        models = []
        for own, training in zip(factors, [meta] if n_members is None else meta["trainings"], strict=True):
            model = WALS(own.config, RunOptions(**training["options"]))
            model.history, model.dataset_digest = training["history"], meta["dataset_digest"]
            model.take(own, users=users, items=items, item_counts=arrays[2], rated=rated)
            model.titles = titles
            models.append(model)
        return models[0] if n_members is None else Ensemble(models, list(meta["weights"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path / _HEADER} is not as it was written: {error!r}") from error


def _training(model: WALS) -> dict[str, Any]:
    return {"options": asdict(model.options), "history": model.history}


def _arrays(path: Path, factors: list[Factors]) -> list[Any]:
    """Return what is there once, checked against the factors."""
    arrays = [read_array(path / f"{name}.npy") for name in _ARRAYS]
    sizes = [(len(f.users.bias), len(f.items.bias)) for f in factors]
    n_users, n_items = sizes[0]
    for at, (users, items) in enumerate(sizes):
        if (users, items) != sizes[0]:
            raise ModelError(
                f"{path / _MEMBERS / str(at)} must be of {n_users} users and {n_items} items, as member 0, "
                f"but is of {users} and {items}: train the model again"
            )
    n_rated = int(arrays[3][-1]) if arrays[3].shape == (n_users + 1,) else 0
    sizes_wanted = (n_users, n_items, n_items, n_users + 1, n_rated, n_rated)
    for name, array, size in zip(_ARRAYS, arrays, sizes_wanted, strict=True):
        if array.shape != (size,):
            raise ModelError(
                f"{path / name}.npy must have shape ({size},) for {n_users} users and {n_items} items, "
                f"but has {array.shape}: train the model again"
            )
    return arrays


def check_target(path: str | Path, *, overwrite: bool) -> None:
    """Refuse, before any training, a path that `save` would refuse.

    Raises
    ------
    ModelError
        When `path` exists and `overwrite` is false, or it is not a model directory.
    """
    try:
        atomic.check_free(Path(path), overwrite=overwrite, holding=_HEADER)
    except FileExistsError as error:
        raise ModelError(str(error)) from error
