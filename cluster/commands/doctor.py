"""``walslab doctor``: what is installed, what is reachable, and what is wrong."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands import console, emit, json_option
from toolkit.files import mask

if TYPE_CHECKING:
    from toolkit.commands import Check

_SOURCES = ("toolkit.commands.machine_checks", "tune.doctor")


@click.command()
@click.argument("study", required=False)
@click.option(
    "--address",
    envvar="RAY_API_SERVER_ADDRESS",
    help="Look at this cluster, too, by a job: its head and one worker. http://HOST:8265",
)
@click.option("--dataset", metavar="DIR", help="See whether the worker can read this dataset.")
@click.option(
    "--studies",
    metavar="DIR",
    envvar="WALSLAB_STUDIES",
    help="See whether the worker can write where studies are kept.",
)
@click.option("--env", "more", multiple=True, metavar="NAME", help="Hand over this variable, as submit does.")
@click.option(
    "--working-dir", default=".", show_default=True, help="Folder to upload for the job, as of submit."
)
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    study: str | None,
    address: str | None,
    dataset: str | None,
    studies: str | None,
    more: tuple[str, ...],
    working_dir: str,
    *,
    as_json: bool,
) -> None:
    """Check versions, array backends, GPU, Ray address and MLflow store; say how to mend what is wrong.

    With STUDY, only what this study refers to: its journal, dataset, MLflow store and run, and factors.

    With --address, the same of a cluster: whether the head and a worker have the versions that are here,
    whether the worker sees its GPU, reads the dataset and writes studies, and whether the head, where the
    search runs, reaches MLflow. The exit code is 1 when something is wrong.

    \b
    Examples:
      walslab doctor
      walslab doctor first
      walslab doctor --address http://head:8265 --studies s3://bucket/studies
    """
    screen = console(as_json=as_json)
    found = []
    for check in _of_study(study) if study else _local():
        found.append(check)
        _show(screen, check)
    if address:
        from cluster.inspection import of_cluster

        screen.print(f"\ncluster at {mask(address)}, asked by a job")
        told = of_cluster(
            address, working_dir, found, screen.print, dataset=dataset, studies=studies, more=more
        )
        for check in told:
            found.append(check)
            _show(screen, check)
    ok = all(check["ok"] for check in found)
    if as_json:
        emit({"ok": ok, "checks": found})
    ctx.exit(0 if ok else 1)


def _local() -> Iterator[Check]:
    for source in _SOURCES:
        yield from importlib.import_module(source).checks()


def _of_study(name: str) -> Iterator[Check]:
    # The package of studies is known here by its commands and its checks alone.
    yield from importlib.import_module("tune.doctor").checks_of(name)


def _show(screen: Any, check: Check) -> None:
    mark = "[green]ok[/]  " if check["ok"] else "[red]bad[/] "
    screen.print(f"{mark} {check['name']:<18}", end="", markup=True)
    screen.print(check["detail"], soft_wrap=True)
    if check["fix"]:
        screen.print(f"      → {check['fix']}", soft_wrap=True)
