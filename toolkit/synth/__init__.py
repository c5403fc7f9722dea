"""Made-up ratings of MovieLens's shape, as many as wished: the load of the benchmarks.

The counts follow MovieLens 20M: heavy-tailed users, items with a long tail, the first of them rated by half
of the users. A rating is a planted score (mean, biases, low-rank product) plus Gaussian noise, rounded to
half stars, so that the error of the best possible predictor is known.
"""

from toolkit.synth.counts import movielens_counts
from toolkit.synth.job import Synthesis, write_ratings

__all__ = ["Synthesis", "movielens_counts", "write_ratings"]
