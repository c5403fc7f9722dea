"""``walslab prune``: remove runs, artifacts and factors of a study's trials."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from toolkit.commands import console, emit, json_option

if TYPE_CHECKING:
    from rich.console import Console

    from tune.record import Removal
    from tune.study import Study

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_NAMED = 8  # trials that are named one by one


class Age(click.ParamType[float]):
    """A length of time such as ``30d``, in seconds."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds of a text such as ``90m``, ``12h``, ``30d`` or ``4w``."""
        age = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([mhdw])", str(value).strip().lower())
        if not age:
            self.fail(f"must be a length of time such as 90m, 12h, 30d or 4w, but got {value!r}", param, ctx)
        return float(age[1]) * _SECONDS[age[2]]


@click.command()
@click.argument("study")
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Remove all but the N best trials.")
@click.option("--failed", is_flag=True, help="Remove the trials that failed.")
@click.option(
    "--older-than", type=Age(), metavar="AGE", help="Remove the trials that ended so long ago: 12h, 30d, 4w."
)
@click.option("--yes", is_flag=True, help="Remove them. Without it, only say what would be removed.")
@json_option
def prune(
    study: str, *, keep: int | None, failed: bool, older_than: float | None, yes: bool, as_json: bool
) -> None:
    """Remove the MLflow runs, artifacts and factors of trials of STUDY; say first which.

    Give one of --keep, --failed and --older-than. The best trial and the members of a refit stay. Trials that
    are removed stay in `walslab results` and in reports, without factors. `mlflow gc` then frees the rows of
    the deleted runs in the store's database.

    \b
    Example:
      walslab prune first --keep 20
      walslab prune first --keep 20 --yes
    """
    from toolkit.commands import progress
    from tune.record import PruneRule, plan_pruning, protected_trials
    from tune.record import prune as prune_study
    from tune.study import Study

    if sum((keep is not None, failed, older_than is not None)) != 1:
        raise click.UsageError("Give one of --keep N, --failed and --older-than AGE: which trials to remove.")
    rule = PruneRule(keep=keep, failed=failed, older_than=older_than)
    opened = Study.open(study)
    if yes:
        with progress() as tell:
            removals = prune_study(opened, rule, tell)
    else:
        removals = plan_pruning(opened, rule)
    protected = sorted(protected_trials(opened))
    _print(console(as_json=as_json), opened, removals, protected, done=yes)
    if as_json:
        emit(
            {
                "study": opened.where,
                "removed": yes,
                "trials": [removal.trial for removal in removals],
                "bytes": sum(removal.n_bytes for removal in removals),
                "protected": protected,
            }
        )


def _print(
    screen: Console, study: Study, removals: list[Removal], protected: list[str], *, done: bool
) -> None:
    from toolkit.files import size_text

    if not removals:
        screen.print(f"study {study.name}: no trial to remove", soft_wrap=True)
        return
    names = [removal.trial for removal in removals]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    n_bytes = sum(removal.n_bytes for removal in removals)
    size = f", {size_text(n_bytes)} on this disk" if n_bytes else ""
    verb = "removed" if done else "would remove"
    screen.print(
        f"study {study.name}: {verb} {len(names)} of {len(study.trials())} trials, with their runs and "
        f"factors{size}: {', '.join(names[:_NAMED])}{more}",
        soft_wrap=True,
    )
    if protected:
        screen.print(f"never removed (best, refit): {', '.join(protected)}", soft_wrap=True)
    if not done:
        screen.print("nothing is removed yet: add --yes to remove them", soft_wrap=True)
