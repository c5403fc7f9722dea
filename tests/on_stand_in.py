"""Runs a script, or ``-m`` a module, where CuPy is its stand-in and kernels run on this processor.

    python tests/on_stand_in.py benchmarks/gpu_solver.py --ratings 3000 --ranks 5
    python tests/on_stand_in.py -m pytest --backend cupy -m gpu tests/test_solver.py

Without g++ there are no kernels: then only what the backend `cupy` does can be run.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def put_in_place(patch):
    """Have the stand-in for CuPy, whose kernels run on this processor; return the pool of its device."""
    cupy_stand_in, launcher = map(importlib.import_module, ("cupy_stand_in", "cuda_on_cpu.launcher"))
    pool = cupy_stand_in.install(patch)
    of_device = partial(launcher.ProcessorLauncher, xp=importlib.import_module("cupy"))
    patch.setattr("toolkit.backends.cuda.backend.CuPyLauncher", of_device)
    # A fiber for each thread of a thousand blocks takes seconds.
    patch.setattr("toolkit.backends.cuda.pairs.BLOCKS", 3)
    return pool


def main():
    """Run what the command line names, as ``python`` would."""
    sys.path[:0] = [str(HERE.parent), str(HERE)]
    with pytest.MonkeyPatch.context() as patch:
        put_in_place(patch)
        arguments = sys.argv[1:]
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
