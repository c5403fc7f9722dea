"""Refit a study: train its best trial, or a mean of several, on train + valid ratings, and test it once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.arrays import Array, Ratings
from toolkit.errors import ConfigError, StudyError
from toolkit.files import process_settings
from toolkit.inputs import checked_number, checked_path, checked_titles, checked_type
from toolkit.models import (
    WALS,
    Ensemble,
    Model,
    PosteriorFacts,
    Progress,
    baseline_errors,
    check_target,
)
from toolkit.progress_bars import ShownSteps, StepProgress, shown_steps
from toolkit.solver import BaselineErrors
from tune.refit.members import ChosenMembers, choose_members, model_of
from tune.refit.refit_record import record_refit
from tune.refit.registry import Registered, Registry
from tune.refit.sampling import SAMPLES, sample_best
from tune.refit.target import Target
from tune.study import Study, TrialResult, facts_of_dataset

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset


@dataclass(frozen=True)
class Averaged:
    """An ensemble of a study's trials, beside its best trial.

    Attributes
    ----------
    members : list of (TrialResult, float)
        Trials and weights, most important first; the best trial alone where no mean is better.
    valid_rmse : float
        RMSE of the mean on the validation ratings, before it is trained on them too.
    test_rmse, single_test_rmse : float or None
        RMSE on the test ratings, of the mean and of the best trial alone; None when there are none.
    kept : bool
        Whether the mean was better on the validation ratings, and was saved.
    retrained : list of str
        Trials that were trained once more to choose among them, as their factors were not kept.
    """

    members: list[tuple[TrialResult, float]]
    valid_rmse: float
    test_rmse: float | None
    single_test_rmse: float | None
    kept: bool
    retrained: list[str]


@dataclass(frozen=True)
class Refit:
    """A refitted model, and how good it is.

    Attributes
    ----------
    best : TrialResult
        The best trial of the study.
    valid_rmse : float or None
        RMSE of the saved model on the validation ratings, before it was trained on them too; None where the
        study was run on a sample of the dataset, and its trials were measured there.
    test_rmse : float or None
        RMSE of the saved model on the test ratings; None when there are none.
    ensemble : Averaged or None
        None where no ensemble was asked for.
    registered : Registered or None
        None where no registration was asked for.
    posterior : PosteriorFacts or None
        How a posterior was sampled, and how it holds on the validation ratings; None where none was asked
        for.
    baselines : BaselineErrors or None
        RMSE of the mean and of biases alone on the test ratings, both of train + valid; None where there are
        no test ratings.
    """

    best: TrialResult
    valid_rmse: float | None
    test_rmse: float | None
    ensemble: Averaged | None = None
    registered: Registered | None = None
    baselines: BaselineErrors | None = None
    posterior: PosteriorFacts | None = None

    @property
    def members(self) -> list[tuple[TrialResult, float]]:
        """Trials and weights of the ensemble that was saved; empty where the best trial was saved alone."""
        return self.ensemble.members if self.ensemble and self.ensemble.kept else []


@process_settings()
def refit_best(
    study: Study,
    data: RatingsDataset,
    out: str | Path,
    *,
    overwrite: bool = False,
    ensemble: int = 0,
    posterior: int = 0,
    keep: int = 0,
    titles: Array | None = None,
    register: Target | None = None,
    progress: ShownSteps = None,
) -> Refit:
    """Retrain the best trial's configuration, or several, on training and validation ratings, and test it.

    The test ratings are read here and nowhere else in a study, and decide nothing: whether an ensemble is
    saved is decided on the validation ratings. Training is deterministic: the same arguments give the same
    model.

    Parameters
    ----------
    study : Study
        A study with a finished trial.
    data : RatingsDataset
        The dataset of the study; or one that it is a sample of, on which its best trial is trained then.
    out : str or Path
        Model directory to write.
    overwrite : bool, default False
        Whether an existing `out` is replaced.
    ensemble : int, default 0
        Average up to so many trials, if that lowers the validation RMSE; below 2 the best trial is alone.
    posterior : int, default 0
        Sample the posterior of the best trial's rank and pattern weight, with so many samples, in the place
        of its training; 0 trains it, and takes 200 samples where the trials are posteriors. A directory
        beside `out`, with ``.sampling`` added to its name, has checkpoints until the model is recorded: the
        same call goes on from what a killed one left there.
    keep : int, default 0
        Samples that the model keeps for intervals.
    titles : array of str, shape (n_items,), optional
        Titles of the items in the order of the dataset's rows; kept with the model.
    register : Target, optional
        Make a version of the model in the registry of the study's MLflow store.
    progress : bool or callable, optional
        Whether a bar shows the stages; by default where somebody sees it: in a notebook, or on a terminal.
        A function is called instead with the stage, the steps of it that are done, and the number of its
        steps.

    Returns
    -------
    Refit

    Raises
    ------
    ConfigError
        When an argument is of another class, or the checkpoints beside `out` are of another sampling.
    StudyError
        When no trial finished, the dataset is another one, the MLflow store does not answer, somebody deleted
        the study's run there, or an ensemble is asked of a search for a ranking.
    ModelError
        When `out` exists and `overwrite` is false, or it is not a model directory.
    """
    from toolkit.datasets import RatingsDataset
    from tune.record import client_of

    checked_type("study", study, Study, "what Study.open returns")
    checked_type("data", data, RatingsDataset, "what RatingsDataset.open returns")
    out, ensemble = checked_path("out", out), checked_number("ensemble", ensemble, 0)
    posterior, keep = checked_number("posterior", posterior, 0), checked_number("keep", keep, 0)
    titles = checked_titles(titles, data.n_items)
    if register is not None:
        checked_type("register", register, Target, 'Target("films", alias="champion")')
    steps = shown_steps(progress)
    check_target(out, overwrite=overwrite)
    of_sample = _is_of_sample(study, data, ensemble, posterior)
    client = client_of(study)
    registry = Registry(client, register) if register else None
    if registry:
        registry.require_champion()
    best, unfinished = study.best(), out.with_name(f"{out.name}.sampling")
    ratings, sampled = data.train_and_valid(), None
    with steps as tell:
        if posterior or study.spec.model == "posterior":
            sampled = sample_best(
                best, study, data, samples=posterior or SAMPLES, keep=keep, unfinished=unfinished, tell=tell
            )
            chosen = ChosenMembers([(best, 1.0)], sampled.facts["mean_factors_rmse"], [])
            models = {best["trial"]: sampled.model}
        else:
            alone = ChosenMembers([(best, 1.0)], None if of_sample else best["valid_rmse"], [])
            chosen = choose_members(study, data, ensemble, tell) if ensemble > 1 else alone
            others = [trial for trial, _ in chosen.members if trial["trial"] != best["trial"]]
            models = _fit([best, *others], ratings, study, data, tell)
    members, valid_rmse, retrained = chosen
    single, kept = models[best["trial"]], len(members) > 1
    model: Model = (
        Ensemble([models[trial["trial"]] for trial, _ in members], [weight for _, weight in members])
        if kept
        else single
    )
    model.dataset_digest, model.titles = data.digest, titles
    single_test_rmse = single.rmse(data.test)
    test_rmse = model.rmse(data.test) if kept else single_test_rmse
    averaged = None
    if ensemble > 1 and valid_rmse is not None:
        averaged = Averaged(members, valid_rmse, test_rmse, single_test_rmse, kept, retrained)
    damping = (study.facts.get("baselines") or {}).get("damping")
    of = baseline_errors(ratings, {"test": data.test}, single.options, damping=damping)
    refit = Refit(
        best, valid_rmse, test_rmse, averaged, baselines=of["test"], posterior=sampled and sampled.facts
    )
    facts = _facts(refit) | ({"study_digest": study.facts["digest"]} if of_sample else {})
    model.save(out, overwrite=overwrite, trained_on="train + valid", study=study.name, **facts)
    record_refit(
        study,
        client,
        out,
        data=facts_of_dataset(data),
        best=best,
        members=refit.members,
        metrics=_metrics(refit),
        baselines=refit.baselines,
        sampled=sampled,
    )
    if sampled:
        shutil.rmtree(unfinished, ignore_errors=True)
    if registry:
        with shown_steps(progress) as tell:
            tell("registering", 0, 1)
            refit = replace(refit, registered=registry.register(out, model, study, data, facts))
    return refit


def _is_of_sample(study: Study, data: RatingsDataset, ensemble: int, posterior: int) -> bool:
    """Tell whether the study was run on a sample of a dataset; refuse what cannot be refitted."""
    if (posterior or study.spec.model == "posterior") and ensemble > 1:
        raise ConfigError("a refit is an ensemble or a posterior: leave one of them out")
    own, wholes = study.facts["digest"], [step["digest"] for step in study.facts.get("derived", [])]
    if data.digest not in (own, *wholes):
        sample = f", a sample of {', itself one of '.join(wholes)}" if wholes else ""
        raise StudyError(
            f"{data.where} has digest {data.digest}, but study {study.name} was run on {own}{sample}: give "
            f"the dataset of the study{', or what that is a sample of,' if wholes else ''} by --dataset"
        )
    if ensemble > 1 and data.digest != own:
        raise StudyError(
            f"study {study.name} was run on a sample of {data.where}, and members of an ensemble are chosen "
            "by what the trials predict there: refit the best trial alone, or give the study's own dataset"
        )
    metric = study.spec.metric
    if ensemble > 1 and metric.k:
        raise StudyError(
            f"study {study.name} is a search for {metric}, but members of an ensemble are chosen by RMSE: "
            "refit the best trial alone"
        )
    return bool(data.digest != own)


def _fit(
    trials: Sequence[TrialResult], ratings: Ratings, study: Study, data: RatingsDataset, tell: StepProgress
) -> dict[str, WALS]:
    """Train the configurations of trials on training and validation ratings; return the models by trial."""
    done, total = 0, sum(trial["iterations"] for trial in trials)

    def count(_: Progress) -> None:
        nonlocal done
        done += 1
        tell("training", done, total)

    tell("training", 0, total)
    return {
        trial["trial"]: model_of(trial, study).fit(
            ratings, user_ids=data.users, item_ids=data.items, on_iteration=count, progress=False
        )
        for trial in trials
    }


def _metrics(refit: Refit) -> dict[str, float | None]:
    """Return the metrics that the study's run gets."""
    metrics: dict[str, float | None] = {"test_rmse": refit.test_rmse}
    if to_beat := refit.baselines:
        metrics |= {"test_baseline_rmse": to_beat["bias_rmse"], "test_mean_rmse": to_beat["mean_rmse"]}
    if mean := refit.ensemble:
        metrics |= {"single_test_rmse": mean.single_test_rmse, "ensemble_members": len(mean.members)}
    return metrics


def _facts(refit: Refit) -> dict[str, Any]:
    """Return the facts that are kept with the model, and become tags of a registered version."""
    rmses = {"valid_rmse": refit.valid_rmse, "test_rmse": refit.test_rmse}
    if not refit.ensemble or not refit.members:
        return {"trial": refit.best["trial"], "trial_run_id": refit.best["run_id"], **rmses}
    trials = [
        {"trial": trial["trial"], "run_id": trial["run_id"], "weight": weight}
        for trial, weight in refit.members
    ]
    return {"trials": trials, **rmses, "single_test_rmse": refit.ensemble.single_test_rmse}
