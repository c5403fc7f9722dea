"""One training by the workers of a Dask cluster: the same bits, whoever is lost, added or slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from dask_processes import QUICK, DaskProcesses
from ingesting import names, walslab
from processes import wait_for
from sharded_ratings import (
    BASE,
    CONFIGS,
    assert_same_factors,
    in_shards,
    write_dataset,
)

from toolkit import WALS
from toolkit.backends import Backend
from toolkit.config import RunOptions
from toolkit.engines import WAITS, Spread, Words, cluster_at
from toolkit.errors import BackendError, ConfigError
from toolkit.sharded import ClusterRunner, ShardedHeldOut
from toolkit.solver import Trainer, TrainingData

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short_search")]
WORDS = Words("train again", "or fewer threads", "put it where all see it")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("sharded"))


@pytest.fixture(scope="module")
def processes(tmp_path_factory, repo_root):
    """A scheduler, and two workers of one thread."""
    with DaskProcesses(tmp_path_factory.mktemp("cluster"), repo_root, **QUICK) as started:
        started.start_scheduler()
        started.start_workers(2)
        yield started


@pytest.fixture(scope="module")
def cluster(processes):
    with cluster_at(processes.address, WORDS) as connected:
        yield connected


def trained_here(dataset, config, iterations=3, solver="exact"):
    data = TrainingData(dataset.train, dataset.train_by_item, backend=Backend.require("numba", 2))
    trainer = Trainer(data, config, seed=3, solver=solver)
    for _ in range(iterations):
        trainer.step()
    return trainer


def on(cluster, dataset, config, solver="exact"):
    runner = lambda source: ClusterRunner(cluster, source)  # noqa: E731
    data = in_shards(dataset, backend=Backend.require("numba", 2), runner=runner)
    return Trainer(data, config, seed=3, solver=solver)


# Each configuration and each solver; all pairs of them are those of test_sharded.py.
@pytest.mark.parametrize(("name", "solver"), [*zip(CONFIGS, ["cg", "exact"] * 2, strict=True)])
def test_workers_solve_to_the_bits_of_one_process(cluster, dataset, name, solver):
    here, there = (
        trained_here(dataset, CONFIGS[name], solver=solver),
        on(cluster, dataset, CONFIGS[name], solver),
    )
    for _ in range(3):
        there.step()
    assert_same_factors(here.factors, there.factors)
    assert here.train_rmse() == there.train_rmse()


def place_of():
    """Return a task; as it is made here, it travels to workers, who do not have this file."""

    def where(shared, seconds):
        time.sleep(seconds)
        assert shared == "shared"
        return os.getpid()

    return where


def test_a_task_goes_where_it_was_done_before(cluster):
    spread, places = Spread(cluster), []
    for _ in range(3):
        found = dict(spread.run(place_of(), "shared", [(n, lambda: 0.02) for n in range(8)]))
        places.append(found)
    assert len(set(places[0].values())) == 2
    stayed = sum(places[2][n] == places[1][n] for n in range(8))
    assert stayed >= 6


def test_a_model_and_its_posterior_from_the_command_line_are_those_of_one_process(
    processes, tmp_path, monkeypatch
):
    monkeypatch.setitem(WALS.fit_posterior.__kwdefaults__, "burn_in", 2)
    dataset = write_dataset(tmp_path, shard_ratings=1500)  # two shards: each sweep asks for both
    for kind in ([], ["--posterior", "--samples", "2"]):
        for name, place in (("here", []), ("there", ["--dask-scheduler", processes.file])):
            done = walslab(
                *(
                    "train",
                    dataset.path,
                    "--out",
                    tmp_path / name,
                    "--factors",
                    4,
                    "--iterations",
                    2,
                    "--overwrite",
                ),
                *("--backend", "numba", *kind, *place),
            )
            assert done.exit_code == 0, done.output
        for file in names(tmp_path / "here"):
            if file != "model.json":
                assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes(), (
                    file
                )


def test_a_dataset_that_workers_do_not_see_is_refused_with_the_way_out(cluster, dataset, monkeypatch):
    with pytest.raises(BackendError, match=r"does not see /nowhere.*put it where all see it"):
        cluster.check(type(dataset.path)("/nowhere"), [])


def test_two_ways_to_a_cluster_are_one_too_many(dataset, monkeypatch):
    monkeypatch.setattr(WAITS, "connection", 1.0)
    with pytest.raises(ConfigError, match="give one of them"):
        WALS(BASE).fit(dataset, dask_scheduler="tcp://127.0.0.1:1", dask="cuda")
    with pytest.raises(BackendError, match="does not answer"):
        WALS(BASE).fit(dataset, dask_scheduler="tcp://127.0.0.1:1")


def kill_one(cluster, which=0):
    """End a worker process as a lost machine would; its nanny starts another."""
    pids = sorted(cluster.client.run(os.getpid).values())
    os.kill(pids[which % len(pids)], signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_killed_in_each_half_step_changes_no_bit(tmp_path, repo_root, dataset):
    config = CONFIGS["momentum"]
    here = trained_here(dataset, config, 2, solver="cg")
    with DaskProcesses(tmp_path, repo_root, **QUICK) as started:
        started.start("worker", "--nworkers", "2", "--nthreads", "1")
        started.start_scheduler()
        started.wait_for_workers(2)
        with cluster_at(started.address, WORDS) as tended:
            there = on(tended, dataset, config, "cg")
            for n in range(2):
                for half, solve in enumerate((there.solve_items, there.solve_users)):
                    killer = threading.Timer(0.02, kill_one, (tended, n + half))
                    killer.start()
                    solve()
                    killer.join()
                    wait_for(lambda: len(tended.client.nthreads()) == 2)
            assert_same_factors(here.factors, there.factors)


def grow():
    """Take memory until there is no more, in a thread of a worker."""

    def run():
        taken = []
        while True:
            taken.append(b"x" * (16 << 20))
            time.sleep(0.005)

    threading.Thread(target=run, daemon=True).start()


@pytest.mark.slow
def test_five_workers_of_which_one_is_killed_at_its_memory_limit_change_no_bit(tmp_path, repo_root, dataset):
    """Its nanny ends a worker that takes more than its limit, and starts another."""
    config = CONFIGS["weights"]
    here = trained_here(dataset, config, solver="cg")
    limited = {**QUICK, "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False"}
    with DaskProcesses(tmp_path, repo_root, **limited) as started:
        options = ("--nworkers", "5", "--nthreads", "1", "--memory-limit", "800MB")
        started.start("worker", *options)
        started.start_scheduler()
        started.wait_for_workers(5)
        with cluster_at(started.address, WORDS) as five:
            there = on(five, dataset, config, "cg")
            held_out = ShardedHeldOut(there.data, "valid")
            there.step()
            before, doomed = set(five.client.nthreads()), next(iter(five.client.nthreads()))
            five.client.run(grow, workers=[doomed])
            for _ in range(2):
                there.step()
                assert held_out.rmse(there.factors) > 0
            wait_for(lambda: doomed not in five.client.nthreads() and len(five.client.nthreads()) == 5)
            assert len(before & set(five.client.nthreads())) == 4
            assert_same_factors(here.factors, there.factors)
            assert here.train_rmse() == there.train_rmse()
            there.step()  # the new worker has its share


@pytest.mark.slow
def test_the_only_worker_may_die_and_what_it_shared_is_sent_again(tmp_path, repo_root, dataset):
    with DaskProcesses(tmp_path, repo_root, **QUICK) as started:
        started.start_scheduler()
        (worker,) = started.start_workers(1)
        with cluster_at(started.address, WORDS) as lonely:
            spread = Spread(lonely)
            found = spread.run(place_of(), "shared", [(n, lambda: 0.2) for n in range(12)])
            next(found)
            worker.kill()
            started.start("worker", "--no-nanny", "--nthreads", "1")
            assert len(list(found)) == 11


@pytest.mark.slow
def test_workers_that_come_take_their_share_and_a_frozen_one_holds_nobody_up(
    tmp_path, repo_root, dataset, monkeypatch
):
    monkeypatch.setattr(WAITS, "slow_task", 1.0)
    monkeypatch.setattr(WAITS, "first_task", 3.0)
    monkeypatch.setattr(WAITS, "news", 0.2)
    config = CONFIGS["weights"]
    here = trained_here(dataset, config, iterations=3)
    with DaskProcesses(tmp_path, repo_root, **QUICK) as started:
        started.start_scheduler()
        (first,) = started.start_workers(1)
        with cluster_at(started.address, WORDS) as growing:
            there = on(growing, dataset, config)
            there.step()
            started.start("worker", "--no-nanny", "--nworkers", "1", "--nthreads", "4")
            wait_for(lambda: len(growing.client.nthreads()) == 2)
            there.step()
            os.kill(first.pid, signal.SIGSTOP)
            try:
                there.step()
            finally:
                os.kill(first.pid, signal.SIGCONT)
            assert_same_factors(here.factors, there.factors)


@pytest.mark.slow
def test_a_worker_that_freezes_while_something_is_sent_to_it_is_not_waited_for(
    tmp_path, repo_root, monkeypatch
):
    monkeypatch.setattr(WAITS, "news", 0.2)
    with DaskProcesses(tmp_path, repo_root, **QUICK) as started:
        started.start_scheduler()
        (worker,) = started.start_workers(1)
        with cluster_at(started.address, WORDS) as frozen:
            (address,) = frozen.client.nthreads()
            started.start("worker", "--no-nanny", "--nthreads", "1")
            wait_for(lambda: len(frozen.client.nthreads()) == 2)
            assert frozen.reach_workers()
            os.kill(worker.pid, signal.SIGSTOP)
            try:
                # Directly, and by way of the scheduler.
                for directly in (True, False):
                    with pytest.raises(BackendError, match=rf"worker {address} .* hangs: start it anew"):
                        frozen.scatter(["shared"], address)
                    assert frozen.client.direct_to_workers == directly
                    assert not frozen.reach_workers()
            finally:
                os.kill(worker.pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_cluster_that_stays_without_workers_is_given_up(tmp_path, repo_root, dataset, monkeypatch):
    monkeypatch.setattr(WAITS, "without_workers", 1.0)
    monkeypatch.setattr(WAITS, "news", 0.2)
    with DaskProcesses(tmp_path, repo_root, **QUICK) as started:
        started.start_scheduler()
        (worker,) = started.start_workers(1)
        with cluster_at(started.address, WORDS) as lonely:
            trainer = on(lonely, dataset, BASE)
            worker.kill()
            with pytest.raises(BackendError, match=r"has had no workers for 1 s.*train again"):
                trainer.step()


@pytest.mark.slow
def test_a_driver_that_was_killed_resumes_on_the_cluster(processes, dataset, tmp_path, repo_root):
    options = RunOptions(backend="numba", seed=2)
    config = BASE.replace(iterations=8)
    program = f"""
import os, signal
from toolkit import WALS, RatingsDataset, WALSConfig, RunOptions
from toolkit.models import training_checkpoint
training_checkpoint._EVERY = 0.0
look = lambda p: os.kill(os.getpid(), signal.SIGKILL) if p["iteration"] == 5 else None
WALS(WALSConfig.from_dict({config.to_dict()!r}), RunOptions(backend="numba", seed=2)).fit(
    RatingsDataset.open({str(dataset.path)!r}), dask_scheduler={processes.address!r},
    checkpoint={str(tmp_path / "kept")!r}, on_iteration=look)
"""
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    seen = []
    model = WALS(config, options).fit(
        dataset, dask_scheduler=processes.address, checkpoint=tmp_path / "kept", on_iteration=seen.append
    )
    assert [each["iteration"] for each in seen] == [6, 7, 8]
    assert_same_factors(model.factors, WALS(config, options).fit(dataset).factors)
