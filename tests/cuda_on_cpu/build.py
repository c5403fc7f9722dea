"""Compiles the kernels' own source for this processor, and calls a kernel as a launch would."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from toolkit.backends.cuda.kernels import source

HERE = Path(__file__).resolve().parent
# Fibers are those of Linux's C library.
COMPILER = shutil.which("g++") if sys.platform == "linux" else None
needs_compiler = pytest.mark.skipif(
    COMPILER is None,
    reason="g++ is not installed, or this is not Linux: CUDA sources cannot be run on the CPU",
)
_FLAGS = ("-std=c++17", "-O1", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-w")
# A compilation takes a second, and sources seldom change.
_KEPT = HERE.parent.parent / ".pytest_cache" / "cuda-on-cpu"
_TYPES = {
    "int": ctypes.c_int,
    "long long": ctypes.c_longlong,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}
_KERNEL = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(([^)]*)\)', re.DOTALL
)
# Bytes around every array that no kernel may write, and that make what reads them wrong.
_GUARD = 4096


class LaunchError(AssertionError):
    """A kernel did what no kernel may."""


@functools.cache
def module(name, defines):
    """Return the kernels of a file, compiled with defines, a tuple of (name, value)."""
    return compiled(source(name, dict(defines)))


def compiled(text):
    """Return the kernels of a source."""
    # Of static shared memory each fiber would have its own.
    assert not re.search(r"(?<!extern )__shared__ ", text)
    expanded = _parameters(text)
    lines = ['#include "cuda_on_cpu.h"', text, '#line 1 "launches"']
    for kernel, parameters in expanded.items():
        declared = ", ".join(f"{kind} {word}" for kind, word in parameters)
        passed = ", ".join(word for _, word in parameters)
        lines.append(
            f'extern "C" const char* launch_{kernel}(unsigned grid, unsigned block, size_t shared_bytes, '
            f"unsigned order, {declared}) {{ return cuda_on_cpu::launch(grid, block, shared_bytes, order, "
            f"[&] {{ {kernel}({passed}); }}); }}"
        )
    return Module(ctypes.CDLL(str(_library("\n".join(lines)))), expanded)


def _library(text):
    """Return the library of a C++ source; that of an earlier run serves where nothing has changed."""
    of_machine = (COMPILER, Path(COMPILER).resolve().stat().st_mtime_ns, _FLAGS, _processor())
    words = [text, (HERE / "cuda_on_cpu.h").read_text(encoding="utf-8"), repr(of_machine)]
    path = _KEPT / f"{hashlib.sha256(chr(0).join(words).encode()).hexdigest()[:32]}.so"
    if not path.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_KEPT) as folder:
            (Path(folder) / "all.cpp").write_text(text, encoding="utf-8")
            files = (f"-I{HERE}", f"{folder}/all.cpp", "-o", f"{folder}/all.so")
            done = subprocess.run([COMPILER, *_FLAGS, *files], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[:4000]
            Path(folder, "all.so").replace(path)
    return path


@functools.cache
def _processor():
    """Return what the processor can do, which the compiler asks it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _parameters(text):
    """Return the parameters of every kernel of a source, as (type, name)."""
    macros = dict(re.findall(r"#define (\w*PARAMETERS) ((?:.*\\\n)*.*)", text))
    found = {}
    for kernel, listed in _KERNEL.findall(text):
        for macro, meaning in macros.items():
            listed = listed.replace(macro, meaning)  # noqa: PLW2901 - step by step
        listed = re.sub(r"__restrict__|\\\n|//.*", " ", listed)  # noqa: PLW2901 - as above
        found[kernel] = [
            re.fullmatch(r"(.*?)\s*(\w+)", " ".join(part.split())).groups() for part in listed.split(",")
        ]
    return found


class Module:
    """Compiled kernels, each a method: ``module.kernel(grid, block, *args, shared=0, order=0)``.

    The order is 0 for threads and blocks that run forwards, 1 for backwards, or the seed of a shuffle.
    """

    def __init__(self, library, parameters):
        self._library = library
        self._parameters = parameters

    def __getattr__(self, kernel):
        function = getattr(self._library, f"launch_{kernel}")
        function.restype = ctypes.c_char_p
        parameters = self._parameters[kernel]

        def launch(grid, block, *args, shared=0, order=0):
            assert len(args) == len(parameters), (kernel, len(args), parameters)
            passed, guarded = [], []
            for (kind, name), arg in zip(parameters, args, strict=True):
                if not kind.endswith("*"):
                    # A launch copies bytes: a number of another size would be read as something else.
                    assert isinstance(arg, np.generic), (kernel, name, type(arg))
                    assert arg.itemsize == ctypes.sizeof(_TYPES[kind]), (kernel, name, arg.dtype)
                    passed.append(_TYPES[kind](arg.item()))
                elif arg is None:
                    passed.append(ctypes.c_void_p(None))
                else:
                    guarded.append((name, kind, Guarded(arg)))
                    passed.append(ctypes.c_void_p(guarded[-1][2].address))
            head = (ctypes.c_uint(grid), ctypes.c_uint(block), ctypes.c_size_t(shared), ctypes.c_uint(order))
            problem = function(*head, *passed)
            if problem:
                raise LaunchError(f"{kernel}: {problem.decode()}")
            for name, kind, array in guarded:
                array.take_back(f"{kernel}: {name}", constant=kind.startswith("const"))

        return launch


class Guarded:
    """A copy of an array between guards, taken back after the launch."""

    def __init__(self, array):
        assert array.flags.c_contiguous
        self._array = array
        # Bytes of all ones are NaN, and a place that is not there.
        self._bytes = np.full(array.nbytes + 2 * _GUARD + 64, 0xFF, np.uint8)
        self._begin = _GUARD + -(self._bytes.ctypes.data + _GUARD) % 64
        self._inner[:] = array.reshape(-1).view(np.uint8)
        self._before = self._inner.copy()
        self.address = self._bytes.ctypes.data + self._begin

    @property
    def _inner(self):
        return self._bytes[self._begin : self._begin + self._array.nbytes]

    def take_back(self, name, *, constant):
        around = (self._bytes[: self._begin], self._bytes[self._begin + self._array.nbytes :])
        if not all((part == 0xFF).all() for part in around):
            raise LaunchError(f"{name} was written outside of its bounds")
        if constant and (self._inner != self._before).any():
            raise LaunchError(f"{name} is constant, but was written")
        if not constant:
            self._array.reshape(-1).view(np.uint8)[:] = self._inner
