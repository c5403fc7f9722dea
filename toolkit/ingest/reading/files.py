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
from toolkit.files import address as addresses
from toolkit.files.address import error_text, is_address
from toolkit.files.masking import mask

# What a file begins with says what it is; its name may lie.
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PAR1": "parquet",
    b"PK\x03\x04": "zip",
}
_OPENERS: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
# What reading a file raises that is cut short or damaged, or (RuntimeError) a zip that is encrypted.
_UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, lzma.LZMAError, ValueError, RuntimeError)
# Where stores say which version of a file they hold; other times that they say may change by reading.
_CHECKSUMS = ("ETag", "etag", "md5Hash")
_TIMES = ("Last-Modified", "LastModified", "last_modified", "mtime", "created")
# A store is asked for this much more than is read: its own 5 to 50 MiB would be fetched for a few bytes, too.
_AHEAD = 1 << 20
_TEXT_AT_ONCE = 1 << 16


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
        size = self._told()["size"]
        if size is None:
            raise RatingsError(f"{self}: its server does not say how long it is: download it first")
        return int(size)

    def expanded_size(self) -> int:
        """Return the bytes when decompressed, about: of a stream, four times what is stored."""
        if self.kind == "zip":
            with open_raw(self.path) as raw, zipfile.ZipFile(raw) as archive:
                return archive.getinfo(self.member).file_size
        return self.size() * (4 if self.streamed else 1)

    def fingerprint(self) -> dict[str, Any]:
        """Return name, bytes and checksum, for the record."""
        name = mask(self.path).rpartition("/")[2] + (f"/{self.member}" if self.member else "")
        if self.remote:
            # What the store says of it; to read it a second time would cost as much as the ingest.
            told = self._told()
            etag = next((str(told[key]).strip('"') for key in _CHECKSUMS if told.get(key)), "")
            return {"name": name, "path": mask(self.path), "bytes": told["size"], "etag": etag}
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
        # What it was when it was listed is remembered, and is not what is asked for.
        system.invalidate_cache(path)
        told = self._told()
        return told["size"], " ".join(str(told[key]) for key in (*_CHECKSUMS, *_TIMES) if told.get(key))

    def _told(self) -> Any:
        system, path = file_system(self.path)
        return system.info(path)


def file_system(address: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path within.

    Raises
    ------
    RatingsError
        When nothing that is installed can read such an address.
    """
    return addresses.file_system(address, RatingsError)


def open_raw(path: str, ahead: int = _AHEAD) -> BinaryIO:
    """Open a local file or an address for reading, as it is stored.

    Parameters
    ----------
    path : str
        File or address.
    ahead : int
        Bytes to fetch from a store beyond those that are read.
    """
    if not is_address(path):
        return Path(path).open("rb")
    system, inner = file_system(path)
    return cast("BinaryIO", system.open(inner, "rb", block_size=ahead))


@contextlib.contextmanager
def reading(file: RatingsFile, how: str) -> Iterator[None]:
    """Name the file in whatever goes wrong while it is read.

    Parameters
    ----------
    file : RatingsFile
        The file.
    how : str
        What fails then, such as ``to its end`` or ``as a zip file``.

    Raises
    ------
    RatingsError
        Instead of what the reader raised.
    """
    # A store's own errors are many, and none of them is ours.
    expected = Exception if file.remote else _UNREADABLE
    try:
        yield
    except RatingsError:
        raise
    except expected as error:
        raise RatingsError(
            f"{file} cannot be read {how}: {error_text(error, file.path)}; if it was downloaded, "
            "download it again"
        ) from error


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
        names = _listed_remotely(path)
    elif Path(path).is_dir():
        names = [str(Path(path) / name) for name in _seen(path, _below(path))]
    else:
        names = [path] if Path(path).exists() else []
    if names:
        return [_identify(name) for name in names]
    archive, inside = _within_zip(path)
    if archive:
        return [_member(archive, inside)]
    near = ""
    if not is_address(path):
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - a Path cannot hold an absolute pattern
        if matches:
            return [file for match in matches for file in _find(match)]
        folder = Path(path).parent
        near = did_you_mean(Path(path).name, [p.name for p in folder.iterdir()] if folder.is_dir() else [])
    raise RatingsError(f"there is no ratings file {mask(path)}{near}")


def _listed_remotely(address: str) -> list[str]:
    """Return the addresses of the files that an address stands for."""
    system, path = file_system(address)

    def within(folder: str) -> list[str]:
        below = (name.removeprefix(folder).lstrip("/") for name in system.find(folder))
        return [f"{folder.rstrip('/')}/{name}" for name in _seen(address, below)]

    try:
        # Of what was listed before, some may be gone.
        system.invalidate_cache()
        magic = any(sign in path for sign in "*?[")
        found = system.glob(path, detail=True) if magic else {path: system.info(path)}
        names = [
            name
            for match, told in sorted(found.items())
            for name in (within(match) if told["type"] == "directory" else [match])
        ]
    except RatingsError:
        raise
    except FileNotFoundError:
        return []
    except Exception as error:  # each store has errors of its own
        raise RatingsError(f"{mask(address)} cannot be listed: {error_text(error, address)}") from error
    if not path or path not in address:
        return [str(system.unstrip_protocol(name)) for name in names]
    # An address may carry what the plain name has lost: a user, a host, what it is read through.
    before, _, after = address.rstrip("/").rpartition(path)
    return [before + name + after for name in names]


def _below(folder: str) -> Iterator[str]:
    return (p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def _seen(folder: str, below: Iterable[str]) -> list[str]:
    """Return the names below a folder that are neither hidden nor notes of the program that wrote it."""
    kept = [
        name for name in sorted(below) if not any(part.startswith((".", "_")) for part in name.split("/"))
    ]
    if not kept:
        raise RatingsError(f"the folder {mask(folder)} holds no file")
    return kept


def _identify(path: str) -> RatingsFile:
    if not is_address(path) and not Path(path).is_file():
        raise RatingsError(
            f"{path} must be a file, which is read more than once, but is a pipe or a device: write it to a "
            "file first"
        )
    try:
        with open_raw(path, ahead=8) as file:
            head = file.read(8)
    except Exception as error:  # each store has errors of its own
        raise RatingsError(f"{mask(path)} cannot be read: {error_text(error, path)}") from error
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "plain")
    return _member(path, "") if kind == "zip" else RatingsFile(path, kind)


def _within_zip(path: str) -> tuple[str, str]:
    """Cut ``a/b.zip/c/d`` where the zip file ends."""
    archive, cut, _ = path.rpartition("/")
    # An address is cut down to its host at most.
    while cut and is_address(archive) == is_address(path):
        if _is_file(archive):
            return archive, path[len(archive) + 1 :]
        archive, cut, _ = archive.rpartition("/")
    return "", ""


def _is_file(path: str) -> bool:
    if not is_address(path):
        return Path(path).is_file()
    system, inner = file_system(path)
    return bool(system.isfile(inner))


def _member(path: str, name: str) -> RatingsFile:
    whole = RatingsFile(path, "zip")
    with reading(whole, "as a zip file"), open_raw(path) as raw, zipfile.ZipFile(raw) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if name:
        if name not in names:
            raise RatingsError(f"{mask(path)} has no member {name!r}{did_you_mean(name, names)}")
        return RatingsFile(path, "zip", name)
    # A zip made on a Mac has a hidden companion of each file.
    shown = [n for n in names if not any(part.startswith((".", "_")) for part in n.split("/"))]
    likely = [
        n for n in shown if n.rpartition("/")[2].partition(".")[0] == "ratings" or n.endswith("/u.data")
    ]
    chosen = shown if len(shown) == 1 else likely
    if len(chosen) != 1:
        raise RatingsError(
            f"{mask(path)} holds {', '.join(names[:8]) or 'nothing'}: say which, as {mask(path)}/MEMBER"
        )
    return RatingsFile(path, "zip", chosen[0])


def first_bytes(file: RatingsFile, lines: int, limit: int = 1 << 20) -> bytes:
    """Return the first lines of a text file, whole, up to a limit of bytes."""
    data = b""
    with file.open() as stream:
        while data.count(b"\n") < lines and len(data) < limit and (more := stream.read(_TEXT_AT_ONCE)):
            data += more
    return b"".join(io.BytesIO(data).readlines()[:lines])
