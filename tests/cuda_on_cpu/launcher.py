"""A launcher that runs kernels on the processor, in an order of the test's choice."""

from __future__ import annotations

import numpy as np
from cuda_on_cpu.build import module
from device_arrays import DeviceArray, host_of

from toolkit.backends.cuda.kernels import defines_of
from toolkit.backends.cuda.shape import SHARED_LIMIT


class ProcessorLauncher:
    """Launches kernels of the very sources on arrays of NumPy, or of CuPy's stand-in, block after block."""

    def __init__(self, order=0, multiprocessors=2, xp=np):
        self.xp = xp
        self.order = order
        self.multiprocessors = multiprocessors
        self.launched = []

    def __call__(self, kernel, grid, block, *args, shared=0):
        # What a GPU refuses, or does not have on every generation.
        assert grid >= 1
        assert 1 <= block <= 1024
        assert shared <= SHARED_LIMIT
        self.launched.append(kernel.name)
        compiled = module(kernel.file, tuple(defines_of(kernel.shape, kernel.column).items()))
        passed = (host_of(arg) if isinstance(arg, DeviceArray) else arg for arg in args)
        getattr(compiled, kernel.name)(grid, block, *passed, shared=shared, order=self.order)
