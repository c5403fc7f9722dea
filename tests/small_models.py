"""Models of a few users and items: their ids, and what they predict by the formula."""

from __future__ import annotations

import numpy as np

N_USERS, N_ITEMS = 15, 11
USER_IDS = [f"user {n}" for n in range(N_USERS)]
ITEM_IDS = np.arange(N_ITEMS) * 7 + 100


def dense(model):
    f = model.factors
    return f.users.factors @ f.items.factors.T + f.users.bias[:, None] + f.items.bias + f.mean
