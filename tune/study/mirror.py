"""A study at an address: its directory here while it is used, and the copy there, kept in step while it runs.

At the address are ``study.json`` and ``state.json``, the journal in parts (each written once, as an object
store appends to nothing), the factors that MLflow does not have yet, ``refit.json`` of the last refit, and
the lock.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import StudyError
from toolkit.files import error_text, mask
from tune.study import store_lock
from tune.study.journal import Journal
from tune.study.outbox import Outbox
from tune.study.store import ObjectStore

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
        self._store = ObjectStore(self.address)
        scratch = tempfile.mkdtemp(prefix="walslab-study-")
        self.folder = Path(scratch) / self.address.rpartition("/")[2]
        self._cleaner = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        self._lock = store_lock.StoreLock(self._store, f"study {self.label}")
        journal = Journal(self.folder / "journal.jsonl", f"the journal of {self.label}")
        self._outbox = Outbox(journal, lambda trial: self._factors(trial).is_dir())
        self._parts = 0
        self._state: bytes | None = None
        # Trials whose factors are at the address.
        self._copied: set[str] = set()
        self._transfer = threading.RLock()
        self._taken_over: StudyError | None = None
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
            self.pull()
        except FileNotFoundError:
            self._remove_folder()
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

    def pull(self) -> None:
        """Bring the directory in step with the copy.

        Raises
        ------
        FileNotFoundError
            When there is no study.
        StudyError
            When the store does not answer.
        """
        with self._transfer:
            study = self._store.get("study.json")
            wanted = [
                name
                for name in self._store.names()
                if name.startswith(("journal/", "factors/")) or name in {"state.json", "refit.json"}
            ]
            # All at once: a study of hours has thousands.
            content = self._store.get_all(wanted)
            parts = [name for name in wanted if name.startswith("journal/")]
            factors = [name for name in wanted if name.startswith("factors/")]
            # The process that runs the study removes factors while this one reads: only whole ones are used.
            incomplete = {name.split("/")[1] for name in factors if name not in content}
            self.folder.mkdir(exist_ok=True)
            shutil.rmtree(self.folder / "factors", ignore_errors=True)
            self._copied = {name.split("/")[1] for name in factors} - incomplete
            for name in factors:
                if name.split("/")[1] in self._copied:
                    (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (self.folder / name).write_bytes(content[name])
            journal = b"".join(content[name] for name in parts)
            (self.folder / "journal.jsonl").write_bytes(journal)
            (self.folder / "study.json").write_bytes(study)
            for name in ("state.json", "refit.json"):
                if name in content:
                    (self.folder / name).write_bytes(content[name])
            self._state = content.get("state.json")
            self._outbox.start_after(len(journal))
            self._parts = max((int(Path(name).stem.partition("-")[0]) for name in parts), default=0)

    def push(self, *, last: bool = False) -> None:
        """Write what is new to the copy.

        Parameters
        ----------
        last : bool, default False
            Whether the factors that MLflow does not have are copied, too, with the trials that wait for
            them.

        Raises
        ------
        StudyError
            When the store does not answer.
        """
        with self._transfer:
            # The directory stays until all of it is at the address.
            self._cleaner.detach()
            outbox = self._outbox
            outbox.collect()
            state = self._local_state()
            if last or outbox.ready or state != self._state:
                self._require_own_lock()
            for trial in list(outbox.waiting) if last else ():
                for file in self._factors(trial).glob("*"):
                    self._store.put(f"factors/{trial}/{file.name}", file.read_bytes())
                self._copied.add(trial)
                outbox.release(trial)
            if outbox.ready:
                # A part that is written once more, because an answer was lost, is the same part.
                name = f"journal/{self._parts + 1:08d}-{self._lock.identity[:8]}.jsonl"
                self._store.put(name, b"".join(outbox.ready))
                self._parts += 1
                outbox.ready.clear()
            if state is not None and state != self._state:
                self._store.put("state.json", state)
                self._state = state
            for trial in [trial for trial in self._copied if not self._factors(trial).is_dir()]:
                # MLflow has them now.
                with contextlib.suppress(FileNotFoundError):
                    self._store.remove(f"factors/{trial}")
                self._copied.discard(trial)
            if not outbox.waiting:
                scratch = str(self.folder.parent)
                self._cleaner = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)

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
                self.pull()
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
        if self._taken_over:
            raise StudyError(str(self._taken_over))

    @property
    def taken_over(self) -> bool:
        """Whether another process has taken the study over from this one."""
        return self._taken_over is not None

    def is_locked(self) -> bool:
        """Return whether a process seems to run the study."""
        return self._lock.seems_held()

    def remove(self, study_id: str) -> None:
        """Remove the directory, and the copy if its study has this identity."""
        content = self.read("study.json")
        if content is not None and json.loads(content).get("id") == study_id:
            with self._transfer, contextlib.suppress(FileNotFoundError):
                self._removed = True
                self._lock.release()
                self._store.remove()
        self._remove_folder()

    def _remove_folder(self) -> None:
        self._cleaner.detach()
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _factors(self, trial: str) -> Path:
        return self.folder / "factors" / trial

    def _local_state(self) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "state.json").read_bytes()
        return None

    def _require_own_lock(self) -> None:
        """Ask the store whether another process took the lock, and remember it."""
        try:
            self._lock.require()
        except store_lock.TakenOverError as error:
            self._taken_over = error
            raise

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(store_lock.HEARTBEAT):
            try:
                self._require_own_lock()
                self._lock.beat()
            except store_lock.TakenOverError:
                return
            except (StudyError, OSError):  # it tries again the next time
                continue

    def _write(self, stop: threading.Event) -> None:
        pause, away = _PAUSE, False
        while not stop.wait(pause) and not (self._taken_over or self._removed):
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
