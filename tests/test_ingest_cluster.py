"""An ingest on a Dask cluster that breaks down ends, with the reason and the way out."""

from __future__ import annotations

import contextlib
import signal
import threading

import pytest
from dask_processes import QUICK, WITHOUT_WALSLAB, DaskProcesses
from ingesting import names, walslab

from toolkit.engines import WAITS, Cluster
from toolkit.errors import BackendError
from toolkit.ingest import RatingsSource, chosen_engine, ingest_ratings

pytestmark = pytest.mark.integration


@pytest.fixture
def cluster(tmp_path_factory, repo_root):
    """A scheduler and its only worker, which nobody starts again."""
    with one_worker(tmp_path_factory.mktemp("dask"), repo_root) as started:
        yield started


@contextlib.contextmanager
def one_worker(folder, repo_root, **for_scheduler):
    with DaskProcesses(folder, repo_root, **QUICK) as processes:
        processes.start_scheduler(**for_scheduler)
        (processes.worker,) = processes.start_workers(1)
        yield processes


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(WAITS, "without_workers", 1.0)
    monkeypatch.setattr(WAITS, "news", 0.2)


@pytest.fixture
def ratings(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("".join(f"{u},{i},{(u + i) % 5 + 1}\n" for u in range(60) for i in range(u % 7, 50)))
    return path


def ingest(ratings, out, address, progress):
    with chosen_engine(address) as workers:
        return ingest_ratings(
            RatingsSource.detect([ratings]),
            out,
            engine=workers,
            progress=progress,
            block_bytes=1000,
            shard_ratings=300,
        )


def test_an_ingest_whose_last_worker_is_killed_ends_and_names_the_scheduler(
    cluster, ratings, tmp_path, impatient
):
    def progress(stage, done, total):
        if (stage, done) == ("reading", 2):
            cluster.worker.kill()

    text = (
        rf"^the Dask scheduler {cluster.address} has had no workers for 1 s, and \d+ tasks are left: see "
        rf"that it runs, start workers with `dask worker {cluster.address}`, and ingest again$"
    )
    with pytest.raises(BackendError, match=text):
        ingest(ratings, tmp_path / "out", cluster.address, progress)
    assert names(tmp_path) == ["r.csv"]


@pytest.mark.slow
def test_an_ingest_whose_scheduler_is_killed_ends_and_says_so(cluster, ratings, tmp_path, impatient):
    def progress(stage, done, total):
        if (stage, done) == ("sorting", 2):
            cluster.scheduler.kill()

    with pytest.raises(BackendError, match=r"^the Dask cluster is gone: .*; ingest again when it is back$"):
        ingest(ratings, tmp_path / "out", cluster.address, progress)
    assert names(tmp_path) == ["r.csv"]


def test_an_ingest_whose_scheduler_is_frozen_ends_and_says_so(
    cluster, ratings, tmp_path, impatient, monkeypatch
):
    monkeypatch.setattr(WAITS, "answer", 3.0)
    monkeypatch.setattr(WAITS, "close", 1.0)

    def progress(stage, done, total):
        if (stage, done) == ("reading", 2):
            cluster.scheduler.send_signal(signal.SIGSTOP)

    text = rf"^the Dask scheduler {cluster.address} has not answered for 1 s, and \d+ tasks are left: "
    with pytest.raises(BackendError, match=text):
        ingest(ratings, tmp_path / "out", cluster.address, progress)
    assert names(tmp_path) == ["r.csv"]


def test_an_ingest_waits_for_a_worker_that_comes_in_time(cluster, ratings, tmp_path, monkeypatch):
    monkeypatch.setattr(WAITS, "news", 0.2)

    def progress(stage, done, total):
        if (stage, done) == ("reading", 2):
            cluster.worker.kill()
            later = threading.Timer(2.0, cluster.start, ("worker", "--nthreads", "1"))
            later.start()

    made = ingest(ratings, tmp_path / "out", cluster.address, progress)
    assert made.counts["ratings"] == len(ratings.read_text().splitlines())
    assert names(tmp_path) == ["out", "r.csv"]


@pytest.mark.slow
def test_the_command_says_it_in_a_line_and_fails(cluster, ratings, tmp_path, impatient, monkeypatch):
    real = Cluster.map

    def without_workers(self, *arguments):
        cluster.worker.kill()
        return real(self, *arguments)

    monkeypatch.setattr(Cluster, "map", without_workers)
    done = walslab("ingest", ratings, "--out", tmp_path / "out", "--dask-scheduler", cluster.address)
    assert done.exit_code == 1
    assert f"error: the Dask scheduler {cluster.address} has had no workers for 1 s, and " in done.stderr
    assert names(tmp_path) == ["r.csv"]


def test_a_scheduler_without_walslab_is_named(ratings, tmp_path, tmp_path_factory, repo_root):
    with one_worker(tmp_path_factory.mktemp("dask"), repo_root, first=WITHOUT_WALSLAB) as cluster:
        done = walslab("ingest", ratings, "--out", tmp_path / "out", "--dask-scheduler", cluster.address)
    assert done.exit_code == 1
    assert f"error: the Dask scheduler {cluster.address} has no walslab: install the same" in done.stderr
    assert names(tmp_path) == ["r.csv"]


@pytest.mark.parametrize("frozen", ["worker", "scheduler"])
def test_a_check_of_a_cluster_that_hangs_ends_and_names_who_is_silent(
    cluster, ratings, tmp_path, monkeypatch, frozen
):
    monkeypatch.setattr(WAITS, "answer", 3.0)
    monkeypatch.setattr(WAITS, "close", 1.0)
    monkeypatch.setattr(WAITS, "workers_answer", 4.0)
    who = {"worker": r"worker tcp://\S+ of the scheduler", "scheduler": "scheduler"}[frozen]
    text = (
        rf"^the Dask {who} {cluster.address} has not answered for [34] s: see that no process of the cluster "
        "hangs and .*, start those anew that hang, and ingest again$"
    )
    with chosen_engine(cluster.address) as workers:
        getattr(cluster, frozen).send_signal(signal.SIGSTOP)
        with pytest.raises(BackendError, match=text):
            workers.check(tmp_path, [str(ratings)])


def test_tasks_that_are_given_up_do_not_wait_for_a_worker_that_hangs(cluster, ratings, tmp_path, monkeypatch):
    monkeypatch.setattr(WAITS, "answer", 3.0)
    monkeypatch.setattr(WAITS, "close", 1.0)

    def progress(stage, done, total):
        if (stage, done) == ("reading", 2):
            cluster.worker.send_signal(signal.SIGSTOP)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(ratings, tmp_path / "out", cluster.address, progress)
    assert names(tmp_path) == ["r.csv"]
