"""The backend of Numba: loops that are compiled for this processor when they are first called."""

from __future__ import annotations

from toolkit.backends.numba.backend import NumbaBackend

__all__ = ["NumbaBackend"]
