"""The front door: what comes in from Python is checked here, before anything is computed or written."""

from __future__ import annotations

from toolkit.inputs.arguments import (
    checked_facts,
    checked_list,
    checked_number,
    checked_path,
    checked_side,
    checked_titles,
    checked_type,
    checked_word,
    require_callable,
)
from toolkit.inputs.ratings import checked_ratings, require_columns, structure_problem

__all__ = [
    "checked_facts",
    "checked_list",
    "checked_number",
    "checked_path",
    "checked_ratings",
    "checked_side",
    "checked_titles",
    "checked_type",
    "checked_word",
    "require_callable",
    "require_columns",
    "structure_problem",
]
