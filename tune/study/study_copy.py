"""Keep a directory of a study on this machine in step with the objects at its address.

At the address are ``study.json`` and ``state.json``, the journal in parts (each written once, as an object
store appends to nothing), the factors that MLflow does not have yet, the last checkpoints of long trials,
``refit.json`` of the last refit, and the lock.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import weakref
from pathlib import Path

from toolkit.files import ObjectStore
from tune.study.checkpoint_copy import CheckpointCopy
from tune.study.journal import Journal
from tune.study.outbox import Outbox
from tune.study.store_lock import StoreLock


class StudyCopy:
    """The directory of a study at an address.

    Parameters
    ----------
    store : ObjectStore
        The study's address.
    lock : StoreLock
        The lock, which is asked before anything is written.
    name : str
        Name of the study.

    Attributes
    ----------
    folder : Path
        The directory. It is removed when nobody uses this object, unless the address lacks some of it.
    transfer : threading.RLock
        Held while the two are brought in step.
    """

    def __init__(self, store: ObjectStore, lock: StoreLock, name: str) -> None:
        self._store, self._lock = store, lock
        scratch = tempfile.mkdtemp(prefix="walslab-study-")
        self.folder = Path(scratch) / name
        self.cleaner = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        factors = self.folder / "factors"
        # Without a reference to this object, or only the garbage collector would remove the directory.
        self._outbox = Outbox(
            Journal(self.folder / "journal.jsonl"), lambda trial: (factors / trial).is_dir()
        )
        self._checkpoints = CheckpointCopy(store, lock, self.folder)
        self._parts = 0
        self._state: bytes | None = None
        # Trials whose factors are at the address.
        self._copied: set[str] = set()
        self.transfer = threading.RLock()

    def remove_folder(self) -> None:
        """Remove the directory."""
        self.cleaner.detach()
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def pull(self) -> None:
        """Bring the directory in step with the copy.

        Raises
        ------
        FileNotFoundError
            When there is no study.
        StudyError
            When the store does not answer.
        """
        with self.transfer:
            study = self._store.get("study.json")
            names = self._store.names()
            wanted = [
                name
                for name in names
                if name.startswith(("journal/", "factors/")) or name in {"state.json", "refit.json"}
            ]
            # All at once: a study of hours has thousands.
            content = self._store.get_all(wanted)
            parts = [name for name in wanted if name.startswith("journal/")]
            factors = [name for name in wanted if name.startswith("factors/")]
            # The process that runs the study removes factors while this one reads: only whole ones are used.
            incomplete = {name.split("/")[1] for name in factors if name not in content}
            self.folder.mkdir(exist_ok=True)
            self._checkpoints.note(names)
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

    def bring(self, trial: str) -> None:
        """Bring the checkpoints of a trial into the directory, where it lacks them.

        Raises
        ------
        StudyError
            When the store does not answer.
        """
        with self.transfer:
            self._checkpoints.bring(trial)

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
        with self.transfer:
            # The directory stays until all of it is at the address.
            self.cleaner.detach()
            outbox = self._outbox
            outbox.collect()
            state = self._local_state()
            if last or outbox.ready or state != self._state:
                self._lock.require()
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
            self._checkpoints.push()
            if not outbox.waiting:
                scratch = str(self.folder.parent)
                self.cleaner = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)

    def _factors(self, trial: str) -> Path:
        return self.folder / "factors" / trial

    def _local_state(self) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "state.json").read_bytes()
        return None
