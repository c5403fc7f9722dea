"""The model of a trial: its configuration, with the number of iterations of its RMSE."""

from __future__ import annotations

from toolkit.config import RunOptions, WALSConfig
from toolkit.models import WALS
from tune.study import Study, TrialResult


def model_of(trial: TrialResult, study: Study) -> WALS:
    """Return an untrained model of a trial's configuration, with the number of iterations of its RMSE."""
    config = WALSConfig.from_dict(trial["config"]).replace(iterations=trial["iterations"])
    return WALS(config, RunOptions(seed=study.spec.seed, backend=study.spec.backend))
