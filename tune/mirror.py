"""A study at an address: its directory here while it is used, and the copy there, kept in step while it runs.

At the address are ``study.json``, the journal in parts (``journal/00000001.jsonl`` and so on, each written
once, as an object store appends to nothing), and ``lease.json`` while a process runs the study.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from toolkit.address import located, reaching, said
from toolkit.errors import StudyError
from toolkit.secrets import mask
from tune import lease

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
        The directory here; removed when the process ends, unless the copy lacks some of it.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._root = located(self.address, StudyError)
        self._scratch = Path(tempfile.mkdtemp(prefix="walslab-study-"))
        self.folder = self._scratch / self.address.rpartition("/")[2]
        self._lease = lease.Lease(self._root / "lease.json", f"study {self.shown}")
        self._parts = self._read_to = 0
        self._study = b""
        self._outgoing: list[bytes] = []
        self._kept_back: dict[str, bytes] = {}
        self._factors: set[str] = set()
        self._step = threading.Lock()
        self._unsaved = False
        self._lost: StudyError | None = None
        atexit.register(self._clean)

    @property
    def shown(self) -> str:
        """The address without a password."""
        return mask(self.address)

    def exists(self) -> bool:
        """Tell whether there is a study."""
        with self._reaching():
            self._root.fs.invalidate_cache()  # type: ignore[attr-defined]
            return (self._root / "study.json").is_file()

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
            self._root.fs.invalidate_cache()  # type: ignore[attr-defined]
            study = (self._root / "study.json").read_bytes()
            parts = sorted((self._root / "journal").glob("*.jsonl"), key=lambda part: part.name)
            journal = b"".join(part.read_bytes() for part in parts)
            self.folder.mkdir(exist_ok=True)
            shutil.rmtree(self.folder / "factors", ignore_errors=True)
            self._factors = set()
            for file in (self._root / "factors").glob("*/*"):
                kept = self.folder / "factors" / file.parent.name / file.name
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(file.read_bytes())
                self._factors.add(file.parent.name)
            (self.folder / "journal.jsonl").write_bytes(journal)
            (self.folder / "study.json").write_bytes(study)
            self._study, self._read_to, self._kept_back, self._outgoing = study, len(journal), {}, []
            self._parts = max((int(part.stem) for part in parts), default=0)

    def push(self, *, last: bool = False) -> None:
        """Write what is new to the copy.

        A trial that ended is told of once its factors are in MLflow: until then they are on this machine
        alone, and one that takes the study up elsewhere must run the trial again. The `last` time, the
        factors are written, too.
        """
        with self._step, self._reaching():
            self._unsaved = True
            self._read_events()
            if last:
                for trial, line in self._kept_back.items():
                    for file in (self.folder / "factors" / trial).glob("*"):
                        (self._root / "factors" / trial / file.name).write_bytes(file.read_bytes())
                    self._outgoing.append(line)
                self._factors |= self._kept_back.keys()
                self._kept_back = {}
            if self._outgoing:
                # Written once more, should the answer be lost, it is the same part.
                (self._root / "journal" / f"{self._parts + 1:08d}.jsonl").write_bytes(
                    b"".join(self._outgoing)
                )
                self._parts, self._outgoing = self._parts + 1, []
            study = (self.folder / "study.json").read_bytes()
            if self._study != study:
                (self._root / "study.json").write_bytes(study)
                self._study = study
            for trial in [trial for trial in self._factors if not (self.folder / "factors" / trial).is_dir()]:
                # MLflow has them now.
                self._root.fs.rm(f"{self._root.path}/factors/{trial}", recursive=True)  # type: ignore[attr-defined]
                self._factors.discard(trial)
            self._unsaved = bool(self._kept_back)

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
            When another process holds it, or the store does not answer.
        """
        with self._reaching():
            self._lease.claim()
        stop = threading.Event()
        thread = threading.Thread(target=self._keep_in_step, args=(stop,), name="study-mirror", daemon=True)
        thread.start()
        try:
            self.pull()
            yield
        finally:
            stop.set()
            thread.join()
            self._finish()

    def require_held(self) -> None:
        """Refuse to go on for a process that another has taken the study from.

        Raises
        ------
        StudyError
            When that happened.
        """
        if self._lost:
            raise StudyError(str(self._lost))

    def being_run(self) -> bool:
        """Tell whether a process seems to run the study."""
        with self._reaching():
            return self._lease.fresh()

    def remove(self) -> None:
        """Remove the copy and the directory."""
        with contextlib.suppress(FileNotFoundError), self._reaching():
            self._root.fs.rm(self._root.path, recursive=True)  # type: ignore[attr-defined]
        self._unsaved = False
        self._clean()

    def _keep_in_step(self, stop: threading.Event) -> None:
        renewed, pause = time.monotonic(), _PAUSE
        while not stop.wait(pause):
            try:
                if time.monotonic() - renewed > lease.RENEWAL:
                    with self._reaching():
                        self._still_held()
                        if self._lost:
                            return
                        self._lease.renew()
                    renewed = time.monotonic()
                self.push()
                pause = _PAUSE
            except (StudyError, OSError):  # tried again: at the end it is an error
                pause = min(2 * pause, lease.RENEWAL)

    def _still_held(self) -> None:
        try:
            self._lease.require()
        except StudyError as error:
            self._lost = error

    def _finish(self) -> None:
        """Write the rest and let go of the study."""
        if self._lost:
            return
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.push(last=True)
                break
            except (StudyError, OSError) as error:
                if time.monotonic() > deadline:
                    raise StudyError(
                        f"not all of {self.folder} is at {self.shown}: {said(error, self.address)}; it is "
                        "kept here, and a resume from there runs again what is missing"
                    ) from error
                time.sleep(_PAUSE)
        with contextlib.suppress(StudyError, OSError), self._reaching():
            self._lease.release()

    def _reaching(self) -> contextlib.AbstractContextManager[None]:
        return reaching(self.address, StudyError, _REACH)

    def _clean(self) -> None:
        if not self._unsaved:
            shutil.rmtree(self._scratch, ignore_errors=True)
