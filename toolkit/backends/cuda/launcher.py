"""Launching kernels on the device of CuPy; tests bring a launcher that runs them on the processor."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple, Protocol

import numpy as np

from toolkit.arrays import ArrayModule
from toolkit.backends.cuda.kernels import compiled
from toolkit.backends.cuda.shape import Shape


class Kernel(NamedTuple):
    """A kernel: the file that has it, its name, and the tiles and column type that it is compiled for."""

    file: str
    name: str
    shape: Shape
    column: str


class Launcher(Protocol):
    """What the row solver needs of a device.

    Attributes
    ----------
    xp : module
        The module whose arrays the kernels work on.
    multiprocessors : int
        Multiprocessors of the device.
    """

    xp: ArrayModule
    multiprocessors: int

    def __call__(self, kernel: Kernel, grid: int, block: int, *args: Any, shared: int = 0) -> None:
        """Launch a kernel.

        Parameters
        ----------
        kernel : Kernel
            The kernel.
        grid, block : int
            Blocks, and threads of each.
        *args
            Arrays, NumPy scalars of the types of the parameters, and None for a null pointer.
        shared : int
            Bytes of shared memory of each block.
        """


class CuPyLauncher:
    """Launches on CuPy's current device and stream, and does not wait for the device."""

    def __init__(self) -> None:
        self.xp = importlib.import_module("cupy")
        self.multiprocessors = int(self.xp.cuda.Device().attributes["MultiProcessorCount"])

    def __call__(self, kernel: Kernel, grid: int, block: int, *args: Any, shared: int = 0) -> None:
        """Launch a kernel."""
        passed = tuple(np.uint64(0) if arg is None else arg for arg in args)
        compiled(*kernel, shared_bytes=shared)((grid,), (block,), passed, shared_mem=shared)
