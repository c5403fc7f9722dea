"""A GPU and what is installed beside it: versions, name, memory, and the card's limits, measured.

    python benchmarks/gpu_card.py

Limits are those of a large product of random matrices in float32, without TF32, and of a large copy on the
device, bytes read and written counted. NumPy and CuPy are all that this needs.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Callable
from typing import Any

# What our code can use on a machine with a GPU, and what its benchmarks compare with.
PACKAGES = "numpy scipy numba pandas pyarrow pytest pytest-xdist hypothesis ray dask optuna mlflow implicit"


def main() -> None:
    """Print a line for each fact."""
    cupy = importlib.import_module("cupy")
    found = {"python": platform.python_version(), "cupy": cupy.__version__}
    for name in PACKAGES.split():
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    print(", ".join(f"{name} {version}" for name, version in found.items()))
    runtime = cupy.cuda.runtime
    print(f"CUDA of the runtime {runtime.runtimeGetVersion()}, of the driver {runtime.driverGetVersion()}")
    free, total = runtime.memGetInfo()
    print(
        f"{device_name()}, sm_{cupy.cuda.Device().compute_capability}, "
        f"{cupy.cuda.Device().attributes['MultiProcessorCount']} multiprocessors, "
        f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free, {os.cpu_count()} processors"
    )
    product, copy = measured_limits()
    print(f"product {product / 1e12:.1f} TFLOP/s in float32, copy {copy / 1e12:.2f} TB/s")


def device_name() -> str:
    """Return the name of the device."""
    cupy = importlib.import_module("cupy")
    return str(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode())


def timed(run: Callable[[], Any]) -> float:
    """Return the seconds between events on the device before and after a run."""
    cupy = importlib.import_module("cupy")
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3


def measured_limits() -> tuple[float, float]:
    """Return operations a second of a large float32 product, and bytes a second of a large copy."""
    cupy = importlib.import_module("cupy")
    large = installed("cupy")
    n, length = (8192, 1 << 29) if large else (64, 1 << 12)
    generator = cupy.random.Generator(cupy.random.Philox4x3210(0))
    a = generator.standard_normal((n, n), "float32")
    source = generator.standard_normal((length,), "float32")
    target = cupy.empty_like(source)
    # The first of each loads its kernels.
    product = min(timed(lambda: cupy.matmul(a, a)) for _ in range(6))
    copy = min(timed(lambda: cupy.copyto(target, source)) for _ in range(6))
    return 2 * n**3 / product, 2 * source.nbytes / copy


def installed(name: str) -> bool:
    """Return whether a package is on this machine; a stand-in for one is not."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


if __name__ == "__main__":
    main()
