"""``walslab train``: one model from one dataset."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from toolkit.commands.options import (
    config_from,
    config_options,
    place_from,
    place_options,
    preset_option,
    run_options,
    run_options_from,
)
from toolkit.commands.output import console, emit, json_option, posterior_text, say_if_nothing_is_left

if TYPE_CHECKING:
    from rich.console import Console

    from toolkit.models import Progress
    from toolkit.solver import BaselineErrors


@click.command()
@click.argument("dataset", metavar="DIR")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model directory to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing model directory.")
@preset_option
@config_options
@click.option(
    "--patience",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Stop when so many iterations have not lowered the validation RMSE, and keep the best; 0: never.",
)
@click.option(
    "--posterior",
    is_flag=True,
    help="Sample the posterior distribution, and write the mean of the factors: no penalty to choose. The "
    "preset is posterior, unless you give one.",
)
@click.option(
    "--samples", type=click.IntRange(min=1), help="Samples of a posterior that count.  [default: 200]"
)
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    help="Samples that the model keeps for intervals, such as 16; each is as large as its factors.  "
    "[default: 0]",
)
@place_options
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from the last iteration that a killed training kept beside --out, one each half minute.",
)
@run_options
@json_option
def train(
    dataset: str,
    out: Path,
    *,
    overwrite: bool,
    preset: str,
    patience: int,
    posterior: bool,
    samples: int | None,
    keep: int | None,
    resume: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Train one model on the training ratings of the dataset in DIR.

    Validation and test RMSE are measured on ratings that were not trained on. Beside them stand the RMSEs of
    the mean rating, and of mean and biases without factors (bias-only): what a model has to beat.

    Ratings that do not fit into memory stay in their shards, and are read once for each half of an iteration.
    On a Dask cluster each worker keeps those that it had before. The factors are the same, to the bit.

    \b
    Example:
      walslab train data/ml-100k/dataset --preset tutorial-default --out models/first
      walslab train data/ml-100k/dataset --posterior --keep 16 --out models/sampled
      walslab train data/all --out models/all --memory 2GB
      walslab train data/all --out models/all --dask-scheduler tcp://head:8786 --resume
    """
    from toolkit.datasets import RatingsDataset
    from toolkit.figure_text import shown
    from toolkit.models import WALS, check_target, placed_ratings, unfinished_training

    if not posterior and (samples is not None or keep is not None):
        raise click.UsageError("--samples and --keep go with --posterior.")
    check_target(out, overwrite=overwrite)
    source = click.get_current_context().get_parameter_source("preset")
    if posterior and source is ParameterSource.DEFAULT:
        preset = "posterior"
    model = WALS(config_from(preset, values), run_options_from(values))
    data = RatingsDataset.open(dataset)
    screen = console(as_json=as_json)
    if resume:
        say_if_nothing_is_left(screen, out, posterior=posterior)
    began = time.perf_counter()
    with (
        unfinished_training(out, posterior=posterior, resume=resume) as unfinished,
        screen.status("reading ratings") as status,
        placed_ratings(data, model.config, model.options, **place_from(values)) as placed,
    ):
        if placed.plan is not None and placed.plan.sharded:
            screen.print(str(placed.plan), soft_wrap=True)

        def show(progress: Progress) -> None:
            done = f"{'sweep' if posterior else 'iteration'} {progress['iteration']}"
            done += "" if posterior else f"/{model.config.iterations}"
            train, valid = shown(progress["train_rmse"]), shown(progress["valid_rmse"])
            status.update(f"{done}  train RMSE {train}  valid RMSE {valid}")

        if posterior:
            model.fit_posterior(
                placed,
                samples=200 if samples is None else samples,
                keep=keep or 0,
                patience=patience,
                checkpoint=unfinished,
                on_sample=show,
                progress=False,
            )
        else:
            model.fit(placed, patience=patience, checkpoint=unfinished, on_iteration=show, progress=False)
        seconds = time.perf_counter() - began
        status.update("measuring the baselines")
        baselines = placed.baseline_errors()
        last = model.history[model.factors.iterations - 1]
        rmses = {
            "train_rmse": last["train_rmse"],
            "valid_rmse": last["valid_rmse"],
            "test_rmse": placed.rmse(model.factors, placed.test),
        }
        if model.posterior is not None:
            # Those of the last sweep are of a draw.
            of_mean = (placed.rmse(model.factors, held_out) for held_out in (None, placed.valid))
            rmses |= dict(zip(("train_rmse", "valid_rmse"), of_mean, strict=True))
        result = {
            **rmses,
            "baselines": baselines,
            "iterations": last["iteration"],
            "seconds": seconds,
            "seconds_per_iteration": sum(p["seconds"] for p in model.history) / len(model.history),
            "backend": model.backend_name,
            "solver": model.solver_name,
            "config": model.config.to_dict(),
            "posterior": model.posterior and model.posterior.facts,
        }
        status.update("writing the model")
        model.save(out, overwrite=overwrite, **rmses)
    _print(screen, result, baselines)
    screen.print(f"model in {out}", soft_wrap=True)
    user = shlex.quote(str(model.users.id(0)))
    screen.print(f"\nNext:  walslab recommend {shlex.quote(str(out))} --user {user}", soft_wrap=True)
    if as_json:
        emit({"model": str(out), **result})


def _print(
    screen: Console, figures: Mapping[str, Any], baselines: Mapping[str, BaselineErrors | None]
) -> None:
    """Print the errors of the model, those of its baselines, and what to try where it is no better."""
    from toolkit.figure_text import shown
    from toolkit.solver import shortfall

    how, solver = ("sweeps", "") if figures["posterior"] else ("iterations", f", {figures['solver']} solver")
    screen.print(
        f"train RMSE {shown(figures['train_rmse'])}   valid RMSE {shown(figures['valid_rmse'])}   "
        f"test RMSE {shown(figures['test_rmse'])}   ({figures['iterations']} {how} on "
        f"{figures['backend']}{solver}, {figures['seconds_per_iteration']:.3f} s each)",
        soft_wrap=True,
    )
    if figures["posterior"]:
        screen.print(posterior_text(figures["posterior"]), soft_wrap=True)
    of = {name: errors for name, errors in baselines.items() if errors}
    biases = "   ".join(f"{name} RMSE {shown(errors['bias_rmse'])}" for name, errors in of.items())
    means = "   ".join(f"{name} RMSE {shown(errors['mean_rmse'])}" for name, errors in of.items())
    if of:
        screen.print(f"bias-only: {biases}\nmean:      {means}", soft_wrap=True)
    sampled = figures["posterior"] is not None
    problems = (shortfall(figures[f"{name}_rmse"], of[name], sampled=sampled) for name in of)
    if problem := next(filter(None, problems), None):
        screen.print(problem, soft_wrap=True)
