"""Several models as one: what it answers is the mean of what its members answer, and survives on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from small_models import ITEM_IDS, N_ITEMS, N_USERS, PLAIN, USER_IDS, dense

from cluster.cli import main
from toolkit import Ensemble, Model
from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import ConfigError, ModelError, SolverError, UnknownIdError
from toolkit.models import WALS, common_scale, export_tutorial
from toolkit.models.ensemble import combine

WEIGHTS = [0.5, 0.2, 0.3]
CONFIGS = (
    PLAIN.replace(factors=3, iterations=4, regularization=0.05),
    PLAIN.replace(factors=5, iterations=3, pattern_weight=0.3, weight_exponent=0.4, unobserved_weight=0.02),
    PLAIN.replace(factors=2, iterations=5, bias="none", scale="none"),
)


def fitted(ratings, config, dtype="float64", seed=0):
    options = RunOptions(dtype=dtype, threads=1, seed=seed)
    return WALS(config, options).fit(ratings, user_ids=USER_IDS, item_ids=ITEM_IDS)


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings()


@pytest.fixture(scope="module")
def members(ratings):
    return [fitted(ratings, config, seed=at) for at, config in enumerate(CONFIGS)]


@pytest.fixture
def ensemble(members):
    return Ensemble(members, WEIGHTS)


@pytest.fixture
def saved(ensemble, tmp_path):
    ensemble.save(tmp_path / "model", test_rmse=0.5)
    return tmp_path / "model"


def mean(models, weights=WEIGHTS):
    return sum(w * dense(m) for w, m in zip(weights, models, strict=True))


def everything(model, **options):
    return model.predict(np.repeat(USER_IDS, N_ITEMS), np.tile(ITEM_IDS, N_USERS), **options)


# Answers


def test_prediction_is_the_weighted_mean_of_the_members(ensemble, members):
    parts = [w * everything(m, clip=False) for w, m in zip(WEIGHTS, members, strict=True)]
    np.testing.assert_allclose(everything(ensemble, clip=False), sum(parts), rtol=1e-12)
    np.testing.assert_allclose(dense(ensemble), mean(members), rtol=1e-12)


def test_it_is_the_mean_that_is_clipped(ensemble, members, ratings):
    low, high = ratings.data.min(), ratings.data.max()
    expected = np.clip(mean(members), low, high)
    assert (expected != mean(members)).any()
    np.testing.assert_allclose(everything(ensemble), expected.ravel(), rtol=1e-12)
    held_out = sp.coo_matrix(np.full((N_USERS, N_ITEMS), 2.5))
    assert ensemble.rmse(held_out) == pytest.approx(np.sqrt(((expected - 2.5) ** 2).mean()), rel=1e-12)


def test_scale_is_the_widest_there_is():
    assert common_scale([None, (1.0, 4.0), (0.5, 3.0)]) == (0.5, 4.0)
    assert common_scale([None, None]) is None


@pytest.mark.parametrize("n", [1, 3, 1000])
def test_recommendations_are_the_best_unseen_items_of_the_mean(ensemble, members, ratings, n):
    scores = mean(members)
    for row, user in enumerate(USER_IDS):
        items, found = ensemble.recommend(user, n)
        unseen = np.setdiff1d(np.arange(N_ITEMS), ratings[row].indices)
        expected = unseen[np.argsort(-scores[row, unseen], kind="stable")][:n]
        assert items.tolist() == ITEM_IDS[expected].tolist()
        np.testing.assert_allclose(found, scores[row, expected])


def test_similar_items_are_so_in_the_members_by_their_weights(ensemble, members):
    dots = sum(
        w * m.factors.items.factors @ m.factors.items.factors.T for w, m in zip(WEIGHTS, members, strict=True)
    )
    length = np.sqrt(np.diag(dots))
    items, cosines = ensemble.similar_items(107, 4)
    expected = dots[1] / length / length[1]
    others = np.delete(np.arange(N_ITEMS), 1)
    best = others[np.argsort(-expected[others], kind="stable")][:4]
    assert items.tolist() == ITEM_IDS[best].tolist()
    np.testing.assert_allclose(cosines, expected[best])


def test_one_member_is_the_plain_model(members, ratings):
    one, alone = members[0], Ensemble(members[:1])
    np.testing.assert_array_equal(everything(alone), everything(one))
    assert alone.rmse(ratings) == one.rmse(ratings)
    for ask in (lambda m: m.recommend("user 4", 5), lambda m: m.similar_items("114")):
        for mine, theirs in zip(ask(alone), ask(one), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_same_member_twice_is_it_with_both_weights(members):
    twice = Ensemble([members[0], members[1], members[0]], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(dense(twice), mean(members[:2], [0.5, 0.5]), rtol=1e-12)


def test_precision_is_that_of_the_members(ratings):
    models = [fitted(ratings, config, "float32") for config in CONFIGS]
    ensemble = Ensemble(models, WEIGHTS)
    assert everything(ensemble).dtype == np.float32
    np.testing.assert_allclose(dense(ensemble), mean(models), rtol=1e-5)


def test_weights_are_alike_where_none_are_given(members):
    np.testing.assert_allclose(dense(Ensemble(members)), mean(members, [1 / 3] * 3), rtol=1e-12)


def test_combined_factors_are_those_of_the_members_side_by_side(members):
    combined = combine([m.factors for m in members], WEIGHTS)
    assert combined.users.factors.shape == (N_USERS, 10)
    assert combined.items.factors.shape == (N_ITEMS, 10)
    assert combined.users.bias.shape == (N_USERS,)


def test_unknown_ids_are_named(ensemble):
    with pytest.raises(UnknownIdError, match="user user 99"):
        ensemble.recommend("user 99")


@pytest.mark.parametrize(
    ("chosen", "weights", "text"),
    [
        ([], None, "at least one member"),
        ([0, 1], [0.5], "weights must be 2, one for each member"),
        ([0, 1], [0.5, 0.6], "adding up to 1, but got"),
        ([0, 1], [1.0, 0.0], "above 0"),
        ([0, 1], [1.5, -0.5], "above 0"),
        ([0, 1], [float("nan"), 1.0], "above 0"),
    ],
)
def test_members_and_weights_that_do_not_fit_are_refused(members, chosen, weights, text):
    with pytest.raises(ConfigError, match=text):
        Ensemble([members[at] for at in chosen], weights)


def test_members_of_different_ratings_are_refused(members, made_up_ratings, ratings):
    other = fitted(made_up_ratings(seed=1), CONFIGS[0])
    with pytest.raises(ConfigError, match="but member 2 and member 0 were not"):
        Ensemble([*members[:2], other])
    renamed = WALS(CONFIGS[0], RunOptions(threads=1)).fit(ratings)
    with pytest.raises(ConfigError, match="same users and items, but member 1 and member 0 were not"):
        Ensemble([members[0], renamed])


# New users and items


def test_folding_a_training_user_in_gives_the_trained_row(ensemble, ratings):
    folded = ensemble.fold_in(ratings)
    np.testing.assert_allclose(folded.factors, ensemble.factors.users.factors, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(folded.bias, ensemble.factors.users.bias, rtol=1e-8, atol=1e-12)


def test_new_users_and_items_are_predicted_by_the_mean(ensemble, members, ratings):
    changed = sp.csr_matrix(ratings[:4] * 0.9)
    f, new = ensemble.factors, ensemble.fold_in(changed)
    found = new.factors @ f.items.factors.T + new.bias[:, None] + f.items.bias + f.mean
    expected = 0
    for weight, member in zip(WEIGHTS, members, strict=True):
        y, side, mu = member.factors.items, member.fold_in(changed), member.factors.mean
        expected = expected + weight * (side.factors @ y.factors.T + side.bias[:, None] + y.bias + mu)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    by_item = ratings.T.tocsr()[:2]
    assert ensemble.fold_in_items(by_item).factors.shape == (2, 10)


def test_updating_an_ensemble_updates_every_member_and_not_those_it_was_made_of(members, ratings):
    ensemble, before = Ensemble(members, WEIGHTS), [dense(m).copy() for m in members]
    changed = sp.csr_matrix(ratings[[4, 1]])
    changed.data = 6 - changed.data
    assert ensemble.partial_fit(changed, user_ids=["new", "user 1"]) is ensemble
    assert ensemble.users.ids.tolist() == [*USER_IDS, "new"]
    wanted = ensemble.fold_in(changed)
    np.testing.assert_array_equal(ensemble.factors.users.factors[[N_USERS, 1]], wanted.factors)
    np.testing.assert_allclose(dense(ensemble), mean(ensemble.members), rtol=1e-12)
    assert set(ensemble.recommend("new", 99)[0]) == set(ITEM_IDS) - set(ITEM_IDS[changed[0].indices])
    ensemble.partial_fit_items(sp.csr_matrix(([4.0], ([0], [0])), shape=(1, N_USERS + 1)), item_ids=[999])
    assert ensemble.items.ids[-1] == 999
    assert 999 not in ensemble.recommend("user 0", 99)[0]
    for model, old in zip(members, before, strict=True):
        np.testing.assert_array_equal(dense(model), old)


def test_updating_a_member_afterwards_does_not_reach_the_ensemble(ratings):
    models = [fitted(ratings, config) for config in CONFIGS[:2]]
    ensemble = Ensemble(models)
    before = dense(ensemble).copy()
    models[0].partial_fit(ratings[:1] * 2, user_ids=["new"])
    np.testing.assert_array_equal(dense(ensemble), before)
    assert ensemble.fold_in(ratings[:1]).factors.shape == (1, 8)
    assert len(ensemble.members[0].users) == len(ensemble.users) == N_USERS


def test_update_that_one_member_cannot_follow_changes_nothing(made_up_ratings):
    ratings = made_up_ratings(density=0.9)
    undetermined = WALSConfig(factors=2, iterations=3, bias="none", regularization=0)
    ensemble = Ensemble([fitted(ratings, config) for config in (CONFIGS[0], undetermined)])
    before, parts = dense(ensemble).copy(), [dense(member).copy() for member in ensemble.members]
    with pytest.raises(SolverError, match="leaves it undetermined"):
        ensemble.partial_fit(sp.csr_matrix(([4.0], ([0], [3])), shape=(1, N_ITEMS)), user_ids=["user 0"])
    np.testing.assert_array_equal(dense(ensemble), before)
    for member, part in zip(ensemble.members, parts, strict=True):
        np.testing.assert_array_equal(dense(member), part)


# Saving and loading


@pytest.mark.parametrize("load", [Model.load, Ensemble.load])
def test_loaded_ensemble_answers_as_the_saved_one(ensemble, saved, ratings, load):
    loaded = load(saved)
    assert isinstance(loaded, Ensemble)
    assert loaded.weights == WEIGHTS
    assert [m.config for m in loaded.members] == list(CONFIGS)
    assert [m.options for m in loaded.members] == [m.options for m in ensemble.members]
    assert loaded.history == ensemble.history
    np.testing.assert_array_equal(dense(loaded), dense(ensemble))
    assert loaded.rmse(ratings) == ensemble.rmse(ratings)
    assert loaded.recommend("user 3")[0].tolist() == ensemble.recommend("user 3")[0].tolist()
    np.testing.assert_array_equal(loaded.fold_in(ratings).factors, ensemble.fold_in(ratings).factors)
    np.testing.assert_array_equal(
        loaded.fold_in_items(ratings.T.tocsr()).factors, ensemble.fold_in_items(ratings.T.tocsr()).factors
    )


def test_ids_and_what_was_seen_are_there_once(saved):
    assert sorted(p.name for p in saved.rglob("user_ids.npy")) == ["user_ids.npy"]
    assert sorted(p.name for p in saved.rglob("rated_items.npy")) == ["rated_items.npy"]
    meta = json.loads((saved / "model.json").read_text(encoding="utf-8"))
    assert (meta["format"], meta["members"], meta["weights"], meta["test_rmse"]) == (
        "walslab-model",
        3,
        WEIGHTS,
        0.5,
    )


def test_loaded_ensemble_is_saved_again_and_replaced_by_a_model(saved, members, tmp_path):
    Ensemble.load(saved).save(tmp_path / "again")
    for file in saved.rglob("*.npy"):
        assert (tmp_path / "again" / file.relative_to(saved)).read_bytes() == file.read_bytes()
    Ensemble.load(saved).save(saved, overwrite=True)
    members[0].save(saved, overwrite=True)
    assert not (saved / "members").exists()
    np.testing.assert_array_equal(dense(Model.load(saved)), dense(members[0]))


def test_model_of_the_other_kind_is_refused_with_who_reads_it(saved, members, tmp_path):
    with pytest.raises(ModelError, match=r"another kind of model: load it with Ensemble\.load"):
        WALS.load(saved)
    members[0].save(tmp_path / "plain")
    with pytest.raises(ModelError, match=r"another kind of model: load it with WALS\.load"):
        Ensemble.load(tmp_path / "plain")


@pytest.mark.parametrize("name", ["factors.json", "user_factors.npy", "item_bias.npy", "item_pattern.npy"])
@pytest.mark.parametrize("damage", ["remove", "cut"])
def test_damaged_member_is_refused_with_the_file_named(saved, name, damage):
    file = saved / "members" / "1" / name
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ModelError, match=rf"members/1.*{name.partition('.')[0]}"):
        Model.load(saved)


def test_missing_member_is_named(saved):
    (saved / "members" / "2").rename(saved / "members" / "3")
    with pytest.raises(ModelError, match="members/2 is not a walslab-factors directory"):
        Model.load(saved)


def test_member_of_another_size_is_named(saved, made_up_ratings):
    other = WALS(CONFIGS[0], RunOptions(threads=1)).fit(made_up_ratings(16))
    other.factors.save(saved / "members" / "1")
    with pytest.raises(
        ModelError, match="members/1 must be of 15 users and 11 items, as member 0, but is of 16"
    ):
        Model.load(saved)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"members": 0}, "whole number above 0 as members, but has 0"),
        ({"members": "3"}, "whole number above 0 as members, but has '3'"),
        ({"members": 4}, "members/3"),
        ({"members": 2}, "model.json is not as it was written"),
        ({"weights": [0.5, 0.5]}, "model.json is not as it was written"),
        ({"weights": None}, "model.json is not as it was written"),
        ({"weights": [1, 1, 1]}, "model.json is not as it was written"),
        ({"trainings": []}, "model.json is not as it was written"),
        ({"trainings": [{}, {}, {}]}, "model.json is not as it was written"),
        ({"format_version": 1}, "states 'walslab-model' version 1: train the model again"),
    ],
)
def test_header_that_does_not_fit_is_refused(saved, change, text):
    meta = json.loads((saved / "model.json").read_text(encoding="utf-8"))
    (saved / "model.json").write_text(json.dumps({**meta, **change}), encoding="utf-8")
    with pytest.raises(ModelError, match=text):
        Model.load(saved)


# Served like any model


def test_product_of_the_tutorials_arrays_is_the_prediction(ensemble, saved, tmp_path):
    shapes = export_tutorial(Model.load(saved), tmp_path / "out")
    assert shapes == {"row": (15, 12), "col": (11, 12), "user": (15,), "item": (11,)}
    row, col = np.load(tmp_path / "out" / "row.npy"), np.load(tmp_path / "out" / "col.npy")
    np.testing.assert_allclose(row @ col.T, dense(ensemble), rtol=1e-12)


def test_commands_take_it_as_a_model(ensemble, saved, tmp_path):
    told = CliRunner().invoke(main, ["recommend", str(saved), "--user", "user 3", "-n", "4", "--json"])
    items, scores = ensemble.recommend("user 3", 4)
    answer = json.loads(told.stdout.splitlines()[-1])
    assert [entry["item"] for entry in answer["items"]] == items.tolist()
    assert [entry["score"] for entry in answer["items"]] == pytest.approx(scores.tolist())
    done = CliRunner().invoke(main, ["export", str(saved), "--out", str(tmp_path / "out"), "--json"])
    assert json.loads(done.stdout.splitlines()[-1])["shapes"]["row"] == [15, 12]
