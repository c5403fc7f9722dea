"""A study at an address: its directory on this machine is kept in step with the address while it runs."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator

from toolkit.errors import StudyError
from toolkit.files import ObjectStore, error_text, mask
from tune.study import store_lock
from tune.study.study_copy import StudyCopy

_log = logging.getLogger(__name__)
# Between looks for something new to write, in seconds.
_PAUSE = 1.0
# How long a study that is through waits for a store that does not answer, in seconds.
_PATIENCE = 60.0


class Mirror:
    """A `Location` at an address.

    Parameters
    ----------
    address : str
        Such as ``s3://bucket/studies/first``.

    Attributes
    ----------
    address : str
    folder : Path
        The directory here. It is removed when nobody uses it, unless the copy lacks some of it.
    """

    is_permanent = False

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._store = ObjectStore(self.address, StudyError)
        self._lock = store_lock.StoreLock(self._store, f"study {self.label}")
        self._copy = StudyCopy(self._store, self._lock, self.address.rpartition("/")[2])
        self.folder = self._copy.folder
        self._removed = False

    @property
    def label(self) -> str:
        """The address without a password."""
        return mask(self.address)

    def reference(self, root: str) -> str:
        """Return the study's name if it is kept in `root`, else its address."""
        return self.folder.name if self.address == f"{root}/{self.folder.name}" else self.label

    def exists(self) -> bool:
        """Return whether there is a study at the address."""
        try:
            self._store.get("study.json")
        except FileNotFoundError:
            return False
        return True

    def require_free(self) -> None:
        """Refuse an address where there is a study.

        Raises
        ------
        StudyError
            When there is one, or the store does not answer.
        """
        if self.exists():
            raise StudyError(
                f"there is a study {self.label} already: choose another --name, or `walslab resume` it"
            )

    def create(self) -> None:
        """Write ``study.json`` of a new study to the address.

        Raises
        ------
        StudyError
            When another process was first, or the store does not take it.
        """
        try:
            made = self._store.create("study.json", (self.folder / "study.json").read_bytes())
        except FileNotFoundError as error:
            raise StudyError(
                f"{self.label} cannot be written to: {error_text(error, self.address)}"
            ) from error
        if not made:
            raise StudyError(f"there is a study {self.label} already: another process just made it")

    def fetch(self) -> bool:
        """Bring the directory in step with the copy; return whether there is a study."""
        try:
            self._copy.pull()
        except FileNotFoundError:
            self._copy.remove_folder()
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """Return the content of a file as it is at the address now, or None where there is none."""
        try:
            return self._store.get(name)
        except FileNotFoundError:
            return None

    def publish(self, name: str) -> None:
        """Copy one file of the directory to the address."""
        self._store.put(name, (self.folder / name).read_bytes())

    def bring_checkpoint(self, trial: str) -> None:
        """Bring the checkpoints of a trial into the directory, where it lacks them.

        Raises
        ------
        StudyError
            When the store does not answer.
        """
        self._copy.bring(trial)

    def push(self, *, last: bool = False) -> None:
        """Write what is new to the address; the `last` time with the factors that MLflow does not have.

        Raises
        ------
        StudyError
            When the store does not answer.
        """
        self._copy.push(last=last)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study for this process, and keep the copy in step meanwhile.

        Raises
        ------
        StudyError
            When another process holds it, it is gone, or the store does not answer.
        """
        self._lock.acquire()
        stop_beating, stop_writing = threading.Event(), threading.Event()
        # Two threads: a long transfer must not look like a dead process.
        beating = threading.Thread(target=self._beat, args=(stop_beating,), name="study-lock", daemon=True)
        writing = threading.Thread(target=self._write, args=(stop_writing,), name="study-mirror", daemon=True)
        beating.start()
        try:
            try:
                self._copy.pull()
            except FileNotFoundError as error:
                raise StudyError(f"study {self.label} is gone: somebody removed it") from error
            writing.start()
            try:
                yield
            finally:
                stop_writing.set()
                writing.join()
                if not self._removed:
                    self._finish()
        finally:
            stop_beating.set()
            beating.join()
            with contextlib.suppress(StudyError, OSError):
                self._lock.release()

    def require_lock(self) -> None:
        """Refuse to go on once another process has taken the study over.

        Raises
        ------
        StudyError
            When that happened.
        """
        if self._lock.loss:
            raise StudyError(str(self._lock.loss))

    @property
    def taken_over(self) -> bool:
        """Whether another process has taken the study over from this one."""
        return self._lock.loss is not None

    def is_locked(self) -> bool:
        """Return whether a process seems to run the study."""
        return self._lock.seems_held()

    def remove(self, study_id: str) -> None:
        """Remove the directory, and the copy if its study has this identity."""
        content = self.read("study.json")
        if content is not None and json.loads(content).get("id") == study_id:
            with self._copy.transfer, contextlib.suppress(FileNotFoundError):
                self._removed = True
                self._lock.release()
                self._store.remove()
        self._copy.remove_folder()

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(store_lock.HEARTBEAT):
            try:
                self._lock.require()
                self._lock.beat()
            except store_lock.TakenOverError:
                return
            except (StudyError, OSError):  # it tries again the next time
                continue

    def _write(self, stop: threading.Event) -> None:
        pause, away = _PAUSE, False
        while not stop.wait(pause) and not (self._lock.loss or self._removed):
            try:
                self.push()
            except (StudyError, OSError) as error:  # it tries again; at the end it is an error
                if not away:
                    _log.warning("%s; the study goes on, and is written when it answers", error)
                pause, away = min(2 * pause, store_lock.HEARTBEAT), True
            else:
                if away:
                    _log.warning("%s takes the study again", self.label)
                pause, away = _PAUSE, False

    def _finish(self) -> None:
        """Write the rest."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            self.require_lock()
            try:
                self.push(last=True)
            except (StudyError, OSError) as error:
                if time.monotonic() > deadline:
                    raise StudyError(
                        f"not all of {self.folder} is at {self.label}: {error_text(error, self.address)}; it "
                        "is kept here, and a resume from there runs again what is missing"
                    ) from error
                time.sleep(_PAUSE)
            else:
                return
