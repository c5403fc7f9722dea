"""Studies with a parent run in a SQLite store, and trials with factors, made up for tests of the record."""

from __future__ import annotations

import shutil
import time

import numpy as np
from trials import end

from toolkit.config import WALSConfig
from toolkit.predictor import Side
from toolkit.solver import Factors
from tune.record import Tracking, client_of, start_parent
from tune.record.runs import children
from tune.spec import SearchSpec
from tune.study import Study

SPEC = {"space": {"factors": {"low": 2, "high": 8}}, "trials": 3}
CONFIG = WALSConfig(factors=2)
FACTS = {"dataset": "/data/ml", "digest": "abc", "counts": {"users": 3}}


def make_store(folder, empty_store):
    """Return a SQLite store, a copy of an empty one."""
    shutil.copyfile(empty_store, folder / "mlflow.db")
    made = Tracking(f"sqlite:///{folder}/mlflow.db", "first")
    made.client().create_experiment("first", artifact_location=f"file://{folder}/artifacts")
    return made


def make_study(store, folder, **keys):
    """Return a study with its parent run; `keys` are of its specification."""
    name = f"study-{time.monotonic_ns()}"
    spec = SearchSpec.from_dict({**SPEC, **keys}).to_dict()
    facts = {"spec": spec, "tracking_uri": store.uri, "experiment": "first", "seconds": 0.0}
    made = Study.create(f"{folder}/{name}", name=name, **FACTS, **facts)
    start_parent(made, store)
    return made


def factors():
    rng = np.random.default_rng(0)
    side = Side(rng.random((3, 2)).astype("float32"), np.zeros(3, "float32"))
    return Factors(side, side, 3.5, CONFIG, 3)


def ended(study, *trials, with_factors=True):
    for trial in trials:
        if with_factors:
            study.keep_factors(trial["trial"], factors())
        end(study, trial)


def runs_of(study):
    """Return the child runs by trial; two of one name are a failure."""
    runs = {}
    for run in children(client_of(study), study):
        assert run.info.run_name not in runs
        runs[run.info.run_name] = run
    return runs
