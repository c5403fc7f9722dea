"""A mark at an address that says which process works there; it runs out when that process dies."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
import uuid
from typing import Any

from toolkit.errors import StudyError

_log = logging.getLogger(__name__)
# How often a holder renews it, and after how long without that it is taken for dead, in seconds.
RENEWAL, EXPIRY = 5.0, 30.0


class LostError(StudyError):
    """Another process has taken what this one held."""


class Lease:
    """The right to work on what is at an address, held by one process at a time.

    Object stores have no locks. Of two processes that find the mark free at the same moment, the one that
    writes last has it, and the other finds that out when it looks again.

    Parameters
    ----------
    system : fsspec.AbstractFileSystem
    path : str
        The mark in it.
    what : str
        What is held, for messages.

    Attributes
    ----------
    holder : str
        What this process is called there.
    """

    def __init__(self, system: Any, path: str, what: str) -> None:
        self._fs, self._path, self._what = system, path, what
        self.holder = uuid.uuid4().hex

    def claim(self) -> None:
        """Take it, or wait until whoever had it is known to be dead.

        Raises
        ------
        StudyError
            When another process has it.
        """
        found, since = self._read(), time.monotonic()
        if found is not None and found.get("holder") == self.holder:
            self.renew()
            return
        if found is not None:
            _log.warning(
                "%s was run by %s, which has not let go of it: waiting up to %.0f s to see whether it lives",
                self._what,
                found.get("where"),
                EXPIRY,
            )
        # By whether it changes, not by its time: the clocks of two machines may differ.
        while found is not None and time.monotonic() - since < EXPIRY:
            time.sleep(EXPIRY / 30)
            now = self._read()
            if now is not None and now != found:
                raise StudyError(
                    f"{self._what} is being run by {now.get('where')}: wait for it, or stop that process"
                )
            found = now
        self.renew()
        time.sleep(EXPIRY / 30)
        self.require()

    def require(self) -> None:
        """Make sure that this process still has it.

        Raises
        ------
        LostError
            When another took it, as this one had not renewed it in time.
        """
        found = self._read()
        if found is not None and found.get("holder") != self.holder:
            raise LostError(
                f"{self._what} was taken over by {found.get('where')}, as this process did not say in time "
                "that it is alive"
            )

    def renew(self) -> None:
        """Say that this process is alive."""
        job = os.environ.get("RAY_JOB_SUBMISSION_ID")
        where = f"process {os.getpid()} of {platform.node()}" + (f" (Ray job {job})" if job else "")
        mark = {"holder": self.holder, "where": where, "at": time.time()}
        self._fs.pipe_file(self._path, json.dumps(mark).encode())

    def release(self) -> None:
        """Let go of it, if this process has it."""
        found = self._read()
        if found is not None and found.get("holder") == self.holder:
            self._fs.rm_file(self._path)

    def fresh(self) -> bool:
        """Tell whether somebody seems to hold it, by the clock of whoever renewed it."""
        found = self._read()
        return found is not None and time.time() - float(found.get("at", 0.0)) < EXPIRY

    def _read(self) -> dict[str, Any] | None:
        try:
            # What the store said of the file before is remembered, and is not what is asked for.
            self._fs.invalidate_cache(self._path)
            found = json.loads(self._fs.cat_file(self._path))
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None
