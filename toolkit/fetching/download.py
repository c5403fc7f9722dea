"""One file over HTTP: resumed after a break, checked by size and checksum, and only then given its name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from toolkit import __version__
from toolkit.errors import FetchError

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
RETRIES = 5
PAUSE_SECONDS = 0.5
_CHUNK = 1 << 18
_TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class Progress:
    """What a download reports; this one keeps quiet."""

    def note(self, text: str) -> None:
        """Take a line for people."""

    def advance(self, done: int, total: int) -> None:
        """Take the number of bytes that have arrived, of `total`."""


class _BrokenError(Exception):
    """The transfer stopped before its end; `reached` tells whether the server had answered at all."""

    def __init__(self, reason: object, *, reached: bool) -> None:
        super().__init__(str(reason))
        self.reached = reached


class _RangeError(Exception):
    """The server does not have the range that was asked for."""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def megabytes(size: int) -> str:
    """Return a size for people, in units of 10⁶ bytes."""
    return f"{size / 1e6:,.1f} MB"


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong on disk around `path` into a `FetchError` that names the way out."""
    try:
        yield
    except FetchError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise FetchError(
                f"no space left on the disk of {path}; free some and run the same command again "
                "(it goes on from what has arrived), or give --out a directory on another disk"
            ) from error
        raise FetchError(f"cannot write {path}: {error.strerror or error}; choose another --out") from error


def download(url: str, target: Path, *, size: int, sha256: str, progress: Progress) -> None:
    """Download `url` to `target`, which appears only once it is complete and verified.

    What has arrived is in ``<target>.part`` until then, and another call goes on from there. No ETag is
    needed to resume safely: the checksum finds a part that belongs to another file, and then the download
    starts once more from zero.

    Parameters
    ----------
    url : str
        An http or https address; ``http_proxy``, ``https_proxy`` and ``no_proxy`` are obeyed.
    target : Path
        The file to make; its directory exists.
    size, sha256 : int, str
        What the file must have.
    progress : Progress
        Told about every block and every interruption.

    Raises
    ------
    FetchError
        When the server cannot be reached, keeps breaking off, or has another file; or the disk is full.
    """
    part = target.with_name(f"{target.name}.part")
    with disk_errors(part):
        resumed = _receive(url, part, size, progress)
        found = file_sha256(part)
        if found != sha256 and resumed:
            progress.note(f"{part} does not have the right checksum; downloading it once more from the start")
            part.unlink()
            _receive(url, part, size, progress)
            found = file_sha256(part)
        if found != sha256:
            part.unlink()
            raise FetchError(
                f"{url} has sha256 {found}, but {sha256} was expected; what was downloaded is removed"
            )
        part.replace(target)


def _receive(url: str, part: Path, size: int, progress: Progress) -> bool:
    """Fill `part` up to `size` bytes; return whether some of them were there before."""
    opener = urllib.request.build_opener(_HTTPHandler, _HTTPSHandler)
    with _opened(part) as file:
        if file.tell() > size:
            file.truncate(0)
            file.seek(0)
        resumed = file.tell() > 0
        best, failures, reached = file.tell(), 0, False
        while (have := file.tell()) < size:
            try:
                for offset, block in _blocks(opener, url, have, size):
                    if offset != file.tell():  # the server began at zero, whatever it was asked for
                        file.truncate(offset)
                        file.seek(offset)
                    file.write(block)
                    progress.advance(file.tell(), size)
            except _RangeError:
                file.truncate(0)
                file.seek(0)
                reached, failures = True, failures + 1
            except _BrokenError as error:
                reached = reached or error.reached
                # Only bytes never had before are progress: a server without ranges begins at zero each time.
                failures = 1 if file.tell() > best else failures + 1
                best = max(best, file.tell())
                if not reached or failures > RETRIES:
                    raise FetchError(f"{url}: {error}") from error
                progress.note(f"{url}: {error}; trying again from {megabytes(file.tell())}")
                time.sleep(min(PAUSE_SECONDS * 2 ** (failures - 1), 8.0))
            if failures > RETRIES:
                raise FetchError(f"{url}: the server refuses every range of it")
        file.flush()
        os.fsync(file.fileno())
    return resumed


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[BinaryIO]:
    """Open `part` to go on writing at its end; leave none behind that is empty."""
    try:
        with part.open("ab") as file:
            yield file
    finally:
        if part.stat().st_size == 0:
            part.unlink()


def _blocks(
    opener: urllib.request.OpenerDirector, url: str, have: int, size: int
) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of the file from byte `have` on, or from zero, each with its offset."""
    headers = {"User-Agent": f"walslab/{__version__}"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the addresses are the catalog's
    with _network_errors(url), opener.open(request, timeout=READ_SECONDS) as response:
        offset = _first_byte(response, url, size)
        # read1, not read: what arrived before a connection broke is not lost
        while block := response.read1(_CHUNK):
            if offset + len(block) > size:
                raise FetchError(f"{url} is longer than the {size:,} bytes that were expected")
            yield offset, block
            offset += len(block)
    if offset < size:
        raise _BrokenError(f"the connection closed at {megabytes(offset)} of {megabytes(size)}", reached=True)


@contextlib.contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Sort what the network raises: a range that is not there, worth another try, or final."""
    try:
        yield
    except FetchError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"HTTP {error.code} {error.reason}"
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _RangeError from error
        if error.code in _TRY_AGAIN:
            raise _BrokenError(reason, reached=True) from error
        raise FetchError(f"{url}: {reason}") from error
    except urllib.error.URLError as error:
        # urllib wraps what happens before the request is sent: look-up, connection, handshake
        raise _BrokenError(getattr(error.reason, "strerror", None) or error.reason, reached=False) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"the connection broke ({error or type(error).__name__})", reached=True) from error


def _first_byte(response: http.client.HTTPResponse, url: str, size: int) -> int:
    """Return the offset at which an answer begins; refuse a file of another size before any of it is read."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        span, _, total = (response.getheader("Content-Range") or "").removeprefix("bytes ").partition("/")
        start = span.partition("-")[0]
        offset = int(start) if start.isdigit() else 0
    else:
        offset, total = 0, response.getheader("Content-Length") or ""
    if total.isdigit() and int(total) != size:
        raise FetchError(f"{url} has {int(total):,} bytes, but {size:,} were expected")
    return offset


class _Impatient(http.client.HTTPConnection):
    """A connection whose name look-up, TCP and TLS handshakes together take `CONNECT_SECONDS` at most.

    The look-up obeys no timeout of Python's, and waits half a minute where a name server swallows its
    questions; so all of it happens in a thread that is left behind when time is up.
    """

    def connect(self) -> None:
        self.timeout = CONNECT_SECONDS
        done, late = threading.Event(), threading.Event()
        problem: list[Exception] = []

        def attempt() -> None:
            try:
                super(_Impatient, self).connect()
            except Exception as error:  # noqa: BLE001  it is raised again below, by the thread that waits
                problem.append(error)
            done.set()
            if late.is_set():
                self.close()

        threading.Thread(target=attempt, daemon=True).start()
        if not done.wait(CONNECT_SECONDS):
            late.set()
            raise TimeoutError(f"no connection within {CONNECT_SECONDS:g} s")
        if problem:
            raise problem[0]
        self.sock.settimeout(READ_SECONDS)


class _ImpatientTLS(_Impatient, http.client.HTTPSConnection):
    """As `_Impatient`, over TLS."""


class _HTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Impatient, req)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_ImpatientTLS, req)
