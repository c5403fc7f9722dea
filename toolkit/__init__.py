"""Ratings in, factors out: ingest, the WALS solver, and models that recommend."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from toolkit.backends import Backend
    from toolkit.config import PRESETS, RunOptions, WALSConfig
    from toolkit.datasets import RatingsDataset
    from toolkit.errors import WalslabError
    from toolkit.ingest import RatingsSource, ingest_ratings, read_ratings, sample_users
    from toolkit.models import WALS, Model
    from toolkit.solver import Trainer

# Resolved on first use: importing the solver must not import Dask, pandas or click.
_EXPORTS = {
    "Backend": "toolkit.backends",
    "Model": "toolkit.models",
    "PRESETS": "toolkit.config",
    "RatingsDataset": "toolkit.datasets",
    "RatingsSource": "toolkit.ingest",
    "RunOptions": "toolkit.config",
    "Trainer": "toolkit.solver",
    "WALS": "toolkit.models",
    "WALSConfig": "toolkit.config",
    "WalslabError": "toolkit.errors",
    "ingest_ratings": "toolkit.ingest",
    "read_ratings": "toolkit.ingest",
    "sample_users": "toolkit.ingest",
}
__all__ = [
    "PRESETS",
    "WALS",
    "Backend",
    "Model",
    "RatingsDataset",
    "RatingsSource",
    "RunOptions",
    "Trainer",
    "WALSConfig",
    "WalslabError",
    "__version__",
    "ingest_ratings",
    "read_ratings",
    "sample_users",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
