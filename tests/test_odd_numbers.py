"""Numbers that the reader would take for others, such as 007 for 7, are found anywhere in a block."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ratings_files import source_of

from toolkit.ingest.reading import parsing
from toolkit.ingest.reading.ratings_file import RatingsFile

# By its definition: a zero that begins a number, with something behind it that is no other number's.
ODD = re.compile(rb"(?<![0-9.])0[0-9xX]|-0(?!\.)")
TEXT = st.lists(st.sampled_from([*b"0012.-,/\n x:"]), max_size=40).map(bytes)


@given(data=TEXT, step=st.integers(1, 9))
@example(data=b"-0", step=3)
@example(data=b"0X1", step=3)
def test_odd_numbers_are_found_by_their_definition(data, step):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "_CACHED", step)
        assert parsing._unusual_numbers(data) == bool(ODD.search(data))


@pytest.mark.parametrize("before", range(-4, 5))
def test_an_odd_number_at_the_seam_of_two_parts_makes_ids_text(before):
    lines = b"1,2,3\n" * (parsing._CACHED // 6 - 3)
    rest = parsing._CACHED - len(lines) + before
    data = lines + b"1,2,3." + b"0" * (rest - 10) + b"\n1,007,3\n" + b"1,2,3\n" * 9
    columns = parsing.parse(data, source_of(RatingsFile("r.csv")))
    assert columns.items.distinct.to_pylist() == ["007", "2"]
