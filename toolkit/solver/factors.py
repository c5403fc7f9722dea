"""What one training produces: the factors and biases of both sides, and their plain files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays import Array, DeviceArray
from toolkit.config import WALSConfig
from toolkit.errors import ModelError
from toolkit.files import save_array
from toolkit.predictor import Predictor, Side
from toolkit.solver.prior import Prior

_FORMAT = "walslab-factors"
_VERSION = 3
_ARRAYS = ("user_factors", "item_factors", "user_bias", "item_bias")
_PATTERN = "item_pattern"
_PRIORS = ("user_prior", "item_prior")


@dataclass(frozen=True)
class Factors(Predictor):
    """The fitted numbers of one training.

    Attributes
    ----------
    users, items : Side
        Factors and biases, in host memory or on the device.
    mean : float
        Global mean μ; 0 with ``bias="none"`` and ``scale="none"``.
    scale : tuple of float, or None
        Smallest and largest rating, to which predictions are clipped; None where they are not.
    config : WALSConfig
        The hyperparameters that the factors were fitted with.
    iterations : int
        Iterations done; fewer than ``config.iterations`` after early stopping.
    spread : float
        σ, the standard deviation of the training ratings, in which the objective measures ratings; 1 with
        ``scale="none"``.
    item_pattern, user_pattern : array of float, shape (n_items, k) and (n_users, k), or None
        Pattern factors (`toolkit.solver.pattern`) that the users, and the items, were last solved with; None
        without a ``pattern_weight``.
    user_prior, item_prior : Prior or None
        What the users, and the items, were drawn to in place of the penalties, in a posterior.
    """

    config: WALSConfig
    iterations: int
    item_pattern: DeviceArray | None = None
    user_pattern: DeviceArray | None = None
    spread: float = field(default=1.0, kw_only=True)
    user_prior: Prior | None = field(default=None, kw_only=True)
    item_prior: Prior | None = field(default=None, kw_only=True)

    def mapped(self, function: Callable[[DeviceArray], DeviceArray]) -> Factors:
        """Return the same numbers with every array put through a function, such as one that moves it."""
        user_pattern, item_pattern = (
            None if pattern is None else function(pattern)
            for pattern in (self.user_pattern, self.item_pattern)
        )
        return replace(
            self,
            users=Side(*map(function, self.users)),
            items=Side(*map(function, self.items)),
            user_pattern=user_pattern,
            item_pattern=item_pattern,
        )

    def save(self, path: str | Path, **facts: Any) -> None:
        """Write ``factors.json`` and four to seven ``.npy`` files into the existing directory `path`.

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
            save_array(path / f"{name}.npy", array)
        # The users' pattern factors follow from the items' factors, and are not written.
        if self.item_pattern is not None:
            save_array(path / f"{_PATTERN}.npy", self.item_pattern)
        for name, prior in zip(_PRIORS, (self.user_prior, self.item_prior), strict=True):
            if prior is not None:
                save_array(path / f"{name}.npy", prior.to_array())
        meta = {
            "format": _FORMAT,
            "format_version": _VERSION,
            "config": self.config.to_dict(),
            "mean": self.mean,
            "spread": self.spread,
            "iterations": self.iterations,
            "scale": self.scale,
            "pattern": self.item_pattern is not None,
            "priors": self.user_prior is not None,
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
            spread = float(meta["spread"])
            mean, iterations = float(meta["mean"]), int(meta["iterations"])
            scale = None if meta["scale"] is None else (float(meta["scale"][0]), float(meta["scale"][1]))
            pattern = read_array(path / f"{_PATTERN}.npy") if meta["pattern"] else None
            stored = _PRIORS if meta.get("priors", False) else ()
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
        priors = [_read_prior(path / f"{name}.npy", k + (config.bias == "full")) for name in stored]
        user_prior, item_prior = priors or (None, None)
        return cls(
            Side(user_factors, user_bias),
            Side(item_factors, item_bias),
            mean,
            config,
            iterations,
            pattern,
            scale=scale,
            spread=spread,
            user_prior=user_prior,
            item_prior=item_prior,
        )


def _read_prior(path: Path, m: int) -> Prior:
    table = np.array(read_array(path), np.float64)
    if table.shape != (m + 3, m):
        raise ModelError(f"{path} must have shape {(m + 3, m)}, but has {table.shape}: train the model again")
    return Prior.from_array(table)


def read_array(path: Path) -> Array:
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
