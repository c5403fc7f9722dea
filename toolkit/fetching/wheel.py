"""One wheel from the package index that pip is configured for; downloaded, never installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from toolkit.errors import FetchError

_PIP_SECONDS = 300


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download the wheel of one release into `folder`, without what it depends on, and return its path.

    Parameters
    ----------
    requirement : str
        As ``name==version``.
    folder : Path
        An empty directory.

    Raises
    ------
    FetchError
        When there is no pip to be run, or the index does not answer or has no such wheel.
    """
    # Wheels only: an sdist would be built, and that runs its code.
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
    """Return what pip gives as the reason, in a line."""
    # Without network pip ends with "no matching distribution"; the true reason is a warning before it.
    if "WARNING: Retrying" in stderr:
        return "the package index does not answer"
    errors = (line for line in stderr.splitlines() if line.startswith("ERROR:"))
    return next(errors, "no reason given").removeprefix("ERROR:").strip()


def _pip() -> list[str]:
    """Return the command of a pip that can be run: environments made by uv have none of their own."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # The standard library carries a wheel of pip for `python -m venv`; it runs without being installed.
    bundle = importlib.util.find_spec("ensurepip")
    if bundle and bundle.origin:
        for wheel in Path(bundle.origin).parent.glob("_bundled/pip-*.whl"):
            return [sys.executable, str(wheel / "pip")]
    python, uv = shutil.which("python3"), shutil.which("uv")
    if python and _runs([python, "-m", "pip"]):
        return [python, "-m", "pip"]
    if uv and _runs([uv, "tool", "run", "--python", sys.executable, "pip"]):
        return [uv, "tool", "run", "--python", sys.executable, "pip"]
    raise FetchError(
        f"there is no pip: {sys.executable} has none, and neither python3 nor uv on PATH gives one; "
        f"install it with `{sys.executable} -m ensurepip` or `uv pip install pip`"
    )


def _runs(pip: list[str]) -> bool:
    try:
        return not subprocess.run(
            [*pip, "--version"], check=False, capture_output=True, timeout=60
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False
