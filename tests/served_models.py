"""Models of each kind, and the MLflow models of them, for the tests of both."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import PLAIN

from toolkit.config import RunOptions
from toolkit.models import WALS
from toolkit.serving import write_mlflow_model

N_USERS, N_ITEMS = 15, 11
USERS, ITEMS = np.arange(N_USERS) * 3 + 1, np.arange(N_ITEMS) * 7 + 100
CONFIGS = {
    "plain": PLAIN.replace(factors=3, iterations=4),
    "no bias": PLAIN.replace(factors=2, iterations=4, bias="none", weight_exponent=0.4, observed_weight=3.0),
    "unobserved": PLAIN.replace(factors=4, iterations=3, unobserved_weight=0.05),
    "pattern": PLAIN.replace(factors=4, iterations=3, pattern_weight=0.3),
    "both": PLAIN.replace(factors=5, iterations=3, pattern_weight=0.3, unobserved_weight=0.02, clip="none"),
    "biases": PLAIN.replace(factors=0, iterations=3, bias_regularization=3.0),
}


def fitted(ratings, config=CONFIGS["plain"], *, user_ids=USERS, item_ids=ITEMS, dtype="float64"):
    options = RunOptions(dtype=dtype, threads=1)
    return WALS(config, options).fit(ratings, user_ids=user_ids, item_ids=item_ids)


@pytest.fixture(scope="module", name="ratings")
def ratings_fixture(made_up_ratings):
    return made_up_ratings(whole=True)


@pytest.fixture(scope="module", name="models")
def models_fixture(ratings):
    """A model of each kind."""
    with_text = fitted(
        ratings, user_ids=[f"user {n}" for n in range(N_USERS)], item_ids=[f"ï{n}" for n in range(N_ITEMS)]
    )
    titled = fitted(ratings)
    titled.titles = np.array([f"Film {n}" for n in range(N_ITEMS)])
    biases = fitted(ratings, CONFIGS["biases"])
    return {
        "numbers": fitted(ratings),
        "text": with_text,
        "titled": titled,
        "pattern": fitted(ratings, CONFIGS["pattern"]),
        "biases": biases,
    }


@pytest.fixture(scope="module", name="written")
def written_fixture(models, tmp_path_factory):
    """The MLflow models of these models, by kind, each written when it is first asked for."""

    class Written(dict):
        def __missing__(self, kind):
            folder = tmp_path_factory.mktemp(kind)
            models[kind].save(folder / "a model #1 100%")
            write_mlflow_model(folder / "a model #1 100%", folder / "served")
            self[kind] = folder / "served"
            return self[kind]

    return Written()
