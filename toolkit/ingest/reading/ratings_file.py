"""One file of ratings: on disk, in an object store or in a zip; plain, compressed or Parquet."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from toolkit.errors import RatingsError
from toolkit.files import address as addresses
from toolkit.files import error_text, is_address, mask
from toolkit.ingest.reading.translation import translated

_OPENERS: dict[str, Callable[..., IO[Any]]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
# What reading raises for a file that is cut short or damaged, and (RuntimeError) for an encrypted zip.
_UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, lzma.LZMAError, ValueError, RuntimeError)
# Keys under which stores tell the version of a file. Other times that they tell may change by reading.
_CHECKSUMS = ("ETag", "etag", "md5Hash")
_TIMES = ("Last-Modified", "LastModified", "last_modified", "mtime", "created")
# How far a store reads ahead. Its own 5 to 50 MiB would be fetched for a few bytes, too.
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
        ``plain``, ``gzip``, ``bzip2``, ``xz``, ``zip``, ``parquet``, or ``arrow`` for a table of Python.
    member : str
        Name inside a zip file.
    forms : tuple of str
        What its text has to be translated from, in order (`toolkit.ingest.reading.translation.forms_of`).
    keys : tuple of str
        JSON lines: the keys of the fields that are read.
    title : str
        What people call it, where it is no file of theirs: ``partition 3``.
    before : int
        How many rows of its table are in other files before it.
    """

    path: str
    kind: str = "plain"
    member: str = ""
    forms: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    title: str = ""
    before: int = 0

    def __str__(self) -> str:
        """Return the path as people write it, without passwords."""
        return self.title or mask(f"{self.path}/{self.member}" if self.member else self.path)

    @property
    def typed(self) -> bool:
        """Whether it holds columns of types, and not text."""
        return self.kind in {"parquet", "arrow"}

    @property
    def remote(self) -> bool:
        """Whether the file lies in an object store or on a server."""
        return is_address(self.path)

    @property
    def streamed(self) -> bool:
        """Whether it can be read from its beginning only."""
        return bool(self.forms) or self.kind in {*_OPENERS, "zip"}

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the file for reading from the beginning, decompressed and translated."""
        with self._unpacked() as stream:
            yield translated(stream, self.forms, self.keys) if self.forms else stream

    @contextlib.contextmanager
    def _unpacked(self) -> Iterator[IO[bytes]]:
        with open_raw(self.path) as raw:
            if self.kind == "zip":
                with zipfile.ZipFile(raw) as archive, archive.open(self.member) as member:
                    yield member
            elif self.kind in _OPENERS:
                with _OPENERS[self.kind](raw, "rb") as unpacked:
                    yield unpacked
            else:
                yield raw

    def size(self) -> int:
        """Return the bytes stored, compressed or not."""
        if not self.remote:
            return Path(self.path).stat().st_size
        size = self._store_facts()["size"]
        if size is None:
            raise RatingsError(f"{self}: its server does not say how long it is: download it first")
        return int(size)

    def expanded_size(self) -> int:
        """Return about how many bytes the file has when decompressed: of a stream, four times the stored."""
        if self.kind == "zip":
            with open_raw(self.path) as raw, zipfile.ZipFile(raw) as archive:
                return archive.getinfo(self.member).file_size
        return self.size() * (4 if self.kind in _OPENERS else 1)

    def fingerprint(self) -> dict[str, Any]:
        """Return name, bytes and checksum for the manifest; of a program's table, name and bytes."""
        if self.title:
            return {"name": self.title, "bytes": self.size()}
        name = mask(self.path).rpartition("/")[2] + (f"/{self.member}" if self.member else "")
        if self.remote:
            # The store's own checksum: to read the file again would cost as much as the ingest.
            facts = self._store_facts()
            etag = next((str(facts[key]).strip('"') for key in _CHECKSUMS if facts.get(key)), "")
            return {"name": name, "path": mask(self.path), "bytes": facts["size"], "etag": etag}
        with Path(self.path).open("rb") as file:
            return {
                "name": name,
                "bytes": self.size(),
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            }

    def state(self) -> tuple[int, str]:
        """Return what changes when the file is written: its size, and its time or its store's checksum."""
        if not self.remote:
            facts = Path(self.path).stat()
            return facts.st_size, str(facts.st_mtime_ns)
        system, path = file_system(self.path)
        # The file system remembers what it listed before.
        system.invalidate_cache(path)
        stored = self._store_facts()
        return stored["size"], " ".join(str(stored[key]) for key in (*_CHECKSUMS, *_TIMES) if stored.get(key))

    def _store_facts(self) -> Mapping[str, Any]:
        system, path = file_system(self.path)
        return cast("Mapping[str, Any]", system.info(path))


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
def read_errors(file: RatingsFile, how: str) -> Iterator[None]:
    """Turn an error that occurs while a file is read into one that names the file.

    Parameters
    ----------
    file : RatingsFile
        The file.
    how : str
        The reading that fails, such as ``to its end`` or ``as a zip file``.

    Raises
    ------
    RatingsError
        In place of the reader's own error.
    """
    # Each store has errors of its own.
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


def first_bytes(file: RatingsFile, lines: int, limit: int = 1 << 20) -> bytes:
    """Return the first lines of a text file, whole, up to a limit of bytes; at least one."""
    data, more = b"", b"-"
    with file.open() as stream:
        while data.count(b"\n") < lines and len(data) < limit and more:
            more = stream.read(_TEXT_AT_ONCE)
            data += more
    whole = io.BytesIO(data).readlines()[:lines]
    if more and len(whole) > 1 and not whole[-1].endswith(b"\n"):
        whole.pop()
    return b"".join(whole)
