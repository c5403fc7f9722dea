"""``walslab tune``: search hyperparameters on a dataset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.commands import json_option
from toolkit.errors import ConfigError
from tune.commands.options import executor_option

if TYPE_CHECKING:
    from tune.lifecycle import Executor


@click.command()
@click.argument("dataset", metavar="DIR", required=False)
@click.option(
    "--spec",
    type=click.Path(path_type=Path),
    help="YAML or JSON search specification, or an AI Platform file.",
)
@click.option("--trials", type=click.IntRange(min=1), help="Configurations to try.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Trials at once.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the sampler and of every trial's random start.")
@click.option("--name", help="Name of the study.  [default: the dataset's name and the time]")
@click.option(
    "--studies",
    default="studies",
    show_default=True,
    envvar="WALSLAB_STUDIES",
    metavar="DIR",
    help="Where studies are kept: a folder, or an address (s3://bucket/studies).",
)
@click.option(
    "--start",
    multiple=True,
    metavar="NAME",
    help="A preset, or an earlier study, to start from; may be repeated.",
)
@click.option(
    "--extend",
    type=click.IntRange(min=1),
    metavar="N",
    help="Add N trials to the study --name, and run them.",
)
@executor_option
@click.option("--print-spec", is_flag=True, help="Print the commented default specification and stop.")
@json_option
def tune(
    dataset: str | None,
    spec: Path | None,
    trials: int | None,
    concurrency: int | None,
    seed: int | None,
    name: str | None,
    studies: str,
    start: tuple[str, ...],
    extend: int | None,
    *,
    in_process: bool,
    print_spec: bool,
    as_json: bool,
) -> None:
    """Search the hyperparameters that do best on the validation ratings of the dataset in DIR.

    Trials run on the Ray cluster of RAY_ADDRESS, or on this machine. Each is recorded in the MLflow store of
    MLFLOW_TRACKING_URI, or in ./mlflow.db. The study is kept in ./studies/NAME: asked for once more in the
    same words, it goes on where it was. Options given here replace keys of the specification. DIR may be an
    address; then every node of the cluster reads it. Test ratings are not read.

    \b
    Examples:
      walslab tune data/ml-100k/dataset --trials 24 --name first
      walslab tune --extend 50 --name first
    """
    executor: Executor = "in-process" if in_process else "ray"

    if print_spec:
        from tune.spec import default_text

        click.echo(default_text(), nl=False)
        return
    if extend:
        given = {"--spec": spec, "--trials": trials, "--concurrency": concurrency, "--seed": seed}
        if start or any(value is not None for value in given.values()):
            raise click.UsageError(
                "--extend goes on with the study's own specification: leave out the others."
            )
        _extend(name, studies, extend, dataset, executor, as_json=as_json)
        return
    if dataset is None:
        raise click.UsageError("Missing argument 'DIR': the dataset that `walslab ingest` wrote.")
    from tune.spec.search_spec import SearchSpec

    search = SearchSpec.load(
        spec, trials=trials, concurrency=concurrency, seed=seed, start=list(start) or None
    )

    from toolkit.datasets import RatingsDataset
    from tune.commands.report import run_and_report
    from tune.lifecycle import create_study, require_same
    from tune.study.study import Study

    data = RatingsDataset.open(dataset)
    name = name or f"{data.where.rpartition('/')[2]}-{time.strftime('%Y%m%d-%H%M%S')}"
    if Path(name).name != name or name == "..":
        raise ConfigError(f"--name must be a plain name, not a path, but got {name!r}")
    where = f"{studies.rstrip('/')}/{name}"
    study = Study.find(where)
    if study:
        require_same(study, data, search)
        click.echo(f"study {study.shown} goes on: {len(study.trials())} trials have ended", err=True)
    else:
        study = create_study(where, data, search)
    run_and_report(study, data, executor=executor, as_json=as_json)


def _extend(
    name: str | None, studies: str, trials: int, dataset: str | None, executor: Executor, *, as_json: bool
) -> None:
    from toolkit.datasets import RatingsDataset
    from tune.commands.report import run_and_report
    from tune.study.study import Study

    if name is None:
        raise click.UsageError("--extend needs --name: which study gets more trials.")
    study = Study.find(f"{studies.rstrip('/')}/{name}") or Study.open(name)
    data = RatingsDataset.open(dataset or study.facts["dataset"])
    with study.locked():
        study.extend(trials)
    run_and_report(study, data, executor=executor, as_json=as_json)
