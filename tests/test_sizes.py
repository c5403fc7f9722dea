"""Numbers of bytes as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.files import size_text

UNITS = {"bytes": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40, "PiB": 50}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (4_924_029, "4.7 MiB"),
        (512 << 20, "512 MiB"),
        (1010 << 20, "0.986 GiB"),
        (80 << 30, "80 GiB"),
        (3 << 60, "3.07e+03 PiB"),
    ],
)
def test_sizes_are_read_easily(size, text):
    assert size_text(size) == text


@given(st.integers(0, 999 << 50))
def test_three_digits_say_the_size(size):
    number, unit = size_text(size).split(" ")
    assert re.fullmatch(r"\d{1,4}|\d\.\d{1,2}|\d\d\.\d|0\.\d{1,3}", number)
    assert float(number) * 2 ** UNITS[unit] == pytest.approx(size, rel=0.005)
