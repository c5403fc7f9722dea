"""The Trainable of the field: exact checkpoints, flat configurations, and Ray Tune's own ways to drive it."""

from __future__ import annotations

import importlib
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit import WALS, RatingsDataset, RatingsSource, RunOptions, WALSConfig, ingest_ratings
from toolkit.errors import ConfigError, RatingsError, StudyError
from toolkit.evaluation import rank
from toolkit.ingest import SplitRule
from tune import WALSTrainable

# Momentum and a pattern have a state of their own beside the factors.
CONFIG = {
    "factors": 3,
    "iterations": 8,
    "regularization": 0.1,
    "regularization_offset": 5.0,
    "momentum": 0.3,
    "pattern_weight": 0.5,
}


@pytest.fixture(scope="module")
def ratings():
    """Training and validation ratings, as two matrices of one shape."""
    rng = np.random.default_rng(0)
    full = np.clip(3.5 + rng.standard_normal((60, 2)) @ rng.standard_normal((2, 40)), 1, 5).astype("float32")
    users, items = np.nonzero(rng.random((60, 40)) < 0.5)
    held = rng.random(len(users)) < 0.2
    train, valid = (
        sp.csr_matrix((full[users[of], items[of]], (users[of], items[of])), full.shape)
        for of in (~held, held)
    )
    return train, valid


@pytest.fixture(scope="module")
def dataset(ratings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows, columns = (whole := (ratings[0] + ratings[1]).tocoo()).coords
    lines = [f"{u + 100},{i + 500},{r:.4f}" for u, i, r in zip(rows, columns, whole.data, strict=True)]
    (folder / "ratings.csv").write_text("user,item,rating\n" + "\n".join(lines) + "\n")
    source = RatingsSource.detect([folder / "ratings.csv"])
    split = SplitRule(kind="random", valid=0.2, test=0.1, seed=0)
    return ingest_ratings(source, folder / "dataset", split=split)


@pytest.fixture
def make(ratings, tmp_path, monkeypatch):
    """Make a Trainable as Ray does in its processes, without a process."""
    module = importlib.import_module("ray.tune.trainable.trainable")
    monkeypatch.setattr(module, "DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))

    def make(config=CONFIG, **given):
        import ray.tune as ray_tune

        given = given or {"data": ratings[0], "valid": ratings[1]}
        return ray_tune.with_parameters(WALSTrainable, **given)(config)

    # Ray's own way to hand the data over needs no process of Ray's where nothing is put into its store.
    registry = importlib.import_module("ray.tune.registry")._ParameterRegistry
    kept = {}
    monkeypatch.setattr(registry, "put", lambda _, key, value: kept.update({key: value}))
    monkeypatch.setattr(registry, "get", lambda _, key: kept[key])
    return make


def figures_of(trainable, n):
    """Train so many iterations; return the figures that do not depend on the clock."""
    results = [trainable.train() for _ in range(n)]
    return [
        {key: value for key, value in result.items() if key.startswith(("valid_", "train_"))}
        | {"done": result["done"]}
        for result in results
    ]


def test_a_step_is_an_iteration_and_the_trial_is_a_training_of_the_toolkit(make, ratings):
    train, valid = ratings
    trainable = make(data=train, valid=valid, metrics=["ndcg@5", "recall@5", "recall@10"], seed=3)
    results = [trainable.train() for _ in range(8)]
    model = WALS(WALSConfig(**CONFIG), RunOptions(seed=3)).fit(train, valid=valid)
    assert [r["valid_rmse"] for r in results] == [h["valid_rmse"] for h in model.history]
    assert [r["train_rmse"] for r in results] == [h["train_rmse"] for h in model.history]
    assert [r["training_iteration"] for r in results] == list(range(1, 9))
    assert [r["done"] for r in results] == [False] * 7 + [True]
    assert all(r["seconds"] > 0 for r in results)
    for k in (5, 10):
        wanted = rank(model.factors, valid, seen=[train], n=k)
        assert results[-1][f"valid_ndcg_{k}"] == pytest.approx(wanted.ndcg)
        assert results[-1][f"valid_recall_{k}"] == pytest.approx(wanted.recall)


@pytest.mark.parametrize("stopped_after", [0, 1, 2, 5])
def test_going_on_from_a_checkpoint_is_never_having_stopped(make, tmp_path, stopped_after):
    whole, cut = make(), make()
    wanted = figures_of(whole, 8)
    first = figures_of(cut, stopped_after)
    saved = cut.save(str(tmp_path / "kept"))
    # In another process, which had another trial before, and after the folder is gone.
    again = make({**CONFIG, "factors": 5, "regularization": 9.0})
    again.train()
    assert again.reset(dict(CONFIG))
    again.restore(saved)
    for path in (tmp_path / "kept").rglob("*.npy"):
        path.write_bytes(b"gone")
    assert first + figures_of(again, 8 - stopped_after) == wanted
    ends = [trainable._trainer.host_factors() for trainable in (whole, again)]
    for one, other in zip(ends[0].users + ends[0].items, ends[1].users + ends[1].items, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_process_takes_one_trial_after_another(make):
    kept = make({**CONFIG, "factors": 5, "momentum": 0.0})
    kept.train()
    assert kept.reset({**CONFIG, "preset": "ml-100k"})
    fresh = make({**CONFIG, "preset": "ml-100k"})
    assert figures_of(kept, 8) == figures_of(fresh, 8)
    assert fresh._config.pattern_weight == CONFIG["pattern_weight"]
    assert make({"preset": "ml-100k"})._config.factors == 20


def test_another_trials_checkpoint_goes_on_with_these_hyperparameters(make, tmp_path):
    donor = make()
    figures_of(donor, 4)
    saved = donor.save(str(tmp_path / "kept"))
    taker = make({**CONFIG, "regularization": 0.2, "pattern_weight": 0.0, "momentum": 0.0})
    taker.restore(saved)
    assert taker.train()["training_iteration"] == 5
    factors = taker._trainer.factors
    assert (factors.config.regularization, factors.item_pattern) == (0.2, None)
    # Nothing of the other trial stays: with its factors, the trial converges to where it goes by itself.
    alone = make({**CONFIG, "regularization": 0.2, "pattern_weight": 0.0, "momentum": 0.0, "iterations": 80})
    ends = []
    for trainable in (taker, alone):
        for _ in range(80):
            end = trainable.train()["train_rmse"]
        ends.append(end)
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)
    other = make({**CONFIG, "factors": 4})
    with pytest.raises(ConfigError, match="3 factors cannot go on with 4: leave `factors` out"):
        other.restore(saved)


def test_a_dataset_is_given_by_path_or_open(make, dataset, monkeypatch, tmp_path):
    monkeypatch.chdir(dataset.path.parent)
    sent = pickle.dumps(RatingsDataset.open("dataset"))
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", str(dataset.path.parent))
    # Where a trial works.
    monkeypatch.chdir(tmp_path)
    by_path, relative, opened = (make(data=data) for data in (dataset.path, "dataset", pickle.loads(sent)))
    wanted = figures_of(by_path, 3)
    assert figures_of(relative, 3) == figures_of(opened, 3) == wanted
    model = WALS(WALSConfig(**CONFIG)).fit(dataset)
    assert [w["valid_rmse"] for w in wanted] == [h["valid_rmse"] for h in model.history[:3]]


def test_a_dataset_at_an_address_trains_as_the_folder(make, dataset, memory):
    memory.put(str(dataset.path), "/bucket/dataset", recursive=True)
    assert figures_of(make(data="memory://bucket/dataset"), 2) == figures_of(make(data=dataset), 2)


def test_a_result_becomes_a_model(make, ratings, dataset, tmp_path):
    import ray.tune as ray_tune

    def result_of(trainable):
        while not (last := trainable.train())["done"]:
            pass
        checkpoint = trainable.save(str(tmp_path / trainable._laid_out.backend.name)).checkpoint
        return ray_tune.Result(metrics=last, checkpoint=checkpoint, error=None, path=str(tmp_path))

    model = WALSTrainable.model_of(result_of(make(data=dataset, backend="numpy")), dataset.path)
    wanted = WALS(WALSConfig(**CONFIG), RunOptions(backend="numpy")).fit(dataset)
    assert model.dataset_digest == dataset.digest
    user = dataset.user_ids[3]
    assert model.recommend(user, n=3)[0].tolist() == wanted.recommend(user, n=3)[0].tolist()
    np.testing.assert_array_equal(model.factors.items.factors, wanted.factors.items.factors)
    result = result_of(make())
    names = [f"item {number}" for number in range(40)]
    assert WALSTrainable.model_of(result, ratings[0], item_ids=names).recommend(0, n=1)[0][0] in names
    with pytest.raises(ConfigError, match="brings its own ids"):
        WALSTrainable.model_of(result, dataset, user_ids=[1])
    stopped = ray_tune.Result(metrics={}, checkpoint=None, error=None, path="/somewhere/trial_1")
    with pytest.raises(StudyError, match=r"trial_1 left no checkpoint: let .*checkpoint_at_end be True"):
        WALSTrainable.model_of(stopped, dataset)
    with pytest.raises(ConfigError, match="result must be"):
        WALSTrainable.model_of({}, dataset)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"factor": 3}, r"unknown hyperparameter 'factor' \(did you mean 'factors'\?\)"),
        ({"factors": -1}, "factors must be between 0 and 1024, but got -1"),
        ({"preset": "ml-10"}, "preset must be one of .*did you mean 'ml-1"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(make, config, text):
    with pytest.raises(ConfigError, match=text):
        make(config)
    kept = make()
    with pytest.raises(ConfigError, match=text):
        kept.reset(config)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"metrics": ["ndgc@10"]}, "metrics must be recall@K or ndcg@K.*did you mean 'ndcg@10'"),
        ({"metrics": ["rmse"]}, "metrics must be recall@K or ndcg@K"),
        ({"metrics": "ndcg@10"}, "metrics must be a list"),
        ({"seed": -1}, "seed must"),
        ({"backend": "cuppy"}, "backend must be one of.*did you mean 'cupy'"),
        ({"valid": None}, "judged by valid=: hold some ratings out"),
        ({"valid": sp.csr_matrix((60, 40))}, "valid must hold at least one rating"),
        ({"valid": sp.csr_matrix((3, 3))}, "valid must have the shape of data"),
        ({"data": np.ones((2, 2))}, "data must be a scipy.sparse matrix"),
        ({"data": None}, "data is missing"),
    ],
)
def test_what_cannot_be_trained_is_refused(make, ratings, given, text):
    with pytest.raises((ConfigError, RatingsError), match=text):
        make(**{"data": ratings[0], "valid": ratings[1], **given})


def test_a_dataset_is_judged_by_its_own_ratings(make, dataset, ratings, tmp_path):
    with pytest.raises(ConfigError, match="leave valid out"):
        make(data=dataset, valid=ratings[1])
    source = RatingsSource.detect([dataset.path.parent / "ratings.csv"])
    rule = SplitRule(kind="random", valid=0.0, test=0.1, seed=0)
    without = ingest_ratings(source, tmp_path / "without", split=rule)
    assert isinstance(without, RatingsDataset)
    with pytest.raises(StudyError, match=r"has no validation ratings.*--valid"):
        make(data=without)
