"""Line ends within a field: a noncharacter stands for each while its record is on one line.

Texts hold no noncharacters of Unicode: they are left to programs for their own use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_STAND_INS = {"\n": "\ufdd0", "\r": "\ufdd1"}
_BYTES = {end.encode(): stand_in.encode() for end, stand_in in _STAND_INS.items()}


def taken_out(field: bytes) -> bytes:
    """Return a field with a stand-in for each line end."""
    for end, stand_in in _BYTES.items():
        field = field.replace(end, stand_in)
    return field


def find_stand_in(data: bytes) -> int:
    """Return where data already hold a character that would stand for a line end, or -1 where they do not."""
    return min((at for at in map(data.find, _BYTES.values()) if at >= 0), default=-1)


def restored(text: str) -> str:
    """Return text with the line ends that `taken_out` took out."""
    for end, stand_in in _STAND_INS.items():
        text = text.replace(stand_in, end)
    return text


def restored_ids(column: pa.Array) -> pa.Array:
    """Return a dictionary of text with the line ends that `taken_out` took out; numbers as they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return column
    words = column.dictionary
    for end, stand_in in _STAND_INS.items():
        words = pc.replace_substring(words, stand_in, end)
    return pa.DictionaryArray.from_arrays(column.indices, words)


def column_name(text: str) -> str:
    """Return a field as the name of a column, with a blank for each line end that `taken_out` took out."""
    return restored(text).replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
