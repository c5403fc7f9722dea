"""``walslab ui``: MLflow's page on a study."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import webbrowser
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from toolkit.commands import console, emit, json_option

if TYPE_CHECKING:
    from tune.record import Tracking

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.argument("study", required=False)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port on this machine.  [default: 5000 or, if taken, a free one]",
)
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.", show_default=True)
@json_option
def ui(study: str | None, *, port: int | None, browser: bool, as_json: bool) -> None:
    """Open MLflow's page on the trials of STUDY, best first, with their hyperparameters and figures.

    Where the study is recorded on an MLflow server, that server is opened. Else a server is started on this
    machine, for this machine alone, until Ctrl-C. Without STUDY, the page is that of the experiment in the
    MLflow store of MLFLOW_TRACKING_URI, or in ./mlflow.db.

    \b
    Example:
      walslab ui first
    """
    from toolkit.files import process_settings
    from tune.record import is_server, serve_page

    screen = console(as_json=as_json)

    def show(links: dict[str, str]) -> None:
        for name, link in links.items():
            screen.print(f"{name}: {link}", soft_wrap=True)
        if as_json:
            emit(links)
        if browser and _has_browser():
            webbrowser.open(next(iter(links.values())))

    with process_settings(), _ended_by_signals():
        tracking, links_on = _page_of(study)
        if is_server(tracking.uri):
            show(links_on(tracking.uri))
            return
        screen.print(f"starting MLflow's page on {tracking.shown}; Ctrl-C ends it", soft_wrap=True)
        with contextlib.suppress(KeyboardInterrupt), serve_page(tracking, port) as server:
            show(links_on(server.address))
            server.wait_for_end()


def _page_of(study: str | None) -> tuple[Tracking, Callable[[str], dict[str, str]]]:
    """Return the store of a study, or the one at hand, and what gives its links on a server."""
    from tune.record import Tracking, client_of, experiment_link, links_of, tracking_of
    from tune.study import Study

    if study is None:
        store = Tracking.from_environment()
        experiment_id = store.find_experiment()
        return store, lambda server: {"experiment": experiment_link(server, experiment_id)}
    opened = Study.open(study)
    client_of(opened)  # which says in one line what is wrong with the store, where MLflow's server would not
    return tracking_of(opened), lambda server: links_of(opened, server)


def _has_browser() -> bool:
    """Return whether a browser has a screen; one in the terminal would take it from this command."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform != "linux" or any(os.environ.get(name) for name in screens)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let the end of the terminal, and a request to end, do what Ctrl-C does."""
    numbers = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler or signal.SIG_DFL)
