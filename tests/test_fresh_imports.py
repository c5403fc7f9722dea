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
    # A report is drawn by the layer below.
    ("import tune.report.html", ("ray", "mlflow")),
]
# pandas, pyarrow and rich are Ray Tune's own.
ON_RAY = [("import tune.executors.on_ray", ("mlflow", "optuna", "dask", "matplotlib", "sklearn", "click"))]
PROGRAM = """
import json, sys
for statement, absent in json.loads(sys.argv[1]):
    exec(statement)
    for name in absent:
        if name in sys.modules:
            print(f"{statement}: {name}")
"""


@pytest.mark.parametrize("parts", [PARTS, ON_RAY], ids=["light", "on Ray"])
def test_parts_import_nothing_heavy(repo_root, parts):
    command = [sys.executable, "-c", PROGRAM, json.dumps(parts)]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=True)
    assert done.stdout == ""
