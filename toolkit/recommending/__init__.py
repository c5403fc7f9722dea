"""Recommendations to many users, or to all, as one file: in bounded memory, here or on a Dask cluster."""

from __future__ import annotations

from toolkit.recommending.engine import ranking
from toolkit.recommending.job import Report, check_target, recommend_to_file
from toolkit.recommending.ranker import FEW_RATINGS, Ranker, Rule
from toolkit.recommending.users import Asked, every_user, read_users

__all__ = [
    "FEW_RATINGS",
    "Asked",
    "Ranker",
    "Report",
    "Rule",
    "check_target",
    "every_user",
    "ranking",
    "read_users",
    "recommend_to_file",
]
