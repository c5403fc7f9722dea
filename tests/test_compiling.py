"""Compiled loops: one process of a machine compiles them, and a change of any file makes them anew."""

from __future__ import annotations

import shutil

import pytest
from forks import WITHOUT_OURS, Forked

pytest.importorskip("numba")

PROGRAM = """
import numpy as np
from toolkit.backends.numba.compiling import Kernel

def double(values):
    for i in range(len(values)):
        values[i] *= 2

kernel = Kernel(double)
values = np.ones(3)
kernel(values)
assert values.tolist() == [2, 2, 2]
"""


# A fork has Numba, and is to have the copy of the packages alone.
START = f"""
import numba
{WITHOUT_OURS}
sys.path.insert(0, sys.argv[1])
numba.config.CACHE_DIR, numba.config.DEBUG_CACHE = sys.argv[1] + "/kept", 1
import program
assert sys.modules["toolkit"].__file__.startswith(sys.argv[1])
"""


@pytest.fixture
def code(tmp_path, repo_root):
    """A copy of the packages, with a program beside it; returns a function that starts the program."""
    shutil.copytree(repo_root / "toolkit", tmp_path / "toolkit", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    return lambda: Forked(START, tmp_path, imports=["numba"])


def told(process):
    with process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output


def test_of_processes_that_start_at_once_one_compiles(code):
    outputs = [told(process) for process in (code(), code())]
    assert sum("data saved to" in output for output in outputs) == 1
    assert sum("data loaded from" in output for output in outputs) == 1


@pytest.mark.slow
def test_a_change_of_any_file_makes_the_code_anew(code, tmp_path):
    assert "data saved to" in told(code())
    with (tmp_path / "toolkit" / "backends" / "numba" / "tiles.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert "data saved to" in told(code())


def test_a_folder_that_cannot_be_written_to_costs_the_code_that_is_kept_and_no_more(code, tmp_path):
    (tmp_path / "kept").write_text("no folder", encoding="utf-8")
    assert "data saved to" not in told(code())
