"""The kernels' sources, and what CuPy compiles from them; compiled once for each rank and process."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.backends.cuda.shape import Shape

_FOLDER = Path(__file__).parent
# What each file of kernels is compiled behind, in this order.
_BEFORE = {
    "table": ("common",),
    "metrics": ("common",),
    "rows": ("common", "staging", "products", "solution"),
    "mend": ("common", "staging", "products", "solution"),
}
# No contraction or reordering but what is written, so that the same numbers come out of every compiler.
OPTIONS = ("--std=c++17", "--fmad=false")


def source(name: str, defines: Mapping[str, Any]) -> str:
    """Return the source of a file of kernels, whole.

    Parameters
    ----------
    name : {"table", "metrics", "rows", "mend"}
        Which file.
    defines : mapping
        The macros that it wants: `defines_of`.
    """
    lines = [f"#define {key} {value}" for key, value in defines.items()]
    for part in (*_BEFORE[name], name):
        # Errors are told with the file's own lines.
        lines += [f'#line 1 "{part}.cu"', (_FOLDER / f"{part}.cu").read_text(encoding="utf-8")]
    return "\n".join(lines)


def defines_of(shape: Shape, column: str) -> dict[str, Any]:
    """Return the macros of the kernels of a shape.

    Parameters
    ----------
    shape : Shape
        The exact one for ``mend``.
    column : {"int", "long long"}
        Type of the column numbers.
    """
    return {**shape.defines(), "COLUMN": column}


@functools.cache
def compiled(file: str, name: str, shape: Shape, column: str, *, shared_bytes: int) -> Any:
    """Return a kernel, compiled for the device in use.

    Parameters
    ----------
    file : str
        As `source`.
    name : str
        Of the kernel.
    shape : Shape
        What it is compiled for.
    column : str
        As `defines_of`.
    shared_bytes : int
        Shared memory that its launches take.
    """
    found = _module(file, shape, column).get_function(name)
    # Without asking, a block gets 48 KiB.
    if shared_bytes > 48 << 10:
        found.max_dynamic_shared_size_bytes = shared_bytes
    return found


@functools.cache
def _module(file: str, shape: Shape, column: str) -> Any:
    cupy = importlib.import_module("cupy")
    return cupy.RawModule(code=source(file, defines_of(shape, column)), options=OPTIONS)
