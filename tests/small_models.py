"""Models of a few users and items: their ids, and what they predict by the formula."""

from __future__ import annotations

import numpy as np

from toolkit.config import RunOptions, WALSConfig
from toolkit.models import WALS

# ALS-WR with biases. The defaults leave next to nothing of the factors of so few ratings.
PLAIN = WALSConfig(
    regularization=0.1, regularization_offset=0.0, bias_regularization=None, pattern_weight=0.0
)
CONFIG = PLAIN.replace(factors=3, iterations=4)
OPTIONS = RunOptions(dtype="float64", threads=1)
N_USERS, N_ITEMS = 15, 11
USER_IDS = [f"user {n}" for n in range(N_USERS)]
ITEM_IDS = np.arange(N_ITEMS) * 7 + 100


def named(ratings):
    """Return a model trained with text ids of users and integer ids of items."""
    return WALS(CONFIG, OPTIONS).fit(ratings, user_ids=USER_IDS, item_ids=ITEM_IDS)


def dense(model):
    f = model.factors
    return f.users.factors @ f.items.factors.T + f.users.bias[:, None] + f.items.bias + f.mean
