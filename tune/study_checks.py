"""Check what a study refers to: its files, its dataset, its MLflow store and run, and its best factors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from toolkit.commands import Check
from toolkit.datasets import RatingsDataset
from toolkit.errors import DatasetError, StudyError, WalslabError
from toolkit.files import process_settings
from tune.record import client_of, trial_factors
from tune.study import Study


@process_settings()
def study_checks(study: Study) -> list[Check]:
    """Return what is there of all that a study refers to, and how to mend what is gone.

    Parameters
    ----------
    study : Study

    Returns
    -------
    list of Check
        Of the journal, the dataset, the MLflow store with the parent run, and the factors of the best trial.
    """
    resume = f"walslab resume {study.reference}"
    ways = {
        "dataset": f"put it back, or name the place where it is now: {resume} --dataset DIR",
        "mlflow run": "do as it says; whatever is in MLflow, the study's journal has its trials",
        "factors": "`walslab refit` trains them again: nothing else needs them",
    }
    looks: tuple[tuple[str, Callable[[Study], str]], ...] = (
        ("study", _journal),
        ("dataset", _dataset),
        ("mlflow run", _run),
        ("factors", _factors),
    )
    return [*_told(study, looks, ways)]


def _told(
    study: Study, looks: tuple[tuple[str, Callable[[Study], str]], ...], ways: dict[str, str]
) -> Iterator[Check]:
    for name, look in looks:
        try:
            yield Check(name=name, ok=True, detail=look(study), fix=None)
        except WalslabError as error:
            yield Check(name=name, ok=False, detail=str(error), fix=ways.get(name))


def _journal(study: Study) -> str:
    trials = study.trials()
    return f"{study.where}: {study.status()}, {len(trials)} of {study.spec.trials} trials ended"


def _dataset(study: Study) -> str:
    data = RatingsDataset.open(study.facts["dataset"])
    if data.digest != study.facts["digest"]:
        raise DatasetError(
            f"{data.where} has digest {data.digest}, but the study was run on {study.facts['digest']}"
        )
    return f"{data.where}, digest {data.digest}"


def _run(study: Study) -> str:
    client_of(study)
    return f"{study.facts['tracking_uri']}, run {study.facts['parent_run_id']}"


def _factors(study: Study) -> str:
    finished = [trial for trial in study.trials() if trial["status"] == "FINISHED"]
    if not finished:
        return "no trial has finished yet"
    best = finished[0]
    if study.spec.keep_factors == "none":
        return "none are kept, as was asked"
    if trial_factors(study, best) is None:
        raise StudyError(f"the factors of {best['trial']}, the best trial, are not in MLflow any more")
    return f"of {best['trial']}, the best trial, are there"
