"""How good predictions and recommendations are: RMSE, and ranking metrics, on ratings that were held out."""

from __future__ import annotations

from toolkit.evaluation.held_out import HeldOut, HeldOutPairs, HeldOutRows
from toolkit.evaluation.ranking import Ranking, RankingSums, at_least, checked_relevant, rank, rank_rows
from toolkit.evaluation.rating_errors import Pairs, pairs_on, rmse

__all__ = [
    "HeldOut",
    "HeldOutPairs",
    "HeldOutRows",
    "Pairs",
    "Ranking",
    "RankingSums",
    "at_least",
    "checked_relevant",
    "pairs_on",
    "rank",
    "rank_rows",
    "rmse",
]
