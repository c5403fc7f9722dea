"""Refit a study: train or sample its best trial on train + valid ratings, and test it once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolkit.arrays import Array
from toolkit.errors import ConfigError, StudyError
from toolkit.files import process_settings
from toolkit.inputs import checked_number, checked_path, checked_titles, checked_type
from toolkit.models import PosteriorFacts, check_target, unfinished_training
from toolkit.progress_bars import ShownSteps, shown_steps
from toolkit.solver import BaselineErrors
from tune.refit.refit_record import record_refit
from tune.refit.registry import Registered, Registry
from tune.refit.retraining import RetrainingPlan, retrain
from tune.refit.sampling import SAMPLES
from tune.refit.target import Target
from tune.study import Study, TrialResult, facts_of_dataset

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset


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
    registered: Registered | None = None
    baselines: BaselineErrors | None = None
    posterior: PosteriorFacts | None = None


@process_settings()
def refit_best(
    study: Study,
    data: RatingsDataset,
    out: str | Path,
    *,
    overwrite: bool = False,
    posterior: int = 0,
    keep: int = 0,
    titles: Array | None = None,
    register: Target | None = None,
    memory: int | None = None,
    dask_scheduler: str | None = None,
    dask: Literal["threads", "cuda"] | None = None,
    resume: bool = False,
    progress: ShownSteps = None,
) -> Refit:
    """Retrain the best trial's configuration on training and validation ratings, and test it.

    The test ratings are read here and nowhere else in a study, and decide nothing. Training is
    deterministic: the same arguments give the same model.

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
    memory : int, optional
        Bytes that the training may take: ratings that do not fit into it stay in shards, which are written to
        a hidden folder beside `out`. By default what is free on this machine.
    dask_scheduler, dask
        As those of `toolkit.WALS.fit`. The workers of a cluster see the dataset, and the place of `out`.
    resume : bool, default False
        Go on from what a killed training kept in a directory beside `out`, with ``.training`` added to its
        name.
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
        When an argument is of another class, `keep` is more than the samples, or the checkpoints beside
        `out` are of another training or sampling.
    StudyError
        When no trial finished, the dataset is another one, the MLflow store does not answer, or somebody
        deleted the study's run there.
    ModelError
        When `out` exists and `overwrite` is false, it is not a model directory, or another process is making
        it.
    """
    from toolkit.datasets import RatingsDataset
    from tune.record import client_of

    checked_type("study", study, Study, "what Study.open returns")
    checked_type("data", data, RatingsDataset, "what RatingsDataset.open returns")
    out = checked_path("out", out)
    posterior, keep = checked_number("posterior", posterior, 0), checked_number("keep", keep, 0)
    titles = checked_titles(titles, data.n_items)
    if register is not None:
        checked_type("register", register, Target, 'Target("films", alias="champion")')
    steps = shown_steps(progress)
    check_target(out, overwrite=overwrite)
    of_sample = _is_of_sample(study, data)
    if study.spec.model == "posterior":
        posterior = posterior or SAMPLES
    if keep > posterior:
        raise ConfigError(f"--keep must be at most the {posterior} samples of a posterior, but got {keep}")
    client = client_of(study)
    registry = Registry(client, register) if register else None
    if registry:
        registry.require_champion()
    best = study.best()
    where = {"memory": memory, "dask_scheduler": dask_scheduler, "dask": dask}
    with unfinished_training(out, posterior=bool(posterior), resume=resume) as unfinished:
        asked = RetrainingPlan(posterior, keep, where, unfinished, of_sample)
        with steps as tell:
            model, valid_rmse, sampled, test_rmse, baselines = retrain(study, data, out, asked, tell)
        model.dataset_digest, model.titles = data.digest, titles
        refit = Refit(best, valid_rmse, test_rmse, baselines=baselines, posterior=sampled and sampled.facts)
        facts = _facts(refit) | ({"study_digest": study.facts["digest"]} if of_sample else {})
        model.save(out, overwrite=overwrite, trained_on="train + valid", study=study.name, **facts)
        record_refit(
            study,
            client,
            out,
            data=facts_of_dataset(data),
            best=best,
            metrics=_metrics(refit),
            baselines=refit.baselines,
            sampled=sampled,
        )
    if registry:
        with shown_steps(progress) as tell:
            tell("registering", 0, 1)
            refit = replace(refit, registered=registry.register(out, model, study, data, facts))
    return refit


def _is_of_sample(study: Study, data: RatingsDataset) -> bool:
    """Tell whether the study was run on a sample of a dataset; refuse one that it has nothing to do with."""
    own, wholes = study.facts["digest"], [step["digest"] for step in study.facts.get("derived", [])]
    if data.digest not in (own, *wholes):
        sample = f", a sample of {', itself one of '.join(wholes)}" if wholes else ""
        raise StudyError(
            f"{data.where} has digest {data.digest}, but study {study.name} was run on {own}{sample}: give "
            f"the dataset of the study{', or what that is a sample of,' if wholes else ''} by --dataset"
        )
    return bool(data.digest != own)


def _metrics(refit: Refit) -> dict[str, float | None]:
    """Return the metrics that the study's run gets."""
    metrics: dict[str, float | None] = {"test_rmse": refit.test_rmse}
    if to_beat := refit.baselines:
        metrics |= {"test_baseline_rmse": to_beat["bias_rmse"], "test_mean_rmse": to_beat["mean_rmse"]}
    return metrics


def _facts(refit: Refit) -> dict[str, Any]:
    """Return the facts that are kept with the model, and become tags of a registered version."""
    return {
        "trial": refit.best["trial"],
        "trial_run_id": refit.best["run_id"],
        "valid_rmse": refit.valid_rmse,
        "test_rmse": refit.test_rmse,
    }
