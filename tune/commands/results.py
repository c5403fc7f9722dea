"""``walslab results``: the trials of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.commands import console, emit, json_option

if TYPE_CHECKING:
    from tune.study import Study

_SHOWN = 10
_KEYS = ("trial", "run_id", "status", "valid_rmse", "iterations", "seconds", "config")


@click.command()
@click.argument("study")
@click.option(
    "-n", "limit", type=click.IntRange(min=1), help=f"Only the best N trials. Default: {_SHOWN}; JSON: all."
)
@click.option("--all", "everything", is_flag=True, help="All trials.")
@click.option(
    "--report",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    help="Write pictures and tables to a page.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing FILE.html.")
@json_option
def results(
    study: str, limit: int | None, report: Path | None, *, everything: bool, overwrite: bool, as_json: bool
) -> None:
    """List the trials of STUDY that ended, best first, and how they compare.

    Below the table stand the RMSEs of the mean rating and of mean and biases without factors (bias-only) on
    the same ratings, what is odd about the best trial, and what to do about it.

    STUDY is a name below ./studies (or WALSLAB_STUDIES), a directory, or an address. The page that --report
    writes needs no other file and no network.

    \b
    Example:
      walslab results first -n 20
      walslab results first --report first.html
    """
    from tune.commands.report import print_page, print_summary, standing, trial_table
    from tune.study import Study

    if everything and limit is not None:
        raise click.UsageError("-n and --all exclude each other: give one of them.")
    opened = Study.open(study)
    if report:
        _check(report, overwrite=overwrite)
    screen = console(as_json=as_json)
    screen.print(trial_table(opened, None if everything else limit or _SHOWN))
    print_summary(screen, opened)
    if report:
        _write(report, opened, overwrite=overwrite)
        screen.print(f"report: {report}", soft_wrap=True)
    print_page(screen, opened)
    if as_json:
        trials = [{key: trial[key] for key in _KEYS} for trial in opened.trials()[:limit]]  # type: ignore[literal-required]
        emit({"study": opened.where, "status": opened.status(), **standing(opened), "trials": trials})


def _check(report: Path, *, overwrite: bool) -> None:
    """Refuse a page that cannot be written, before any work is done."""
    problem = None
    if report.suffix.lower() not in {".html", ".htm"}:
        problem = f"--report must name a file that ends in .html, but got {report}"
    elif not report.parent.is_dir():
        problem = f"--report needs the folder {report.parent}, which does not exist: make it first"
    elif report.is_dir():
        problem = f"--report must name a file, but {report} is a directory"
    elif report.exists() and not overwrite:
        problem = f"{report} exists already: choose another --report, or add --overwrite"
    if problem:
        raise click.UsageError(problem)


def _write(report: Path, study: Study, *, overwrite: bool) -> None:
    from toolkit.files import atomic
    from tune.report import html

    facts = {**study.facts, "status": study.status()}
    page = html.page(name=study.name, facts=facts, spec=study.spec, trials=study.trials())
    with atomic.file(report, overwrite=overwrite) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
