"""What one training produces: the factors and biases of both sides, and their plain files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config import WALSConfig
from toolkit.errors import ModelError
from toolkit.predictor import Predictor, Side

_FORMAT = "walslab-factors"
_VERSION = 2
_ARRAYS = ("user_factors", "item_factors", "user_bias", "item_bias")
_PATTERN = "item_pattern"


@dataclass(frozen=True)
class Factors(Predictor):
    """The fitted numbers of one training.

    Attributes
    ----------
    users, items, mean, scale
        As `Predictor`.
    config : WALSConfig
        The hyperparameters they were fitted with.
    iterations : int
        Iterations done, which early stopping makes fewer than ``config.iterations``.
    item_pattern, user_pattern : array of float, shape (n_items, k) and (n_users, k), or None
        What the users' and the items' factors explain who rated what with (`toolkit.solver.pattern`), as it
        was when they were solved; None without a ``pattern_weight``.
    """

    config: WALSConfig
    iterations: int
    item_pattern: Any = None
    user_pattern: Any = None

    def save(self, path: str | Path, **facts: Any) -> None:
        """Write ``factors.json`` and four or five ``.npy`` files into the existing directory `path`.

        Parameters
        ----------
        path : str or Path
            Where to write.
        **facts
            JSON values to keep beside the factors, such as the RMSE they reached.
        """
        path = Path(path)
        arrays = (self.users.factors, self.items.factors, self.users.bias, self.items.bias)
        for name, array in zip(_ARRAYS, arrays, strict=True):
            np.save(path / f"{name}.npy", np.asarray(array), allow_pickle=False)
        # That of the users follows from the items' factors.
        if self.item_pattern is not None:
            np.save(path / f"{_PATTERN}.npy", np.asarray(self.item_pattern), allow_pickle=False)
        meta = {
            "format": _FORMAT,
            "format_version": _VERSION,
            "config": self.config.to_dict(),
            "mean": self.mean,
            "iterations": self.iterations,
            "scale": self.scale,
            "pattern": self.item_pattern is not None,
            **facts,
        }
        (path / "factors.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Factors:
        """Read what `save` wrote; the arrays are mapped from the files, not read.

        Raises
        ------
        ModelError
            When a file is missing, malformed, or of another format version.
        """
        path = Path(path)
        meta = read_meta(path / "factors.json", _FORMAT, _VERSION)
        user_factors, item_factors, user_bias, item_bias = (read_array(path / f"{n}.npy") for n in _ARRAYS)
        try:
            config = WALSConfig.from_dict(meta["config"])
            mean, iterations = float(meta["mean"]), int(meta["iterations"])
            scale = None if meta["scale"] is None else (float(meta["scale"][0]), float(meta["scale"][1]))
            pattern = read_array(path / f"{_PATTERN}.npy") if meta["pattern"] else None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"{path / 'factors.json'} is not as it was written: {error!r}") from error
        k = config.factors
        for name, factors, bias in (("user", user_factors, user_bias), ("item", item_factors, item_bias)):
            if factors.ndim != 2 or factors.shape[1] != k or bias.shape != factors.shape[:1]:
                raise ModelError(
                    f"{path}: {name}_factors.npy must have shape (n, {k}) and {name}_bias.npy (n,), "
                    f"but got {factors.shape} and {bias.shape}"
                )
        if pattern is not None and pattern.shape != item_factors.shape:
            raise ModelError(
                f"{path}: {_PATTERN}.npy must have shape {item_factors.shape}, but has {pattern.shape}"
            )
        return cls(
            Side(user_factors, user_bias),
            Side(item_factors, item_bias),
            mean,
            config,
            iterations,
            pattern,
            scale=scale,
        )


def read_array(path: Path) -> np.ndarray[Any, Any]:
    """Return the array of a ``.npy`` file, mapped from it; nothing is unpickled.

    Raises
    ------
    ModelError
        When the file is missing, cut short, or no plain array.
    """
    try:
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: copy the whole directory, or train the model again") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not a readable array: {error}; train the model again") from error


def read_meta(path: Path, format_: str, version: int) -> dict[str, Any]:
    """Return a format's JSON header.

    Raises
    ------
    ModelError
        When the file is missing or malformed, or states another format or version.
    """
    try:
        meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{path.parent} is not a {format_} directory: it has no {path.name}") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(meta, dict):
        raise ModelError(f"{path} must hold a JSON object, but holds {type(meta).__name__}")
    found = (meta.get("format"), meta.get("format_version"))
    if found != (format_, version):
        raise ModelError(
            f"{path} must state format {format_!r} version {version}, "
            f"but states {found[0]!r} version {found[1]!r}: train the model again"
        )
    return meta
