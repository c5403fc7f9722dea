"""A scheduler of Ray Tune's, or one's own, that a specification names to stop trials early."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tune.spec.checks import MistakesError
from tune.spec.metric import SearchMetric
from tune.spec.own_class import OwnClass

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

TIME = "training_iteration"
_OURS = "walslab gives it: the study's metric after each `training_iteration`"
_TRAINABLE = "run tune.WALSTrainable in a Tuner of your own for it (docs/ray-tune.md)"
# Classes of Ray's, and what each does beside letting a trial go on or stop.
_DOES_MORE = {
    "HyperBandScheduler": "pauses trials until others come as far",
    "PopulationBasedTraining": "changes the configurations of running trials",
    "PopulationBasedTrainingReplay": "changes the configurations of running trials",
    "PB2": "changes the configurations of running trials",
    "ResourceChangingScheduler": "changes the resources of running trials",
}


@dataclass(frozen=True)
class OwnScheduler(OwnClass["TrialScheduler"]):
    """A subclass of ``ray.tune.schedulers.TrialScheduler`` that stops trials, and its arguments.

    It is asked after each iteration of a trial, on Ray, in this process and in virtual time alike.
    """

    base: ClassVar[str] = "ray.tune.schedulers.TrialScheduler"
    example: ClassVar[str] = "{class: ray.tune.schedulers.ASHAScheduler, grace_period: 3}"
    given: ClassVar[Mapping[str, str]] = {"metric": _OURS, "mode": _OURS, "time_attr": _OURS}

    def make(self, metric: SearchMetric, max_iterations: int) -> TrialScheduler:
        """Return a new scheduler.

        Parameters
        ----------
        metric : SearchMetric
            What it judges trials by, after each ``training_iteration``.
        max_iterations : int
            Its ``max_t``, where it has one that is not among the arguments.

        Raises
        ------
        MistakesError
            When it cannot be made, does more than to stop trials, or would stop none.
        """
        self._refuse(self.name)
        made = self.imported()
        for ancestor in made.__mro__:
            self._refuse(ancestor.__name__)
        scheduler = self._made(time_attr=TIME, max_t=max_iterations)
        scheduler.set_search_properties(metric.key, metric.mode)
        if lines := list(_useless(_values(made, self.arguments), max_iterations)):
            raise MistakesError(lines)
        return scheduler

    def _refuse(self, name: str) -> None:
        if name in _DOES_MORE:
            raise MistakesError(
                [f".class {self.path} {_DOES_MORE[name]}, which a study does not: {_TRAINABLE}"]
            )


def _useless(values: Mapping[str, Any], max_iterations: int) -> Iterator[str]:
    """Yield the arguments with which a scheduler stops no trial."""
    grace = values.get("grace_period")
    if isinstance(grace, int | float) and grace > max_iterations:
        yield (
            f".grace_period must not be above the {max_iterations} iterations of a trial, but is {grace:g}: "
            "no trial would be stopped"
        )
    if values.get("hard_stop") is False:
        yield f".hard_stop must be true, because a study does not pause trials: {_TRAINABLE}"


def _values(made: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a constructor's parameters, those that have only a default included."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(made).parameters.items()}
    return {**defaults, **arguments}
