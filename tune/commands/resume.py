"""``walslab resume``: go on with an interrupted study."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli import json_option


@click.command()
@click.argument("study")
@click.option(
    "--dataset", type=click.Path(path_type=Path), help="Where the study's dataset is now, if it was moved."
)
@json_option
def resume(study: str, dataset: Path | None, *, as_json: bool) -> None:
    """Run the trials that STUDY has not finished, in the same MLflow runs.

    \b
    Example:
      walslab resume first
    """
    from toolkit.dataset import RatingsDataset
    from tune.commands.report import run_and_report
    from tune.study import Study

    found = Study.open(study)
    data = RatingsDataset.open(dataset or found.facts["dataset"])
    run_and_report(found, data, as_json=as_json)
