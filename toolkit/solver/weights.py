"""What weighs in the objective: the penalty of each row, and the weight of each observed rating."""

from __future__ import annotations

import numpy as np

from toolkit.arrays import Array, DeviceArray, FloatArray
from toolkit.config import WALSConfig


def penalties(counts: DeviceArray, config: WALSConfig) -> DeviceArray:
    """Return λ n^ν, the weight of the penalty of each row.

    Parameters
    ----------
    counts : array of int, shape (n_rows,)
        Ratings of each row. A row without ratings gets the penalty of a row with one.
    config : WALSConfig
        Gives λ and ν.

    Returns
    -------
    array of float64, shape (n_rows,)
        On the device of `counts`.
    """
    n = counts.clip(min=1).astype("float64")
    return config.regularization * n**config.regularization_exponent


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
