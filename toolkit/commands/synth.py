"""``walslab synth``: a file of made-up ratings of MovieLens's shape."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from toolkit.commands.output import console, emit, json_option
from toolkit.commands.step_progress import progress


@click.command()
@click.option("--ratings", required=True, type=click.IntRange(min=1), help="Number of ratings.")
@click.option(
    "--users", type=click.IntRange(min=1), help="Number of users.  [default: in proportion to MovieLens 20M]"
)
@click.option(
    "--items", type=click.IntRange(min=1), help="Number of items.  [default: in proportion to MovieLens 20M]"
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="CSV file to write, with a header."
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Another seed gives other ratings.",
)
@click.option(
    "--rank", default=8, show_default=True, type=click.IntRange(min=0), help="Length of the planted factors."
)
@click.option(
    "--noise",
    default=0.8,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Standard deviation of the noise, in stars.",
)
@click.option(
    "--order",
    type=click.Choice(["user", "random"]),
    default="user",
    show_default=True,
    help="Lines sorted by user, as in MovieLens, or shuffled.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@json_option
def synth(*, out: Path, as_json: bool, **options: Any) -> None:
    """Make up ratings and write them as CSV: userId,movieId,rating,timestamp.

    The counts follow those of MovieLens 20M, in small or large: long tails, an item Gini coefficient of about
    0.9, a median of about 68 ratings a user. Ratings are planted factors and biases plus noise, rounded to
    half stars. The command prints the least RMSE that any model can reach on them. Memory does not grow with
    the number of ratings.

    \b
    Examples:
      walslab synth --ratings 1000000 --out data/made-up.csv
      walslab synth --ratings 20000263 --users 138493 --items 26744 --out data/as-ml-20m.csv
    """
    from toolkit.synth import write_ratings

    began = time.perf_counter()
    screen = console(as_json=as_json)
    with progress() as show:
        made = write_ratings(out, **options, progress=show)
    seconds = time.perf_counter() - began
    screen.print(
        f"{made.ratings:,} ratings of {made.users:,} users and {made.items:,} items in {seconds:.1f} s\n"
        f"mean {made.mean:.2f}, item Gini {made.item_gini:.2f}, median of {made.user_median:.0f} ratings a "
        f"user, least RMSE possible {made.rmse_floor:.4f}\n"
        f"\nNext:  walslab ingest {out} --out {out.with_suffix('')}",
        soft_wrap=True,
    )
    if as_json:
        emit({**vars(made), "path": str(made.path), "seconds": seconds})
