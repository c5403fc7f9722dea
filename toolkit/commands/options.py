"""Command-line options made from the fields of `WALSConfig` and `RunOptions`: neither is declared twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from toolkit.config import PRESETS, Choice, Range, RunOptions, WALSConfig

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _NumberOrNone(click.ParamType[Any]):
    """A number, or the word none, which the configuration itself takes for no number."""

    name = "float|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "none" else click.FLOAT.convert(value, param, ctx)


def _options_of(cls: type, *, show_default: bool) -> Callable[[_Command], _Command]:
    """Return a decorator that gives a command one option for each field of a configuration."""

    def decorate(command: _Command) -> _Command:
        for field in reversed(dataclasses.fields(cls)):
            valid, text = field.metadata["valid"], field.metadata["help"]
            if show_default:
                text += f"  [default: {field.default}]"
            kind: Any = int if isinstance(valid, Range) and valid.integer else float
            if isinstance(valid, Choice):
                kind = click.Choice(valid.words)
            elif valid.optional:
                kind = _NumberOrNone()
            flag = f"--{field.name.replace('_', '-')}"
            command = click.option(flag, field.name, type=kind, default=None, help=text)(command)
        return command

    return decorate


# The defaults of hyperparameters are those of the preset.
config_options = _options_of(WALSConfig, show_default=False)
run_options = _options_of(RunOptions, show_default=True)
preset_option = click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="Hyperparameters to start from; the options below change single ones.",
)


class _Size(click.ParamType[Any]):
    """A number of bytes, written such as 512MiB or 2GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from toolkit.ingest import parse_size  # which imports Arrow

        return parse_size(value)


SIZE = _Size()


def place_options(command: _Command) -> _Command:
    """Give a command the options that say where a training has its ratings."""
    options = (
        click.option(
            "--memory",
            type=SIZE,
            help="Memory that the training may take, such as 2GB: ratings that do not fit stay in the "
            "shards of the dataset.  [default: what is free on this machine]",
        ),
        click.option(
            "--dask-scheduler",
            metavar="ADDRESS",
            help="Solve on a Dask cluster, such as tcp://head:8786, whose workers see the dataset under the "
            "same path or address.",
        ),
        click.option(
            "--dask",
            type=click.Choice(["threads", "cuda"]),
            default="threads",
            show_default=True,
            help="Solve in threads, or with a Dask worker on each GPU of this machine.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def place_from(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `toolkit.models.placed_ratings` that were given on the command line."""
    return {name: values[name] for name in ("memory", "dask_scheduler", "dask")}


def config_from(preset: str, values: Mapping[str, Any]) -> WALSConfig:
    """Return the preset, changed by the hyperparameters that were given on the command line."""
    return PRESETS[preset].replace(**_given(WALSConfig, values))


def run_options_from(values: Mapping[str, Any]) -> RunOptions:
    """Return the run options that were given on the command line, and defaults for the others."""
    return RunOptions(**_given(RunOptions, values))


def _given(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the fields of a class that are not None."""
    return {f.name: values[f.name] for f in dataclasses.fields(cls) if values.get(f.name) is not None}
