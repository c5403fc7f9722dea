"""Refit a study: train or sample its winner on train + valid; test it; register it."""

from tune.refit.job import Refit, refit_best
from tune.refit.registry import Registered
from tune.refit.sampling import SAMPLES
from tune.refit.target import Target

__all__ = ["SAMPLES", "Refit", "Registered", "Target", "refit_best"]
