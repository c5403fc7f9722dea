"""The Gaussian prior of the rows of one side, and its own draw given the rows: Normal–Wishart.

Rows here are the unknowns of a half-step: factors, and the bias as one more where biases are fitted.

References
----------
R. Salakhutdinov and A. Mnih, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo",
ICML 2008, eq. 14; M. S. Bartlett, "On the theory of statistical regression", Proc. Royal Society of Edinburgh
53, 1933, for the draw of a Wishart matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.arrays import FloatArray
from toolkit.errors import SolverError

# The mean of the rows is known beforehand as well as this many rows would tell it.
_ROWS_BEFORE = 2.0


@dataclass(frozen=True)
class Prior:
    """What is known of a row before its ratings: it is Gaussian.

    Attributes
    ----------
    mean : array of float64, shape (m,)
        In host memory, in the unit of the unknowns.
    precision : array of float64, shape (m, m)
        The inverse covariance divided by the precision of a rating: as it stands beside the sums over ratings
        in the normal equations.
    pull : array of float64, shape (m,)
        What is added to the right-hand side of the equations: precision times mean, or what a mean of draws
        has in its place.
    per_rating : float
        What every rating of a row adds to the precision of its factors because the other side is known
        by its mean alone: the mean variance of a factor of that side. 0 where the other side is a draw.
    """

    mean: FloatArray
    precision: FloatArray
    pull: FloatArray
    per_rating: float = 0.0

    @classmethod
    def of(cls, mean: FloatArray, precision: FloatArray, per_rating: float = 0.0) -> Prior:
        """Return the prior of a mean and a precision."""
        return cls(mean, precision, precision @ mean, per_rating)

    def in_noise(self, ratio: float) -> Prior:
        """Return the same prior beside ratings whose noise is `ratio` times what it was."""
        return Prior.of(self.mean, ratio**2 * self.precision, self.per_rating)

    def rows(self, normals: FloatArray, noise: float) -> FloatArray:
        """Return draws of rows that nothing else is known of.

        Parameters
        ----------
        normals : array of float, shape (n, m)
            Standard normal numbers.
        noise : float
            Standard deviation of a rating around its prediction.

        Returns
        -------
        array of float64, shape (n, m)
        """
        root = np.linalg.cholesky(self.precision)
        drawn: FloatArray = self.mean + noise * np.linalg.solve(root.T, np.asarray(normals, np.float64).T).T
        return drawn

    def to_array(self) -> FloatArray:
        """Return the numbers as one array, shape (m + 3, m): mean, precision, pull, the number per rating."""
        m = len(self.mean)
        return np.vstack([self.mean, self.precision, self.pull, np.full((1, m), self.per_rating)])

    @classmethod
    def from_array(cls, table: FloatArray) -> Prior:
        """Return the prior of which `to_array` made an array."""
        return cls(table[0], table[1:-2], table[-2], float(table[-1, 0]))


def draw_prior(
    n: int, total: FloatArray, squares: FloatArray, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return a mean and a precision of rows, drawn from what they are given the rows.

    Before the rows, the precision has a Wishart distribution of m degrees of freedom and the identity as its
    scale, and the mean is Gaussian around zero with twice this precision.

    Parameters
    ----------
    n : int
        Number of rows.
    total : array of float64, shape (m,)
        Their sum.
    squares : array of float64, shape (m, m)
        The sum of their outer products.
    generator : numpy.random.Generator

    Returns
    -------
    mean : array of float64, shape (m,)
    precision : array of float64, shape (m, m)

    Raises
    ------
    SolverError
        When the rows are so large that double precision leaves no covariance of them.
    """
    m = len(total)
    weight = _ROWS_BEFORE + n
    centre = total / weight
    # Σ (x − x̄)(x − x̄)ᵀ + β n / (β + n) x̄ x̄ᵀ, as one difference.
    inverse_scale = np.eye(m) + squares - weight * np.outer(centre, centre)
    try:
        inverse_root = np.linalg.inv(np.linalg.cholesky(inverse_scale)).T
    except np.linalg.LinAlgError:
        size = np.sqrt(np.diag(squares).max(initial=0))
        raise SolverError(
            f"the factors of {n} rows, up to {size:.3g}, have no covariance in double precision: bring the "
            "ratings nearer to 1, as scale=standard does"
        ) from None
    bartlett = np.tril(generator.standard_normal((m, m)), -1)
    bartlett[np.diag_indices(m)] = np.sqrt(generator.chisquare(m + n - np.arange(m)))
    root = inverse_root @ bartlett
    precision = root @ root.T
    mean = centre + np.linalg.solve(root.T, generator.standard_normal(m)) / np.sqrt(weight)
    return mean, precision
