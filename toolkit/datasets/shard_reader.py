"""Shards that are read again and again: checked at first, and read straight from the file later."""

from __future__ import annotations

import os
import struct
import zipfile
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from toolkit.arrays import Array
from toolkit.datasets.manifest import FileEntry
from toolkit.datasets.shards import Shard, reading_header
from toolkit.files import is_address

if TYPE_CHECKING:
    from toolkit.datasets.dataset import RatingsDataset

_ARRAYS = ("indptr", "indices", "data")
# Bytes of a member's header in a zip file, and where in it the lengths of its name and its extra field are.
_HEADER, _LENGTHS = 30, 26


class _Place(NamedTuple):
    """Where an array lies in a file."""

    begin: int
    dtype: np.dtype[np.generic]
    size: int


class _Known(NamedTuple):
    """A file that was checked, and where its arrays lie."""

    state: tuple[int, ...]
    places: tuple[_Place, ...]


class ShardReader:
    """Reads the shards of one dataset.

    A shard is compared with its checksum, and its arrays are checked, when it is read first, and again when
    its file has changed. In between, its arrays are read without being decoded. At an address, each reading
    is checked.

    Parameters
    ----------
    dataset : RatingsDataset
    """

    def __init__(self, dataset: RatingsDataset) -> None:
        self._dataset = dataset
        self._known: dict[str, _Known] = {}

    def read(self, kind: str, entry: FileEntry) -> Shard:
        """Return the arrays of a shard; see `RatingsDataset.read_shard`."""
        dataset = self._dataset
        if is_address(dataset.path):
            return dataset.read_shard(kind, entry)
        path = dataset.path / entry["path"]
        known = self._known.get(entry["path"])
        if known is not None and path.is_file():
            with path.open("rb") as file:
                if known.state == _state(file):
                    indptr, indices, data = (_array(file, place) for place in known.places)
                    return indptr, indices, data
        # Looked at before, so that a change during the check is seen next time.
        with path.open("rb") if path.is_file() else open(os.devnull, "rb") as file:  # noqa: PTH123
            state = _state(file)
        shard = dataset.read_shard(kind, entry)
        places = _places(path)
        if places is not None:
            self._known[entry["path"]] = _Known(state, places)
        return shard


def _state(file: BufferedReader) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns


def _array(file: BufferedReader, place: _Place) -> Array:
    array = np.empty(place.size, place.dtype)
    file.seek(place.begin)
    # A view of its bytes; of an array of length 0 there is none to fill.
    if place.size and file.readinto(array.view(np.uint8).data) != array.nbytes:
        raise OSError(f"{file.name} was cut short while it was read")
    return array


def _places(path: Path) -> tuple[_Place, ...] | None:
    """Return where the arrays of a checked shard lie; None where they are compressed."""
    places = []
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        for name in _ARRAYS:
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type != zipfile.ZIP_STORED:
                return None
            file.seek(member.header_offset)
            lengths = struct.unpack_from("<HH", file.read(_HEADER), _LENGTHS)
            file.seek(member.header_offset + _HEADER + sum(lengths))
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            with reading_header:
                shape, _, dtype = read(file)
            places.append(_Place(file.tell(), dtype, int(np.prod(shape))))
    return tuple(places)
