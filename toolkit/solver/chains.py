"""Whether chains have converged: R-hat and the effective number of samples of scalar quantities.

References
----------
A. Gelman et al., "Bayesian Data Analysis", third edition, 2013, sections 11.4 and 11.5 (split R-hat, and the
effective number of simulation draws); C. J. Geyer, "Practical Markov chain Monte Carlo", Statistical Science
7(4), 1992, for where the sum of autocorrelations ends.
"""

from __future__ import annotations

import numpy as np

from toolkit.arrays import FloatArray

# Draws of a chain, at least, for its halves to have variances.
_LEAST = 4


def convergence(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return R-hat and the effective number of samples of some quantities.

    Chains are split in halves, so that one chain that still drifts shows, too.

    Parameters
    ----------
    draws : array of float, shape (n_chains, n_draws, n)
        Each quantity after each sweep of each chain.

    Returns
    -------
    r_hat : array of float64, shape (n,)
        Near 1 where the halves of all chains agree. NaN with fewer than four draws.
    effective : array of float64, shape (n,)
        So many independent draws would know the mean as well; at most n_chains · n_draws. NaN as above.
    """
    n_chains, n_draws, n = draws.shape
    half = n_draws // 2
    if 2 * half < _LEAST:
        return np.full(n, np.nan), np.full(n, np.nan)
    halves = draws[:, n_draws - 2 * half :].astype(np.float64).reshape(2 * n_chains, half, n)
    means = halves.mean(axis=1)
    covariance = _autocovariance(halves - means[:, None])  # (halves, half, n)
    within = covariance[:, 0].mean(axis=0) * half / (half - 1)
    pooled = within * (half - 1) / half + means.var(axis=0, ddof=1)
    # A quantity that never changes has converged.
    still = pooled <= 0
    scale = np.where(still, 1, pooled)
    r_hat = np.where(still, 1, np.sqrt(scale / np.where(within > 0, within, np.nan)))
    correlation = 1 - (within - covariance.mean(axis=0) * half / (half - 1)) / scale  # (half, n)
    pairs = correlation[0 : half - half % 2 : 2] + correlation[1:half:2]
    # Sums of two neighbours are positive and fall, until noise is all that is left.
    pairs = np.minimum.accumulate(np.where(np.minimum.accumulate(pairs, axis=0) > 0, pairs, 0), axis=0)
    time = np.maximum(2 * pairs.sum(axis=0) - 1, 1)
    return r_hat, 2 * n_chains * half / time


def _autocovariance(centred: FloatArray) -> FloatArray:
    """Return Σ_t x_t x_{t + lag} / n of each lag along axis 1."""
    n = centred.shape[1]
    spectrum = np.fft.rfft(centred, 2 * n, axis=1)
    found: FloatArray = np.fft.irfft(spectrum * spectrum.conj(), 2 * n, axis=1)[:, :n] / n
    return found
