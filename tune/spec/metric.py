"""What a search minimises or maximises on the validation ratings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
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
    def parse(cls, text: Any) -> SearchMetric | None:
        """Return the metric that ``rmse``, ``recall@10`` or ``ndcg@20`` stands for, or None."""
        if text == "rmse":
            return cls()
        found = re.fullmatch(rf"({'|'.join(_RANKINGS)})@([1-9][0-9]{{0,5}})", str(text))
        return cls(found[1], int(found[2])) if found else None

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return f"{self.name}@{self.k}" if self.k else self.name

    @property
    def key(self) -> str:
        """Its name among the metrics of a run; MLflow allows no @ in one."""
        return f"valid_{self.name}_{self.k}" if self.k else "valid_rmse"

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of all that is measured for it after each iteration, beside RMSE."""
        return tuple(f"valid_{name}_{self.k}" for name in _RANKINGS) if self.k else ()

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"valid {self.name}@{self.k}" if self.k else "valid RMSE"

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether less of it is better, or more."""
        return "max" if self.k else "min"

    def value(self, result: Mapping[str, Any]) -> float | None:
        """Return the figure of a result, or None where it has none."""
        found = result.get(self.key)
        return None if found is None else float(found)

    def loss(self, value: float | None) -> float:
        """Return what is smaller the better a figure is; infinite for none and for NaN."""
        if value is None or math.isnan(value):
            return math.inf
        return -value if self.mode == "max" else value
