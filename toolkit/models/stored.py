"""The state of a model of any kind, and its directory: kinds register here, so that loading knows none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from toolkit.arrays import Array, FloatArray, IntArray, Ratings
from toolkit.config import RunOptions
from toolkit.datasets import IdTable
from toolkit.errors import ModelError, NotFittedError
from toolkit.inputs import checked_facts, checked_path, checked_titles
from toolkit.models import files
from toolkit.models.fitted import Fitted
from toolkit.models.posterior import Posterior
from toolkit.predictor import Predictor

# Each kind by the words that only it writes into the header: by these, `load` knows the kind.
_KINDS: dict[frozenset[str], type[StoredModel]] = {}
# Words of a kind that there was once.
_AVERAGED = frozenset(("members", "weights", "trainings"))


class StoredModel(ABC):
    """A model that holds a fitted state, writes it to a directory, and reads it from there."""

    options: RunOptions
    posterior: Posterior | None = None
    _fitted: Fitted[Predictor] | None = None

    def __init_subclass__(cls, *, header_words: Sequence[str] = (), **options: Any) -> None:
        """Register a kind of model, with the words that only this kind writes into the header."""
        super().__init_subclass__(**options)
        if header_words:
            _KINDS[frozenset(header_words)] = cls

    @abstractmethod
    def _header(self) -> dict[str, object]:
        """Return the words of this kind with their values."""

    @abstractmethod
    def _save_factors(self, folder: Path) -> None:
        """Write the factors into a model directory."""

    @classmethod
    @abstractmethod
    def _read(cls, path: Path, header: dict[str, Any]) -> Self:
        """Return the model of a directory of this kind."""

    @property
    def state(self) -> Fitted[Predictor]:
        """All that the model knows, as one object that does not change.

        Raises
        ------
        NotFittedError
            When the model is not fitted.
        """
        if self._fitted is None:
            raise NotFittedError(
                f"this {type(self).__name__} is not fitted: call fit first, or load a model with Model.load"
            )
        return self._fitted

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn whether the model is fitted; only scikit-learn calls this."""
        return self._fitted is not None

    def _with_sizes(self, words: str) -> str:
        """Return the words that show a model, and the sizes of what it was fitted on."""
        if self._fitted is None:
            return words
        n_users, n_items = self._fitted.rated.shape
        ratings = self._fitted.rated.nnz
        return f"{words}, fitted: {n_users:,} users, {n_items:,} items, {ratings:,} ratings"

    @property
    def factors(self) -> Predictor:
        """The numbers that predict, in host memory."""
        return self.state.factors

    @property
    def user_factors(self) -> FloatArray:
        """The factors of the users, shape (n_users, k), read-only; biases are ``factors.users.bias``."""
        return _read_only(self.factors.users.factors)

    @property
    def item_factors(self) -> FloatArray:
        """The factors of the items, shape (n_items, k), read-only; biases are ``factors.items.bias``."""
        return _read_only(self.factors.items.factors)

    @property
    def users(self) -> IdTable:
        """The ids of the users."""
        return self.state.users

    @property
    def items(self) -> IdTable:
        """The ids of the items."""
        return self.state.items

    @property
    def rated(self) -> Ratings:
        """The ratings that the model knows, shape (n_users, n_items)."""
        return self.state.rated

    @property
    def item_counts(self) -> IntArray:
        """The number of ratings of each item, shape (n_items,)."""
        return self.state.item_counts

    @property
    def titles(self) -> Array | None:
        """What people call the items, shape (n_items,), or None."""
        return self.state.titles

    @titles.setter
    def titles(self, titles: Array | None) -> None:
        self._fitted = self.state.with_changes(titles=checked_titles(titles, len(self.items)))

    @property
    def dataset_digest(self) -> str | None:
        """The identity of the dataset that the model was trained on, or None."""
        return self.state.dataset_digest

    @dataset_digest.setter
    def dataset_digest(self, digest: str | None) -> None:
        self._fitted = self.state.with_changes(dataset_digest=digest)

    def save(self, path: str | Path, *, overwrite: bool = False, **facts: object) -> None:
        """Write the model directory: plain ``.npy`` arrays and JSON, complete or not at all.

        Parameters
        ----------
        path : str or Path
            The directory to make.
        overwrite : bool, default False
            Whether an existing model directory is replaced.
        **facts
            JSON values to keep beside the model, such as RMSEs.

        Raises
        ------
        ModelError
            When `path` exists and `overwrite` is false, or it is not a model directory. When a fact has a
            name that the format uses, or is not JSON. When the model is not fitted.
        """
        checked_facts(facts, files.WORDS.union(*_KINDS))
        files.write(path, self.state, self._header(), self._save_factors, overwrite=overwrite, facts=facts)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return the model that `save` wrote; arrays are mapped from the files, and nothing is unpickled.

        ``Model.load`` reads a model of any kind.

        Parameters
        ----------
        path : str or Path
            The directory.

        Raises
        ------
        ConfigError
            When `path` is no path.
        ModelError
            When the directory is not a complete model of this kind and format version.
        """
        path = checked_path("path", path)
        header = files.read_header(path)
        if header.keys() >= _AVERAGED:
            raise ModelError(
                f"{path} is a mean of several trainings, which `walslab refit --ensemble` made and nothing "
                "reads any more: refit its study by `walslab refit STUDY --posterior`, which is better"
            )
        try:
            (kind,) = (kind for words, kind in _KINDS.items() if words <= header.keys())
            model = kind._read(path, header)  # noqa: SLF001 - a kind of this class
        except ModelError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path / files.HEADER} is not as it was written: {error!r}") from error
        if not isinstance(model, cls):
            raise ModelError(f"{path} holds another kind of model: load it with {kind.__name__}.load")
        return model


def _read_only(array: Array) -> FloatArray:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
