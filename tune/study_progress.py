"""Progress of a running study: a table on a terminal, a bar in a notebook, else one line for each trial."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from toolkit.figure_text import shown
from toolkit.progress_bars import in_notebook, new_bar
from tune.study import TrialResult, value

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tune.record import MlflowRecord
    from tune.search import RunningTrial, StudyRun

_ROWS = 8  # running trials in the table


class StudyProgress:
    """Shows how a study goes; a `tune.search.Listener` that is also a context.

    Parameters
    ----------
    console : rich.console.Console, optional
        Console to write to; standard error where not given.
    before_report : callable, optional
        Called when all trials have ended and before the report is drawn, which takes seconds.
    """

    def __init__(
        self, console: Console | None = None, *, before_report: Callable[[], None] | None = None
    ) -> None:
        self._before_report = before_report
        self._console = console or Console(stderr=True, highlight=False)
        self._record: MlflowRecord | None = None
        self._run: StudyRun | None = None
        self._before = 0
        self._last_problem: str | None = None
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._bar: Any = None

    def watch(self, record: MlflowRecord) -> None:
        """Report the problems of a record from now on."""
        self._record = record

    def connecting(self, address: str | None) -> None:
        """Say that the study connects to Ray, or starts it, which takes seconds."""
        text = (
            f"connecting to Ray at {address}, which must answer within 20 s"
            if address
            else "starting Ray on this machine"
        )
        self._console.print(text, soft_wrap=True, markup=False)

    def note(self, text: str) -> None:
        """Say something that a person should know of how the study runs."""
        self._console.print(text, soft_wrap=True, markup=False)

    def closing(self) -> None:
        """Call what is to be shown before the report is drawn."""
        if self._before_report:
            self._before_report()

    def begin(self, run: StudyRun) -> None:
        """Show a run of a study from now on."""
        self._run, self._before, self._began = run, len(run.results), time.monotonic()
        if in_notebook():
            self._bar = new_bar("trials", run.spec.trials, initial=self._before)
            self._bar.set_postfix_str(_best(run))
        elif self._console.is_terminal:
            self._live = Live(
                get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True
            )
            self._live.start()

    def end(self) -> None:
        """Remove the table or close the bar, and say which budget ended the study before all its trials."""
        run = self._run
        if self._bar is not None:
            if run and run.outcome == "finished":
                self._bar.total = self._bar.n  # a bar that is not full is marked as that of an error
            self._bar.close()
            self._bar = None
        if self._live:
            self._live.stop()
            self._live = None
        if run and run.exhausted and run.outcome != "interrupted" and len(run.results) < run.spec.trials:
            self._console.print(f"the study ends here: {run.exhausted}", soft_wrap=True, markup=False)

    def advanced(self, run: StudyRun, trial: RunningTrial) -> None:
        """Report a problem of the record; the table refreshes itself."""
        self._print_problem()

    def ended(self, run: StudyRun, result: TrialResult) -> None:
        """Write a line for a trial that ended, or move the bar, where there is no table."""
        self._print_problem()
        with self._lock:
            if self._bar is not None:
                self._bar.set_postfix_str(_best(run), refresh=False)
                self._bar.update()
            elif not self._live:
                self._console.print(line(run, result), soft_wrap=True)

    def _print_problem(self) -> None:
        problem = self._record.problem if self._record else None
        if problem != self._last_problem:
            self._last_problem = problem
            text = (
                f"MLflow does not take the record ({problem}): trials are kept in the study until it does"
                if problem
                else "MLflow takes the record again"
            )
            self._console.print(text, soft_wrap=True, markup=False)

    def _render(self) -> RenderableType:
        run = self._run
        if run is None:
            return Text("")
        seconds = time.monotonic() - self._began
        return Group(heading(run, seconds, len(run.results) - self._before), _running(run))


def line(run: StudyRun, result: TrialResult) -> str:
    """Return a trial that ended as a line of a log."""
    metric = run.spec.metric
    done = f"{result['trial']} ({len(run.results)}/{run.spec.trials})"
    best = _best(run)
    so_far = f", {best}" if best else ""
    if result["status"] == "FAILED":
        return f"{done} failed: {result['reason']}{so_far}"
    stopped = f", stopped by {result['stopped']}" if result["stopped"] else ""
    figure = value(result, metric)
    return (
        f"{done}: {metric.label} {shown(figure)} after {result['iterations']} iterations, "
        f"{result['seconds']:.2f} s{stopped}{so_far}"
    )


def _best(run: StudyRun) -> str:
    best = value(run.best, run.spec.metric) if run.best else None
    return f"best {shown(best)} ({run.best['trial']})" if run.best and best is not None else ""


def heading(run: StudyRun, seconds: float, done_now: int) -> Text:
    """Return one line with the counts of a study, its best trial, its time so far, and the time left.

    Parameters
    ----------
    run : StudyRun
        The study.
    seconds : float
        Time since this run of the study began.
    done_now : int
        Number of trials that ended since then.
    """
    results = list(run.results)
    stopped = sum(result["stopped"] is not None for result in results)
    parts = [
        f"{len(results)}/{run.spec.trials} done",
        f"{len(run.running)} running",
        f"{stopped} stopped early",
    ]
    if run.n_failed:
        parts.append(f"{run.n_failed} failed")
    best = value(run.best, run.spec.metric) if run.best else None
    if run.best and best is not None:
        parts.append(f"best {run.spec.metric.label} {shown(best)} ({run.best['trial']})")
    eta = seconds / done_now * (run.spec.trials - len(results)) if done_now else None
    if eta is not None and run.spec.max_seconds:
        eta = min(eta, max(0.0, run.spec.max_seconds - run.seconds))
    parts.append(f"{_clock(seconds)}" + (f", about {_clock(eta)} left" if eta is not None else ""))
    return Text("   ".join(parts))


def _running(run: StudyRun) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("running", "iteration", run.spec.metric.label, "factors", "seconds"):
        table.add_column(name, justify="left" if name == "running" else "right", no_wrap=True)
    trials = list(run.running.values())
    for trial in trials[:_ROWS]:
        figures = trial.history.get(run.spec.metric.key, [])
        table.add_row(
            trial.trial,
            f"{trial.iterations}/{trial.config.iterations}",
            shown(figures[-1]) if figures else "",
            str(trial.config.factors),
            f"{time.time() - trial.started:.1f}",
        )
    if len(trials) > _ROWS:
        table.add_row(f"and {len(trials) - _ROWS} more")
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
