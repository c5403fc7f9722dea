"""Command-line options made from `WALSConfig` and `RunOptions`, so that neither is declared twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import click

from toolkit.config import PRESETS, Choice, RunOptions, WALSConfig


def _options(cls: type, help_suffix: Callable[[Any], str]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for field in reversed(dataclasses.fields(cls)):
            valid = field.metadata["valid"]
            kind: Any = (
                click.Choice(valid.words) if isinstance(valid, Choice) else int if valid.integer else float
            )
            flag = f"--{field.name.replace('_', '-')}"
            text = f"{field.metadata['help']}{help_suffix(field)}"
            command = click.option(flag, field.name, type=kind, default=None, help=text)(command)
        return command

    return decorate


config_options = _options(WALSConfig, lambda _: "")
run_options = _options(RunOptions, lambda field: f"  [default: {field.default}]")
preset_option = click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="Hyperparameters to start from; the options below change single ones.",
)


def config_from(preset: str, values: Mapping[str, Any]) -> WALSConfig:
    """Return the preset with the hyperparameters that were given on the command line."""
    return PRESETS[preset].replace(**_given(WALSConfig, values))


def run_options_from(values: Mapping[str, Any]) -> RunOptions:
    """Return the run options that were given on the command line, defaults for the others."""
    return RunOptions(**_given(RunOptions, values))


def _given(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: values[f.name] for f in dataclasses.fields(cls) if values.get(f.name) is not None}
