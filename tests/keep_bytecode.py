"""Python's bytecode, kept for the tests and the processes that they start, in pytest's own folder.

Where the environment says PYTHONDONTWRITEBYTECODE and the packages were installed without bytecode, each of a
hundred processes would compile MLflow, pandas and Ray anew: four seconds instead of one and a half.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.dont_write_bytecode:
    folder = Path(__file__).resolve().parent.parent / ".pytest_cache" / "bytecode"
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
