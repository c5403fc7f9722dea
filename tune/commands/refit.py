"""``walslab refit``: train or sample the best trial on all but the test ratings."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal

import click

from toolkit.commands import (
    console,
    emit,
    json_option,
    place_from,
    place_options,
    say_if_nothing_is_left,
)
from tune.commands.options import dataset_of, model_place


def _refuse_ensemble(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            "--ensemble is gone: --posterior gives one model, at least as good as the mean of ten trials."
        )


@click.command()
@click.argument("study")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Model directory to write.  [default: model, in the study; models/NAME of one at an address]",
)
@click.option(
    "--dataset",
    metavar="DIR",
    help="Where the study's dataset is now, if it was moved; or the whole that it is a sample of.",
)
@click.option(
    "--ensemble",
    hidden=True,
    expose_value=False,
    callback=_refuse_ensemble,
    help="Was the mean of several trials.",
)
@click.option(
    "--posterior",
    is_flag=True,
    help="Sample the posterior of the best trial's rank and pattern weight, in the place of its training.",
)
@click.option(
    "--samples", type=click.IntRange(min=1), help="Samples of a posterior that count.  [default: 200]"
)
@click.option(
    "--keep", type=click.IntRange(min=0), help="Samples that the model keeps for intervals.  [default: 0]"
)
@click.option("--titles", metavar="FILE", help="File with titles of the items; kept with the model.")
@click.option("--register", metavar="NAME", help="Make a version of it in MLflow's model registry.")
@click.option("--alias", help="Give the version this alias, such as champion, if it is better.")
@click.option(
    "--promote",
    type=click.Choice(("better", "always")),
    default="better",
    show_default=True,
    help="Give the alias only to a lower test RMSE than that of the version that has it, or in any case.",
)
@place_options
@click.option(
    "--resume", is_flag=True, help="Go on from the last iteration that a killed training kept beside --out."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing model directory.")
@json_option
def refit(
    study: str,
    out: Path | None,
    dataset: str | None,
    *,
    posterior: bool,
    samples: int | None,
    keep: int | None,
    titles: str | None,
    register: str | None,
    alias: str | None,
    promote: Literal["better", "always"],
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Train the best configuration of STUDY on train + valid ratings, and test it once.

    Beside its test RMSE stand those of the mean rating and of mean and biases without factors (bias-only).
    A study on a sample of users (`walslab sample`) is refitted on all where --dataset names the whole.

    \b
    Example:
      walslab refit first --out models/best
      walslab refit half --dataset data/ml-1m/dataset --out models/all
      walslab refit first --posterior --keep 16 --out models/sampled
      walslab refit first --out models/all --dask-scheduler tcp://head:8786
      walslab refit first --titles data/ml-1m/movies.dat --register movies --alias champion
    """
    from toolkit.commands import progress
    from tune.commands.refit_report import print_recommend, print_refit, refit_json
    from tune.refit import SAMPLES, Target, refit_best
    from tune.study import Study

    if alias and not register:
        raise click.UsageError("--alias is for a registered model: name it with --register")
    target = Target(register, alias, promote) if register else None
    found = Study.open(study)
    posterior = posterior or found.spec.model == "posterior"
    if not posterior and (samples is not None or keep is not None):
        raise click.UsageError("--samples and --keep go with --posterior.")
    out = out or model_place(found)
    data = dataset_of(found, dataset)
    names = None
    if titles:
        from toolkit.datasets import read_titles

        names = read_titles(titles, data.items)
    screen = console(as_json=as_json)
    if resume:
        say_if_nothing_is_left(screen, out, posterior=posterior)
    with progress() as show:
        done = refit_best(
            found,
            data,
            out,
            overwrite=overwrite,
            posterior=(samples or SAMPLES) if posterior else 0,
            keep=keep or 0,
            titles=names,
            register=target,
            resume=resume,
            **place_from(values),
            progress=show,
        )
    if data.digest != found.facts["digest"]:
        screen.print(f"trained on {data.where}, of which the study's dataset is a sample", soft_wrap=True)
    print_refit(screen, done, out)
    known = done.registered
    if known:
        screen.print(f"version {known.version} of {known.name} in the registry", soft_wrap=True)
    if known and alias:
        has = f"it is {alias}" if known.alias else f"it is not {alias}"
        screen.print(f"{has}: {known.reason}", soft_wrap=True)
    print_recommend(screen, out, data)
    if known:
        uri = f"models:/{known.name}" + (f"@{alias}" if alias else f"/{known.version}")
        where = f"MLFLOW_TRACKING_URI={shlex.quote(found.facts['tracking_uri'])}"
        serve = f"mlflow models serve -m {shlex.quote(uri)} --env-manager local --port 5001"
        screen.print(f"       {where} {serve}", soft_wrap=True)
    if as_json:
        emit(refit_json(done, found, out))
