"""A stand-in for the parts of CuPy that are used, on NumPy; `device_arrays` has its arrays.

Memory is as CuPy's (`cupy/cuda/memory.pyx`) in what the tests are about: an allocation above the limit frees
what is cached, collects garbage, and then raises `OutOfMemoryError`, a `MemoryError`; blocks that are let go
stay with the pool until `free_all_blocks`; ``CUPY_GPU_MEMORY_LIMIT`` is read when the pool is made. It knows
no streams, no fragments and no rounding to 512 bytes.
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
from device_arrays import DeviceArray, host_of, refused, to_device, to_host


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
        # How often the host waited for the device to read from it.
        self.waits = 0
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
        root = host_of(array)
        while isinstance(root.base, np.ndarray):
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


class Linalg:
    """Factorizations, which report what they cannot factor only where they are told to."""

    def __init__(self):
        self._raises = False

    @contextlib.contextmanager
    def errstate(self, *, linalg):
        """As `cupyx.errstate`, of which the other words do nothing."""
        before, self._raises = self._raises, linalg == "raise"
        try:
            yield
        finally:
            self._raises = before

    def cholesky(self, a):
        return self._attempt(np.linalg.cholesky, a, like=a)

    def eigh(self, a):
        return tuple(to_device(part) for part in np.linalg.eigh(host_of(a)))

    def posv(self, a, b):
        def solved(matrices, vectors):
            np.linalg.cholesky(matrices)
            return np.linalg.solve(matrices, vectors[..., None])[..., 0]

        return self._attempt(solved, a, b, like=b)

    def _attempt(self, function, *arrays, like):
        try:
            return to_device(function(*map(host_of, arrays)))
        except np.linalg.LinAlgError:
            if self._raises:
                raise
            # What cuSOLVER leaves is finite, and wrong.
            return to_device(np.full_like(host_of(like), 7))


class RawModule:
    """As `cupy.RawModule`, which compiles when a function is asked for; nothing is compiled here."""

    def __init__(self, code=None, *, path=None, options=(), backend="nvrtc", name_expressions=None):
        assert isinstance(options, tuple)
        self.code, self.options = code, options

    def get_function(self, name):
        assert f" {name}(" in self.code
        return types.SimpleNamespace(name=name)


class Event:
    """As `cupy.cuda.Event`; the time between two of them is how many were recorded between them."""

    recorded = 0

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.at = None

    def record(self, stream=None):
        Event.recorded += 1
        self.at = Event.recorded

    def synchronize(self):
        if self.at is None:
            raise RuntimeError("an event must be recorded before somebody waits for it")


def install(monkeypatch, *, total=8 << 30, name=b"Stand-in GPU"):
    """Put a `cupy` and a `cupyx` into place; return the pool of its device."""
    pool = Pool(total)
    monkeypatch.setattr("device_arrays.POOL", [pool])

    class CuPy(types.ModuleType):
        def __getattr__(self, attribute):
            found = getattr(np, attribute)
            return of_numpy(found) if callable(found) and not isinstance(found, type) else found

    cupy = CuPy("cupy")
    cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    cupy.__version__ = "14.0.0"
    cupy.ndarray, cupy.asarray, cupy.asnumpy = DeviceArray, asarray, asnumpy
    cupy.get_default_memory_pool = lambda: pool
    cupy.RawModule = RawModule
    linalg = Linalg()
    cupy.linalg = types.SimpleNamespace(eigh=linalg.eigh, cholesky=linalg.cholesky)
    cupy.random = types.SimpleNamespace(Generator=Generator, Philox4x3210=np.random.Philox)
    cupy.cuda = types.SimpleNamespace(
        is_available=lambda: True,
        Device=lambda: types.SimpleNamespace(
            id=0,
            compute_capability="90",
            attributes={"MultiProcessorCount": 2},
            synchronize=lambda: None,
        ),
        Event=Event,
        set_allocator=lambda _: None,
        get_elapsed_time=lambda begin, end: float(end.at - begin.at),
        memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=types.SimpleNamespace(
            memGetInfo=lambda: (total - pool.total_bytes(), total),
            getDeviceProperties=lambda _: {"name": name},
            deviceSynchronize=lambda: None,
            runtimeGetVersion=lambda: 13000,
            driverGetVersion=lambda: 13000,
        ),
    )
    lapack = types.ModuleType("cupyx.lapack")
    lapack.posv = linalg.posv
    cupyx = types.ModuleType("cupyx")
    cupyx.errstate, cupyx.lapack = linalg.errstate, lapack
    for module in (cupy, cupyx, lapack):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return pool


def of_numpy(function):
    """Return a function of NumPy that takes and returns arrays of the device, and none of the host."""
    unwritten = function in {np.empty, np.empty_like}

    def on_device(*args, **kwargs):
        found = function(*map(to_host, args), **{key: to_host(arg) for key, arg in kwargs.items()})
        if unwritten:
            found.reshape(-1).view(np.uint8)[:] = 0xFF
        return next((a for a in args if isinstance(a, DeviceArray) and host_of(a) is found), to_device(found))

    return on_device


def asarray(array, dtype=None):
    """As `cupy.asarray`: from the host by a copy."""
    if isinstance(array, DeviceArray):
        return array if dtype in {None, array.dtype} else array.astype(dtype)
    found = np.array(array, dtype=dtype)
    if found.dtype.kind not in "biufc":
        raise refused(f"Unsupported dtype {found.dtype}", ValueError)
    return to_device(found)


def asnumpy(array):
    """As `cupy.asnumpy`."""
    return array.get() if isinstance(array, DeviceArray) else np.asarray(array)


class Generator(np.random.Generator):
    """As `cupy.random.Generator`, of other numbers."""

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return to_device(super().standard_normal(size, dtype))
