"""Tables as text and in Arrow: here lives what every reader of a table needs, whatever the table holds.

Four rooms read tables of users' own making: `toolkit.ingest.reading` and `toolkit.models` ratings,
`toolkit.datasets.titles` titles, and `toolkit.recommending.users` lists of users. This room lies below all
four, and knows none of them.
"""

from __future__ import annotations

from toolkit.tables.arrow import DistinctIds, array_of, can_be_read_as, filled, flags, numbers, of_texts
from toolkit.tables.column_names import ALIASES, Role, bare_name, find_column
from toolkit.tables.delimiters import delimiters_in_question
from toolkit.tables.float_ids import is_rounded, whole_number, whole_numbers
from toolkit.tables.frames import (
    columns_of_frame,
    is_text,
    is_uuid,
    like_pandas,
    names_of,
    plain,
    rows_as_text,
    schema_of_frame,
)
from toolkit.tables.pandas_columns import TEXT_DTYPE, ids_for_pandas
from toolkit.tables.ratings_table import RatingColumns, distinct_ids, is_table, rating_columns
from toolkit.tables.roles import Doubt, doubt_of_roles, looks_wide, unit_of_times
from toolkit.tables.text import DELIMITERS, find_delimiter, is_number, lines_of, split_line, split_plainly

__all__ = [
    "ALIASES",
    "DELIMITERS",
    "TEXT_DTYPE",
    "DistinctIds",
    "Doubt",
    "RatingColumns",
    "Role",
    "array_of",
    "bare_name",
    "can_be_read_as",
    "columns_of_frame",
    "delimiters_in_question",
    "distinct_ids",
    "doubt_of_roles",
    "filled",
    "find_column",
    "find_delimiter",
    "flags",
    "ids_for_pandas",
    "is_number",
    "is_rounded",
    "is_table",
    "is_text",
    "is_uuid",
    "like_pandas",
    "lines_of",
    "looks_wide",
    "names_of",
    "numbers",
    "of_texts",
    "plain",
    "rating_columns",
    "rows_as_text",
    "schema_of_frame",
    "split_line",
    "split_plainly",
    "unit_of_times",
    "whole_number",
    "whole_numbers",
]
