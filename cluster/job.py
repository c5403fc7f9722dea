"""A walslab command as the entrypoint of a Ray job."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

import cluster
import toolkit.commands
import tune.commands
from cluster import working_dir as uploads
from toolkit.errors import did_you_mean
from toolkit.files import mask, secrets_in

# What a job must know of this environment: where to record, and where studies are kept. Ray's own variables
# are the cluster's.
FORWARDED = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "WALSLAB_STUDIES",
)
_NOT_UPLOADED = ["__pycache__"]


@dataclass(frozen=True)
class Job:
    """What is submitted, and the `ray job submit` line that does the same.

    Attributes
    ----------
    address : str
        URL of the cluster's job server.
    working_dir : str
        Folder that is uploaded: the root of the repository, or one with what the command names.
    arguments : tuple of str
        A module, and its arguments: a walslab command and that command's.
    environment : dict of str to str
        Variables that are handed over; values never appear in `shown`.
    """

    address: str
    working_dir: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)

    @classmethod
    def of_command(
        cls, address: str, working_dir: str, arguments: Sequence[str], more: Sequence[str] = ()
    ) -> Job:
        """Return the job of a walslab command.

        Raises
        ------
        click.UsageError
            When it is no command, or one of `more` is not set.
        """
        return cls.of_module(address, working_dir, [_package(arguments[0]), *arguments], more)

    @classmethod
    def of_module(
        cls, address: str, working_dir: str, arguments: Sequence[str], more: Sequence[str] = ()
    ) -> Job:
        """Take the variables to hand over from this environment: the usual ones, and `more`.

        Raises
        ------
        click.UsageError
            When one of `more` is not set, or an argument holds a secret.
        """
        if told := next((word for word in arguments if secrets_in(word)), None):
            raise click.UsageError(
                f"{mask(told)} holds a password or a signature, and what a job runs is in Ray's logs: give "
                "it in a variable, by --env NAME."
            )
        if missing := [name for name in more if name not in os.environ]:
            raise click.UsageError(f"--env {missing[0]}: there is no such variable in this environment.")
        names = [name for name in FORWARDED if os.environ.get(name)]
        environment = {name: os.environ[name] for name in dict.fromkeys([*names, *more])}
        return cls(address, working_dir, tuple(arguments), environment)

    @property
    def entrypoint(self) -> str:
        """The shell command that the cluster runs, nothing installed but the dependencies."""
        module, *arguments = self.arguments
        # Those of `cluster` take up what was handed over.
        if self.environment and not module.startswith("cluster"):
            module = "cluster"
        return shlex.join(["python", "-m", module, *arguments])

    @property
    def runtime_env(self) -> dict[str, Any]:
        """What Ray makes ready on every node, but for the working directory."""
        if uploads.has_packages(Path(self.working_dir)):
            return {}
        packages = [str(Path(package.__file__).parent) for package in (toolkit, tune, cluster)]  # type: ignore[arg-type]
        return {"py_modules": packages, "excludes": _NOT_UPLOADED}

    @property
    def shown_address(self) -> str:
        """The address without a password."""
        return mask(self.address)

    @property
    def shown(self) -> str:
        """The equal command line, for a cluster whose nodes have the variables already."""
        line = ["ray", "job", "submit", "--address", self.shown_address, "--working-dir", self.working_dir]
        if self.runtime_env:
            line += ["--runtime-env-json", json.dumps(self.runtime_env)]
        return shlex.join([*line, "--", "python", "-m", *self.arguments])


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
