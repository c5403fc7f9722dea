"""``walslab doctor``: what is installed, what is reachable, and what is wrong."""

from __future__ import annotations

import importlib

import click

from toolkit.cli import console, emit, json_option

_SOURCES = ("toolkit.doctor", "tune.doctor")


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Check versions, array backends, GPU, Ray address and MLflow store; say how to mend what is wrong.

    The exit code is 1 when something is.

    \b
    Example:
      walslab doctor
    """
    screen = console(as_json=as_json)
    found = []
    for source in _SOURCES:
        for check in importlib.import_module(source).checks():
            found.append(check)
            mark = "[green]ok[/]  " if check["ok"] else "[red]bad[/] "
            screen.print(f"{mark} {check['name']:<14}", end="", markup=True)
            screen.print(check["detail"], soft_wrap=True)
            if check["fix"]:
                screen.print(f"      → {check['fix']}", soft_wrap=True)
    ok = all(check["ok"] for check in found)
    if as_json:
        emit({"ok": ok, "checks": found})
    ctx.exit(0 if ok else 1)
