"""``walslab evaluate``: a model measured on the held-out ratings of a dataset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import click

from toolkit.commands.output import console, emit, json_option
from toolkit.commands.step_progress import progress
from toolkit.figure_text import shown


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--dataset", required=True, metavar="DIR", help="The dataset, or its address.")
@click.option(
    "--split",
    type=click.Choice(["valid", "test"]),
    default="test",
    show_default=True,
    help="The ratings to measure on. A model that was trained on them says nothing.",
)
@click.option("-n", default=10, show_default=True, type=click.IntRange(min=1), help="Items for each user.")
@click.option(
    "--relevant",
    type=float,
    help="Smallest rating that makes an item relevant.  [default: every item]",
)
@click.option(
    "--exclude-seen/--include-seen",
    default=True,
    show_default=True,
    help="Whether items that the model saw a user rate are left out.",
)
@click.option(
    "--threads", default=0, show_default=True, type=click.IntRange(min=0), help="CPU threads; 0 takes all."
)
@click.option(
    "--dask-scheduler",
    metavar="ADDRESS",
    help="Work on a Dask cluster, whose workers see model and dataset, such as tcp://head:8786.",
)
@json_option
def evaluate(
    model: Path,
    dataset: str,
    split: Literal["valid", "test"],
    *,
    n: int,
    relevant: float | None,
    exclude_seen: bool,
    threads: int,
    dask_scheduler: str | None,
    as_json: bool,
) -> None:
    """Measure MODEL on held-out ratings of a dataset: RMSE, recall, NDCG and coverage of the n best items.

    Ratings are read a shard at a time, and factors stay in the model's files, so that memory does not grow
    with the ratings. Users and items are found by id. One that the model lacks is an average one in the RMSE,
    and is left out of the ranking. Beside the RMSE stand those of the mean rating, and of mean and biases
    without factors (bias-only), both of the dataset's training ratings: what a model has to beat.

    \b
    Example:
      walslab evaluate models/first --dataset data/ml-100k/dataset -n 20
    """
    from toolkit.datasets import RatingsDataset
    from toolkit.recommending import evaluate_on
    from toolkit.solver import shortfall

    began = time.perf_counter()
    with progress() as show:
        measured = evaluate_on(
            model,
            RatingsDataset.open(dataset),
            split,
            n=n,
            relevant=relevant,
            exclude_seen=exclude_seen,
            threads=threads,
            scheduler=dask_scheduler,
            progress=show,
        )
    seconds = time.perf_counter() - began
    done, baselines = measured.evaluation, measured.baselines
    lines = [f"{split} RMSE {shown(done.rmse)}   in {seconds:.1f} s"]
    if baselines:
        lines.append(
            f"baselines of the dataset's training ratings: bias-only {split} RMSE "
            f"{shown(baselines['bias_rmse'])}, mean {split} RMSE {shown(baselines['mean_rmse'])}"
        )
    lines.append(
        f"of {done.users:,} users: recall@{n} {shown(done.recall)}, of at most {n} "
        f"{shown(done.capped_recall)}, ndcg@{n} {shown(done.ndcg)}; coverage {done.coverage:.1%}"
        if done.users
        else f"no user of the model has a relevant {split} rating: there is nothing to rank"
    )
    if lacking := measured.ratings - measured.known:
        lines.append(
            f"{lacking:,} of {measured.ratings:,} {split} ratings are of a user or an item that the model "
            "lacks: an average one stands for it"
        )
    if measured.trained:
        lines.append(
            f"The model was trained on {measured.trained:,} of these {measured.ratings:,} ratings, so that "
            "its figures are too good: measure on a split that was held out of it"
        )
    elif problem := shortfall(done.rmse, baselines, sampled=measured.sampled):
        lines.append(problem)
    console(as_json=as_json).print("\n".join(lines), soft_wrap=True)
    if as_json:
        asked = {"model": str(model), "dataset": dataset, "split": split, "n": n}
        counted = {name: getattr(measured, name) for name in ("ratings", "known", "trained", "baselines")}
        emit({**asked, **done._asdict(), **counted, "seconds": seconds})
