"""The two forms of a command's output: text for people, and one JSON object for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from toolkit.figure_text import shown

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from toolkit.models import PosteriorFacts

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on the last line of standard output."
)


# Of the RMSE of the samples' mean: that of their factors' mean is usually within 0.2 % of it.
_FAR = 1.03


def console(*, as_json: bool) -> Console:
    """Return the console for people: standard output, or standard error when ``--json`` is given.

    It prints paths and ids unchanged: ``[/b]`` or ``:b:`` in one of them is not markup.
    """
    from rich.console import Console

    return Console(stderr=as_json, soft_wrap=False, highlight=False, markup=False, emoji=False)


def emit(result: Mapping[str, object]) -> None:
    """Print `result` as one line of JSON, the last line of standard output; NaN and infinity become null."""
    if sys.stdout:  # None where it is closed; click then prints nothing
        sys.stdout.flush()
    click.echo(json.dumps(_finite(result), allow_nan=False))


def say_if_nothing_is_left(screen: Console, out: Path, *, posterior: bool) -> None:
    """Say that ``--resume`` finds nothing of an earlier training of the model, where that is so."""
    from toolkit.models import unfinished_place

    place = unfinished_place(out, posterior=posterior)
    if not place.exists():
        screen.print(f"--resume: there is no {place}, so the training begins anew", soft_wrap=True)


def shown_rating(rating: float, sign: str = "", *, beside: float | None = None) -> str:
    """Return a predicted rating for people: two decimals, or three digits of what is very small or large.

    Parameters
    ----------
    rating : float
        In the unit of the ratings.
    sign : {"", "+"}
        ``+`` for a rating that others are added to.
    beside : float, optional
        The rating that this one is a part of, and has as many decimals as.
    """
    size = abs(rating if beside is None else beside)
    usual = size == 0 or 0.01 <= size < 1e6
    return format(rating, f"{sign}.2f" if usual else f"{sign}.3g")


def posterior_text(facts: PosteriorFacts) -> str:
    """Return for people how a posterior was sampled, and how often its intervals hold."""
    told = f"posterior: {facts['samples']} samples, noise {shown(facts['noise'])}"
    if facts["effective_samples"] is not None and facts["r_hat"] is not None:
        told += f", worth {facts['effective_samples']:.0f} independent ones (R-hat {facts['r_hat']:.2f})"
    if facts["coverage"]:
        held = ", ".join(f"{float(level):.0%}: {share:.1%}" for level, share in facts["coverage"].items())
        told += f"\nintervals of valid ratings hold, of {held}"
    samples, means = facts["valid_rmse"], facts["mean_factors_rmse"]
    if samples is not None and means is not None and means > _FAR * samples:
        told += (
            f"\nThe mean of the factors, which is the model, has a valid RMSE of {shown(means)}, the mean of "
            f"the samples {shown(samples)}: take fewer factors, or a training without --posterior"
        )
    return told


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
