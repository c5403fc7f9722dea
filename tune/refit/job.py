"""What a study was run for: its best trial, or a mean of several, trained on train + valid, tested once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import StudyError
from toolkit.files import mask
from toolkit.models import WALS, Ensemble, Model, check_target
from tune.refit.members import Choice, choose, model_of
from tune.refit.registry import Registered, Registry, Target
from tune.study import Study, TrialResult

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from toolkit.commands import StepProgress
    from toolkit.datasets import RatingsDataset


@dataclass(frozen=True)
class Averaged:
    """What an ensemble of a study's trials reaches, beside its best trial.

    Attributes
    ----------
    members, valid_rmse, retrained
        As `tune.refit.members.Choice`, before training on the validation ratings.
    test_rmse, single_test_rmse : float or None
        On the test ratings, of the mean and of the best trial alone; None when there are none.
    kept : bool
        Whether the mean was better on the validation ratings, and is what was saved.
    """

    members: list[tuple[TrialResult, float]]
    valid_rmse: float
    test_rmse: float | None
    single_test_rmse: float | None
    kept: bool
    retrained: list[str]


@dataclass(frozen=True)
class Refit:
    """What was saved.

    Attributes
    ----------
    best : TrialResult
        The best trial of the study.
    valid_rmse : float or None
        Of what was saved, before it was trained on the validation ratings, too.
    test_rmse : float or None
        Of what was saved; None when there are no test ratings.
    ensemble : Averaged or None
        None where none was asked for.
    registered : Registered or None
        None where that was not asked for.
    """

    best: TrialResult
    valid_rmse: float | None
    test_rmse: float | None
    ensemble: Averaged | None = None
    registered: Registered | None = None


def refit_best(
    study: Study,
    data: RatingsDataset,
    out: Path,
    *,
    overwrite: bool = False,
    ensemble: int = 0,
    titles: Any = None,
    register: Target | None = None,
    tell: StepProgress = lambda *_: None,
) -> Refit:
    """Retrain the best trial's configuration, or several, on training and validation ratings, and test it.

    The test ratings are read here and nowhere else in a study, and decide nothing: whether an ensemble is
    saved is decided on the validation ratings. Training is deterministic, so asking again gives the same.

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
    ensemble : int, default 0
        Average up to so many trials, if that lowers the validation RMSE; below 2 the best trial is alone.
    titles : array of str, shape (n_items,), optional
        What people call the items of the dataset, in its order; kept with the model.
    register : Target, optional
        Make a version of it in the registry of the study's MLflow store.
    tell : callable, optional
        Told the stage, the steps of it that are done, and all of them.

    Returns
    -------
    Refit

    Raises
    ------
    StudyError
        When no trial finished, the dataset is another one, the MLflow store does not answer, or an ensemble
        is asked of a search for a ranking.
    ModelError
        When `out` exists and `overwrite` is false, or it is not a model directory.
    """
    from tune.record.runs import client_of

    check_target(out, overwrite=overwrite)
    if data.digest != study.facts["digest"]:
        raise StudyError(
            f"{data.where} has digest {data.digest}, but study {study.name} was run on "
            f"{study.facts['digest']}"
        )
    metric = study.spec.metric
    if ensemble > 1 and metric.k:
        raise StudyError(
            f"study {study.name} is a search for {metric}, but members of an ensemble are chosen by RMSE: "
            "refit the best trial alone"
        )
    client = client_of(study)
    registry = Registry(client, register) if register else None
    best = study.best()
    members, valid_rmse, retrained = (
        choose(study, data, ensemble, tell) if ensemble > 1 else Choice([(best, 1.0)], best["valid_rmse"], [])
    )
    chosen = [trial for trial, _ in members]
    models = _fit([best, *(t for t in chosen if t["trial"] != best["trial"])], study, data, tell)
    single = models[best["trial"]]
    kept = len(members) > 1
    model: Model = Ensemble([models[t["trial"]] for t in chosen], [w for _, w in members]) if kept else single
    model.dataset_digest, model.titles = data.digest, titles
    single_test_rmse = single.rmse(data.test)
    test_rmse = model.rmse(data.test) if kept else single_test_rmse
    averaged = None
    if ensemble > 1 and valid_rmse is not None:
        averaged = Averaged(members, valid_rmse, test_rmse, single_test_rmse, kept, retrained)
    refit = Refit(best, valid_rmse, test_rmse, averaged)
    facts = _facts(refit)
    model.save(out, overwrite=overwrite, trained_on="train + valid", study=study.name, **facts)
    _record(study, client, refit, out)
    if registry:
        tell("registering", 0, 1)
        refit = replace(refit, registered=registry.register(out, model, study, data, facts))
    return refit


def _fit(
    trials: Sequence[TrialResult], study: Study, data: RatingsDataset, tell: StepProgress
) -> dict[str, WALS]:
    ratings, done, total = data.train_and_valid(), 0, sum(trial["iterations"] for trial in trials)

    def count(_: Any) -> None:
        nonlocal done
        done += 1
        tell("training", done, total)

    tell("training", 0, total)
    return {
        trial["trial"]: model_of(trial, study).fit(
            ratings, user_ids=data.user_ids, item_ids=data.item_ids, on_iteration=count
        )
        for trial in trials
    }


def _facts(refit: Refit) -> dict[str, Any]:
    facts: dict[str, Any] = {"valid_rmse": refit.valid_rmse, "test_rmse": refit.test_rmse}
    if refit.ensemble and refit.ensemble.kept:
        trials = [
            {"trial": t["trial"], "run_id": t["run_id"], "weight": w} for t, w in refit.ensemble.members
        ]
        return {"trials": trials, **facts, "single_test_rmse": refit.ensemble.single_test_rmse}
    return {"trial": refit.best["trial"], "trial_run_id": refit.best["run_id"], **facts}


def _record(study: Study, client: MlflowClient, refit: Refit, out: Path) -> None:
    """Write to the parent run and to the study what was saved in `out`."""
    from mlflow.entities import Metric

    from tune.record.runs import replace_artifacts

    values: dict[str, float | None] = {"test_rmse": refit.test_rmse}
    if refit.ensemble:
        values["single_test_rmse"] = refit.ensemble.single_test_rmse
        values["ensemble_members"] = len(refit.ensemble.members)
    now, run_id = int(time.time() * 1000), study.facts["parent_run_id"]
    try:
        metrics = [Metric(key, float(value), now, 0) for key, value in values.items() if value is not None]
        client.log_batch(run_id, metrics=metrics)
        replace_artifacts(client, run_id, out, "model")
    except Exception as error:
        raise StudyError(
            f"the model is in {out}, but the MLflow store did not take it: {mask(str(error))}; refit again "
            "with --overwrite"
        ) from error
    facts: dict[str, Any] = {
        "trial": refit.best["trial"],
        "model": str(out.resolve()),
        "test_rmse": refit.test_rmse,
    }
    if refit.ensemble and refit.ensemble.kept:
        facts["members"] = [[trial["trial"], weight] for trial, weight in refit.ensemble.members]
    study.keep_refit(facts)
