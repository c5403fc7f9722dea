"""Where kernels are launched: on CuPy's device; tests bring a launcher that runs them on the processor."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple, Protocol

import numpy as np

from toolkit.backends.cuda.kernels import compiled
from toolkit.backends.cuda.shape import Shape


class Kernel(NamedTuple):
    """A kernel: its file and name, and what it is compiled for, as in `toolkit.backends.cuda.kernels`."""

    file: str
    name: str
    shape: Shape
    column: str


class Launcher(Protocol):
    """What `toolkit.backends.cuda.solver` needs of a device.

    Attributes
    ----------
    xp : module
        Whose arrays the kernels work on.
    multiprocessors : int
        How many the device has.
    """

    xp: Any
    multiprocessors: int

    def __call__(self, kernel: Kernel, grid: int, block: int, *args: Any, shared: int = 0) -> None:
        """Launch a kernel.

        Parameters
        ----------
        kernel : Kernel
            Which.
        grid, block : int
            Blocks, and threads of each.
        *args
            Arrays, NumPy scalars of the parameters' types, and None for a null pointer.
        shared : int
            Bytes of shared memory of a block.
        """


class CuPyLauncher:
    """Launches on CuPy's current device and stream; nothing here waits for the device."""

    def __init__(self) -> None:
        self.xp = importlib.import_module("cupy")
        self.multiprocessors = int(self.xp.cuda.Device().attributes["MultiProcessorCount"])

    def __call__(self, kernel: Kernel, grid: int, block: int, *args: Any, shared: int = 0) -> None:
        """Launch a kernel."""
        passed = tuple(np.uint64(0) if arg is None else arg for arg in args)
        compiled(*kernel, shared_bytes=shared)((grid,), (block,), passed, shared_mem=shared)
