"""Tables as text and in Arrow: here lives what every reader of a table needs, whatever the table holds.

Three rooms read tables of users' own making: `toolkit.ingest.reading` ratings, `toolkit.datasets.titles`
titles, and `toolkit.recommending.users` lists of users. This room lies below all three, and knows none of
them.
"""

from __future__ import annotations

from toolkit.tables.arrow import DistinctIds, array_of, can_be_read_as, flags, numbers, of_texts
from toolkit.tables.column_names import ALIASES, Role, bare_name, find_column
from toolkit.tables.delimiters import delimiters_in_question
from toolkit.tables.float_ids import is_rounded, whole_number, whole_numbers
from toolkit.tables.roles import Doubt, doubt_of_roles, looks_wide, unit_of_times
from toolkit.tables.text import DELIMITERS, find_delimiter, is_number, lines_of, split_line, split_plainly

__all__ = [
    "ALIASES",
    "DELIMITERS",
    "DistinctIds",
    "Doubt",
    "Role",
    "array_of",
    "bare_name",
    "can_be_read_as",
    "delimiters_in_question",
    "doubt_of_roles",
    "find_column",
    "find_delimiter",
    "flags",
    "is_number",
    "is_rounded",
    "lines_of",
    "looks_wide",
    "numbers",
    "of_texts",
    "split_line",
    "split_plainly",
    "unit_of_times",
    "whole_number",
    "whole_numbers",
]
