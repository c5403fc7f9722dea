"""``walslab synth``: a file of made-up ratings, of MovieLens's shape or by a recipe."""

from __future__ import annotations

import shlex
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from toolkit.commands.output import console, emit, json_option
from toolkit.commands.step_progress import progress
from toolkit.errors import ConfigError

# What a recipe has of its own.
_OF_RECIPES = ("ratings", "users", "items", "rank", "noise")


@click.command()
@click.option("--ratings", type=click.IntRange(min=1), help="Number of ratings.")
@click.option("--like", metavar="NAME", help="A recipe, in place of the numbers; the names are above.")
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
@click.option("--rank", type=click.IntRange(min=0), help="Length of the planted factors.  [default: 8]")
@click.option(
    "--noise",
    type=click.FloatRange(min=0),
    help="Standard deviation of the noise, in stars.  [default: 0.8]",
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
def synth(*, out: Path, like: str | None, as_json: bool, **options: Any) -> None:
    """Make up ratings and write them as CSV: userId,movieId,rating,timestamp.

    The counts follow those of MovieLens 20M, in small or large: long tails, an item Gini coefficient of about
    0.9, a median of about 68 ratings a user. Ratings are planted factors and biases plus noise, rounded to
    half stars. The command prints the least RMSE that any model can reach on them. Memory does not grow with
    the number of ratings.

    --like makes ratings of another kind, by a recipe that has all numbers. ml-100k has the counts, stars and
    errors of MovieLens 100K; ml-100k-x20, ml-100k-x5-minus-15, ml-100k-x0.2 and ml-100k-plus-95 are the same
    ratings in other units. jester: real values from -10 to 10 of 100 items. epinions, and epinions-small, an
    eighth of it: so few ratings of each that biases are nearly all there is. tens: 1 to 10, with many tens.
    likes: 0 or 1. tiny: 30 ratings. heavy-user, heavy-item: one of them has a third of all ratings.

    \b
    Examples:
      walslab synth --like jester --out data/as-jester.csv
      walslab synth --ratings 1000000 --out data/made-up.csv
      walslab synth --ratings 20000263 --users 138493 --items 26744 --out data/as-ml-20m.csv
    """
    from toolkit.synth import write_like, write_ratings

    given = {name: value for name, value in options.items() if value is not None}
    _check(like, given)
    began = time.perf_counter()
    screen = console(as_json=as_json)
    with progress() as show:
        make = partial(write_like, like=like) if like is not None else write_ratings
        made = make(out, **given, progress=show)
    seconds = time.perf_counter() - began
    dataset = out.with_suffix("" if out.suffix else ".dataset")
    screen.print(
        f"{made.ratings:,} ratings of {made.users:,} users and {made.items:,} items in {seconds:.1f} s\n"
        f"mean {made.mean:.2f}, item Gini {made.item_gini:.2f}, median of {made.user_median:.0f} ratings a "
        f"user, least RMSE possible {made.rmse_floor:.4f}\n"
        f"\nNext:  walslab ingest {shlex.quote(str(out))} --out {shlex.quote(str(dataset))}",
        soft_wrap=True,
    )
    if as_json:
        emit({**vars(made), "path": str(made.path), "seconds": seconds})


def _check(like: str | None, given: dict[str, Any]) -> None:
    """Refuse both a recipe and numbers of one's own, and neither of them."""
    if like is None and "ratings" not in given:
        raise ConfigError("give --ratings N, or --like NAME for a recipe that has all numbers")
    if like is not None and (both := [f"--{name}" for name in _OF_RECIPES if name in given]):
        raise ConfigError(
            f"--like {like} has numbers of its own, so it cannot be joined with {', '.join(both)}: leave out "
            "one or the other"
        )
