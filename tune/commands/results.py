"""``walslab results``: the trials of a study."""

from __future__ import annotations

import click

from toolkit.cli import console, emit, json_option


@click.command()
@click.argument("study")
@click.option("-n", "limit", type=click.IntRange(min=1), help="Only the best N trials.")
@json_option
def results(study: str, limit: int | None, *, as_json: bool) -> None:
    """List the finished trials of STUDY, best first.

    STUDY is a name below ./studies, or a directory.

    \b
    Example:
      walslab results first -n 10
    """
    from tune.commands.report import print_summary, trial_table
    from tune.study import Study

    found = Study.open(study)
    screen = console(as_json=as_json)
    screen.print(trial_table(found, limit))
    print_summary(screen, found)
    if as_json:
        keys = ("trial", "run_id", "status", "valid_rmse", "iterations", "seconds", "config")
        trials = [{key: trial[key] for key in keys} for trial in found.trials()[:limit]]  # type: ignore[literal-required]
        emit({"study": str(found.path), "status": found.status(), "trials": trials})
