"""The ratings files that paths, patterns, folders, addresses and zip files stand for."""

from __future__ import annotations

import glob
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from toolkit.errors import RatingsError, did_you_mean
from toolkit.files import error_text, is_address, mask
from toolkit.ingest.reading.ratings_file import RatingsFile, file_system, open_raw, read_errors

# The first bytes of a file tell its kind; its name may lie.
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PAR1": "parquet",
    b"PK\x03\x04": "zip",
}


def find_files(paths: Sequence[str | Path]) -> tuple[RatingsFile, ...]:
    """Return the files that paths, patterns, directories and addresses name, in this order.

    A directory stands for all files in it and below, by name, except those that begin with a dot or an
    underscore. A zip stands for its one ratings file; another member is named ``FILE.zip/MEMBER``.

    Raises
    ------
    RatingsError
        When a path names no file, or a zip holds several that could be meant.
    """
    files = [file for path in paths for file in _files_at(str(path))]
    if not files:
        raise RatingsError("no ratings file was given")
    return tuple(files)


def _files_at(path: str) -> list[RatingsFile]:
    if is_address(path):
        names = _remote_names(path)
    elif Path(path).is_dir():
        names = [str(Path(path) / name) for name in _visible(path, _names_below(path))]
    else:
        names = [path] if Path(path).exists() else []
    if names:
        return [_file_of_kind(name) for name in names]
    archive, inside = _within_zip(path)
    if archive:
        return [_member(archive, inside)]
    near = ""
    if not is_address(path):
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - a Path cannot hold an absolute pattern
        if matches:
            return [file for match in matches for file in _files_at(match)]
        folder = Path(path).parent
        near = did_you_mean(Path(path).name, [p.name for p in folder.iterdir()] if folder.is_dir() else [])
    raise RatingsError(f"there is no ratings file {mask(path)}{near}")


def _remote_names(address: str) -> list[str]:
    """Return the addresses of the files that an address stands for."""
    system, path = file_system(address)

    def within(folder: str) -> list[str]:
        below = (name.removeprefix(folder).lstrip("/") for name in system.find(folder))
        return [f"{folder.rstrip('/')}/{name}" for name in _visible(address, below)]

    try:
        # The file system remembers what it listed before, and some of that may be gone.
        system.invalidate_cache()
        magic = any(sign in path for sign in "*?[")
        matches = system.glob(path, detail=True) if magic else {path: system.info(path)}
        names = [
            name
            for match, facts in sorted(matches.items())
            for name in (within(match) if facts["type"] == "directory" else [match])
        ]
    except RatingsError:
        raise
    except FileNotFoundError:
        return []
    except Exception as error:  # each store has errors of its own
        raise RatingsError(f"{mask(address)} cannot be listed: {error_text(error, address)}") from error
    if not path or path not in address:
        return [str(system.unstrip_protocol(name)) for name in names]
    # An address may carry what the plain name has lost: a user, a host, a protocol around another one.
    before, _, after = address.rstrip("/").rpartition(path)
    return [before + name + after for name in names]


def _names_below(folder: str) -> Iterator[str]:
    return (p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def _visible(folder: str, names: Iterable[str]) -> list[str]:
    """Return the names that are neither hidden nor notes of the program that wrote the folder."""
    kept = [name for name in sorted(names) if not _is_hidden(name)]
    if not kept:
        raise RatingsError(f"the folder {mask(folder)} holds no file")
    return kept


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _file_of_kind(path: str) -> RatingsFile:
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
    """Return the zip file and the member of ``a/b.zip/c/d``, or two empty texts where no zip is named."""
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
    with read_errors(whole, "as a zip file"), open_raw(path) as raw, zipfile.ZipFile(raw) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if "xl/workbook.xml" in names:
        raise RatingsError(f"{mask(path)} is a workbook: save the sheet of ratings as CSV")
    if name:
        if name not in names:
            raise RatingsError(f"{mask(path)} has no member {name!r}{did_you_mean(name, names)}")
        return RatingsFile(path, "zip", name)
    # A zip made on a Mac has a hidden companion of each file.
    visible = [n for n in names if not _is_hidden(n)]
    likely = [
        n for n in visible if n.rpartition("/")[2].partition(".")[0] == "ratings" or n.endswith("/u.data")
    ]
    chosen = visible if len(visible) == 1 else likely
    if len(chosen) != 1:
        raise RatingsError(
            f"{mask(path)} holds {', '.join(names[:8]) or 'nothing'}: say which, as {mask(path)}/MEMBER"
        )
    return RatingsFile(path, "zip", chosen[0])
