"""A directory at an address that readers find complete or not at all."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from toolkit.errors import WalslabError
from toolkit.files.masking import mask
from toolkit.files.store import ObjectStore
from toolkit.job_threads import Job, JobThreads, stop

# Says which process writes there.
_NOTE = "upload.txt"
_AT_ONCE = 8


class NotSentError(Exception):
    """A store failed while a complete directory was sent to it: the directory is worth keeping."""


class Upload:
    """The files of a directory on their way to an address.

    Readers look for one of the files first. It is sent last, so that what they find is complete. While the
    others come, ``upload.txt`` names the upload. Where that is without the last file, a process has ended in
    the middle, and the next upload replaces what it left.

    Parameters
    ----------
    address : str
        Such as ``s3://bucket/ml-20m``.
    last : str
        The file that is sent last.
    error : type
        The error class to raise.

    Raises
    ------
    WalslabError
        Of class `error`, when no installed library reads such addresses, or the address holds a password.
    """

    def __init__(self, address: str, last: str, error: type[WalslabError]) -> None:
        self._address, self._last, self._error = address.rstrip("/"), last, error
        self._store = ObjectStore(self._address, error)
        self._id = secrets.token_hex(16).encode()
        self._before: list[str] = []
        self._sent: list[str] = []
        self._complete = False

    def begin(self, *, overwrite: bool) -> None:
        """Claim the address: a store that this process may not write to is refused before the work is done.

        Parameters
        ----------
        overwrite : bool
            Whether a complete directory is replaced. It stays until `send` is called.

        Raises
        ------
        WalslabError
            Of class `error`, when there is something that has to stay, or the store does not take the claim.
        """
        shown = mask(self._address)
        try:
            self._before = self._store.names()
            if self._last in self._before:
                if not overwrite:
                    raise self._error(f"{shown} exists already: give another --out, or --overwrite")
            elif self._before and _NOTE not in self._before:
                raise self._error(
                    f"{shown} holds other things (it has no {self._last}), such as {self._before[0]}, and is "
                    "not overwritten: give another --out"
                )
            self._store.put(_NOTE, self._id)
        except (FileNotFoundError, NotADirectoryError) as problem:
            raise self._error(
                f"{shown} cannot be written to, as its bucket does not exist: make it, or check the address"
            ) from problem

    def send(self, folder: Path, tell: Callable[[int, int], None]) -> None:
        """Send the files of a directory but hidden ones, and remove what was at the address before.

        Parameters
        ----------
        folder : Path
            The directory; it holds the last file.
        tell : callable
            Called with the number of files that are sent, and of all.

        Raises
        ------
        NotSentError
            When the store fails, or another process writes to the address. Nothing there is complete then.
        """
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        names = [name for name in names if not name.startswith(".") and name != self._last]
        try:
            self._require_claim()
            if self._last in self._before:
                self._store.remove(self._last)
            # What was there cannot be read any more: it goes with what is sent, if that fails.
            self._sent += self._before
            self._send_all(folder, names, tell)
            self._require_claim()
            self._sent.append(self._last)
            self._store.upload(self._last, folder / self._last)
        except (self._error, FileNotFoundError) as problem:
            raise NotSentError(str(problem)) from problem
        self._complete = True
        tell(len(names) + 1, len(names) + 1)
        self._remove({*self._before} - {*names, self._last, _NOTE})

    def give_up(self) -> None:
        """Remove what was sent, unless it is complete or another process writes there; errors are ignored."""
        if self._complete:
            return
        with contextlib.suppress(Exception):  # the store may be what failed
            self._require_claim()
            self._remove({*self._sent} - {_NOTE})

    def _send_all(self, folder: Path, names: Sequence[str], tell: Callable[[int, int], None]) -> None:
        threads, told = JobThreads(_AT_ONCE, "walslab-upload"), SimpleQueue[Job[None]]()
        sending = [Job(partial(self._store.upload, name, folder / name), told) for name in names]
        try:
            for name, job in zip(names, sending, strict=True):
                self._sent.append(name)
                threads.give(job)
            for done in range(1, len(names) + 1):
                told.get().result()
                tell(done, len(names) + 1)
        finally:
            stop(sending)

    def _require_claim(self) -> None:
        try:
            mine = self._store.get(_NOTE) == self._id
        except FileNotFoundError:
            mine = False
        if not mine:
            raise self._error(f"another process has begun to write to {mask(self._address)}")

    def _remove(self, names: set[str]) -> None:
        with contextlib.suppress(Exception):  # what readers see does not depend on it
            # The note last: what is there without it and the last file is somebody's own.
            for name in [*sorted(names), _NOTE]:
                with contextlib.suppress(FileNotFoundError):
                    self._store.remove(name)
