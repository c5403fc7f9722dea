"""One training: the half-steps, the factors they fit, and when to stop; it needs NumPy and SciPy alone."""

from __future__ import annotations

from toolkit.solver import stopping
from toolkit.solver.baselines import BaselineErrors, Baselines, shortfall
from toolkit.solver.chains import convergence
from toolkit.solver.factors import Factors, read_array, read_meta
from toolkit.solver.mean_and_spread import RatingFacts, rating_facts
from toolkit.solver.normal import half_step, row_equations, shared_gram, solve, solve_and_sum
from toolkit.solver.objective_value import objective
from toolkit.solver.pattern import solve_pattern
from toolkit.solver.perturbing import perturbed
from toolkit.solver.posterior_mean import PosteriorMean
from toolkit.solver.posterior_trainer import PosteriorTrainer
from toolkit.solver.prior import Prior, draw_prior
from toolkit.solver.sampler import Sampler, SamplerState, require_posterior
from toolkit.solver.trainer import Trainer
from toolkit.solver.training_data import TrainingData
from toolkit.solver.training_ratings import TrainingRatings, total_of
from toolkit.solver.weights import bias_penalties, observation_weights, pattern_weight, penalties

__all__ = [
    "BaselineErrors",
    "Baselines",
    "Factors",
    "PosteriorMean",
    "PosteriorTrainer",
    "Prior",
    "RatingFacts",
    "Sampler",
    "SamplerState",
    "Trainer",
    "TrainingData",
    "TrainingRatings",
    "bias_penalties",
    "convergence",
    "draw_prior",
    "half_step",
    "objective",
    "observation_weights",
    "pattern_weight",
    "penalties",
    "perturbed",
    "rating_facts",
    "read_array",
    "read_meta",
    "require_posterior",
    "row_equations",
    "shared_gram",
    "shortfall",
    "solve",
    "solve_and_sum",
    "solve_pattern",
    "stopping",
    "total_of",
]
