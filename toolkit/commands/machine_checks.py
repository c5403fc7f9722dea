"""Checks of a machine: whether it has what the toolkit needs."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable, Iterator
from typing import TypedDict

from toolkit.processors import usable_processors


class Check(TypedDict):
    """The result of one check; `fix` says what to do when `ok` is false."""

    name: str
    ok: bool
    detail: str
    fix: str | None


def versions(packages: Iterable[str]) -> Iterator[Check]:
    """Yield the installed version of each distribution."""
    for package in packages:
        try:
            yield Check(name=package, ok=True, detail=importlib.metadata.version(package), fix=None)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name=package, ok=False, detail="not installed", fix=f"pip install {package}")


def checks() -> Iterator[Check]:
    """Check Python, the numeric libraries, the processors and the GPU; all is well without a GPU."""
    # Only now: other commands must not wait for SciPy.
    from toolkit.backends import cupy_problem

    python = sys.version_info
    yield Check(
        name="python",
        ok=python >= (3, 11),
        detail=".".join(map(str, python[:3])),
        fix=None if python >= (3, 11) else "use Python 3.11, 3.12 or 3.13",
    )
    yield from versions(("numpy", "numba", "scipy", "pandas", "pyarrow", "dask"))
    yield Check(name="processors", ok=True, detail=f"{usable_processors()} usable", fix=None)
    yield Check(name="cupy", ok=True, detail=_cupy_version(), fix=None)
    problem = cupy_problem()
    yield Check(
        name="gpu", ok=True, detail=f"none ({problem}); the CPU is used" if problem else "usable", fix=None
    )


def _cupy_version() -> str:
    # Each version of CUDA has a distribution of its own.
    for name in ("cupy-cuda12x", "cupy-cuda13x", "cupy"):
        try:
            return f"{importlib.metadata.version(name)} ({name})"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed: only a GPU needs it"
