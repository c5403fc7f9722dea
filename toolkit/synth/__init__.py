"""Made-up ratings of MovieLens's shape, in any number, and of other kinds by recipe.

The counts follow MovieLens 20M: a few users and items have most of the ratings, and half of the users rate
the most popular item. A rating is a planted score (mean, biases, low-rank product) plus Gaussian noise,
rounded to half stars. The error of the best possible predictor is therefore known. A recipe gives another
scale, other counts, and another share of noise.
"""

from toolkit.synth.counts import movielens_counts
from toolkit.synth.job import Synthesis, write_like, write_ratings
from toolkit.synth.recipes import RECIPES, Recipe

__all__ = ["RECIPES", "Recipe", "Synthesis", "movielens_counts", "write_like", "write_ratings"]
