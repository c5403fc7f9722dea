"""Wheels from the package index that pip is configured for: downloaded, never installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from toolkit.errors import FetchError

_PIP_SECONDS = 300


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download the wheel of one release into `folder`, without its dependencies, and return its path.

    Parameters
    ----------
    requirement : str
        The release, as ``name==version``.
    folder : Path
        An empty directory.

    Raises
    ------
    FetchError
        When this Python has no pip, or the index does not answer or has no such wheel.
    """
    # Wheels only: pip would build a source distribution, and thereby run its code.
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--no-input"]
    limits = ["--retries", "1", "--timeout", "15"]
    command = [*_pip(), "download", requirement, *options, *limits, "--dest", str(folder)]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_PIP_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"pip download {requirement}: {error}") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise FetchError(f"pip download {requirement} failed: {_reason(done.stderr)}")
    return wheels[0]


def _reason(stderr: str) -> str:
    """Return in one line why pip failed."""
    # Without a network pip ends with "no matching distribution"; a warning before it has the true reason.
    if "WARNING: Retrying" in stderr:
        return "the package index does not answer"
    errors = (line for line in stderr.splitlines() if line.startswith("ERROR:"))
    return next(errors, "no reason given").removeprefix("ERROR:").strip()


def _pip() -> list[str]:
    """Return the command that runs pip; an environment made by uv may have no pip of its own."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # The standard library holds a wheel of pip for `python -m venv`, which runs without being installed.
    bundle = importlib.util.find_spec("ensurepip")
    if bundle and bundle.origin:
        for wheel in Path(bundle.origin).parent.glob("_bundled/pip-*.whl"):
            return [sys.executable, str(wheel / "pip")]
    raise FetchError(
        f"{sys.executable} has no pip: install it with `{sys.executable} -m ensurepip` or "
        "`uv pip install pip`"
    )
