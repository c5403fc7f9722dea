"""What a job's working directory uploads: how much, and the biggest files of it."""

from __future__ import annotations

import logging
import os
import zlib
from pathlib import Path

from cluster.errors import JobError
from toolkit.files import size_text

_log = logging.getLogger(__name__)
# Ray's server refuses more.
_MOST = 100 * 2**20
# More than this is seldom meant.
_MUCH = 10 * 2**20
_SHOWN = 5


def upload_of(folder: Path) -> list[tuple[int, Path]]:
    """Return size in bytes and relative path of the files that Ray would upload, biggest first."""
    # Ray's own walk, which knows its rules for .gitignore and .rayignore.
    from ray._private.runtime_env.packaging import _dir_travel

    found: list[tuple[int, Path]] = []

    def note(path: Path) -> None:
        if path.is_file():
            found.append((path.stat().st_size, path.relative_to(folder)))

    heeded = os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "0") != "1"
    _dir_travel(folder, [], note, include_gitignore=heeded, logger=_log)
    return sorted(found, reverse=True)


def check(folder: Path) -> str | None:
    """Make sure that a working directory can be uploaded.

    Returns
    -------
    str or None
        A word of warning where it is large.

    Raises
    ------
    JobError
        When it is no folder, or larger than Ray takes.
    """
    if not folder.is_dir():
        raise JobError(f"--working-dir must be a folder, but there is none at {folder}", exit_code=2)
    files = upload_of(folder.resolve())
    size = sum(n for n, _ in files)
    if size <= _MUCH:
        return None
    biggest = ", ".join(f"{path} ({size_text(n)})" for n, path in files[:_SHOWN])
    what = f"the working directory {folder} would upload {size_text(size)} in {len(files)} files"
    way = "leave them out by a line each in its .rayignore; data goes by path or address"
    if size > _MOST and (packed := _packed(folder, files)) > _MOST:
        what += f", {size_text(packed)} packed"
        raise JobError(
            f"{what}, and Ray takes {size_text(_MOST)}: the biggest are {biggest}; {way}", exit_code=2
        )
    return f"{what}; the biggest are {biggest}; {way}"


def has_packages(folder: Path) -> bool:
    """Tell whether the folder brings walslab's packages, as the root of its repository does."""
    return all((folder / name / "__init__.py").is_file() for name in ("toolkit", "tune", "cluster"))


def _packed(folder: Path, files: list[tuple[int, Path]]) -> int:
    """Return how many bytes the files take when compressed, about as Ray does it."""
    total = 0
    for _, path in files:
        packer = zlib.compressobj(1)
        with (folder / path).open("rb") as file:
            while data := file.read(1 << 20):
                total += len(packer.compress(data))
        total += len(packer.flush())
        if total > _MOST:
            break
    return total
