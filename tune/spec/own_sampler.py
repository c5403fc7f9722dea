"""A sampler that a specification names by its import path: another one of Optuna's, or one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from toolkit.config import Choice
from tune.spec.checks import MistakesError, problem_of
from tune.spec.own_class import OwnClass

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

SAMPLERS = ("tpe", "gp", "random")


@dataclass(frozen=True)
class OwnSampler(OwnClass["BaseSampler"]):
    """A subclass of ``optuna.samplers.BaseSampler`` and its arguments.

    Trials say by the name of the class what proposed them.
    """

    base: ClassVar[str] = "optuna.samplers.BaseSampler"
    example: ClassVar[str] = "{class: optuna.samplers.CmaEsSampler, n_startup_trials: 5}"
    given: ClassVar[Mapping[str, str]] = {"seed": "the key `seed` of the specification gives it"}

    def make(self, seed: int) -> BaseSampler:
        """Return a new sampler; it gets the seed where its constructor takes one.

        Raises
        ------
        MistakesError
            When it cannot be imported, is no sampler, or does not take the arguments.
        """
        return self._made(seed=seed)


def read_sampler(value: object) -> str | OwnSampler:
    """Return the sampler that a specification states, its class not yet imported.

    Raises
    ------
    MistakesError
        Listing every mistake.
    """
    if isinstance(value, Mapping):
        return OwnSampler.read(value)
    if problem := problem_of(value, Choice(SAMPLERS)):
        raise MistakesError([f"{problem}; a sampler of Optuna's or your own is written {OwnSampler.example}"])
    return str(value)
