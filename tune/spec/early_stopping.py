"""What ends a trial before its last iteration, as a specification states it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune.spec.reader import Reader, absent


@dataclass(frozen=True)
class EarlyStopping:
    """Ends a trial for other trials, or for its own standstill.

    Attributes
    ----------
    grace_iterations : int
        Iterations that no other trial ends.
    reduction_factor : float or None
        Asynchronous successive halving (Li et al., MLSys 2020): a trial goes on while it is among the best
        ``1 / reduction_factor`` at a rung. None: no trial is ended by others.
    patience : int
        Iterations without progress on the validation ratings after which a trial ends itself, with the
        factors of its best iteration; 0: never.
    """

    grace_iterations: int
    reduction_factor: float | None
    patience: int = 0

    @classmethod
    def read(cls, value: Any, default: Mapping[str, Any], read: Reader) -> EarlyStopping | None:
        """Return what a document says; None where every trial does all its iterations.

        Parameters
        ----------
        value : mapping or "none" or None
            The value of ``early_stopping``.
        default : mapping
            What keys that are left out hold.
        read : Reader
            Receives every mistake found.
        """
        if absent(value):
            return None
        section = read.section(value, "early_stopping", default)
        grace, factor, patience = (
            section[key] for key in ("grace_iterations", "reduction_factor", "patience")
        )
        if absent(factor) and patience == 0:
            read.problems.append(
                "early_stopping stops nothing with `reduction_factor: none` and `patience: 0`: "
                "use `early_stopping: none`"
            )
        if factor == 1:
            read.problems.append(
                "early_stopping.reduction_factor must be above 1, but got 1: use `early_stopping: none`"
            )
        return cls(
            read.whole(grace, "early_stopping.grace_iterations", 1),
            None
            if absent(factor)
            else read.real(factor, "early_stopping.reduction_factor", 1, alternative=", or none"),
            read.whole(patience, "early_stopping.patience", 0),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the form it has in a specification."""
        return {**dataclasses.asdict(self), "reduction_factor": self.reduction_factor or "none"}
