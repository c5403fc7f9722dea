"""The benchmarks of the GPU go as far without one as they can, on NumPy, SciPy and CuPy alone."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import forks
import numpy as np
import pytest
from cuda_on_cpu.build import needs_compiler

ROOT = Path(__file__).resolve().parent.parent
# What a machine with a GPU need not have, and CuPy, which needs one.
OURS = ("toolkit", "tune", "cluster")
ABSENT = ("pandas", "dask", "pyarrow", "click", "rich", "ray", "numba", "cupy")


@pytest.fixture
def model(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("gpu_model")


def indptr_of(counts):
    return np.concatenate([[0], np.cumsum(counts)])


def test_the_dry_run_plans_and_predicts_without_a_device():
    # A fork has what it must do without: it is to import all of ours anew.
    program = f"""
        import importlib.abc, sys

        for name in [name for name in sys.modules if name.partition(".")[0] in {(*OURS, *ABSENT)!r}]:
            del sys.modules[name]

        class Blocked(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {ABSENT!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)

        sys.meta_path.insert(0, Blocked())
        sys.argv = ["gpu_solver.py", "--dry-run", "--ratings", "30000", "--ranks", "34,128"]
        import runpy
        runpy.run_path({str(ROOT / "benchmarks" / "gpu_solver.py")!r}, run_name="__main__")
    """
    done = forks.run(textwrap.dedent(program))
    assert done.returncode == 0, done.stderr
    assert "30,000 made-up ratings" in done.stdout
    for rank in (34, 128):
        for kernel in ("part_rows", "joined_rows", "whole_rows", "short_rows", "**all**"):
            assert f"| {rank} | {kernel} |" in done.stdout


def test_every_rating_is_counted_once(model):
    counts = np.array([0, 1, 50, 96, 97, 2048, 2049, 10_000])
    works = model.iteration([indptr_of(counts)], 64)
    assert sum(w.ratings for w in works.values()) == counts.sum()
    assert works["short_rows"].rows == 3
    assert works["whole_rows"].rows == 2
    assert works["joined_rows"].rows == works["part_rows"].rows == 2


@pytest.mark.parametrize("factors", [16, 34, 64, 128, 256])
def test_a_prediction_is_not_below_what_is_possible(model, factors):
    counts = np.full(20_000, 150)
    works = model.iteration([indptr_of(counts)] * 2, factors)
    predicted = sum(w.seconds for w in works.values())
    least = model.least_seconds(int(counts.sum()), 2 * len(counts), factors)
    assert least < predicted < 10 * least


def test_a_rank_without_kernels_has_no_prediction(model):
    with pytest.raises(ValueError, match="300 factors"):
        model.iteration([indptr_of([1])], 300)


@needs_compiler
@pytest.mark.slow
def test_the_script_for_a_device_runs_every_step_without_one(tmp_path):
    environment = {**os.environ, "OUT": str(tmp_path), "PYTHON": sys.executable}
    script = ROOT / "benchmarks" / "gpu_once.sh"
    done = subprocess.run(
        ["sh", str(script), "--dry-run"], capture_output=True, text=True, check=False, env=environment
    )
    summary = done.stdout
    ended = re.findall(r"-- exit (.*) after", summary)
    assert set(ended) == {"0"}, summary
    assert len(ended) >= 9
    assert "left out" not in summary
    assert "Stand-in GPU" in summary
    assert "kernels launched: 11 of 11" in summary
    for contestant in ("cuda", "cupy", "implicit, conjugate gradient"):
        assert f"| 5 | {contestant} | " in summary
    for kernel in ("make_table", "whole_rows", "short_rows", "mend_rows"):
        assert f"| 5 | cuda | {kernel} | " in summary
    for backend in ("cuda", "cupy"):
        assert f"| {backend} | trainers | 1 | 2 |" in summary
    assert "| numba | in-process | 1 | 4 |" in summary
    assert len(summary) <= 12_000
    # What comes back from such a machine is at most eight files.
    assert len(list(tmp_path.iterdir())) <= 8


def test_the_search_wants_a_dataset():
    program = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = forks.run(program, ROOT / "benchmarks" / "gpu_search.py")
    assert done.returncode == 2
    assert "DATASET is wanted" in done.stderr
