"""Where ratings files lie: on disk, in an object store, in a zip; plain, compressed or Parquet."""

from __future__ import annotations

import bz2
import contextlib
import glob
import gzip
import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from toolkit.errors import RatingsError, did_you_mean
from toolkit.secrets import mask

# What a file begins with says what it is; its name may lie.
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PAR1": "parquet",
    b"PK\x03\x04": "zip",
}
_OPENERS: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
# What reading a file that is cut short or damaged raises.
UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, lzma.LZMAError, ValueError)
_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}


@dataclass(frozen=True, order=True)
class RatingsFile:
    """One file of ratings.

    Attributes
    ----------
    path : str
        Local path, or address such as ``s3://bucket/key``.
    kind : str
        ``plain``, ``gzip``, ``bzip2``, ``xz``, ``zip`` or ``parquet``.
    member : str
        Name inside a zip file.
    """

    path: str
    kind: str = "plain"
    member: str = ""

    def __str__(self) -> str:
        """Return the path as people write it, without passwords."""
        return mask(f"{self.path}/{self.member}" if self.member else self.path)

    @property
    def remote(self) -> bool:
        """Whether the file lies in an object store or on a server."""
        return is_address(self.path)

    @property
    def streamed(self) -> bool:
        """Whether it can be read from its beginning only."""
        return self.kind in {*_OPENERS, "zip"}

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open for reading from the beginning, decompressed."""
        with open_raw(self.path) as raw:
            if self.kind == "zip":
                with zipfile.ZipFile(raw) as archive, archive.open(self.member) as member:
                    yield cast("BinaryIO", member)
            elif self.kind in _OPENERS:
                with _OPENERS[self.kind](raw, "rb") as unpacked:
                    yield unpacked
            else:
                yield raw

    def size(self) -> int:
        """Return the bytes stored, compressed or not."""
        if not self.remote:
            return Path(self.path).stat().st_size
        system, path = file_system(self.path)
        return int(system.size(path))

    def expanded_size(self) -> int:
        """Return the bytes when decompressed, about: of a stream, four times what is stored."""
        if self.kind == "zip":
            with open_raw(self.path) as raw, zipfile.ZipFile(raw) as archive:
                return archive.getinfo(self.member).file_size
        return self.size() * (4 if self.streamed else 1)

    def fingerprint(self) -> dict[str, Any]:
        """Return name, bytes and checksum, for the record."""
        name = self.path.rpartition("/")[2] + (f"/{self.member}" if self.member else "")
        if self.remote:
            # What the store says of it; to read it a second time would cost as much as the ingest.
            system, path = file_system(self.path)
            told = system.info(path)
            etag = next(
                (str(told[key]).strip('"') for key in ("ETag", "etag", "md5Hash") if told.get(key)), ""
            )
            return {"name": name, "path": mask(self.path), "bytes": self.size(), "etag": etag}
        with Path(self.path).open("rb") as file:
            return {
                "name": name,
                "bytes": self.size(),
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            }

    def state(self) -> tuple[int, str]:
        """Return what changes when the file is written: its size and time, or its checksum in a store."""
        if not self.remote:
            facts = Path(self.path).stat()
            return facts.st_size, str(facts.st_mtime_ns)
        system, path = file_system(self.path)
        return self.size(), str(system.ukey(path))


def is_address(path: str) -> bool:
    """Tell whether a path names a file system, as ``s3://bucket/key`` does."""
    return "://" in path


def file_system(address: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path within.

    Raises
    ------
    RatingsError
        When nothing that is installed can read such an address.
    """
    import fsspec

    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        scheme = address.partition("://")[0]
        way = f"pip install {_EXTRAS[scheme]}" if scheme in _EXTRAS else "check the part before ://"
        raise RatingsError(f"{mask(address)} cannot be reached: {error}; {way}") from error
    return found


def open_raw(path: str) -> BinaryIO:
    """Open a local file or an address for reading, as it is stored."""
    if not is_address(path):
        return Path(path).open("rb")
    system, inner = file_system(path)
    return cast("BinaryIO", system.open(inner, "rb"))


def find_files(paths: Sequence[str | Path]) -> tuple[RatingsFile, ...]:
    """Return the files that paths, patterns, directories and addresses name, in this order.

    A directory stands for all files in it and below, by name, but those that begin with a dot or an
    underscore. A zip stands for its one ratings file; another member is named ``FILE.zip/MEMBER``.

    Raises
    ------
    RatingsError
        When something named is not there, or cannot be told.
    """
    found = [file for path in paths for file in _find(str(path))]
    if not found:
        raise RatingsError("no ratings file was given")
    return tuple(found)


def _find(path: str) -> list[RatingsFile]:
    if is_address(path):
        return [_identify(name) for name in _listed_remotely(path)]
    if Path(path).is_dir():
        return [
            _identify(name) for name in _seen(path, (str(p) for p in Path(path).rglob("*") if p.is_file()))
        ]
    if Path(path).exists():
        return [_identify(path)]
    archive, inside = _within_zip(path)
    if archive:
        return [_member(archive, inside)]
    matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - a Path cannot hold an absolute pattern
    if not matches:
        folder = Path(path).parent
        near = did_you_mean(Path(path).name, [p.name for p in folder.iterdir()] if folder.is_dir() else [])
        raise RatingsError(f"there is no ratings file {path}{near}")
    return [file for match in matches for file in _find(match)]


def _listed_remotely(address: str) -> list[str]:
    system, path = file_system(address)
    try:
        if any(sign in path for sign in "*?["):
            names = sorted(system.glob(path))
        elif system.isdir(path):
            names = _seen(path, system.find(path))
        else:
            names = [path] if system.exists(path) else []
    except Exception as error:  # each store has errors of its own
        raise RatingsError(f"{mask(address)} cannot be listed: {_said(error)}") from error
    if not names:
        raise RatingsError(f"there is no ratings file {mask(address)}")
    # An address may carry what the plain name has lost: a user, a port, options of the store.
    return [address] if names == [path] else [str(system.unstrip_protocol(name)) for name in names]


def _seen(folder: str, names: Iterable[str]) -> list[str]:
    """Return the names below a folder that are neither hidden nor notes of the program that wrote it."""
    kept = []
    for name in sorted(names):
        below = name[len(folder) :].strip("/").split("/")
        if not any(part.startswith((".", "_")) for part in below):
            kept.append(name)
    if not kept:
        raise RatingsError(f"the folder {mask(folder)} holds no file")
    return kept


def _identify(path: str) -> RatingsFile:
    try:
        with open_raw(path) as file:
            head = file.read(8)
    except Exception as error:  # each store has errors of its own
        raise RatingsError(f"{mask(path)} cannot be read: {_said(error)}") from error
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "plain")
    return _member(path, "") if kind == "zip" else RatingsFile(path, kind)


def _within_zip(path: str) -> tuple[str, str]:
    """Cut ``a/b.zip/c/d`` where the zip file ends."""
    for parent in Path(path).parents:
        if parent.is_file():
            return str(parent), Path(path).relative_to(parent).as_posix()
    return "", ""


def _member(path: str, name: str) -> RatingsFile:
    try:
        with open_raw(path) as raw, zipfile.ZipFile(raw) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise RatingsError(
            f"{mask(path)} cannot be read as a zip file: {error}; if it was downloaded, download it again"
        ) from error
    if name:
        if name not in names:
            raise RatingsError(f"{mask(path)} has no member {name!r}{did_you_mean(name, names)}")
        return RatingsFile(path, "zip", name)
    likely = [
        n for n in names if n.rpartition("/")[2].partition(".")[0] == "ratings" or n.endswith("/u.data")
    ]
    chosen = names if len(names) == 1 else likely
    if len(chosen) != 1:
        raise RatingsError(
            f"{mask(path)} holds {', '.join(names[:8]) or 'nothing'}: say which, as {mask(path)}/MEMBER"
        )
    return RatingsFile(path, "zip", chosen[0])


def _said(error: BaseException) -> str:
    # The errors of some stores have no text of their own.
    return mask(str(error)) or type(error).__name__


def first_bytes(file: RatingsFile, lines: int, limit: int = 1 << 20) -> bytes:
    """Return the first lines of a text file, whole, up to a limit of bytes."""
    with file.open() as stream:
        data = stream.read(limit)
    return b"".join(io.BytesIO(data).readlines()[:lines])
