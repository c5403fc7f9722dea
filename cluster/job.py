"""A walslab command as the entrypoint of a Ray job."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

import toolkit.commands
import tune.commands
from toolkit.errors import did_you_mean
from toolkit.secrets import MASK, mask

# What a job must know of this environment: where to record. Ray's own variables are the cluster's.
FORWARDED = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)


@dataclass(frozen=True)
class Job:
    """What is submitted, and the `ray job submit` line that does the same.

    Attributes
    ----------
    address : str
        URL of the cluster's job server.
    working_dir : str
        Folder that is uploaded: the root of the repository.
    arguments : tuple of str
        A walslab command and its arguments.
    environment : dict of str to str
        Variables for the entrypoint; values never appear in `shown`.
    """

    address: str
    working_dir: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, address: str, working_dir: str, arguments: Sequence[str]) -> Job:
        """Take the variables to forward from this environment."""
        return cls(
            address, working_dir, tuple(arguments), {k: os.environ[k] for k in FORWARDED if os.environ.get(k)}
        )

    @property
    def entrypoint(self) -> str:
        """The shell command that the cluster runs, nothing installed but the dependencies."""
        return shlex.join(["python", "-m", _package(self.arguments[0]), *self.arguments])

    @property
    def shown_address(self) -> str:
        """The address without a password."""
        return mask(self.address)

    @property
    def shown(self) -> str:
        """The equal command line, with the values of passed variables masked."""
        line = [
            "ray",
            "job",
            "submit",
            "--address",
            self.shown_address,
            "--working-dir",
            self.working_dir,
        ]
        if self.environment:
            line += ["--runtime-env-json", json.dumps({"env_vars": dict.fromkeys(self.environment, MASK)})]
        return f"{shlex.join(line)} -- {self.entrypoint}"


def _package(command: str) -> str:
    tables = {"toolkit": toolkit.commands.COMMANDS, "tune": tune.commands.COMMANDS}
    for package, commands in tables.items():
        if command in commands:
            return package
    known = [name for commands in tables.values() for name in commands]
    raise click.UsageError(
        "after --, name a walslab command to run on the cluster, "
        f"but got {command!r}{did_you_mean(command, known)}"
    )
