"""Tables as text and in Arrow: here lives what every reader of a table needs, whatever the table holds.

Three rooms read tables of users' own making: `toolkit.ingest.reading` ratings, `toolkit.datasets.titles`
titles, and `toolkit.recommending.users` lists of users. This room lies below all three, and knows none of
them.
"""

from __future__ import annotations

from toolkit.tables.arrow import DistinctIds, array_of, can_be_read_as, flags, numbers
from toolkit.tables.column_names import ALIASES, Role, bare_name, find_column
from toolkit.tables.text import DELIMITERS, find_delimiter, is_number, lines_of, split_line, split_plainly

__all__ = [
    "ALIASES",
    "DELIMITERS",
    "DistinctIds",
    "Role",
    "array_of",
    "bare_name",
    "can_be_read_as",
    "find_column",
    "find_delimiter",
    "flags",
    "is_number",
    "lines_of",
    "numbers",
    "split_line",
    "split_plainly",
]
