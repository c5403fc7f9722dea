"""``walslab resume``: go on with an interrupted study."""

from __future__ import annotations

import click

from toolkit.commands import json_option
from tune.commands.options import executor_option


@click.command()
@click.argument("study")
@click.option("--dataset", metavar="DIR", help="Where the study's dataset is now, if it was moved.")
@executor_option
@json_option
def resume(study: str, dataset: str | None, *, in_process: bool, as_json: bool) -> None:
    """Run the trials that STUDY has not finished, in the same MLflow runs.

    What ended is not run again, however the study was stopped. Of a finished study, it writes what the MLflow
    store has not taken yet.

    \b
    Example:
      walslab resume first
    """
    from toolkit.datasets import RatingsDataset
    from tune.commands.report import run_and_report
    from tune.study import Study

    found = Study.open(study)
    data = RatingsDataset.open(dataset or found.facts["dataset"])
    run_and_report(found, data, executor="in-process" if in_process else "ray", as_json=as_json)
