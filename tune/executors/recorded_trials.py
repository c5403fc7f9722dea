"""Figures of finished trials, looked up by configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from toolkit.arrays import FloatArray
from toolkit.errors import StudyError
from tune.spec import Choices, Fixed

if TYPE_CHECKING:
    from toolkit.config import WALSConfig
    from tune.spec import Domain, SearchSpec
    from tune.study import TrialResult


@dataclass(frozen=True)
class Recording:
    """What a training would report.

    Attributes
    ----------
    history : mapping of str to sequence of float
        ``valid_rmse``, ``train_rmse``, ``seconds`` and the figures of a ranking after each iteration.
        ``seconds`` is what the iteration takes. With fewer iterations than the configuration asks for, the
        trial ends where the figures end.
    reason : str or None
        Why the training fails after these iterations; None where it does not fail.
    """

    history: Mapping[str, Sequence[float]]
    reason: str | None = None


Surface: TypeAlias = "Callable[[WALSConfig], Recording]"
"""Returns what the training of a configuration would report; an error that it raises fails the trial."""


class RecordedTrials:
    """A table of finished trials; a configuration that is not in it gets the figures of the nearest one.

    Near means near in the searched space: the Euclidean distance with every range scaled to 0 to 1 (on its
    own scale, such as ``log``), and a distance of 1 between two choices.

    Parameters
    ----------
    spec : SearchSpec
        The space to measure in.
    trials : iterable of TrialResult
        For example the trials of a study.

    Raises
    ------
    StudyError
        When there is no trial.
    """

    def __init__(self, spec: SearchSpec, trials: Iterable[TrialResult]) -> None:
        from toolkit.config import WALSConfig

        self._spec = spec
        self._searched = {name: domain for name, domain in spec.space.items() if domain.searched}
        self._trials = list(trials)
        if not self._trials:
            raise StudyError("a table of trials must hold one at least, but it is empty: run a study first")
        self._positions = np.array(
            [self._position(WALSConfig.from_dict(trial["config"])) for trial in self._trials]
        )

    def __call__(self, config: WALSConfig) -> Recording:
        """Return what the nearest trial reported, the first of equally near ones."""
        distances = ((self._positions - self._position(config)) ** 2).sum(axis=1)
        nearest = self._trials[int(distances.argmin())]
        return Recording(nearest["history"], nearest["reason"])

    def _position(self, config: WALSConfig) -> FloatArray:
        """Return where a configuration is in the searched space, shape (n_coordinates,)."""
        sampled = self._spec.sample_of(config)[0]
        coordinates = [
            coordinate
            for name, domain in self._searched.items()
            for coordinate in _coordinates(domain, sampled.get(name))
        ]
        return np.array(coordinates, dtype=np.float64)


def _coordinates(domain: Domain, sampled: Any) -> list[float]:
    """Return the coordinates of a hyperparameter, between 0 and 1."""
    if isinstance(domain, Fixed):
        return []
    if isinstance(domain, Choices):
        # Two unequal choices differ in two coordinates: together that is a distance of 1.
        return [float(choice == sampled) / math.sqrt(2) for choice in domain.values]
    low, high, value = (
        math.log(number) if domain.scale != "linear" else float(number)
        for number in (*domain.bounds, sampled)
    )
    return [(value - low) / (high - low)]
