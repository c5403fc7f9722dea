"""One file over HTTP, checked by size and checksum before it gets its name."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.errors import FetchError
from toolkit.files import atomic

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
RETRIES = 2
_CHUNK = 1 << 18
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


class DownloadProgress:
    """Receives what a download reports; this class ignores it."""

    def note(self, text: str) -> None:
        """Receive a line for people."""

    def advance(self, done: int, total: int) -> None:
        """Receive the number of bytes that have arrived, out of `total`."""


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the errors that a disk raises around `path` into a `FetchError` that names the way out."""
    try:
        yield
    except FetchError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise FetchError(
                f"no space left on the disk of {path}; free some and run the same command again, or give "
                "--out a directory on another disk"
            ) from error
        raise FetchError(f"cannot write {path}: {error.strerror or error}; choose another --out") from error


def download(url: str, target: Path, *, size: int, sha256: str, progress: DownloadProgress) -> None:
    """Download `url` to `target`, which appears only once it is complete and verified.

    A download that breaks off starts again from the beginning, `RETRIES` times at most.

    Parameters
    ----------
    url : str
        An http or https address. ``http_proxy``, ``https_proxy`` and ``no_proxy`` are obeyed.
    target : Path
        The file to make.
    size, sha256 : int, str
        The size in bytes and the checksum of the published file.
    progress : DownloadProgress
        Receives every block and every interruption.

    Raises
    ------
    FetchError
        When the server cannot be reached, keeps breaking off, or has another file; or the disk is full.
    """
    import pooch

    with disk_errors(target), atomic.scratch(target) as folder, _without_log():
        files = pooch.create(folder, "", registry={target.name: sha256}, urls={target.name: url})
        files.retry_if_failed = RETRIES
        try:
            files.fetch(target.name, downloader=_Downloader(size, progress))
        except ValueError as error:  # the checksum is not the published one
            raise FetchError(f"{url}: {error}") from error
        except OSError as error:
            if error.errno is not None or isinstance(error, FetchError):
                raise
            raise FetchError(f"{url}: {_reason(error)}") from error
        (folder / target.name).chmod(0o644)  # pooch makes files that only their user can read
        (folder / target.name).replace(target)


class _Downloader:
    """Downloads a file when pooch asks for it.

    pooch tries again after errors of the network. It does not after a `FetchError`, which is raised when
    another try cannot help.
    """

    def __init__(self, size: int, progress: DownloadProgress) -> None:
        self.size, self.progress = size, progress
        self.attempts = 0

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        from pooch import HTTPDownloader

        if self.attempts:
            self.progress.note(f"the download broke off; starting {url} again from the beginning")
        self.attempts += 1
        bar = _Bar(self.size, self.progress)
        downloader = HTTPDownloader(
            progressbar=bar,
            chunk_size=_CHUNK,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            headers={"User-Agent": f"walslab/{__version__}"},
        )
        try:
            downloader(url, output_file, pooch)
        except OSError as error:
            response = getattr(error, "response", None)
            answered = bar.total is not None or (response is not None and response.status_code in _BUSY)
            if answered or error.errno is not None:
                raise
            raise FetchError(f"{url}: {_reason(error)}") from error
        size = Path(output_file).stat().st_size
        if size != self.size:
            raise FetchError(f"{url} has {size:,} bytes, but {self.size:,} were expected")


class _Bar:
    """The progress bar that pooch moves; it reports to a `DownloadProgress`.

    pooch sets `total` once the server sends the file.
    """

    def __init__(self, size: int, progress: DownloadProgress) -> None:
        self.size, self.progress = size, progress
        self.total: int | None = None
        self.done = 0

    def update(self, n: int) -> None:
        # pooch counts the last block as a full one.
        self.done = min(self.done + n, self.size)
        self.progress.advance(self.done, self.size)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


def _reason(error: BaseException) -> str:
    """Return why a request failed, in the words of the server or of the system."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}"
    # requests and urllib3 wrap the error of the system several times.
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Keep pooch from logging what `DownloadProgress` reports."""
    import pooch

    log = pooch.get_logger()
    before = log.level
    log.setLevel("WARNING")
    try:
        yield
    finally:
        log.setLevel(before)
