"""Files that are on their way to the disk early: complete for every reader, and no error without a disk."""

from __future__ import annotations

import os

from toolkit.files import begin_write_back


def test_a_file_is_whole_for_readers_once_it_is_begun(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"rating")
        begin_write_back(file)
        assert path.read_bytes() == b"rating"
        file.write(b"s")
    assert path.read_bytes() == b"ratings"


def test_what_has_no_disk_is_no_error():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as file:
        file.write(b"rating")
        begin_write_back(file)
        assert source.read(6) == b"rating"
