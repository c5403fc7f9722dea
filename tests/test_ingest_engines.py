"""Where an ingest runs decides nothing: threads, a cluster of processes, one whose workers are killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import dask.dataframe as dd
import forks
import frames_of_ratings
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dask_processes import ANOTHER_DISK, QUICK, WITHOUT_WALSLAB, DaskProcesses
from engine_ratings import N_RATINGS, SMALL, ratings_fixture, wanted_fixture  # noqa: F401 - fixtures
from ingesting import contents, names, walslab
from processes import end, wait_for

from toolkit import processors
from toolkit.engines import WAITS, Cluster, Threads
from toolkit.errors import BackendError, RatingsError
from toolkit.ingest import RatingsSource, chosen_engine, ingest_ratings
from toolkit.ingest.engine_choice import WORDS


def n_workers(client):
    return len(client.nthreads())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, repo_root):
    """A scheduler and two worker processes."""
    from distributed import Client

    # Scheduler and workers see the modules of the tests, too.
    settings = {**QUICK, "PYTHONPATH": os.pathsep.join([str(repo_root), str(repo_root / "tests")])}
    folder = tmp_path_factory.mktemp("cluster")
    with DaskProcesses(folder, repo_root, ["dask.dataframe"], **settings) as processes:
        processes.start_scheduler()
        processes.start_workers(2)
        with Client(processes.address, set_as_default=False, timeout="300s") as client:
            processes.client = client
            yield processes


@contextlib.contextmanager
def one_more_worker(cluster, first):
    """Let a worker join the two, with a program of its own at first, and yield its address."""
    known = set(cluster.client.nthreads())
    process = cluster.start("worker", "--no-nanny", "--nthreads", "1", first=first)
    try:
        wait_for(lambda: set(cluster.client.nthreads()) - known or process.poll() is not None)
        if process.poll() == 77:
            pytest.skip("a file system of a process's own is not permitted here")
        yield (set(cluster.client.nthreads()) - known).pop()
    finally:
        end(process)
        wait_for(lambda: n_workers(cluster.client) == 2)


@pytest.fixture(params=["threads", pytest.param("cluster", marks=pytest.mark.integration)])
def two_at_once(request):
    """Each engine, with two workers."""
    if request.param == "threads":
        return Threads(2)
    return Cluster(request.getfixturevalue("cluster").client, WORDS)


# What every engine does


def test_results_come_in_order_and_every_task_ticks(two_at_once):
    def work(item):
        time.sleep(0.01 * (item % 3))
        return item * item

    ticks = []
    assert two_at_once.workers == 2
    assert two_at_once.map(work, list(range(20)), lambda: ticks.append(1)) == [n * n for n in range(20)]
    assert len(ticks) == 20


def test_items_and_results_are_left_as_they_are(two_at_once):
    # Dask would take each of these for a task, a key or a future of its own.
    items = [(str, 1), ("task", 0), ["task", 0], {"task": 0}, None, BackendError]
    assert two_at_once.map(lambda item: item, items, lambda: None) == items


@pytest.mark.parametrize(
    "error", [RatingsError("line 7"), OSError(28, "No space left on device"), ZeroDivisionError()]
)
def test_the_error_of_a_task_is_raised_and_no_task_runs_afterwards(two_at_once, tmp_path, error):
    def work(item):
        (tmp_path / f"begun {item}").touch()
        if item == 0:
            raise error
        time.sleep(0.7 if item == 1 else 0.01)
        (tmp_path / f"ended {item}").touch()

    with pytest.raises(type(error)) as raised:
        two_at_once.map(work, list(range(1000)), lambda: None)
    before = names(tmp_path)
    assert raised.value.args == error.args
    begun = {name.partition(" ")[2] for name in before if name.startswith("begun")}
    ended = {name.partition(" ")[2] for name in before if name.startswith("ended")}
    # The first is among the first: nobody waits for the end of a file to hear of its first line.
    assert len(begun) < 1000
    assert begun == ended | {"0"}
    time.sleep(0.5)
    assert names(tmp_path) == before


def test_an_interrupt_waits_for_what_runs(two_at_once, tmp_path):
    def work(item):
        (tmp_path / f"begun {item}").touch()
        time.sleep(0.05 if item == 0 else 0.4)
        (tmp_path / f"ended {item}").touch()

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        two_at_once.map(work, list(range(200)), interrupt)
    before = names(tmp_path)
    assert len(before) < 20
    assert [name.replace("ended", "begun") for name in before if "ended" in name] == before[
        : len(before) // 2
    ]
    time.sleep(0.6)
    assert names(tmp_path) == before


def test_few_tasks_are_begun_before_their_turn():
    begun, gate = [], threading.Event()

    def work(item):
        begun.append(item)
        if item == 0:
            gate.wait(10)
        return item

    engine, ticks = Threads(2), []

    def tick():
        ticks.append(max(begun))
        if len(ticks) == 50:
            gate.set()

    assert engine.map(work, range(1000), tick) == list(range(1000))
    # In their order, but that a thread may be held up between taking a task and beginning it.
    assert all(item - at < 4 for at, item in enumerate(begun))
    assert max(at - done for done, at in enumerate(ticks)) < 8


def test_threads_serve_again_after_an_error():
    engine = Threads(2)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            engine.map(lambda item: 1 // item, [1, 0, 1], lambda: None)
        assert engine.map(abs, [-1, -2, -3], lambda: None) == [1, 2, 3]
    assert engine.map(abs, [], lambda: None) == []


def test_an_ordinary_ingest_imports_neither_dask_nor_pandas(ratings, tmp_path):
    program = """
import sys
from toolkit import RatingsSource, ingest_ratings
for path in sys.argv[1:]:
    ingest_ratings(RatingsSource.detect([path]), f"{path}.out")
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"dask", "distributed", "pandas"}))
"""
    table = pa.table({"user": ["a", "b"], "item": [1, 2], "rating": [1.5, 2.0], "timestamp": [1, 2]})
    pq.write_table(table, tmp_path / "r.parquet")
    shutil.copyfile(ratings, tmp_path / "r.csv")
    command = [sys.executable, "-c", program, str(tmp_path / "r.csv"), str(tmp_path / "r.parquet")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "900000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu.max": "nonsense"}, 8),
    ],
)
def test_processors_of_a_container(tmp_path, monkeypatch, files, count):
    monkeypatch.setattr(processors, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert processors.usable_processors() == count


# A cluster


@pytest.mark.integration
def test_a_cluster_makes_the_bytes_that_threads_make(cluster, ratings, wanted, tmp_path):
    steps = []
    with chosen_engine(str(cluster.file)) as workers:
        source = RatingsSource.detect([ratings], timestamp=True)
        made = ingest_ratings(
            source, tmp_path / "out", engine=workers, progress=lambda *step: steps.append(step), **SMALL
        )
    assert made.digest == wanted.digest
    assert contents(made.path) == contents(wanted.path)
    assert names(tmp_path) == ["out"]
    assert len(steps) > 40
    assert {stage: done for stage, done, _ in steps} == {stage: total for stage, _, total in steps}


@pytest.mark.integration
def test_the_command_on_a_cluster(cluster, ratings, tmp_path, monkeypatch):
    # Workers are elsewhere: what is named from here is to be found there.
    monkeypatch.chdir(ratings.parent)
    options = ["--split", "per-user", "--valid", "1", "--json"]
    digests = set()
    for name, scheduler in [("threads", []), ("address", [cluster.address]), ("file", [cluster.file])]:
        where = ["--dask-scheduler", *scheduler] if scheduler else []
        done = walslab("ingest", "*.csv", "--out", tmp_path / name, *options, *where)
        assert done.exit_code == 0, done.output
        digests.add(json.loads(done.stdout.splitlines()[-1])["digest"])
    assert len(digests) == 1
    assert contents(tmp_path / "threads") == contents(tmp_path / "address") == contents(tmp_path / "file")


@pytest.mark.integration
def test_a_bad_row_is_named_as_threads_name_it(cluster, ratings, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text(ratings.read_text() + "1,2,x,4\n")
    texts = set()
    for where in ([], ["--dask-scheduler", cluster.address]):
        done = walslab("ingest", bad, "--out", tmp_path / "out", *where)
        assert done.exit_code == 2
        texts.add(done.stderr)
        assert names(tmp_path) == ["bad.csv"]
    assert len(texts) == 1
    assert (
        f"bad.csv, line {N_RATINGS + 1}: the rating must be a finite float32 number, but is 'x'"
        in texts.pop()
    )


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["pandas", pytest.param("gpu", marks=pytest.mark.slow)])
def test_a_dask_dataframe_is_computed_where_its_client_is(cluster, ratings, wanted, tmp_path, kind):
    frame = pd.read_csv(ratings, names=["user", "item", "rating", "timestamp"])
    seen = tmp_path / "seen"
    seen.mkdir()

    def part(at):
        (seen / f"{os.getpid()}-{at}").touch()
        return frame.iloc[at : at + 300]

    def of_pandas():
        return dd.from_map(part, range(0, N_RATINGS, 300), meta=frame.iloc[:0])

    workers = {str(pid) for pid in cluster.client.run(os.getpid).values()}
    made = of_pandas() if kind == "pandas" else frames_of_ratings.dask_of_gpu(frame, 3)
    with cluster.client.as_current():
        done = ingest_ratings(made, tmp_path / "active", **SMALL)
    assert done.digest == wanted.digest
    with chosen_engine(cluster.address) as engine:
        done = ingest_ratings(made, tmp_path / "named", engine=engine, **SMALL)
    assert contents(done.path) == contents(wanted.path)
    assert {path.name.split("-")[0] for path in seen.iterdir()} <= workers
    frame.loc[1234, "rating"] = np.nan
    with (
        cluster.client.as_current(),
        pytest.raises(RatingsError, match=r"^partition 4, row 35: the rating is missing"),
    ):
        ingest_ratings(of_pandas(), tmp_path / "bad", **SMALL)
    assert not (tmp_path / "bad").exists()


@pytest.mark.integration
def test_an_ingest_outlives_its_workers(cluster, ratings, wanted, tmp_path):
    mortal = [cluster.start("worker", "--no-nanny", "--nthreads", "1") for _ in range(2)]
    wait_for(lambda: n_workers(cluster.client) == 4)

    def progress(stage, done, total):
        if done == 2 and stage in {"reading", "sorting"}:
            mortal.pop().kill()

    with chosen_engine(cluster.address) as workers:
        source = RatingsSource.detect([ratings], timestamp=True)
        made = ingest_ratings(source, tmp_path / "out", engine=workers, progress=progress, **SMALL)
    assert mortal == []
    assert made.digest == wanted.digest
    assert contents(made.path) == contents(wanted.path)
    assert names(tmp_path) == ["out"]
    wait_for(lambda: n_workers(cluster.client) == 2)


@pytest.mark.integration
def test_a_worker_that_sees_another_disk_is_named(cluster, ratings, tmp_path):
    with one_more_worker(cluster, ANOTHER_DISK.format(folder=bytes(tmp_path))) as address:
        done = walslab("ingest", ratings, "--out", tmp_path / "out", "--dask-scheduler", cluster.address)
    assert done.exit_code == 1
    text = rf"error: the Dask worker {address} does not see {tmp_path}/\.out\.partial-\w+/new/\.work: put the"
    assert re.search(text, done.stderr)
    assert names(tmp_path) == []


@pytest.mark.integration
@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "/nowhere/r.csv",
            r"the Dask worker tcp://\S+ does not see /nowhere/r\.csv: put the ratings and --out",
        ),
        ("r.csv", r"the path of ratings must be absolute, but got r\.csv"),
    ],
)
def test_ratings_that_workers_do_not_see_are_named(cluster, tmp_path, path, text):
    with pytest.raises(BackendError, match=text):
        Cluster(cluster.client, WORDS).check(tmp_path, [str(tmp_path), path])


@pytest.mark.integration
def test_a_worker_without_walslab_is_named(cluster, ratings, tmp_path):
    with one_more_worker(cluster, WITHOUT_WALSLAB) as address:
        done = walslab("ingest", ratings, "--out", tmp_path / "out", "--dask-scheduler", cluster.address)
    assert done.exit_code == 1
    assert f"error: the Dask worker {address} has no walslab: install the same version there" in done.stderr
    assert names(tmp_path) == []


@pytest.mark.integration
def test_a_long_task_is_no_lack_of_workers(cluster, monkeypatch):
    monkeypatch.setattr(WAITS, "without_workers", 1.0)
    monkeypatch.setattr(WAITS, "news", 0.2)
    with chosen_engine(cluster.address) as workers:
        assert workers.map(time.sleep, [3.0, 0.1], lambda: None) == [None, None]


@pytest.mark.integration
def test_what_a_cluster_dies_of(tmp_path_factory, repo_root, ratings, tmp_path, monkeypatch):
    settings = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    monkeypatch.setattr(WAITS, "connection", 60.0)
    ingest = ["ingest", ratings, "--out", tmp_path / "out", "--dask-scheduler"]
    with DaskProcesses(tmp_path_factory.mktemp("frail"), repo_root, **settings) as processes:
        processes.start_scheduler()
        address = processes.address
        done = walslab(*ingest, address)
        assert (done.exit_code, names(tmp_path)) == (1, [])
        assert f"{address} has no workers: start some with `dask worker {address}`" in done.stderr
        done = walslab(*ingest, processes.file)
        assert f"start some with `dask worker --scheduler-file {processes.file}`" in done.stderr

        processes.start("worker", "--nworkers", "1", "--nthreads", "1")
        processes.wait_for_workers(1)
        with chosen_engine(address) as workers:
            with pytest.raises(
                BackendError, match="Dask workers died of a task, perhaps for want of memory: "
            ):
                workers.map(os._exit, [1], lambda: None)
            wait_for(lambda: n_workers(workers.client) == 1)
            monkeypatch.setattr(WAITS, "answer", 3.0)
            with pytest.raises(
                BackendError, match=r"the Dask cluster is gone: .*; ingest again when it is back"
            ):
                workers.map(time.sleep, [0.01] * 1000, processes.scheduler.kill)
        monkeypatch.setattr(WAITS, "connection", 1.0)
        done = walslab(*ingest, address)
        assert (done.exit_code, names(tmp_path)) == (1, [])
        assert f"error: the Dask scheduler {address} does not answer: " in done.stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    "scheduler", ["tcp://127.0.0.1:1", "localhost", "spam://head:8786", "[]", '{"id": "x"}', "?"]
)
def test_a_scheduler_that_does_not_answer(tmp_path, ratings, scheduler, monkeypatch):
    monkeypatch.setattr(WAITS, "connection", 1.0)
    if scheduler[0] in "[{?":
        (tmp_path / "scheduler.json").write_text(scheduler)
        scheduler = str(tmp_path / "scheduler.json")
    done = walslab("ingest", ratings, "--out", tmp_path / "out", "--dask-scheduler", scheduler)
    assert done.exit_code == 1
    assert f"error: the Dask scheduler {scheduler} does not answer: " in done.stderr
    assert "start one with `dask scheduler`, or leave --dask-scheduler out" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_address_that_is_none_ends_it_at_once(ratings, tmp_path):
    program = """
from toolkit.commands import main
from toolkit.engines import WAITS
WAITS.connection = 100.0
main()
"""
    arguments = ["ingest", ratings, "--out", tmp_path / "out", "--dask-scheduler", "spam://head:8786"]
    began = time.monotonic()
    done = forks.run(program, *arguments, imports=["distributed"])
    # Dask would wait twice as long as for an answer, and say what went wrong with that.
    assert time.monotonic() - began < 100
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "unknown address scheme 'spam'" in done.stderr
