"""The best trial's configuration, trained on train + valid, and tested: the model a study was run for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import StudyError
from toolkit.wals import WALS
from tune.study import Study, TrialResult

if TYPE_CHECKING:
    from toolkit.dataset import RatingsDataset


def refit_best(
    study: Study, data: RatingsDataset, out: Path, *, overwrite: bool = False
) -> tuple[TrialResult, float | None]:
    """Retrain the best trial's configuration on training and validation ratings, and test it.

    The test ratings are read here and nowhere else in a study. Training is deterministic, so asking again for
    the same best trial gives the same figure.

    Parameters
    ----------
    study : Study
        A study with a finished trial.
    data : RatingsDataset
        Its dataset.
    out : Path
        Model directory to write.
    overwrite : bool, default False
        Whether an existing `out` is replaced.

    Returns
    -------
    best : TrialResult
        The trial whose configuration was taken.
    test_rmse : float or None
        On the test ratings; None when there are none.

    Raises
    ------
    StudyError
        When no trial finished, the dataset is another one, or the MLflow store does not answer.
    """
    from mlflow.entities import Metric

    from tune.record import client_of

    if data.digest != study.facts["digest"]:
        raise StudyError(
            f"{data.path} has digest {data.digest}, but study {study.name} was run on {study.facts['digest']}"
        )
    client = client_of(study)
    best = study.best()
    # A trial's RMSE belongs to the iterations it did.
    config = WALSConfig.from_dict(best["config"]).replace(iterations=best["iterations"])
    options = RunOptions(seed=study.spec.seed, backend=study.spec.backend)
    model = WALS(config, options).fit(data.train_and_valid(), user_ids=data.user_ids, item_ids=data.item_ids)
    model.dataset_digest = data.digest
    test_rmse = model.rmse(data.test)
    model.save(
        out,
        overwrite=overwrite,
        trained_on="train + valid",
        study=study.name,
        trial=best["trial"],
        trial_run_id=best["run_id"],
        valid_rmse=best["valid_rmse"],
        test_rmse=test_rmse,
    )
    run_id = study.facts["parent_run_id"]
    try:
        if test_rmse is not None:
            client.log_batch(run_id, metrics=[Metric("test_rmse", test_rmse, int(time.time() * 1000), 0)])
        client.log_artifacts(run_id, str(out), "model")
    except Exception as error:
        raise StudyError(
            f"the model is in {out}, but the MLflow store did not take it: {error}; refit again with "
            "--overwrite"
        ) from error
    study.update(refit={"trial": best["trial"], "model": str(out.resolve()), "test_rmse": test_rmse})
    return best, test_rmse
