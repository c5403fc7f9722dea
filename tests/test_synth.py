"""Made-up ratings: exact in number, of MovieLens's shape, with a known least error, and always the same."""

from __future__ import annotations

import contextlib
import json
import math
import re
import signal
from dataclasses import replace
from pathlib import Path

import forks
import numpy as np
import pyarrow.csv
import pytest
from click.testing import CliRunner
from small_models import PLAIN

from toolkit.commands.synth import synth
from toolkit.errors import ConfigError
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.models import WALS
from toolkit.synth import RECIPES, Recipe, movielens_counts, write_like, write_ratings
from toolkit.synth.counts import item_counts, user_counts
from toolkit.synth.plan import Plan
from toolkit.synth.popularity import alias_table

ROOT = Path(__file__).resolve().parent.parent


def read(path):
    table = pyarrow.csv.read_csv(path)
    assert table.column_names == ["userId", "movieId", "rating", "timestamp"]
    return np.column_stack([column.to_numpy().astype(np.float64) for column in table.columns])


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of so many ratings."""
    monkeypatch.setattr("toolkit.synth.plan.CHUNK", 3000)
    return 3000


@pytest.mark.parametrize("order", ["user", "random"])
@pytest.mark.parametrize(
    ("ratings", "users", "items"),
    [
        (1, 1, 1),
        (12, 3, 4),
        (7, 7, 7),
        (20, 1, 20),
        (20, 20, 1),
        (400, 30, 20),
        (5000, 60, 90),
    ],
)
def test_every_count_is_exact_and_every_pair_occurs_once(tmp_path, ratings, users, items, order):
    made = write_ratings(tmp_path / "r.csv", ratings=ratings, users=users, items=items, order=order)
    rows = read(made.path)
    assert len(rows) == ratings == len(np.unique(rows[:, :2], axis=0)) == made.ratings
    assert len(np.unique(rows[:, 0])) == users == made.users
    assert len(np.unique(rows[:, 1])) == items == made.items
    assert set(rows[:, 2]) <= {half / 2 for half in range(1, 11)}
    assert rows[:, 2].mean() == pytest.approx(made.mean)
    assert np.median(np.unique(rows[:, 0], return_counts=True)[1]) == made.user_median
    assert ((rows[:, 3] >= 789_652_009) & (rows[:, 3] <= 1_427_784_002)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


@pytest.mark.parametrize(
    ("ratings", "gini", "median"),
    [(50_000, 0.80, 72), pytest.param(1_000_000, 0.90, 68, marks=pytest.mark.slow)],
)
def test_the_shape_is_that_of_movielens(tmp_path, ratings, gini, median):
    """Fewer ratings are spread more evenly."""
    made = write_ratings(tmp_path / "r.csv", ratings=ratings)
    assert (made.users, made.items) == movielens_counts(ratings)
    assert made.item_gini == pytest.approx(gini, abs=0.03)
    assert made.user_median == pytest.approx(median, abs=2)
    users, counts = np.unique(read(made.path)[:, 0], return_counts=True)
    assert len(users) == made.users
    assert counts.max() > 15 * made.user_median


@pytest.mark.parametrize("order", ["user", "random"])
def test_neither_threads_nor_chunks_decide_anything(tmp_path, order, small_chunks):
    wanted = {"ratings": small_chunks + 1000, "items": 400, "seed": 3, "order": order}
    one = write_ratings(tmp_path / "one.csv", **wanted, workers=1)
    three = write_ratings(tmp_path / "three.csv", **wanted, workers=3)
    assert one.path.read_bytes() == three.path.read_bytes()
    assert one.rmse_floor == three.rmse_floor


def test_order_is_all_that_random_order_changes(tmp_path):
    wanted = {"ratings": 4000, "users": 160, "items": 200}
    by_user = write_ratings(tmp_path / "user.csv", **wanted).path.read_text().splitlines()
    shuffled = write_ratings(tmp_path / "random.csv", **wanted, order="random").path.read_text().splitlines()
    assert shuffled != by_user
    assert sorted(shuffled) == sorted(by_user)
    users = np.array([int(line.split(",")[0]) for line in shuffled[1:]])
    # A user's ratings lie anywhere: the mean place of each half of the users is the middle.
    places = np.arange(len(users))
    assert places[users <= 80].mean() == pytest.approx(places[users > 80].mean(), rel=0.05)
    other = write_ratings(tmp_path / "seed.csv", **wanted, seed=1).path.read_text().splitlines()
    assert other != by_user


@pytest.mark.parametrize("noise", [0.05, 0.8, 3.0])
def test_the_least_error_is_that_of_the_expected_rating(noise):
    plan = Plan(Recipe(ratings=100, users=10, items=20, rank=2, noise=noise), seed=0)
    rng = np.random.default_rng(0)
    for score in (-1.0, 0.6, 2.25, 3.58, 4.9, 6.0):
        drawn = np.clip(np.rint(2 * (score + noise * rng.standard_normal(200_000))), 1, 10) / 2
        error = 5 * drawn.std() / math.sqrt(len(drawn)) + 1e-3
        assert plan.expected(np.array([score]))[0] == pytest.approx(drawn.mean(), abs=error)


def test_without_noise_there_is_no_error(tmp_path):
    made = write_ratings(tmp_path / "r.csv", ratings=5000, users=100, items=80, noise=0)
    assert made.rmse_floor < 0.02


def test_a_model_comes_near_the_least_error_and_never_below_it(tmp_path):
    made = write_ratings(tmp_path / "r.csv", ratings=30_000, users=250, items=160, rank=2, noise=0.5)
    data = ingest_ratings(RatingsSource.detect([made.path]), tmp_path / "data", split=SplitRule(valid=0))
    found = WALS(PLAIN.replace(factors=2, regularization=0.03, iterations=8)).fit(data).rmse(data.test)
    assert made.rmse_floor * 0.99 < found < made.rmse_floor * 1.06
    assert found < 0.75 * data.test.data.std()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"ratings": 0}, "--ratings must be between 1 and .*, but got 0"),
        ({"users": 0}, "--users must be between 1 and"),
        ({"users": 101}, "--users must be at most 100, for each to have a rating"),
        ({"items": 101}, "--items must be at most 100, .* but got 101"),
        ({"users": 9, "items": 11}, r"at most 9 users × 11 items = 99, .* but got 100: give more"),
        ({"noise": -1}, "--noise must be between 0 and .*, but got -1"),
        ({"noise": float("nan"), "seed": -1}, "--seed must be between .*; --noise must be between 0 and"),
        ({"ratings": "100"}, "--ratings must be a whole number, but got '100'"),
        ({"ratings": 100.0}, "--ratings must be a whole number, but got 100.0"),
        ({"rank": True}, "--rank must be a whole number, but got True"),
        ({"order": "item"}, "--order must be one of user, random"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path, wrong, text):
    with pytest.raises(ConfigError, match=text):
        write_ratings(tmp_path / "r.csv", **{"ratings": 100, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_on_request_only(tmp_path):
    out = tmp_path / "r.csv"
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        write_ratings(out, ratings=10)
    assert out.read_text() == "mine"
    write_ratings(out, ratings=10, overwrite=True)
    assert len(read(out)) == 10


@pytest.mark.parametrize("order", ["user", "random"])
def test_what_a_killed_process_left_is_cleared_away(tmp_path, order):
    program = f"""
import os, signal, toolkit.synth.job as job, toolkit.synth.plan as plan
plan.CHUNK = 10_000
make = job.make_chunk
def make_and_die(plan, number):
    if number:
        os.kill(os.getpid(), signal.SIGKILL)
    return make(plan, number)
job.make_chunk = make_and_die
job.write_ratings({str(tmp_path / "r.csv")!r}, ratings=30_000, order={order!r}, workers=1)
"""
    done = forks.run(program, imports=["toolkit.synth.job"])
    assert done.returncode == -signal.SIGKILL
    left = [path.name for path in tmp_path.iterdir()]
    assert left
    assert "r.csv" not in left
    write_ratings(tmp_path / "r.csv", ratings=100, order=order)
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("toolkit.synth.job.make_chunk", fail)
    for order in ("user", "random"):
        with pytest.raises(OSError, match="No space"):
            write_ratings(tmp_path / "r.csv", ratings=10, order=order)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ratings", "users", "items"), [(100, 10, 10), (10, 10, 10), (10**6, 7000, 9000)])
def test_the_counts_add_up(ratings, users, items):
    counts = user_counts(ratings, users, items)
    assert (counts.sum(), len(counts)) == (ratings, users)
    assert 1 <= counts.min() <= counts.max() <= items
    assert item_counts(ratings, users, items).sum() == pytest.approx(ratings, rel=0.01)


def test_one_of_both_sizes_may_be_given():
    assert movielens_counts(20_000_263) == (138_493, 26_744)
    assert movielens_counts(1000, users=10)[1] >= 100
    assert movielens_counts(1000, items=10)[0] >= 100
    assert movielens_counts(1) == (1, 1)


def test_the_alias_table_gives_each_its_share():
    weights = np.random.default_rng(0).gamma(0.3, size=500)
    threshold, alias = alias_table(weights)
    share = threshold.astype(np.float64)
    np.add.at(share, alias, 2.0**32 - threshold)
    np.testing.assert_allclose(share / share.sum(), weights / weights.sum(), atol=1e-8)


def like(name, folder, **arguments):
    made = write_like(folder / f"{name}.csv", name, **arguments)
    rows = read(made.path)
    assert made.mean == pytest.approx(rows[:, 2].mean())
    users, items = rows[:, :2].astype(np.int64).T
    assert (made.ratings, made.users, made.items) == tuple(
        len(np.unique(column)) for column in ((users << 32) + items, users, items)
    )
    return made, rows


def counts_of(column):
    return np.sort(np.unique(column, return_counts=True)[1])


@pytest.mark.parametrize(
    ("name", "sizes", "scale"),
    [
        pytest.param("ml-100k", (100_000, 943, 1_682), [1, 2, 3, 4, 5], marks=pytest.mark.slow),
        ("epinions-small", (114_055, 2_770, 37_035), [1, 2, 3, 4, 5]),
        ("tens", (30_000, 1_000, 1_500), range(1, 11)),
        ("likes", (30_000, 1_000, 1_500), [0, 1]),
        ("tiny", (30, 6, 10), [2, 3, 4, 5]),
        ("heavy-user", (30_000, 1_000, 12_000), [1, 2, 3, 4, 5]),
        ("heavy-item", (30_000, 12_000, 1_000), [1, 2, 3, 4, 5]),
    ],
)
def test_a_recipe_has_its_sizes_and_its_scale(tmp_path, name, sizes, scale):
    made, rows = like(name, tmp_path)
    assert (made.ratings, made.users, made.items) == sizes
    assert sorted(set(rows[:, 2])) == list(scale)
    users, items = counts_of(rows[:, 0]), counts_of(rows[:, 1])
    share = {value: (rows[:, 2] == value).mean() for value in scale}
    if name == "tens":
        assert share[10] == pytest.approx(0.4, abs=0.05)
    if name == "epinions-small":
        assert np.median(users) < 12
        assert np.median(items) == 1
        assert share[4] + share[5] > 0.6
    assert (users[-1] == 10_000) == (name == "heavy-user")
    if name == "heavy-item":
        assert items[-1] == pytest.approx(10_000, abs=10)


@pytest.mark.parametrize(
    ("name", "sizes"), [("epinions", (912_441, 22_164, 296_277)), ("ml-100k", (100_000, 943, 1_682))]
)
def test_a_recipe_has_the_sizes_of_what_it_is_like(name, sizes):
    recipe = RECIPES[name]
    assert (recipe.ratings, recipe.users, recipe.items) == sizes


def test_the_recipe_of_jester_is_dense_and_of_real_values(tmp_path, monkeypatch):
    small = replace(RECIPES["jester"], users=250, ratings=12_000)
    monkeypatch.setitem(RECIPES, "jester", small)
    _, rows = like("jester", tmp_path)
    assert (rows[:, 2].min(), rows[:, 2].max()) == (-10, 10)
    assert len(np.unique(rows[:, 2])) > 1500
    users = counts_of(rows[:, 0])
    assert 25 <= users[0] <= 40
    assert 60 <= users[-1] <= 75
    assert counts_of(rows[:, 1])[0] > 50


@contextlib.contextmanager
def smaller(name):
    """Let a recipe be one for a fiftieth of its ratings."""
    recipe = RECIPES[name]
    few = replace(recipe, ratings=recipe.ratings // 50, users=recipe.users // 7, items=recipe.items // 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, name, few)
        yield


@pytest.fixture(scope="module")
def stars(tmp_path_factory):
    """Ratings of one to five stars."""
    with smaller("ml-100k"):
        made, rows = like("ml-100k", tmp_path_factory.mktemp("stars"), seed=5)
    assert set(rows[:, 2]) == {1, 2, 3, 4, 5}
    return made, rows


@pytest.mark.parametrize(
    ("name", "times", "plus"),
    [
        ("ml-100k-x20", 20, 0),
        ("ml-100k-x5-minus-15", 5, -15),
        ("ml-100k-x0.2", 0.2, 0),
        ("ml-100k-plus-95", 1, 95),
    ],
)
def test_recipes_of_one_kind_are_the_same_ratings_in_other_units(tmp_path, stars, name, times, plus):
    of_stars, rows = stars
    with smaller(name):
        other, others = like(name, tmp_path, seed=5)
    np.testing.assert_allclose(others[:, 2], rows[:, 2] * times + plus, atol=1e-9)
    np.testing.assert_array_equal(others[:, [0, 1, 3]], rows[:, [0, 1, 3]])
    assert other.rmse_floor == pytest.approx(of_stars.rmse_floor * times)


def test_a_recipe_gives_the_same_bytes_for_the_same_seed(tmp_path):
    first, again, other = (
        write_like(tmp_path / name, "tiny", seed=seed).path.read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--like", "jestr"], "--like must be one of .*tiny.*, but got 'jestr' .did you mean 'jester'"),
        (["--like", "tiny", "--users", "5", "--rank", "0"], "joined with --users, --rank"),
        ([], "give --ratings N, or --like NAME"),
    ],
)
def test_a_recipe_and_numbers_exclude_each_other(tmp_path, arguments, text):
    done = CliRunner().invoke(synth, [*arguments, "--out", str(tmp_path / "r.csv")])
    assert isinstance(done.exception, ConfigError)
    assert re.search(text, str(done.exception))
    assert list(tmp_path.iterdir()) == []


def test_the_command_tells_of_every_recipe(tmp_path):
    told = CliRunner().invoke(synth, ["--help"]).output
    assert [name for name in RECIPES if not re.search(rf"\b{re.escape(name)}\b", told)] == []
    done = CliRunner().invoke(synth, ["--like", "tiny", "--out", str(tmp_path / "r.csv")])
    assert "30 ratings of 6 users and 10 items" in done.output
    assert "least RMSE possible" in done.output


def test_the_command(tmp_path):
    out = tmp_path / "made up.csv"
    arguments = ["--ratings", "3000", "--users", "100", "--items", "150", "--out", str(out)]
    done = CliRunner().invoke(synth, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout.splitlines()[-1])
    assert (printed["path"], printed["ratings"], printed["users"]) == (str(out), 3000, 100)
    assert 0.7 < printed["rmse_floor"] < 0.8
    assert "least RMSE possible" in done.stderr
    assert len(read(out)) == 3000
    assert isinstance(CliRunner().invoke(synth, arguments).exception, FileExistsError)
    assert "Example" in CliRunner().invoke(synth, ["--help"]).output
