"""Training on ratings that stay in their shards: the same bits as in memory, and nothing taken on trust."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import re
import sys
from types import SimpleNamespace

import cupy_stand_in
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingesting import names, walslab
from sharded_ratings import (
    BASE,
    CONFIGS,
    assert_same_factors,
    in_shards,
    write_dataset,
)

from toolkit import WALS, RatingsDataset, ingest_ratings
from toolkit.backends import Backend
from toolkit.config import RunOptions, WALSConfig
from toolkit.datasets import ShardReader
from toolkit.errors import ConfigError, DatasetError, SolverError
from toolkit.evaluation import HeldOutRows
from toolkit.ingest import SplitRule
from toolkit.models import Model, placed_ratings, placing
from toolkit.sharded import MemoryPlan, ShardedHeldOut, StreamRunner, join_splits, mapped_file, plan_memory
from toolkit.solver import Sampler, Trainer, TrainingData, rating_facts

pytestmark = pytest.mark.usefixtures("short_search")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("sharded"))


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A dataset of a few shards, for the slow arrays of CuPy's stand-in."""
    folder = tmp_path_factory.mktemp("few")
    return write_dataset(folder, n_users=30, n_items=15, nnz=250, shard_ratings=100)


@pytest.fixture
def forced(monkeypatch):
    """Leave the ratings of every dataset in their shards."""
    monkeypatch.setattr(placing, "plan_memory", lambda *_, **__: MemoryPlan(True, 3 << 20, 2 << 20, 1 << 20))


def both(dataset, backend, dtype="float32"):
    in_memory = TrainingData(dataset.train, dataset.train_by_item, backend=backend, dtype=dtype)
    return in_memory, in_shards(dataset, backend=backend, dtype=dtype)


# Each configuration, solver and precision, and each two of a solver and a precision.
QUICK = [
    ("default", "float32", "cg"),
    ("plain", "float64", "exact"),
    ("weights", "float64", "cg"),
    ("momentum", "float32", "exact"),
]
EVERY = itertools.product(CONFIGS, ["float32", "float64"], ["exact", "cg"])


@pytest.mark.parametrize(
    ("name", "dtype", "solver"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in EVERY if case not in QUICK)],
)
def test_training_in_shards_has_the_bits_of_one_in_memory(dataset, name, dtype, solver):
    """Factors, errors and facts of the ratings are those of one matrix, after every iteration."""
    backend = Backend.require("numba", 2)
    ratings = both(dataset, backend, dtype)
    assert (ratings[0].mean, ratings[0].spread, ratings[0].scale) == (
        ratings[1].mean,
        ratings[1].spread,
        ratings[1].scale,
    )
    first, second = (Trainer(each, CONFIGS[name], seed=3, solver=solver) for each in ratings)
    held_out = HeldOutRows(backend, dataset.valid), ShardedHeldOut(ratings[1], "valid")
    for _ in range(3):
        first.step()
        second.step()
        assert_same_factors(first.factors, second.factors)
        assert first.train_rmse() == second.train_rmse()
        assert held_out[0].rmse(first.factors) == held_out[1].rmse(second.factors)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """Return the dataset whose shards have so many ratings."""

    @functools.cache
    def written(shard_ratings):
        folder = tmp_path_factory.mktemp("cut")
        return write_dataset(folder, n_users=60, n_items=21, nnz=700, shard_ratings=shard_ratings)

    return written


@settings(max_examples=4)
@given(
    seed=st.integers(0, 1000),
    shard_ratings=st.sampled_from([60, 170, 10**6]),
    threads=st.integers(1, 3),
    name=st.sampled_from(sorted(CONFIGS)),
    solver=st.sampled_from(["exact", "cg"]),
)
def test_no_cut_of_the_shards_changes_a_bit(cut, *, seed, shard_ratings, threads, name, solver):
    data = cut(shard_ratings)
    backend = Backend.require("numba", threads)
    whole = TrainingData(data.train, data.train_by_item, backend=backend)
    parted = in_shards(data, backend=backend, threads=threads)
    first, second = (Trainer(each, CONFIGS[name], seed=seed, solver=solver) for each in (whole, parted))
    for _ in range(3):
        first.step()
        second.step()
    assert_same_factors(first.factors, second.factors)


class Counting(StreamRunner):
    """Notes what is done with which kind of shard."""

    def __init__(self, source):
        super().__init__(source, 2)
        self.done = []

    def run(self, work, parts, own):
        self.done.append((type(work).__name__, parts[0].kind))
        return super().run(work, parts, own)


@pytest.mark.parametrize("posterior", [False, True])
def test_errors_that_are_asked_for_again_are_measured_where_users_are_solved(dataset, posterior):
    runners = []

    def counting(source):
        runners.append(Counting(source))
        return runners[0]

    ratings = in_shards(dataset, backend=Backend.require("numba", 2), runner=counting)
    config = BASE.replace(pattern_weight=0.0, weight_exponent=0.3)
    trained, held_out = Trainer(ratings, config), ShardedHeldOut(ratings, "valid")
    solving = [("Solving", "train/cols"), ("Solving", "train/rows")]
    if posterior:
        sampler = Sampler(ratings, config)
        for _ in range(3):
            sampler.sweep()
        assert runners[0].done == [*solving, ("Measuring", "train/rows"), *solving, *solving]
        return
    for _ in range(3):
        trained.step()
        trained.train_rmse()
        held_out.rmse(trained.factors)
    measuring = [("Measuring", "train/rows"), ("Measuring", "valid/rows")]
    assert runners[0].done == [*solving, *measuring, *solving, *solving]
    trained.step()
    trained.step()
    held_out.rmse(trained.factors)
    assert runners[0].done[8:] == [*solving, *solving, measuring[1]]


@pytest.mark.parametrize("weight_exponent", [0.0, 0.5])
def test_a_chain_in_shards_has_the_bits_of_one_in_memory(dataset, weight_exponent):
    config = BASE.replace(weight_exponent=weight_exponent)
    first, second = (Sampler(each, config, seed=1) for each in both(dataset, Backend.require("numba", 2)))
    for _ in range(4):
        first.sweep()
        second.sweep()
        assert (first.noise, first.fit_rmse) == (second.noise, second.fit_rmse)
    assert_same_factors(first.kept(), second.kept())


def test_the_reference_in_shards_agrees_to_rounding(dataset):
    first, second = (Trainer(each, BASE, seed=1) for each in both(dataset, Backend(2), "float64"))
    for _ in range(3):
        first.step()
        second.step()
    np.testing.assert_allclose(first.factors.users.factors, second.factors.users.factors, rtol=1e-8)


def test_a_row_without_a_solution_is_named_by_its_number_among_all(dataset):
    ratings = in_shards(dataset, backend=Backend.require("numba", 1))
    config = WALSConfig(factors=30, regularization=0.0, pattern_weight=0.0)
    with pytest.raises(SolverError) as here:
        Trainer(both(dataset, Backend.require("numba", 1))[0], config).step()
    with pytest.raises(SolverError) as there:
        Trainer(ratings, config).step()
    assert str(here.value) == str(there.value)


def test_a_row_without_a_finite_solution_is_named_as_in_memory(tmp_path):
    """Equal ratings leave nothing to the factors: they become zero, and zeros determine nothing."""
    users, items = np.indices((6, 4)).reshape(2, -1)
    frame = pd.DataFrame({"user": users, "item": items, "rating": 3.0})
    data = ingest_ratings(frame, tmp_path / "data", split=SplitRule(valid=0, test=0), shard_ratings=8)
    texts = []
    for ratings in both(data, Backend.require("numba", 1)):
        trainer = Trainer(ratings, WALSConfig(factors=2, regularization=0))
        trainer.solve_items()
        with pytest.raises(SolverError) as caught:
            trainer.solve_users()
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    assert "row 0 (4 ratings, 3 unknowns)" in texts[0]


@given(
    values=st.lists(st.integers(1, 10).map(lambda n: n / 2), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    chunk=st.integers(1, 20),
)
def test_mean_and_spread_do_not_depend_on_the_pieces(values, cuts, chunk):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("toolkit.solver.mean_and_spread._CHUNK", chunk)
        ratings = np.array(values, np.float32)
        found = rating_facts(np.split(ratings, sorted(min(at, len(values)) for at in cuts)))
        assert found == rating_facts([ratings])
    assert found.mean == pytest.approx(ratings.mean(dtype=np.float64))
    if found.scale[0] < found.scale[1]:
        assert found.spread == pytest.approx(ratings.std(dtype=np.float64))


# ------------------------------------------------------------------------------------------ shards


def test_a_shard_is_read_straight_from_its_file_once_it_was_checked(dataset, monkeypatch):
    reader, checked = ShardReader(dataset), []
    read = RatingsDataset.read_shard
    monkeypatch.setattr(RatingsDataset, "read_shard", lambda *a: checked.append(a[1:]) or read(*a))
    for kind in ("train/rows", "train/cols", "valid/rows"):
        for entry in dataset.shards(kind):
            for _ in range(3):
                for a, b in zip(reader.read(kind, entry), read(dataset, kind, entry), strict=True):
                    np.testing.assert_array_equal(a, b)
                    assert a.dtype == b.dtype
    assert len(checked) == sum(len(dataset.shards(k)) for k in ("train/rows", "train/cols", "valid/rows"))


def test_a_shard_that_changes_during_a_training_is_refused(tmp_path):
    data = write_dataset(tmp_path)
    trainer = Trainer(in_shards(data, backend=Backend.require("numba", 1)), BASE)
    trainer.step()
    path = data.path / data.shards("train/cols")[2]["path"]
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    with pytest.raises(DatasetError, match=r"train/cols-00002\.npz was changed"):
        trainer.step()


def test_joined_splits_are_the_sum_of_both(dataset, tmp_path):
    joined = join_splits(dataset, tmp_path)
    whole = dataset.train_and_valid()
    for found, wanted in ((joined.train, whole), (joined.train_by_item, whole.T.tocsr())):
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert (joined.test != dataset.test).nnz == joined.valid.nnz == 0
    assert joined.user_ids.tolist() == dataset.user_ids.tolist()
    RatingsDataset.open(tmp_path, verify=True)
    assert not [name for name in names(tmp_path) if name.startswith("valid-of")]


# ------------------------------------------------------------------------------------------ models


@pytest.mark.usefixtures("forced")
def test_a_model_trained_in_shards_is_that_of_a_training_in_memory(dataset, tmp_path, monkeypatch):
    options = RunOptions(backend="numba", threads=2, dtype="float64")
    there = WALS(BASE, options).fit(dataset, patience=2)
    monkeypatch.undo()
    here = WALS(BASE, options).fit(dataset, patience=2)
    assert_same_factors(here.factors, there.factors)
    figures = [[(h["train_rmse"], h["valid_rmse"]) for h in model.history] for model in (here, there)]
    assert figures[0] == figures[1]
    assert here.baselines == there.baselines
    for array in (there.rated.data, there.rated.indices, there.rated.indptr):
        assert mapped_file(array) is not None
    for name, model in (("here", here), ("there", there)):
        model.save(tmp_path / name)
    for file in names(tmp_path / "here"):
        if file != "model.json":
            assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes(), file
    opened = Model.load(tmp_path / "there")
    assert (
        opened.recommend(opened.users.id(0), n=3)[0].tolist()
        == here.recommend(here.users.id(0), n=3)[0].tolist()
    )


@pytest.mark.usefixtures("forced")
def test_a_posterior_in_shards_is_that_of_one_in_memory(dataset, monkeypatch):
    arguments = {"samples": 3, "burn_in": 2, "keep": 2, "chains": 2}
    there = WALS(BASE, backend="numba").fit_posterior(dataset, **arguments)
    monkeypatch.undo()
    here = WALS(BASE, backend="numba").fit_posterior(dataset, **arguments)
    assert_same_factors(here.factors, there.factors)
    assert here.posterior.facts == there.posterior.facts


@pytest.mark.usefixtures("forced")
def test_shards_pass_through_the_card_and_leave_nothing_there(few, monkeypatch):
    """CuPy's stand-in counts what is on the device; the reference has the same model to rounding."""
    pool = cupy_stand_in.install(monkeypatch)
    there = WALS(BASE, RunOptions(backend="cupy", dtype="float64")).fit(few)
    assert there.backend_name == "cupy"
    gc.collect()
    assert pool.live() == 0
    monkeypatch.undo()
    here = WALS(BASE, RunOptions(backend="numpy", dtype="float64")).fit(few)
    assert_same_factors(here.factors, there.factors, exact=False)


def test_each_card_has_a_worker_that_solves_on_it(few, monkeypatch):
    from distributed import LocalCluster

    def cluster_of_cards(**options):
        return LocalCluster(n_workers=2, threads_per_worker=1, processes=False, **options)

    config = BASE.replace(iterations=2)
    cupy_stand_in.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=cluster_of_cards))
    there = WALS(config, RunOptions(dtype="float64")).fit(few, dask="cuda")
    assert there.backend_name == "cupy"
    monkeypatch.undo()
    here = WALS(config, RunOptions(backend="numpy", dtype="float64")).fit(few)
    assert_same_factors(here.factors, there.factors, exact=False)
    with pytest.raises(ConfigError, match="--dask cuda has a worker on each GPU, but the backend is numba"):
        WALS(BASE, RunOptions(backend="numba")).fit(few, dask="cuda")


def test_a_place_is_refused_for_ratings_that_lie_in_no_shards(made_up_ratings):
    with pytest.raises(ConfigError, match=r"memory must go with a dataset.*ingest the ratings"):
        WALS(BASE).fit(made_up_ratings(), memory="1GB")
    with pytest.raises(ConfigError, match=r"dask_scheduler must go with a dataset"):
        WALS(BASE).fit_posterior(made_up_ratings(), dask_scheduler="tcp://nowhere:1")


@pytest.mark.parametrize("cluster", [{"dask_scheduler": "tcp://127.0.0.1:1"}, {"dask": "cuda"}])
def test_memory_of_this_process_is_refused_for_a_cluster(dataset, cluster):
    with pytest.raises(ConfigError, match="--memory is that of a training in this process: leave it out"):
        WALS(BASE).fit(dataset, memory="1GB", **cluster)


def test_ratings_that_fit_are_in_memory_and_others_are_not(dataset):
    plan = plan_memory(dataset, BASE, itemsize=4, threads=1)
    assert not plan.sharded
    counts = {**dataset.manifest["counts"], "train": 10**9}
    many = RatingsDataset(dataset.path, {**dataset.manifest, "counts": counts})
    plan = plan_memory(many, BASE, itemsize=4, threads=1, budget=10**9)
    assert plan.sharded
    assert str(plan).startswith("the ratings stay in their shards: in memory the training takes about 15.")
    with pytest.raises(ConfigError, match=r"--memory must be at least 26\dMiB for .* users"):
        plan_memory(many, BASE, itemsize=4, threads=1, budget=10**8)


def test_the_memory_that_an_error_asks_for_is_enough(dataset, tmp_path):
    train = ["train", dataset.path, "--out", tmp_path / "model", "--iterations", 1, "--memory"]
    refused = walslab(*train, "1MB")
    assert refused.exit_code == 2
    least = re.search(r"at least (\d+MiB)", refused.output)[1]
    done = walslab(*train, least)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({"memory": ""}, "--memory must be a size"),
        ({"memory": -1}, "memory must be at least 1"),
        ({"memory": float("nan")}, "memory must be a whole number"),
        ({"memory": b"2GB"}, "memory must be a whole number"),
        ({"dask": "foo"}, "dask must be one of threads, cuda"),
        ({"dask_scheduler": ""}, "--dask-scheduler must be an address"),
        ({"dask_scheduler": 5}, "--dask-scheduler must be an address"),
    ],
)
def test_a_place_that_is_none(dataset, place, text):
    with pytest.raises(ConfigError, match=text):
        WALS(BASE).fit(dataset, **place)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("train", "--memory"),
        ("sample", "--memory"),
        ("ingest", "--memory"),
        ("train", "--dask-scheduler"),
        ("ingest", "--dask-scheduler"),
    ],
)
def test_an_option_that_is_empty_is_not_one_that_was_left_out(dataset, tmp_path, command, option):
    """As of a variable of a shell that is not set."""
    of = {"train": [dataset.path], "sample": [dataset.path, "--users", "0.5"]}
    words = of.get(command, [dataset.path.parent / "ratings.csv"])
    done = walslab(command, *words, "--out", tmp_path / "out", option, "")
    assert done.exit_code == 2
    assert f"{option} must be a" in done.output
    assert names(tmp_path) == []


@pytest.mark.usefixtures("forced")
def test_the_command_says_where_the_ratings_are(dataset, tmp_path):
    done = walslab("train", dataset.path, "--out", tmp_path / "model", "--iterations", 2, "--memory", "1GB")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("the ratings stay in their shards: ")
    assert names(tmp_path) == ["model"]


def test_placed_ratings_serve_a_training_and_its_measures(dataset):
    options = RunOptions(backend="numba")
    with placed_ratings(dataset, BASE, options) as ratings:
        model = WALS(BASE, options).fit(ratings)
        assert ratings.rmse(model.factors, ratings.test) == pytest.approx(model.rmse(dataset.test))
        assert ratings.rmse(model.factors) == pytest.approx(model.history[-1]["train_rmse"])
        assert set(ratings.baseline_errors()) == {"valid", "test"}
        with pytest.raises(ConfigError, match="give nothing beside them"):
            WALS(BASE, options).fit(ratings, memory="1GB")
