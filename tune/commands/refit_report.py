"""Print a refit for `refit`, and for a study that ends with one: as text for people, as JSON for machines."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.commands import posterior_text
from toolkit.figure_text import shown

if TYPE_CHECKING:
    from rich.console import Console

    from toolkit.datasets import RatingsDataset
    from tune.refit import Refit
    from tune.study import Study


def print_refit(screen: Console, done: Refit, out: Path) -> None:
    """Print how good a refitted model is, what it had to beat, and where it is."""
    _print_errors(screen, done)
    _print_baselines(screen, done)
    screen.print(f"model in {out}", soft_wrap=True)


def print_recommend(screen: Console, out: Path, data: RatingsDataset) -> None:
    """Print the command that recommends with a model."""
    words = shlex.join([str(out), "--user", str(data.users.id(0))])
    screen.print(f"\nNext:  walslab recommend {words}", soft_wrap=True)


def refit_json(done: Refit, study: Study, out: Path) -> dict[str, Any]:
    """Return the object that ``refit --json`` prints."""
    return {
        "model": str(out),
        "run_id": study.facts["parent_run_id"],
        "valid_rmse": done.valid_rmse,
        "test_rmse": done.test_rmse,
        "baselines": {"test": done.baselines},
        "posterior": done.posterior,
        "registered": None if done.registered is None else asdict(done.registered),
    }


def _print_errors(screen: Console, done: Refit) -> None:
    best = done.best
    if done.posterior is not None:
        screen.print(
            f"{best['trial']}: valid RMSE {shown(best['valid_rmse'])}, of its posterior "
            f"{shown(done.valid_rmse)}   refitted, test RMSE {shown(done.test_rmse)}",
            soft_wrap=True,
        )
        screen.print(posterior_text(done.posterior), soft_wrap=True)
        return
    screen.print(
        f"{best['trial']}: valid RMSE {shown(best['valid_rmse'])}   refitted, test RMSE "
        f"{shown(done.test_rmse)}"
    )


def _print_baselines(screen: Console, done: Refit) -> None:
    from toolkit.solver import shortfall

    if to_beat := done.baselines:
        screen.print(
            f"baselines: bias-only test RMSE {shown(to_beat['bias_rmse'])}, "
            f"mean test RMSE {shown(to_beat['mean_rmse'])}",
            soft_wrap=True,
        )
    if problem := shortfall(done.test_rmse, done.baselines, sampled=done.posterior is not None):
        screen.print(problem, soft_wrap=True)
