"""Refit a study: train its winner, or a mean of several trials, on train + valid; test it; register it."""

from tune.refit.job import Averaged, Refit, refit_best
from tune.refit.registry import Registered
from tune.refit.sampling import SAMPLES
from tune.refit.target import Target

__all__ = ["SAMPLES", "Averaged", "Refit", "Registered", "Target", "refit_best"]
