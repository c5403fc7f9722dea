"""A study at an address: its directory here while it is used, and the copy there, kept in step while it runs.

At the address are ``study.json``, the journal in parts (each written once, as an object store appends to
nothing), and ``lease.json`` while a process runs the study.
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
from typing import Any

from toolkit.errors import StudyError
from toolkit.files import as_path, error_text, mask, store_errors
from tune import lease

_log = logging.getLogger(__name__)
_REACH = "check the address, and the store's variables in this process's environment"
# Between looks for something new to write, in seconds.
_PAUSE = 1.0
# How long a study that is through waits for a store that does not answer, in seconds.
_PATIENCE = 60.0


class Mirror:
    """The copy of a study at an address.

    Parameters
    ----------
    address : str
        Such as ``s3://bucket/studies/first``.

    Attributes
    ----------
    address : str
    folder : Path
        The directory here; removed when nobody uses it, unless the copy lacks some of it.
    """

    # The directory is scratch.
    lasts = False

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        root: Any = as_path(self.address, StudyError)
        self._fs, self._root = root.fs, root.path
        scratch = tempfile.mkdtemp(prefix="walslab-study-")
        self.folder = Path(scratch) / self.address.rpartition("/")[2]
        self._clean = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        self._lease = lease.Lease(self._fs, f"{self._root}/lease.json", f"study {self.shown}")
        self._parts = self._read_to = 0
        self._study = b""
        self._outgoing: list[bytes] = []
        self._kept_back: dict[str, bytes] = {}
        self._factors: set[str] = set()
        self._step = threading.Lock()
        self._lost: StudyError | None = None

    @property
    def shown(self) -> str:
        """The address without a password."""
        return mask(self.address)

    def exists(self) -> bool:
        """Tell whether there is a study."""
        try:
            with self._reaching():
                self._get("study.json")
        except FileNotFoundError:
            return False
        return True

    def within(self, root: str) -> str:
        """Return the name, or the address."""
        return self.folder.name if self.address == f"{root}/{self.folder.name}" else self.shown

    def require_free(self) -> None:
        """Refuse an address where there is a study.

        Raises
        ------
        StudyError
            When there is one, or the store does not answer.
        """
        if self.exists():
            raise StudyError(
                f"there is a study {self.shown} already: choose another --name, or `walslab resume` it"
            )

    def create(self) -> None:
        """Write a new study to the address, and hold it for this process.

        Raises
        ------
        StudyError
            When another process was first, or the store does not take it.
        """
        try:
            with self._reaching():
                self._lease.claim()
            if self.exists():  # made since it was looked for
                with self._reaching():
                    self._lease.release()
                raise StudyError(f"there is a study {self.shown} already: another process just made it")
            self.push()
        except FileNotFoundError as error:
            raise StudyError(
                f"{self.shown} cannot be written to: {error_text(error, self.address)}"
            ) from error

    def fetch(self) -> bool:
        """Bring the directory in step with the copy; False where there is none."""
        try:
            self.pull()
        except FileNotFoundError:
            self.forget()
            return False
        return True

    def pull(self) -> None:
        """Bring the directory in step with the copy.

        Raises
        ------
        FileNotFoundError
            When there is none.
        StudyError
            When the store does not give it.
        """
        with self._step, self._reaching():
            study = self._get("study.json")
            # What was listed before is remembered, and is not what is asked for.
            self._fs.invalidate_cache()
            below = {name[len(self._root) + 1 :]: name for name in self._fs.find(self._root)}
            wanted = {at: name for at, name in below.items() if at.startswith(("journal/", "factors/"))}
            # All at once: a study of hours has thousands.
            content = self._fs.cat(list(wanted.values())) if wanted else {}
            parts = sorted(at for at in wanted if at.startswith("journal/"))
            journal = b"".join(content[wanted[at]] for at in parts)
            self.folder.mkdir(exist_ok=True)
            shutil.rmtree(self.folder / "factors", ignore_errors=True)
            self._factors = set()
            for at in set(wanted) - set(parts):
                (self.folder / at).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / at).write_bytes(content[wanted[at]])
                self._factors.add(at.split("/")[1])
            (self.folder / "journal.jsonl").write_bytes(journal)
            (self.folder / "study.json").write_bytes(study)
            self._study, self._read_to, self._kept_back, self._outgoing = study, len(journal), {}, []
            self._parts = max((int(Path(at).stem.partition("-")[0]) for at in parts), default=0)

    def push(self, *, last: bool = False) -> None:
        """Write what is new to the copy.

        A trial that ended is told of once its factors are in MLflow: until then they are on this machine
        alone, and one that takes the study up elsewhere must run the trial again. The `last` time, the
        factors are written, too.

        Raises
        ------
        StudyError
            When the store does not take it.
        """
        with self._step, self._reaching():
            self._clean.detach()
            self._read_events()
            if last:
                for trial in list(self._kept_back):
                    for file in (self.folder / "factors" / trial).glob("*"):
                        self._put(f"factors/{trial}/{file.name}", file.read_bytes())
                    self._factors.add(trial)
                    self._outgoing.append(self._kept_back.pop(trial))
            if self._outgoing:
                # Written once more, should the answer be lost, it is the same part; and nobody else's.
                name = f"journal/{self._parts + 1:08d}-{self._lease.holder[:8]}.jsonl"
                self._put(name, b"".join(self._outgoing))
                self._parts, self._outgoing = self._parts + 1, []
            study = (self.folder / "study.json").read_bytes()
            if self._study != study:
                self._put("study.json", study)
                self._study = study
            for trial in [trial for trial in self._factors if not (self.folder / "factors" / trial).is_dir()]:
                # MLflow has them now.
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm(f"{self._root}/factors/{trial}", recursive=True)
                self._factors.discard(trial)
            if not self._kept_back:
                scratch = str(self.folder.parent)
                self._clean = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)

    def _read_events(self) -> None:
        """Take up the lines of the journal since the last time; some must wait."""
        with contextlib.suppress(FileNotFoundError), (self.folder / "journal.jsonl").open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_to += len(line)
                event = json.loads(line)
                trial = event.get("trial")
                if event["event"] == "ended" and (self.folder / "factors" / trial).is_dir():
                    self._kept_back[trial] = line
                    continue
                if event["event"] == "recorded" and trial in self._kept_back:
                    self._outgoing.append(self._kept_back.pop(trial))
                self._outgoing.append(line)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study for this process, and keep the copy in step meanwhile.

        Raises
        ------
        StudyError
            When another process holds it, it is gone, or the store does not answer.
        """
        with self._reaching():
            self._lease.claim()
        stop_renewing, stop_writing = threading.Event(), threading.Event()
        # Two threads: a long transfer must not look like a dead process.
        renewing = threading.Thread(
            target=self._renew, args=(stop_renewing,), name="study-lease", daemon=True
        )
        writing = threading.Thread(target=self._write, args=(stop_writing,), name="study-mirror", daemon=True)
        renewing.start()
        try:
            try:
                self.pull()
            except FileNotFoundError as error:
                raise StudyError(f"study {self.shown} is gone: somebody removed it") from error
            writing.start()
            try:
                yield
            finally:
                stop_writing.set()
                writing.join()
                self._finish()
        finally:
            stop_renewing.set()
            renewing.join()
            with contextlib.suppress(StudyError, OSError), self._reaching():
                self._lease.release()

    def require_held(self) -> None:
        """Refuse to go on for a process that another has taken the study from.

        Raises
        ------
        StudyError
            When that happened.
        """
        if self._lost:
            raise StudyError(str(self._lost))

    @property
    def lost(self) -> bool:
        """Whether another process has taken the study from this one."""
        return self._lost is not None

    def being_run(self) -> bool:
        """Tell whether a process seems to run the study."""
        with self._reaching():
            return self._lease.fresh()

    def remove(self, study_id: str) -> None:
        """Remove the directory, and the copy if it is of this study."""
        with contextlib.suppress(FileNotFoundError), self._reaching():
            if json.loads(self._get("study.json")).get("id") == study_id:
                self._fs.rm(self._root, recursive=True)
        self.forget()

    def forget(self) -> None:
        """Remove the directory."""
        self._clean.detach()
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _renew(self, stop: threading.Event) -> None:
        while not stop.wait(lease.RENEWAL):
            try:
                with self._reaching():
                    self._lease.require()
                    self._lease.renew()
            except lease.LostError as error:
                self._lost = error
                return
            except (StudyError, OSError):  # the next time
                continue

    def _write(self, stop: threading.Event) -> None:
        pause, away = _PAUSE, False
        while not stop.wait(pause) and not self._lost:
            try:
                self.push()
            except (StudyError, OSError) as error:  # tried again: at the end it is an error
                if not away:
                    _log.warning("%s; the study goes on, and is written when it answers", error)
                pause, away = min(2 * pause, lease.RENEWAL), True
            else:
                if away:
                    _log.warning("%s takes the study again", self.shown)
                pause, away = _PAUSE, False

    def _finish(self) -> None:
        """Write the rest."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            self.require_held()
            try:
                self.push(last=True)
            except (StudyError, OSError) as error:
                if time.monotonic() > deadline:
                    raise StudyError(
                        f"not all of {self.folder} is at {self.shown}: {error_text(error, self.address)}; it "
                        "is kept here, and a resume from there runs again what is missing"
                    ) from error
                time.sleep(_PAUSE)
            else:
                return

    def _get(self, name: str) -> bytes:
        # What the store said of the file before is remembered, and is not what is asked for.
        self._fs.invalidate_cache(f"{self._root}/{name}")
        content: bytes = self._fs.cat_file(f"{self._root}/{name}")
        return content

    def _put(self, name: str, content: bytes) -> None:
        self._fs.pipe_file(f"{self._root}/{name}", content)

    def _reaching(self) -> contextlib.AbstractContextManager[None]:
        return store_errors(self.address, StudyError, _REACH)
