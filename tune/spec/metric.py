"""The figure that a search minimises or maximises on the validation ratings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_RANKINGS = ("recall", "ndcg")


@dataclass(frozen=True)
class SearchMetric:
    """The figure that trials are compared by.

    Attributes
    ----------
    name : {"rmse", "recall", "ndcg"}
    k : int
        How many items are recommended; 0 for RMSE.
    """

    name: str = "rmse"
    k: int = 0

    @classmethod
    def parse(cls, text: object) -> SearchMetric | None:
        """Return the metric that ``rmse``, ``recall@10`` or ``ndcg@20`` stands for, or None."""
        if text == "rmse":
            return cls()
        ranking = re.fullmatch(rf"({'|'.join(_RANKINGS)})@([1-9][0-9]{{0,5}})", str(text))
        return cls(ranking[1], int(ranking[2])) if ranking else None

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.name}@{self.k}" if self.k else self.name

    @property
    def key(self) -> str:
        """The name of the figure among the metrics of a run; MLflow allows no @ in a name."""
        return f"valid_{self.name}_{self.k}" if self.k else "valid_rmse"

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the figures that are measured after each iteration, beside RMSE."""
        return tuple(f"valid_{name}_{self.k}" for name in _RANKINGS) if self.k else ()

    @property
    def label(self) -> str:
        """The name of the figure for people."""
        return f"valid {self.name}@{self.k}" if self.k else "valid RMSE"

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether smaller or larger figures are better."""
        return "max" if self.k else "min"

    def value(self, result: Mapping[str, Any]) -> float | None:
        """Return the figure of a trial's result, or None where the result has none."""
        figure = result.get(self.key)
        return None if figure is None else float(figure)

    def loss(self, value: float | None) -> float:
        """Return a loss, which is smaller for a better figure; it is infinite for None and for NaN."""
        if value is None or math.isnan(value):
            return math.inf
        return -value if self.mode == "max" else value

    def losses(self, history: Mapping[str, Sequence[float]]) -> list[float]:
        """Return the loss after each iteration of a trial."""
        return [self.loss(figure) for figure in history.get(self.key, ())]
