"""The lock of a study at an address: one process at a time has the right to write there.

The lock is a row of numbered objects, ``lock/00000001.json`` and so on. The process that made the object of
the highest number holds the lock, until it marks the object as released. To take the lock is to create the
object of the next number by the store's own conditional write (`ObjectStore.create`), so that of several
processes the store lets one through. What the stores guarantee:

- S3, and servers that know ``If-None-Match: *``: exact. A server that ignores the header is not supported.
- Google Cloud Storage (gcsfs, generation match) and Azure (adlfs, ``If-None-Match``): exact.
- ``memory://``: exact among the threads of its one process.

A process that was killed releases nothing. So a holder rewrites its own object every few seconds with a count
that rises. Whoever wants the lock watches the count, by her own clock alone: if it does not rise for
`EXPIRY` seconds, the holder counts as dead, and the next number may be created. A holder that was only
suspended finds the higher number before it writes anything, and gives up.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
import uuid
from typing import Any

from toolkit.errors import StudyError
from toolkit.files import ObjectStore
from tune.study.holder import process_text, this_process

_log = logging.getLogger(__name__)
# How often a holder shows that it lives, and after how long without that it counts as dead, in seconds.
HEARTBEAT, EXPIRY = 5.0, 30.0
_FOLDER = "lock"


class TakenOverError(StudyError):
    """Another process took the lock from this one."""


class StoreLock:
    """The lock of one study for this process.

    Parameters
    ----------
    store : ObjectStore
        The study's address.
    label : str
        What messages call the study.

    Attributes
    ----------
    identity : str
        Random name of this holder.
    loss : TakenOverError or None
        Set once another process took the lock from this one.
    """

    def __init__(self, store: ObjectStore, label: str) -> None:
        self._store, self._label = store, label
        self.identity = uuid.uuid4().hex
        self.loss: TakenOverError | None = None
        self._number = 0
        self._beats = 0
        self._writing = threading.Lock()

    def acquire(self) -> None:
        """Take the lock; where a process that holds it shows no life, wait until it counts as dead.

        Raises
        ------
        StudyError
            When another process holds the lock and lives, or the store does not answer.
        """
        watched: tuple[int, dict[str, Any]] | None = None
        since = time.monotonic()
        while True:
            number, holder = self._last()
            expired = watched is not None and time.monotonic() - since >= EXPIRY
            if holder.get("released") or (expired and watched == (number, holder)):
                if self._create(number + 1):
                    return
                continue
            if watched is None:
                watched, since = (number, holder), time.monotonic()
                _log.warning(
                    "%s was run by %s, which did not release it: waiting up to %.0f s for a sign of life",
                    self._label,
                    process_text(holder),
                    EXPIRY,
                )
            elif watched != (number, holder):
                raise StudyError(
                    f"{self._label} is being run by {process_text(holder)}: wait for it, or stop that process"
                )
            time.sleep(EXPIRY / 30)

    def require(self) -> None:
        """Make sure that this process still holds the lock.

        Raises
        ------
        TakenOverError
            When another process took it.
        """
        number, holder = self._last()
        if self._number and number != self._number:
            self.loss = TakenOverError(
                f"{self._label} was taken over by {process_text(holder)}, because this process did not show "
                f"for {EXPIRY:.0f} s that it lives: what it has not written is lost, and the other runs it "
                "again"
            )
            raise self.loss

    def beat(self) -> None:
        """Show that this process lives; do nothing where it does not hold the lock."""
        with self._writing:
            if self._number:
                self._beats += 1
                self._write(released=False)

    def release(self) -> None:
        """Give the lock back."""
        with self._writing:
            if self._number:
                self._write(released=True)
            self._number = 0

    def seems_held(self) -> bool:
        """Return whether a process seems to hold the lock.

        A look must not wait, so this compares the clock of the holder with the one here. It is for people
        to read: nothing is decided by it.
        """
        _, holder = self._last()
        return not holder.get("released") and time.time() - float(holder.get("at", 0.0)) < EXPIRY

    def _create(self, number: int) -> bool:
        if not self._store.create(_name(number), self._mark(released=False)):
            return False
        self._number = number
        # Objects of earlier holders serve no one. The next holder removes what cannot be removed now.
        with contextlib.suppress(StudyError, OSError):
            for name in self._store.names(_FOLDER):
                if name < _name(number):
                    self._store.remove(name)
        return True

    def _write(self, *, released: bool) -> None:
        self._store.put(_name(self._number), self._mark(released=released))

    def _mark(self, *, released: bool) -> bytes:
        who = {**this_process(), "holder": self.identity}
        return json.dumps({**who, "beats": self._beats, "at": time.time(), "released": released}).encode()

    def _last(self) -> tuple[int, dict[str, Any]]:
        """Return the highest number and its object; 0 and a released lock where nobody ever held it."""
        names = self._store.names(_FOLDER)
        if not names:
            return 0, {"released": True}
        number = int(names[-1].rpartition("/")[2].partition(".")[0])
        try:
            holder = json.loads(self._store.get(names[-1]))
        except FileNotFoundError:  # a later holder removed it since
            return number, {}
        except ValueError as error:
            raise StudyError(
                f"{self._label} has a lock that is not JSON, {names[-1]}: remove that object"
            ) from error
        return number, holder


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:08d}.json"
