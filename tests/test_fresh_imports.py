"""What importing a part of the packages imports of others: nothing that is heavy, or may not be there.

Several parts are asked of one process, the lightest first: a process takes a second for all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TABLES = ("dask", "distributed", "pandas", "pyarrow", "polars")
# What is imported, and what must not be there afterwards.
PARTS = [
    ("import tune", ("ray", "optuna", "mlflow", "pydantic")),
    ("import toolkit; toolkit.ingest_ratings, toolkit.RatingsSource", TABLES),
    # CuPy takes a second to import, and a machine without a GPU may not have it.
    ("import toolkit.solver.trainer, toolkit.backends.gpu_share", ("cupy",)),
    (
        "import tune.executors.trial_worker",
        ("mlflow", "optuna", *TABLES, "matplotlib", "sklearn", "rich", "ray", "click"),
    ),
    # Ray itself takes two seconds; what it brings is asked by a slow test.
    (
        "stand_in('ray'); import tune.executors.on_ray; take_out('ray')",
        ("mlflow", "optuna", *TABLES, "matplotlib", "sklearn", "click"),
    ),
    # A report is drawn by the layer below.
    ("import tune.report.html", ("ray", "mlflow")),
]
# pandas, pyarrow and rich are Ray Tune's own.
ON_RAY = [("import tune.executors.on_ray", ("mlflow", "optuna", "dask", "matplotlib", "sklearn", "click"))]
PROGRAM = """
import importlib.machinery, json, sys, types

class StandIn(types.ModuleType):
    # Whatever is imported of it is a class.
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})

class Finder:
    def __init__(self, package):
        self.package = package
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return StandIn(spec.name)
    def exec_module(self, module):
        pass

def stand_in(package):
    sys.meta_path.insert(0, Finder(package))

def take_out(package):
    del sys.meta_path[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]

for statement, absent in json.loads(sys.argv[1]):
    exec(statement)
    for name in absent:
        if name in sys.modules:
            print(f"{statement}: {name}")
"""


@pytest.mark.parametrize(
    "parts",
    [pytest.param(PARTS, id="light"), pytest.param(ON_RAY, id="on Ray", marks=pytest.mark.slow)],
)
def test_parts_import_nothing_heavy(repo_root, parts):
    command = [sys.executable, "-c", PROGRAM, json.dumps(parts)]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=True)
    assert done.stdout == ""
