"""A mark at an address that says which process works there; it runs out when that process dies."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
import uuid
from pathlib import Path
from typing import Any

from toolkit.errors import StudyError

_log = logging.getLogger(__name__)
# How often a holder renews it, and after how long without that it is taken for dead, in seconds.
RENEWAL, EXPIRY = 5.0, 30.0


class Lease:
    """The right to work on what is at an address, held by one process at a time.

    Object stores have no locks. Of two processes that find the mark free at the same moment, the one that
    writes last has it, and the other finds that out when it looks again.

    Parameters
    ----------
    file : Path
        The mark; may be at an address.
    what : str
        What is held, for messages.
    """

    def __init__(self, file: Path, what: str) -> None:
        self._file, self._what = file, what
        self._holder = uuid.uuid4().hex

    def claim(self) -> None:
        """Take it, or wait until whoever had it is known to be dead.

        Raises
        ------
        StudyError
            When another process has it.
        """
        found, since = self._read(), time.monotonic()
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
        StudyError
            When another took it, as this one had not renewed it in time.
        """
        found = self._read()
        if found is not None and found.get("holder") != self._holder:
            raise StudyError(
                f"{self._what} was taken over by {found.get('where')}, as this process did not say in time "
                "that it is alive"
            )

    def renew(self) -> None:
        """Say that this process is alive."""
        job = os.environ.get("RAY_JOB_SUBMISSION_ID")
        where = f"process {os.getpid()} of {platform.node()}" + (f" (Ray job {job})" if job else "")
        mark = {"holder": self._holder, "where": where, "at": time.time()}
        self._file.write_bytes(json.dumps(mark).encode())

    def release(self) -> None:
        """Let go of it."""
        self._file.unlink(missing_ok=True)

    def fresh(self) -> bool:
        """Tell whether somebody seems to hold it, by the clock of whoever renewed it."""
        found = self._read()
        return found is not None and time.time() - float(found.get("at", 0.0)) < EXPIRY

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._file.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None
