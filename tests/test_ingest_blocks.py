"""Text in blocks: every line is in one of them, once and by its number, however the file is cut."""

from __future__ import annotations

import gzip

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st
from ratings_files import TEXT, digest_of_all, put, read, refused, source_of

from toolkit.ingest import SplitRule
from toolkit.ingest.reading.blocks import count_lines, cut_lines, pieces, units
from toolkit.ingest.reading.line_numbers import lines_before
from toolkit.ingest.reading.ratings_file import RatingsFile

LINES = st.lists(st.text("ab,é\r", max_size=9), max_size=12).map(lambda lines: "\n".join(lines).encode())


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    return digest_of_all(tmp_path_factory.mktemp("plain"))


@given(data=LINES, block_bytes=st.integers(1, 40), tail=st.integers(1, 9))
def test_blocks_are_all_lines_once_wherever_they_lie(tmp_path_factory, data, block_bytes, tail):
    root = tmp_path_factory.getbasetemp() / "blocks"
    put(root, {"r.csv": data, "r.csv.gz": gzip.compress(data)})
    MemoryFileSystem.store.clear()
    fsspec.filesystem("memory").pipe("/r.csv", data)
    files = (
        RatingsFile(f"{root}/r.csv"),
        RatingsFile(f"{root}/r.csv.gz", "gzip"),
        RatingsFile("memory://r.csv"),
    )
    source = source_of(*files)
    read_of = dict.fromkeys(range(len(files)), b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toolkit.ingest.reading.blocks._TAIL", tail)
        for unit in units(source, block_bytes):
            for piece in pieces(unit, source, block_bytes):
                before = read_of[unit.file]
                assert not before or before.endswith(b"\n") or not piece.data
                if piece.data and b"\r" not in data:
                    assert lines_before(source, unit) + piece.line == 1 + before.count(b"\n")
                read_of[unit.file] += piece.data
    assert set(read_of.values()) == {data}


@given(data=LINES, parts=st.integers(1, 9))
def test_lines_are_counted_and_cut(data, parts):
    cut = cut_lines(data, parts)
    assert b"".join(cut) == data
    assert all(part.endswith(b"\n") for part in cut[:-1])
    # A carriage return ends lines only where nothing else does.
    ends = data.count(b"\n") + (not data.endswith(b"\n"))
    assert count_lines(data) == (ends if b"\n" in data else len(data.splitlines()))


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\n \r\n"])
def test_a_mark_and_blank_lines_before_the_header(tmp_path, digest, memory, before):
    put(tmp_path, {"r.csv": before + TEXT})
    memory.pipe("/r.csv", before + TEXT)
    for where in (tmp_path / "r.csv", "memory://r.csv"):
        assert read(tmp_path / "out", where, block_bytes=400).digest == digest
    memory.pipe("/r.csv", before + TEXT + b"1,2\n")
    line = (before + TEXT).count(b"\n") + 1
    with refused(rf"memory://r\.csv, line {line} has 2 field"):
        read(tmp_path / "out", "memory://r.csv", block_bytes=400)


def test_a_character_that_ends_lines_in_unicode_alone_is_part_of_a_field(tmp_path):
    put(tmp_path, {"r.csv": "user,item,rating\n1,a\u2028b,3\n1,c\x85d,4\n2,c\x1cd,4\n".encode()})
    made = read(tmp_path / "out", tmp_path / "r.csv", split=SplitRule(valid=0, test=0))
    assert made.item_ids.tolist() == ["a\u2028b", "c\x1cd", "c\x85d"]
