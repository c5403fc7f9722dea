"""``walslab resume``: go on with an interrupted study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toolkit.commands import json_option
from tune.commands.options import NumberOr, dataset_of, executor_option

if TYPE_CHECKING:
    from tune.lifecycle import Executor


@click.command()
@click.argument("study")
@click.option("--dataset", metavar="DIR", help="Where the study's dataset is now, if it was moved.")
@click.option("--concurrency", type=NumberOr("auto"), help="Trials at once from now on.")
@click.option("--cpu", type=float, help="Processors of each trial from now on.")
@click.option("--gpu", type=float, help="GPUs of each trial from now on; a fraction is fine.")
@click.option("--max-seconds", type=NumberOr("none"), help="No trial starts after so many seconds, in all.")
@click.option("--max-failures", type=NumberOr("none"), help="The study stops when so many trials failed.")
@executor_option
@json_option
def resume(
    study: str,
    dataset: str | None,
    *,
    concurrency: float | str | None,
    cpu: float | None,
    gpu: float | None,
    max_seconds: float | str | None,
    max_failures: float | str | None,
    executor: Executor,
    as_json: bool,
) -> None:
    """Run the trials that STUDY has not finished, in the same MLflow runs.

    What ended is not run again, however the study was stopped. Of a finished study, it writes what the MLflow
    store has not taken yet, and samples the posterior that the specification asks for. What an option changes
    is kept with the study; `walslab tune --name STUDY --trials N` asks for more trials.

    \b
    Example:
      walslab resume first
      walslab resume first --concurrency 4 --max-seconds none
    """
    from tune.commands.report import run_and_report
    from tune.study import Study

    opened = Study.open(study)
    data = dataset_of(opened, dataset)
    changed = {"concurrency": concurrency, "max_seconds": max_seconds, "max_failures": max_failures}
    changed = {key: value for key, value in changed.items() if value is not None}
    resources = {key: value for key, value in (("cpu", cpu), ("gpu", gpu)) if value is not None}
    if changed or resources:
        more = {"resources": {**opened.facts["spec"]["resources"], **resources}} if resources else {}
        opened.change(**changed, **more)
    run_and_report(opened, data, executor=executor, as_json=as_json)
