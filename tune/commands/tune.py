"""``walslab tune``: search hyperparameters on a dataset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from toolkit.commands import json_option
from toolkit.errors import ConfigError, StudyError
from tune.commands.options import dataset_of, executor_option

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset
    from tune.lifecycle import Executor
    from tune.study import Study


@click.command()
@click.argument("dataset", metavar="DIR", required=False)
@click.option(
    "--spec",
    type=click.Path(path_type=Path),
    help="YAML or JSON search specification, or an AI Platform file.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    help="Configurations to try, in all: a study that has fewer gets the rest.",
)
@click.option("--concurrency", type=click.IntRange(min=1), help="Trials at once.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of the sampler and of every trial's random start."
)
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
    *,
    executor: Executor,
    print_spec: bool,
    as_json: bool,
) -> None:
    """Search the hyperparameters that do best on the validation ratings of the dataset in DIR.

    Trials run on the Ray cluster of RAY_ADDRESS, on a Ray of this machine, or in this process. Each is
    recorded in the MLflow store of MLFLOW_TRACKING_URI, or in ./mlflow.db. The study is kept in
    ./studies/NAME: asked for once more in the same words, it goes on where it was, and more --trials add the
    rest. Options given here replace keys of the specification. DIR may be an address; then every node of the
    cluster reads it. A study that is there already needs neither DIR nor --spec. Test ratings are not read,
    unless the specification says `posterior: true`: then the study ends as `walslab refit --posterior` does.

    \b
    Examples:
      walslab tune data/ml-100k/dataset --trials 24 --name first
      walslab tune --name first --trials 50
    """
    if print_spec:
        from tune.spec import default_text

        click.echo(default_text(), nl=False)
        return
    if dataset is None and name is None:
        raise click.UsageError("Missing argument 'DIR': the dataset that `walslab ingest` wrote.")

    from toolkit.datasets import RatingsDataset
    from tune.commands.report import run_and_report
    from tune.lifecycle import create_study, ray_started_ahead
    from tune.spec import SearchSpec
    from tune.study import Study

    changed = {"concurrency": concurrency, "seed": seed, "start": list(start) or None}
    if name is not None and (Path(name).name != name or name == ".."):
        raise ConfigError(f"--name must be a plain name, not a path, but got {name!r}")
    place = f"{studies.rstrip('/')}/{name}"
    study = Study.find(place) if name else None
    if study is None and dataset is None:
        study = Study.open(place)
    if study is not None:
        data = _go_on(study, dataset, spec, trials, changed)
    else:
        search = SearchSpec.load(spec, trials=trials, **changed)
        data = RatingsDataset.open(cast("str", dataset))
        name = name or f"{data.where.rpartition('/')[2]}-{time.strftime('%Y%m%d-%H%M%S')}"
        with ray_started_ahead(executor, data, search):
            study = create_study(f"{studies.rstrip('/')}/{name}", data, search)
            run_and_report(study, data, executor=executor, as_json=as_json)
        return
    run_and_report(study, data, executor=executor, as_json=as_json)


def _go_on(
    study: Study, dataset: str | None, spec: Path | None, trials: int | None, changed: dict[str, Any]
) -> RatingsDataset:
    """Make sure that a study is the one asked for, give it the trials that it lacks; return its dataset."""
    from tune.lifecycle import require_same
    from tune.spec import SearchSpec

    if spec or dataset:
        search = SearchSpec.load(spec, **changed)
    else:
        given = {key: value for key, value in changed.items() if value is not None}
        search = SearchSpec.from_dict(
            {**study.facts["spec"], **given}, source=f"study {study.name}", stored=True
        )
    data = dataset_of(study, dataset, "`walslab tune DIR`")
    require_same(study, data, search)
    has = study.spec.trials
    if trials is not None:
        study.change(trials=trials)
    elif spec and search.trials not in {has, study.asked_spec["trials"]}:
        raise StudyError(
            f"study {study.reference} has {has} trials, but {spec} asks for {search.trials}: give --trials, "
            "which adds those that a study lacks"
        )
    click.echo(f"study {study.reference} goes on: {len(study.trials())} trials have ended", err=True)
    return data
