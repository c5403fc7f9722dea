"""Many users ranked, for a file or for figures: in bounded memory, here or on a Dask cluster."""

from __future__ import annotations

from toolkit.recommending.engine import ranking
from toolkit.recommending.evaluating import evaluate_on
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
    "evaluate_on",
    "every_user",
    "ranking",
    "read_users",
    "recommend_to_file",
]
