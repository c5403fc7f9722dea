"""Print a study for `tune`, `resume` and `results`: as tables for people, as JSON for machines."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

import click

from toolkit.figure_text import shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from toolkit.datasets import RatingsDataset
    from tune.lifecycle import Executor
    from tune.spec import SearchMetric
    from tune.study import Study, TrialResult


_HEADING = 8  # characters
_REASONS = 3
_LINE = 40  # characters of the line of the best so far


def run_and_report(study: Study, data: RatingsDataset, *, executor: Executor, as_json: bool) -> None:
    """Run what a study still lacks, then print its table, its next commands, and its JSON."""
    from toolkit.commands import console, emit
    from tune.lifecycle import run_study
    from tune.study_progress import StudyProgress

    screen = console(as_json=as_json)

    def show() -> None:
        screen.print(trial_table(study, limit=10))
        print_summary(screen, study)

    run_study(study, data, executor=executor, progress=StudyProgress(before_report=show))
    status, refit = study.status(), None
    if status == "finished" and study.spec.posterior:
        from tune.commands.posterior import sample_posterior

        refit = sample_posterior(study, data, screen)
    elif status == "finished":
        screen.print(f"\nNext:  walslab refit {shlex.quote(study.reference)}", soft_wrap=True)
    elif status == "interrupted":
        screen.print(f"\nNext:  walslab resume {shlex.quote(study.reference)}", soft_wrap=True)
    else:
        screen.print(f"\n{_failure_advice(study)}", soft_wrap=True)
    print_page(screen, study, indent=7)
    if as_json:
        emit({**summary(study), "refit": refit})
    if status != "finished":
        click.get_current_context().exit(1)


def print_page(screen: Console, study: Study, indent: int = 0) -> None:
    """Print where MLflow shows the study: links to a server, or the command that starts one."""
    from tune.record import links_of

    if "parent_run_id" not in study.facts:
        return
    links = [f"{name}: {link}" for name, link in links_of(study).items()]
    for line in links or [f"walslab ui {shlex.quote(study.reference)}"]:
        screen.print(" " * indent + line, soft_wrap=True)


def _failure_advice(study: Study) -> str:
    """Return what can be done about a study that failed."""
    if not any(trial["status"] == "FINISHED" for trial in study.trials()):
        return "No trial succeeded: mend the specification and start a new study."
    name = shlex.quote(study.reference)
    return (
        f"The study ended: as many trials failed as its max_failures allows ({study.spec.max_failures}). "
        "Go on by\n"
        f"       walslab resume {name} --max-failures none\n"
        f"or take the best so far:  walslab refit {name}"
    )


def print_summary(screen: Console, study: Study) -> None:
    """Print how many trials ended how, how far apart they are, what they had to beat, and what failed."""
    from tune.report import baselines_of, failed, failures, remarks, stops
    from tune.study import EARLY

    trials, metric = study.trials(), study.spec.metric
    stopped, n_failed = stops(trials), sum(map(failed, trials))
    by = f": {', '.join(f'{n} by {what}' for what, n in stopped.items())}" if stopped else ""
    screen.print(
        f"study {study.name}: {study.status()}, {len(trials)}/{study.spec.trials} trials "
        f"in {study.facts['seconds']:.0f} s",
        soft_wrap=True,
    )
    screen.print(f"{sum(stopped.values())} stopped early{EARLY}{by}; {n_failed} failed", soft_wrap=True)
    _print_spread(screen, trials, metric)
    if baselines := baselines_of(study.facts):
        bias, mean = shown(baselines["bias_rmse"]), shown(baselines["mean_rmse"])
        screen.print(f"baselines: bias-only RMSE {bias}, mean RMSE {mean}", soft_wrap=True)
    for remark in remarks(study.spec, trials, baselines):
        screen.print(remark, soft_wrap=True, markup=False)
    groups = failures(trials)
    for reason, names in groups[:_REASONS]:
        screen.print(_plain(screen, f"  {len(names)} failed, {names[0]} first: {reason}"), soft_wrap=True)
    if len(groups) > _REASONS:
        others = sum(len(names) for _, names in groups[_REASONS:])
        screen.print(f"  {others} for {len(groups) - _REASONS} other reason(s)", soft_wrap=True)


def _print_spread(screen: Console, trials: list[TrialResult], metric: SearchMetric) -> None:
    from tune.report import Spread, sparkline
    from tune.study import best_so_far

    spread = Spread.of(trials, metric)
    if spread is None:
        return
    deviation = "" if spread.deviation is None else f", sd of top {spread.n} {shown(spread.deviation)}"
    screen.print(
        f"{metric.label}: best {shown(spread.best)}, median {shown(spread.median)}, "
        f"worst {shown(spread.worst)}{deviation}",
        soft_wrap=True,
    )
    sofar = best_so_far(trials, metric)
    first = next(figure for figure in sofar if figure is not None)
    line = sparkline(sofar, _LINE, ascii_only=screen.options.ascii_only)
    screen.print(f"best so far: {shown(first)} {line} {shown(spread.best)}", soft_wrap=True)


def _plain(screen: Console, text: str) -> str:
    """Return the text in characters that the screen can show, without commands to the terminal."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text.encode(screen.encoding, "backslashreplace").decode(screen.encoding)


def trial_table(study: Study, limit: int | None = None) -> Table:
    """Return the trials as a table, best first: their searched hyperparameters and their figures."""
    from rich import box
    from rich.table import Table

    from tune.study import cells, headings

    spec = study.spec
    table = Table(
        title=f"study {study.name}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 0),
    )
    first, *others = headings(spec)
    table.add_column(first, no_wrap=True)
    for column in others:
        # Numbers must not be cut on a terminal of 80 columns, so headings are narrow.
        heading = textwrap.fill(column.replace("regularization", "regul.").replace("_", " "), _HEADING)
        table.add_column(heading, justify="right", no_wrap=True)
    trials = study.trials()
    for trial in trials[:limit]:
        table.add_row(*cells(trial, spec))
    if limit is not None and len(trials) > limit:
        table.caption, table.caption_justify = f"the best {limit} of {len(trials)}", "left"
    return table


def standing(study: Study) -> dict[str, Any]:
    """Return what `--json` says of how good the best trial is: the baselines, and the ends that it is at."""
    from tune.report import at_edge

    best = next((trial for trial in study.trials() if trial["status"] == "FINISHED"), None)
    return {
        "baselines": study.facts.get("baselines"),
        "at_edge": at_edge(best["config"], study.spec.space) if best else {},
    }


def summary(study: Study) -> dict[str, Any]:
    """Return the object that ``tune --json`` prints, without its refit."""
    trials = study.trials()
    done = [t for t in trials if t["status"] == "FINISHED"]
    best = {key: done[0][key] for key in ("trial", "run_id", "valid_rmse", "config")} if done else None
    if best and done[0]["ranking"]:
        best["ranking"] = done[0]["ranking"]
    return {
        "study": study.where,
        "parent_run_id": study.facts["parent_run_id"],
        "tracking_uri": study.facts["tracking_uri"],
        "trials": len(trials),
        "failed": sum(t["status"] == "FAILED" for t in trials),
        "best": best,
        **standing(study),
        "seconds": study.facts["seconds"],
        "trial_seconds": sum(t["seconds"] for t in trials),
    }
