"""The search file: its keys, its domains, its metric, and the reader that lists every mistake at once."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tune.spec.default import default_text
from tune.spec.metric import SearchMetric
from tune.spec.space import SCALES, Choices, Domain, Fixed, Interval

if TYPE_CHECKING:
    from tune.spec.early_stopping import EarlyStopping
    from tune.spec.own_sampler import OwnSampler
    from tune.spec.own_scheduler import OwnScheduler
    from tune.spec.search_spec import SearchSpec

# Resolved on first use: they load pydantic, which takes 0.3 s.
_LAZY = {
    "EarlyStopping": "tune.spec.early_stopping",
    "OwnSampler": "tune.spec.own_sampler",
    "OwnScheduler": "tune.spec.own_scheduler",
    "SearchSpec": "tune.spec.search_spec",
}
__all__ = [
    "SCALES",
    "Choices",
    "Domain",
    "EarlyStopping",
    "Fixed",
    "Interval",
    "OwnSampler",
    "OwnScheduler",
    "SearchMetric",
    "SearchSpec",
    "default_text",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
