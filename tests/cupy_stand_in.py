"""A stand-in for the parts of CuPy that are used, on NumPy: device arrays are counted, the pool has a limit.

It behaves as CuPy 14 does (`cupy/cuda/memory.pyx`) in what the tests are about: an allocation above the limit
frees what is cached, collects garbage, and then raises `OutOfMemoryError`, a `MemoryError`; blocks that are
let go stay with the pool until `free_all_blocks`; ``CUPY_GPU_MEMORY_LIMIT`` is read when the pool is made. It
knows no streams, no fragments, no rounding to 512 bytes, and lets NumPy read device arrays, as CuPy does not.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.machinery
import os
import sys
import types
import weakref

import numpy as np


class OutOfMemoryError(MemoryError):
    """As `cupy.cuda.memory.OutOfMemoryError`."""

    def __init__(self, size, total, limit):
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes, "
            f"limit set to: {limit:,} bytes)."
        )


class Pool:
    """The memory of one device, and the arrays in it."""

    def __init__(self, total):
        self.total = total
        self._arrays = {}
        self._blocks = {}
        self._used = self._held = self.peak = 0
        said = os.environ.get("CUPY_GPU_MEMORY_LIMIT", "0")
        self._limit = int(total * float(said[:-1]) / 100) if said.endswith("%") else int(said)

    def set_limit(self, size=None, fraction=None):
        self._limit = int(fraction * self.total) if size is None else size

    def get_limit(self):
        return self._limit

    def live(self):
        """Return how many arrays there are, views of others included."""
        return len(self._arrays)

    def used_bytes(self):
        return self._used

    def total_bytes(self):
        return self._held

    def free_all_blocks(self):
        self._held = self._used

    def take(self, array):
        """Count an array, and refuse it where there is no room."""
        root = array
        while root.base is not None:
            root = root.base
        key, block = id(array), id(root)
        # Of a block: how many arrays are in it, and its bytes.
        n, size = self._blocks.get(block, (0, root.nbytes))
        self._blocks[block] = (n + 1, size)
        self._arrays[key] = weakref.ref(array, lambda _: self._drop(key, block))
        self._used += 0 if n else size
        limit = self._limit or self.total
        if max(self._used, self._held) > limit:
            gc.collect()
            self.free_all_blocks()
        if self._used > limit:
            used = self._used
            self._drop(key, block)
            raise OutOfMemoryError(size, used - size, limit)
        self._held = max(self._held, self._used)
        self.peak = max(self.peak, self._used)

    def _drop(self, key, block):
        if self._arrays.pop(key, None) is None:
            return
        n, size = self._blocks.pop(block)
        if n > 1:
            self._blocks[block] = (n - 1, size)
        else:
            self._used -= size


def install(monkeypatch, *, total=8 << 30, name=b"Stand-in GPU"):
    """Put a `cupy` and a `cupyx` into place; return the pool of its device."""
    pool = Pool(total)

    class Array(np.ndarray):
        def __array_finalize__(self, source):
            pool.take(self)

    def on_device(result):
        if isinstance(result, tuple):
            found = [on_device(each) for each in result]
            return type(result)(*found) if hasattr(result, "_fields") else tuple(found)
        if isinstance(result, np.ndarray) and not isinstance(result, Array):
            return result.view(Array)
        return result

    def of_numpy(function):
        return lambda *args, **kwargs: on_device(function(*args, **kwargs))

    def asarray(array, dtype=None):
        if isinstance(array, Array) and dtype in (None, array.dtype):
            return array
        return np.array(array, dtype=dtype).view(Array)

    class CuPy(types.ModuleType):
        def __getattr__(self, attribute):
            found = getattr(np, attribute)
            return of_numpy(found) if callable(found) and not isinstance(found, type) else found

    cupy = CuPy("cupy")
    cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    cupy.ndarray, cupy.asarray = Array, asarray
    cupy.asnumpy = lambda array: np.array(array, copy=True, subok=False)
    cupy.get_default_memory_pool = lambda: pool
    cupy.linalg = types.SimpleNamespace(eigh=of_numpy(np.linalg.eigh), cholesky=of_numpy(np.linalg.cholesky))

    cupy.random = random_on(on_device)
    cupy.cuda = types.SimpleNamespace(
        is_available=lambda: True,
        Device=lambda: types.SimpleNamespace(id=0),
        memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=types.SimpleNamespace(
            memGetInfo=lambda: (total - pool.total_bytes(), total),
            getDeviceProperties=lambda _: {"name": name},
            deviceSynchronize=lambda: None,
        ),
    )
    lapack = types.ModuleType("cupyx.lapack")
    lapack.posv = lambda a, b: on_device(np.linalg.solve(a, b[..., None])[..., 0])
    cupyx = types.ModuleType("cupyx")
    cupyx.errstate, cupyx.lapack = lambda **_: contextlib.nullcontext(), lapack
    for module in (cupy, cupyx, lapack):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return pool


def random_on(on_device):
    """Return the generators that are used, whose arrays are on the device."""

    class Generator(np.random.Generator):
        def standard_normal(self, size, dtype):
            return on_device(super().standard_normal(size, dtype))

    return types.SimpleNamespace(Generator=Generator, Philox4x3210=np.random.Philox)
