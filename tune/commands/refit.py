"""``walslab refit``: train the best trial, or a mean of several, on all but the test ratings."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from toolkit.commands import console, emit, json_option, posterior_text
from toolkit.figure_text import shown
from tune.commands.options import dataset_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tune.refit import Averaged, Refit


@click.command()
@click.argument("study")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Model directory to write.  [default: model, in the study; models/NAME of one at an address]",
)
@click.option("--dataset", metavar="DIR", help="Where the study's dataset is now, if it was moved.")
@click.option(
    "--ensemble",
    type=click.IntRange(2, 50),
    metavar="N",
    help="Average the predictions of up to N trials, if that lowers the validation RMSE.",
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
@click.option("--overwrite", is_flag=True, help="Replace an existing model directory.")
@json_option
def refit(
    study: str,
    out: Path | None,
    dataset: str | None,
    *,
    ensemble: int | None,
    posterior: bool,
    samples: int | None,
    keep: int | None,
    titles: str | None,
    register: str | None,
    alias: str | None,
    promote: Literal["better", "always"],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Train the best configuration of STUDY on train + valid ratings, and test it once.

    Beside its test RMSE stand those of the mean rating and of mean and biases without factors (bias-only).

    \b
    Example:
      walslab refit first --out models/best
      walslab refit first --ensemble 10 --out models/mean
      walslab refit first --posterior --keep 16 --out models/sampled
      walslab refit first --titles data/ml-1m/movies.dat --register movies --alias champion
    """
    from toolkit.commands import progress
    from tune.refit import Target, refit_best
    from tune.study import Study

    if alias and not register:
        raise click.UsageError("--alias is for a registered model: name it with --register")
    if posterior and ensemble:
        raise click.UsageError("--posterior and --ensemble exclude each other: give one of them.")
    if not posterior and (samples is not None or keep is not None):
        raise click.UsageError("--samples and --keep go with --posterior.")
    target = Target(register, alias, promote) if register else None
    found = Study.open(study)
    if out is None:
        here = Path.cwd()
        out = found.path / "model" if found.location.is_permanent else here / "models" / found.name
        out = out.relative_to(here) if out.is_relative_to(here) else out
    data = dataset_of(found, dataset)
    names = None
    if titles:
        from toolkit.datasets import read_titles

        names = read_titles(titles, data.items)
    with progress() as show:
        done = refit_best(
            found,
            data,
            out,
            overwrite=overwrite,
            ensemble=ensemble or 0,
            posterior=(samples or 200) if posterior else 0,
            keep=keep or 0,
            titles=names,
            register=target,
            progress=show,
        )
    screen = console(as_json=as_json)
    _print(screen, done)
    _print_baselines(screen, done)
    screen.print(f"model in {out}", soft_wrap=True)
    known = done.registered
    if known:
        screen.print(f"version {known.version} of {known.name} in the registry", soft_wrap=True)
    if known and alias:
        has = f"it is {alias}" if known.alias else f"it is not {alias}"
        screen.print(f"{has}: {known.reason}", soft_wrap=True)
    words = shlex.join([str(out), "--user", str(data.users.id(0))])
    screen.print(f"\nNext:  walslab recommend {words}", soft_wrap=True)
    if known:
        uri = f"models:/{known.name}" + (f"@{alias}" if alias else f"/{known.version}")
        where = f"MLFLOW_TRACKING_URI={shlex.quote(found.facts['tracking_uri'])}"
        serve = f"mlflow models serve -m {shlex.quote(uri)} --env-manager local --port 5001"
        screen.print(f"       {where} {serve}", soft_wrap=True)
    if as_json:
        emit(
            {
                "model": str(out),
                "run_id": found.facts["parent_run_id"],
                "valid_rmse": done.valid_rmse,
                "test_rmse": done.test_rmse,
                "baselines": {"test": done.baselines},
                "posterior": done.posterior,
                "ensemble": None if done.ensemble is None else _as_json(done.ensemble),
                "registered": None if known is None else asdict(known),
            }
        )


def _print(screen: Console, done: Refit) -> None:
    mean, best = done.ensemble, done.best
    if done.posterior is not None:
        screen.print(
            f"{best['trial']}: valid RMSE {shown(best['valid_rmse'])}, of its posterior "
            f"{shown(done.valid_rmse)}   refitted, test RMSE {shown(done.test_rmse)}",
            soft_wrap=True,
        )
        screen.print(posterior_text(done.posterior), soft_wrap=True)
        return
    if mean is None:
        screen.print(
            f"{best['trial']}: valid RMSE {shown(best['valid_rmse'])}   refitted, test RMSE "
            f"{shown(done.test_rmse)}"
        )
        return
    if mean.retrained:
        screen.print(
            f"factors of {', '.join(mean.retrained)} were not kept: trained on train once more, to choose",
            soft_wrap=True,
        )
    if not mean.kept:
        screen.print(
            f"no mean lowers the valid RMSE of {best['trial']}, {shown(best['valid_rmse'])}: refitted alone, "
            f"test RMSE {shown(done.test_rmse)}",
            soft_wrap=True,
        )
        return
    screen.print(_members(mean))
    change = ""
    if mean.test_rmse is not None and mean.single_test_rmse is not None:
        change = f" ({mean.test_rmse - mean.single_test_rmse:+.4f})"
    screen.print(
        f"valid RMSE {shown(best['valid_rmse'])} best trial, {shown(mean.valid_rmse)} ensemble; "
        f"test RMSE {shown(mean.single_test_rmse)} single, {shown(mean.test_rmse)} ensemble{change}",
        soft_wrap=True,
    )


def _print_baselines(screen: Console, done: Refit) -> None:
    from toolkit.solver import shortfall

    if to_beat := done.baselines:
        screen.print(
            f"baselines: bias-only test RMSE {shown(to_beat['bias_rmse'])}, "
            f"mean test RMSE {shown(to_beat['mean_rmse'])}",
            soft_wrap=True,
        )
    if problem := shortfall(done.test_rmse, done.baselines):
        screen.print(problem, soft_wrap=True)


def _members(mean: Averaged) -> Table:
    from rich import box
    from rich.table import Table

    table = Table("trial", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("weight", justify="right")
    table.add_column("valid RMSE", justify="right")
    for trial, weight in mean.members:
        table.add_row(trial["trial"], f"{weight:.2f}", shown(trial["valid_rmse"]))
    return table


def _as_json(mean: Averaged) -> dict[str, object]:
    return {
        "members": [{"trial": trial["trial"], "weight": weight} for trial, weight in mean.members],
        "valid_rmse": mean.valid_rmse,
        "test_rmse": mean.test_rmse,
        "single_test_rmse": mean.single_test_rmse,
        "kept": mean.kept,
    }
