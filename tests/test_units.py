"""The model does not depend on the unit of the ratings: ratings × a + b give predictions × a + b."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from ingesting import walslab

from cluster.cli import main
from toolkit import WALS, RunOptions, WALSConfig
from toolkit.config import PRESETS
from toolkit.errors import ConfigError, RatingsError
from toolkit.figure_text import shown

UNITS = [(20.0, 0.0), (5.0, -15.0), (0.2, 0.0), (1.0, 95.0), (-1.0, 6.0), (1e-4, 3.0), (1e5, -1e6)]
CONFIGS = st.builds(
    WALSConfig,
    factors=st.integers(0, 5),
    iterations=st.integers(1, 4),
    regularization=st.floats(0.01, 20),
    regularization_exponent=st.floats(0, 2),
    regularization_offset=st.sampled_from([0.0, 10.0]),
    bias_regularization=st.one_of(st.none(), st.floats(0.01, 20)),
    unobserved_weight=st.one_of(st.just(0.0), st.floats(1e-3, 1)),
    observed_weight=st.floats(0.1, 10),
    weight_exponent=st.floats(0, 1),
    bias=st.sampled_from(["none", "mean", "full"]),
    pattern_weight=st.one_of(st.just(0.0), st.floats(1e-2, 3)),
    momentum=st.sampled_from([0.0, 0.3]),
    clip=st.sampled_from(["none", "scale"]),
)


def in_unit(ratings, a, b):
    changed = ratings.astype(np.float64)
    changed.data = changed.data * a + b
    return changed


def fitted(ratings, config, backend, dtype="float64"):
    return WALS(config, RunOptions(backend=backend.name, dtype=dtype, threads=1)).fit(ratings)


def everything(model, *, clip):
    users, items = np.indices(model.rated.shape).reshape(2, -1)
    return model.predict(users, items, clip=clip)


@given(config=CONFIGS, unit=st.sampled_from(UNITS), seed=st.integers(0, 1000))
def test_predictions_rmse_and_order_follow_the_unit(backend, made_up_ratings, config, unit, seed):
    a, b = unit
    ratings = made_up_ratings(empty_users=(3,), seed=seed)
    model, changed = (fitted(r, config, backend) for r in (ratings, in_unit(ratings, a, b)))
    for clip in (False, True):
        expected = everything(model, clip=clip) * a + b
        np.testing.assert_allclose(everything(changed, clip=clip), expected, rtol=1e-6, atol=1e-6 * abs(a))
    for one, other in zip(model.history, changed.history, strict=True):
        assert other["train_rmse"] == pytest.approx(abs(a) * one["train_rmse"], rel=1e-5)
    # A new user, and where a prediction comes from.
    new = ratings[[0, 1, 5]]
    for name, power in (("factors", 0.5), ("bias", 1.0)):
        one, other = (getattr(m.fold_in(r), name) for m, r in ((model, new), (changed, in_unit(new, a, b))))
        if a > 0:
            np.testing.assert_allclose(other, one * a**power, rtol=1e-5, atol=1e-6 * a**power)
    one, other = (m.explain(0, 4) for m in (model, changed))
    assert other.score == pytest.approx(one.score * a + b, rel=1e-6, abs=1e-6 * abs(a))
    assert other.base == pytest.approx(one.base * a + b, rel=1e-6, abs=1e-6 * abs(a))
    if a > 0:
        scores = model.recommend(0, 11)[1]
        if len(scores) < 2 or np.diff(scores).max() < -1e-6:
            np.testing.assert_array_equal(model.recommend(0, 11)[0], changed.recommend(0, 11)[0])


@pytest.mark.parametrize("preset", [p for p in PRESETS if not p.startswith("tutorial")])
@pytest.mark.parametrize("unit", [(-1.0, 6.0), (1e5, -1e6)])
def test_presets_in_single_precision(backend, made_up_ratings, preset, unit):
    a, b = unit
    ratings = made_up_ratings(40, 30)
    config = PRESETS[preset].replace(iterations=3)
    one, other = (fitted(r, config, backend, "float32") for r in (ratings, in_unit(ratings, a, b)))
    # A number of the unit itself is no nearer than its rounding.
    near = 2e-3 * abs(a) + 4e-7 * abs(b)
    np.testing.assert_allclose(everything(other, clip=True), everything(one, clip=True) * a + b, atol=near)


@pytest.mark.parametrize("a", [1e-12, 1e12])
def test_what_people_read_follows_the_unit(made_up_ratings, a, tmp_path):
    ratings = in_unit(made_up_ratings(40, 30), a, 0)
    WALS(WALSConfig(factors=2, iterations=2)).fit(ratings).save(tmp_path / "m")
    said = walslab("explain", tmp_path / "m", "--user", 0, "--item", 4).stdout
    said += walslab("recommend", tmp_path / "m", "--user", 0, "-n", 2).stdout
    assert f"e{'+' if a > 1 else '-'}" in said
    assert not re.search(r"\b0\.00\b|items have changed|[0-9]{9}", said)
    assert {shown(0.5 * a), shown(0.9312)} == {f"{0.5 * a:.4g}", "0.9312"}


@pytest.mark.parametrize("a", [1e-30, 1e25])
def test_units_whose_squares_do_not_fit_are_refused(made_up_ratings, a):
    with pytest.raises(RatingsError, match=r"standard deviation of \d\.?\d*e.* another unit"):
        WALS(WALSConfig(factors=2, iterations=2)).fit(in_unit(made_up_ratings(), a, 0))


def test_items_are_not_alike_where_there_are_no_factors(made_up_ratings):
    model = WALS(WALSConfig(factors=0, iterations=1)).fit(made_up_ratings())
    with pytest.raises(ConfigError, match="rank 0 has no factors"):
        model.similar_items(1)


def test_without_a_scale_the_unit_matters(backend, made_up_ratings):
    ratings = made_up_ratings(40, 30)
    config = WALSConfig(factors=4, iterations=5, scale="none")
    one, other = (fitted(r, config, backend) for r in (ratings, in_unit(ratings, 20, 0)))
    assert np.abs(everything(other, clip=False) - 20 * everything(one, clip=False)).max() > 0.1


@pytest.mark.parametrize("config", [WALSConfig(factors=3), WALSConfig(factors=0, bias_regularization=3)])
def test_ratings_that_are_all_the_same_are_predicted_so(backend, made_up_ratings, config):
    ratings = made_up_ratings()
    ratings.data[:] = 4.1
    model = fitted(ratings, config, backend)
    assert model.factors.spread == 1
    np.testing.assert_allclose(everything(model, clip=False), 4.1, rtol=1e-6)


def told(*arguments):
    """Return the JSON object that a command prints."""
    done = CliRunner().invoke(main, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_commands_tell_figures_in_the_unit_of_the_ratings(
    made_up_ratings, tmp_path, monkeypatch, empty_store, undrawn
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, "mlflow.db")
    ratings = made_up_ratings(40, 30, whole=True).tocoo()
    (tmp_path / "search.yaml").write_text(
        "space: {factors: {low: 2, high: 6}, iterations: 3, regularization: {low: 0.1, high: 9}}\ntrials: 2\n"
    )
    found = []
    for name, a, b in (("stars", 1, 0), ("percent", 20, -15)):
        rows = zip(ratings.row, ratings.col, ratings.data, strict=True)
        lines = [f"{u + 1},{i + 1},{r * a + b:g}\n" for u, i, r in rows]
        (tmp_path / f"{name}.csv").write_text("user,item,rating\n" + "".join(lines))
        told("ingest", f"{name}.csv", "--out", name)
        words = "train", name, "--out", f"{name}-model", "--regularization-offset", 5, "--iterations", 5
        trained = told(*words)
        seen = told("recommend", f"{name}-model", "--user", 3, "-n", 5)["items"]
        because = told("explain", f"{name}-model", "--user", 3, "--item", 7)
        errors = [trained[key] / a for key in ("train_rmse", "valid_rmse", "test_rmse")]
        errors += [trained["baselines"]["test"][key] / a for key in ("mean_rmse", "bias_rmse")]
        tuned = told("tune", name, "--name", f"study-{name}", "--spec", "search.yaml", "--in-process")
        refit = told("refit", f"study-{name}")
        errors += [tuned["best"]["valid_rmse"] / a, refit["test_rmse"] / a]
        scores = [(item["score"] - b) / a for item in seen]
        found.append(([item["item"] for item in seen], [*errors, *scores, (because["score"] - b) / a]))
    (items, figures), (others, further) = found
    assert items == others
    np.testing.assert_allclose(further, figures, rtol=2e-4)
