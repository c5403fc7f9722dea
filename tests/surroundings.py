"""What the tests and the processes that they start find in the environment; conftest.py imports it first."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Threads of OpenBLAS wait by spinning. Where others keep a core busy, a solve of two seconds takes a hundred.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# An MLflow server starts eight processes for the jobs of its language-model pages: a minute of a processor.
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

# Each worker that a nanny of Dask starts would import Dask anew. Processes of Dask that have nothing to do
# measure themselves a hundred times a second.
for key, value in {
    "WORKER__MULTIPROCESSING_METHOD": "forkserver",
    "WORKER__PROFILE__ENABLED": "false",
    "ADMIN__TICK__INTERVAL": "500ms",
}.items():
    os.environ.setdefault(f"DASK_DISTRIBUTED__{key}", value)

# Where PYTHONDONTWRITEBYTECODE is set and packages were installed without bytecode, each of a hundred
# processes would compile MLflow, pandas and Ray anew: four seconds instead of one and a half. Pytest's own
# folder keeps it.
if sys.dont_write_bytecode:
    folder = Path(__file__).resolve().parent.parent / ".pytest_cache" / "bytecode"
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
