"""What weighs in the objective: the penalty of each row, and the weight of each observed rating.

The objective is stated on standardised ratings, and the solver works on ratings as they are. Let σ be their
spread. Factors in the unit of the ratings are √σ times those of standardised ratings, and biases are σ times
theirs. The objective of standardised ratings, times σ², is then the same sum over ratings as they are. In it
the penalty of factors is λσ, that of biases stays as it is, and the pattern weighs σ² w_p.
"""

from __future__ import annotations

import numpy as np

from toolkit.arrays import Array, DeviceArray, FloatArray
from toolkit.config import WALSConfig


def penalties(counts: DeviceArray, config: WALSConfig, spread: float) -> DeviceArray:
    """Return σ λ (n + n0)^ν, the weight of the penalty of each row's factors.

    Parameters
    ----------
    counts : array of int, shape (n_rows,)
        Ratings of each row. A row without ratings gets the penalty of a row with one.
    config : WALSConfig
        Gives λ, ν and n0.
    spread : float
        σ, the unit in which the objective measures ratings.

    Returns
    -------
    array of float64, shape (n_rows,)
        On the device of `counts`.
    """
    n = counts.clip(min=1).astype("float64") + config.regularization_offset
    return spread * config.regularization * n**config.regularization_exponent


def bias_penalties(counts: DeviceArray, config: WALSConfig) -> DeviceArray:
    """Return the weight of the penalty of each row's bias: λ_b, or that of factors without σ.

    Parameters
    ----------
    counts : array of int, shape (n_rows,)
        Ratings of each row, as for `penalties`.
    config : WALSConfig
        Gives λ_b (``bias_regularization``), or else λ, ν and n0.

    Returns
    -------
    array of float64, shape (n_rows,)
        On the device of `counts`.
    """
    if config.bias_regularization is None:
        return penalties(counts, config, 1.0)
    return 0 * counts.astype("float64") + config.bias_regularization


def pattern_weight(config: WALSConfig, spread: float) -> float:
    """Return σ² w_p, the weight of who rated what; 0 where no factors can explain it.

    Parameters
    ----------
    config : WALSConfig
        Gives w_p.
    spread : float
        σ, as for `penalties`.
    """
    return spread**2 * config.pattern_weight if config.factors else 0.0


def observation_weights(item_counts: Array, config: WALSConfig) -> FloatArray:
    """Return c, the weight of an observed rating of each item: ``observed_weight · n^(−weight_exponent)``.

    Parameters
    ----------
    item_counts : numpy array of int, shape (n_items,)
        Observed ratings of each item. An item without ratings gets the weight of an item with one.
    config : WALSConfig
        Gives the two hyperparameters.

    Returns
    -------
    numpy array of float64, shape (n_items,)
    """
    n = np.asarray(item_counts).clip(min=1).astype("float64")
    weights: FloatArray = config.observed_weight * n**-config.weight_exponent
    return weights
