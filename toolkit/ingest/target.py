"""Where a new dataset goes: a directory of this machine, or an address that gets it when it is complete."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from toolkit.errors import ConfigError, DatasetError
from toolkit.files import NotSentError, Upload, atomic, is_address, mask, strip_file_scheme
from toolkit.inputs import checked_path
from toolkit.progress_bars import StepProgress

_LAST = "manifest.json"


class NewDataset:
    """A dataset that is being made.

    Parameters
    ----------
    folder : Path
        The directory on this machine to fill.
    upload : Upload, optional
        Takes it to its address.

    Attributes
    ----------
    folder : Path
    """

    def __init__(self, folder: Path, upload: Upload | None = None) -> None:
        self.folder, self._upload = folder, upload

    def publish(self, show: StepProgress) -> None:
        """Send the files, which are complete, to the address, if the dataset goes to one."""
        if self._upload:
            self._upload.send(self.folder, lambda done, total: show("sending", done, total))


@contextlib.contextmanager
def new_dataset(
    out: str | Path,
    *,
    overwrite: bool,
    scratch: str | Path | None = None,
    resume: Callable[[Path], bool] | None = None,
) -> Iterator[NewDataset]:
    """Yield a dataset to fill and to publish; it is complete at `out` when the block ends well, or not there.

    Parameters
    ----------
    out : str or Path
        What `checked_out` returned.
    overwrite : bool
        Whether an existing dataset is replaced, once the new one is complete here.
    scratch : str or Path, optional
        For an address: the folder of this machine to work in; by default the system's temporary folder.
    resume : callable, optional
        As `toolkit.files.atomic.directory` takes it.

    Raises
    ------
    ConfigError
        When `scratch` is no folder of this machine, or goes with an `out` that needs none.
    DatasetError
        When something has to stay at `out`, or the store of an address fails. The directory here stays then,
        and the same call goes on with sending it.
    """
    if scratch is not None and not is_address(out):
        raise ConfigError(
            f"--scratch is where a dataset is made before it is sent to an address, but --out {out} is a "
            "folder of this machine: leave --scratch out"
        )
    try:
        if not is_address(out):
            with atomic.directory(out, overwrite=overwrite, resume=resume) as folder:
                yield NewDataset(folder)
            return
        with _at_address(str(out), overwrite=overwrite, scratch=scratch, resume=resume) as made:
            yield made
    except FileExistsError as error:
        if error.errno is not None:  # the system's own: a file is where a folder is to be made
            raise
        # Another process made it meanwhile, or a killed ingest was about to replace it.
        raise DatasetError(str(error)) from error


def checked_out(out: str | Path, *, overwrite: bool, inputs: Iterable[str | Path] = ()) -> str | Path:
    """Return the path or the address of a new dataset, before any work is done.

    Parameters
    ----------
    out : str or Path
    overwrite : bool
        Whether an existing dataset is replaced.
    inputs : iterable of str or Path
        What the dataset is made of: it would be lost where it lies at `out` or below.

    Raises
    ------
    ConfigError
        When it is no path, or `overwrite` is no truth value.
    DatasetError
        When something on this machine has to stay there.
    """
    path = checked_path("out", out)
    if not isinstance(overwrite, bool):
        raise ConfigError(f"overwrite must be True or False, but got {overwrite!r}")
    out = strip_file_scheme(out)
    for each in map(strip_file_scheme, inputs):
        if is_address(each) == is_address(out) and _is_below(each, out):
            raise DatasetError(
                f"--out {mask(str(out))} would replace {mask(str(each))}, which the dataset is made of: give "
                "another --out"
            )
    if is_address(out):
        return str(out)
    path = Path(out)
    if path.exists() and not overwrite:
        raise DatasetError(f"{path} exists already: give another --out, or --overwrite")
    if path.exists() and not (path / _LAST).is_file():
        raise DatasetError(
            f"{path} exists and is not a dataset, so it is not overwritten: give another --out"
        )
    return path


def _is_below(path: str | Path, folder: str | Path) -> bool:
    if is_address(folder):
        return f"{path}/".startswith(f"{str(folder).rstrip('/')}/")
    return Path(path).resolve().is_relative_to(Path(folder).resolve())


@contextlib.contextmanager
def _at_address(
    address: str,
    *,
    overwrite: bool,
    scratch: str | Path | None,
    resume: Callable[[Path], bool] | None,
) -> Iterator[NewDataset]:
    upload = Upload(address, _LAST, DatasetError)
    here = _folder_for(address, scratch)
    upload.begin(overwrite=overwrite)
    try:
        with atomic.directory(here, overwrite=True, resume=resume, keep=NotSentError) as folder:
            yield NewDataset(folder, upload)
    except NotSentError as problem:
        upload.give_up()
        raise DatasetError(
            f"{problem}; the dataset is complete below {here.parent}: the same command goes on "
            "with sending it"
        ) from problem
    except BaseException:
        upload.give_up()
        raise
    finally:
        shutil.rmtree(here, ignore_errors=True)


def _folder_for(address: str, scratch: str | Path | None) -> Path:
    """Return the directory here for a dataset at an address: the same each time, and nobody else's."""
    if scratch is None:
        root = Path(tempfile.gettempdir(), f"walslab-{os.geteuid()}")
        root.mkdir(mode=0o700, exist_ok=True)
        facts = root.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            raise DatasetError(f"{root} must be a folder that only this user may enter: give a --scratch")
    else:
        root = checked_path("scratch", scratch)
        if is_address(scratch):
            raise ConfigError(f"--scratch must be a folder of this machine, but got {mask(str(scratch))}")
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"--scratch must be a folder of this machine, but {root} cannot be made: {error.strerror}"
            ) from error
    return root.resolve() / f"dataset-{hashlib.sha256(address.encode()).hexdigest()[:16]}"
