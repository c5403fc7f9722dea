"""What the tests of recommendations to a file share: a model, and what it says of one user at a time."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import PLAIN

from toolkit.config import RunOptions
from toolkit.models import WALS
from toolkit.recommending import Rule, every_user, job, ranking, recommend_to_file

N_USERS, N_ITEMS = 60, 40


def fitted(ratings, *, seed=0, **ids):
    config = PLAIN.replace(factors=4, iterations=3)
    return WALS(config, RunOptions(backend="numpy", threads=1, seed=seed)).fit(ratings, **ids)


@pytest.fixture(scope="module", name="model")
def model_fixture(made_up_ratings):
    """A model of text users and items with gaps; user 7 has rated all items but two."""
    ratings = made_up_ratings(N_USERS, N_ITEMS, density=0.3, whole=True).tolil()
    ratings[7] = [3.0] * (N_ITEMS - 2) + [0.0] * 2
    made = fitted(
        ratings.tocsr(),
        user_ids=[f"u{n}" for n in range(N_USERS)],
        item_ids=np.arange(N_ITEMS) * 3 + 10,
    )
    made.titles = np.array([f"Title {n}" if n % 5 else "" for n in range(N_ITEMS)])
    return made


@pytest.fixture(scope="module", name="saved")
def saved_fixture(model, tmp_path_factory):
    """The directory of the model."""
    path = tmp_path_factory.mktemp("saved") / "model"
    model.save(path)
    return path


@pytest.fixture(name="small_parts")
def small_parts_fixture(monkeypatch):
    """Parts of seven users."""
    monkeypatch.setattr(job, "_USERS", 7)


def write(model, out, rule=None, rows=None, **options):
    """Recommend in this process."""
    rule = rule or Rule()
    with ranking(model, rule, backend="numpy", threads=1) as (rank, _):
        rows = every_user(model.users).rows if rows is None else rows
        return recommend_to_file(model, rows, out, rule, rank, **options)


def wanted(model, users, n=10, **options):
    """Return the rows that a call for one user at a time gives."""
    found = []
    for user in users:
        items, scores = model.recommend(user, n, **options)
        found += [(user, at, i, s) for at, (i, s) in enumerate(zip(items, scores, strict=True), 1)]
    return found


def same(table, rows):
    columns = [list(column) for column in zip(*rows, strict=True)]
    for name, column in zip(("user", "rank", "item"), columns, strict=False):
        assert table[name].to_pylist() == column
    assert table["score"].to_pylist() == pytest.approx(columns[3], rel=1e-5)


def names(folder):
    return sorted(path.name for path in folder.iterdir())
