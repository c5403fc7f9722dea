"""The rules that end a trial before its last iteration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from toolkit.config import Range
from tune.spec.checks import Part, checked, read
from tune.spec.own_scheduler import OwnScheduler

_ITERATIONS = 1_000_000


@dataclass(frozen=True)
class EarlyStopping(Part):
    """The two rules: other trials are better, or the trial itself makes no progress.

    Attributes
    ----------
    grace_iterations : int
        The first iterations, in which no other trial ends this one.
    reduction_factor : float or None
        Asynchronous successive halving (Li et al., MLSys 2020): a trial goes on while it is among the best
        ``1 / reduction_factor`` at a rung. None: other trials end no trial. Nearer to 1 than 1.01 there
        would be more rungs than iterations.
    patience : int
        After so many iterations without progress on the validation ratings a trial ends itself, with the
        factors of its best iteration; 0: never.
    """

    grace_iterations: Annotated[int, checked(Range(1, _ITERATIONS, integer=True))]
    reduction_factor: Annotated[float | None, checked(Range(1.01, 10_000), "none")]
    patience: Annotated[int, checked(Range(0, _ITERATIONS, integer=True))] = 0

    @classmethod
    def read(cls, document: object) -> EarlyStopping | OwnScheduler | None:
        """Return the rules that a document states, a scheduler for a ``class``, None for ``none`` and null.

        Raises
        ------
        MistakesError
            Listing every mistake.
        """
        if document is None or document == "none":
            return None
        if isinstance(document, Mapping) and "class" in document:
            return OwnScheduler.read(document)
        return read(cls, document)

    def contradictions(self) -> Iterator[str]:
        """Yield a mistake where no rule is left."""
        if self.reduction_factor is None and self.patience == 0:
            yield (
                " stops nothing with `reduction_factor: none` and `patience: 0`: use `early_stopping: none`"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the form that the rules have in a specification."""
        return {**dataclasses.asdict(self), "reduction_factor": self.reduction_factor or "none"}
