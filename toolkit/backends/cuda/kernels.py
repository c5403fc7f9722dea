"""The sources of the kernels, and the kernels that CuPy compiles from them once for each rank and process."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.backends.cuda.shape import Shape

_FOLDER = Path(__file__).parent
# The files that stand before each file of kernels when it is compiled, in this order.
_BEFORE = {
    "table": ("common",),
    "metrics": ("common",),
    "rows": ("common", "staging", "products", "solution"),
    "mend": ("common", "staging", "products", "solution"),
}
# The compiler contracts and reorders nothing by itself, so that every compiler gives the same numbers.
OPTIONS = ("--std=c++17", "--fmad=false")


def source(name: str, defines: Mapping[str, int | str]) -> str:
    """Return the whole source of a file of kernels.

    Parameters
    ----------
    name : {"table", "metrics", "rows", "mend"}
        The file.
    defines : mapping
        The macros that the file needs; `defines_of` returns them.
    """
    lines = [f"#define {key} {value}" for key, value in defines.items()]
    for part in (*_BEFORE[name], name):
        # The compiler's errors name the lines of the file.
        lines += [f'#line 1 "{part}.cu"', (_FOLDER / f"{part}.cu").read_text(encoding="utf-8")]
    return "\n".join(lines)


def defines_of(shape: Shape, column: str) -> dict[str, int | str]:
    """Return the macros of the kernels of a shape.

    Parameters
    ----------
    shape : Shape
        Tiles of the rank; the exact ones for ``mend``.
    column : {"int", "long long"}
        Type of the column numbers.
    """
    return {**shape.defines(), "COLUMN": column}


@functools.cache
def compiled(file: str, name: str, shape: Shape, column: str, *, shared_bytes: int) -> Any:
    """Return a kernel, compiled for the device in use.

    Parameters
    ----------
    file : {"table", "metrics", "rows", "mend"}
        The file that has the kernel.
    name : str
        Name of the kernel.
    shape : Shape
        Tiles that it is compiled for.
    column : {"int", "long long"}
        Type of the column numbers.
    shared_bytes : int
        Shared memory that its launches take.
    """
    kernel = _module(file, shape, column).get_function(name)
    # A block gets 48 KiB; more must be asked for.
    if shared_bytes > 48 << 10:
        kernel.max_dynamic_shared_size_bytes = shared_bytes
    return kernel


@functools.cache
def _module(file: str, shape: Shape, column: str) -> Any:
    cupy = importlib.import_module("cupy")
    return cupy.RawModule(code=source(file, defines_of(shape, column)), options=OPTIONS)
