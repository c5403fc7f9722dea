"""The `walslab` command: the commands of all three packages, in the order of the work."""

from __future__ import annotations

import click

import toolkit.commands
import tune.commands
from cluster import handover
from cluster.commands import COMMANDS
from toolkit.commands import LazyGroup

_FINDING_OUT = ("doctor",)
_AFTER_TUNING = ("recommend", "similar", "explain", "export")


def _in_order() -> dict[str, str]:
    every = {**toolkit.commands.COMMANDS, **tune.commands.COMMANDS, **COMMANDS}
    last = [*_AFTER_TUNING, *(name for name in COMMANDS if name not in _FINDING_OUT), *_FINDING_OUT]
    return {name: every[name] for name in [*(n for n in every if n not in last), *last]}


@click.group(cls=LazyGroup, lazy=_in_order())
@click.version_option(package_name="walslab", version=toolkit.__version__, prog_name="walslab")
def main() -> None:
    """Tune a matrix factorization of explicit ratings: WALS on NumPy or CuPy, Ray Tune, MLflow.

    \b
    From ratings to a tuned model:
      walslab fetch ml-100k
      walslab ingest data/ml-100k/u.data --out data/ml-100k/dataset
      walslab tune data/ml-100k/dataset --name first
      walslab refit first
    """
    handover.take()
