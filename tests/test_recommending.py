"""Recommendations for many users: what the model says of each, complete or not there, here or elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from dask_processes import QUICK, DaskProcesses, failure_to_connect
from processes import wait_for

from toolkit import dask_cluster
from toolkit.backend import Backend
from toolkit.commands import main
from toolkit.config import RunOptions, WALSConfig
from toolkit.dask_cluster import Cluster, cluster_at
from toolkit.ensemble import Ensemble
from toolkit.errors import BackendError, ConfigError, ModelError, UnknownIdError
from toolkit.ids import IdTable
from toolkit.mlflow_model import write_mlflow_model
from toolkit.model import Model
from toolkit.recommending import Ranker, Rule, every_user, job, ranking, read_users, recommend_to_file, tasks
from toolkit.recommending.tasks import Order, identity, rank_part
from toolkit.wals import WALS

N_USERS, N_ITEMS = 60, 40


def fitted(ratings, *, seed=0, **ids):
    config = WALSConfig(factors=4, iterations=3)
    return WALS(config, RunOptions(backend="numpy", threads=1, seed=seed)).fit(ratings, **ids)


@pytest.fixture(scope="module")
def model(made_up_ratings):
    """A model with text for users and gaps in the items' numbers; user 7 has rated all items but two."""
    ratings = made_up_ratings(N_USERS, N_ITEMS, density=0.3, whole=True).tolil()
    ratings[7] = [3.0] * (N_ITEMS - 2) + [0.0] * 2
    made = fitted(
        ratings.tocsr(),
        user_ids=[f"u{n}" for n in range(N_USERS)],
        item_ids=np.arange(N_ITEMS) * 3 + 10,
    )
    made.titles = np.array([f"Title {n}" if n % 5 else "" for n in range(N_ITEMS)])
    return made


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    model.save(path)
    return path


@pytest.fixture
def small_parts(monkeypatch):
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


# Ranker


def test_ranker_says_what_the_model_says(model, backend):
    rows = np.array([5, 3, 4, 9])
    for include in (False, True):
        best = Ranker(model, Rule(6, include_seen=include), backend).best(rows)
        other = model.recommend_many(model.users.ids[rows], 6, exclude_seen=not include, backend=backend)
        np.testing.assert_array_equal(best.items, other.items)
        np.testing.assert_allclose(best.scores, other.scores, rtol=1e-6)
        assert (best.items.dtype, best.scores.dtype) == (np.int32, np.float32)


def test_neighbours_are_ranked_as_others(model):
    ranker = Ranker(model, Rule(), Backend("numpy", 1))
    together, apart = ranker.best(np.arange(20)), ranker.best(np.arange(20)[::-1])
    np.testing.assert_array_equal(together.items, apart.items[::-1])


def test_items_of_few_ratings_are_left_out(model, backend):
    counts = np.asarray(model.item_counts)
    least = int(np.median(counts))
    best = Ranker(model, Rule(N_ITEMS, include_seen=True, min_ratings=least), backend).best(np.arange(5))
    assert {*best.items.ravel().tolist()} == {-1, *np.flatnonzero(counts >= least).tolist()}
    none = Ranker(model, Rule(3, min_ratings=10_000), backend).best(np.arange(5))
    assert (none.items == -1).all()
    assert np.isnan(none.scores).all()


@pytest.mark.parametrize(("options", "text"), [({"n": 0}, "n must be"), ({"min_ratings": -1}, "min_ratings")])
def test_rule_refuses_what_is_out_of_range(options, text):
    with pytest.raises(ConfigError, match=text):
        Rule(**options)


# The users of a file


TABLE = IdTable([10, 20, 30, 40], "user")
TEXTS = IdTable(["ann", "bob", "7"], "user")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("u.txt", "30\n10\n\n 20 \n"),
        ("u", "\ufeff30\r\n10\r\n20"),
        ("u.csv", "user\n30\n10\n20\n"),
        ("U.CSV", "score, user \n1,30\n2,10\n3,20\n"),
        ("u.csv", 'id,name\n"30","a, b"\n10,\n\n20,c\n'),
    ],
)
def test_users_come_in_the_order_of_the_file(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read_users(tmp_path / name, TABLE).rows.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("columns", "table"),
    [
        ({"user": [30, 10, 20]}, TABLE),
        ({"id": pa.array([30, 10, 20], pa.int32())}, TABLE),
        ({"score": [1.0, 2.0, 3.0], "user": ["30", "10", "20"]}, TABLE),
        ({"user": pa.array(["7", "ann", "bob"]).dictionary_encode()}, TEXTS),
    ],
)
def test_users_of_parquet(tmp_path, columns, table):
    pq.write_table(pa.table(columns), tmp_path / "u.parquet")
    assert read_users(tmp_path / "u.parquet", table).rows.tolist() == [2, 0, 1]


def test_users_named_again_count_once_at_their_first_place(tmp_path, monkeypatch):
    (tmp_path / "u.txt").write_text("40\n10\n40\n10\n30\n40\n")
    for piece in (1, 2, 100):
        monkeypatch.setattr("toolkit.recommending.users._AT_ONCE", piece)
        asked = read_users(tmp_path / "u.txt", TABLE)
        assert (asked.rows.tolist(), asked.unknown, asked.repeated) == ([3, 0, 2], 0, 3)


def test_unknown_users_are_counted_and_the_first_few_named(tmp_path):
    path = tmp_path / "u.txt"
    path.write_text("10\n99\nx\n" + "\n".join(map(str, range(100, 110))))
    with pytest.raises(UnknownIdError) as raised:
        read_users(path, TABLE)
    assert str(raised.value) == (
        f"{path} names 12 of 13 users whom the model has never seen: 99 (line 2), x (line 3), 100 (line 4), "
        "101 (line 5), 102 (line 6), …; it knows 4, such as 10, 20, 30 (or have such users left out, "
        "counted, with --unknown drop)"
    )
    asked = read_users(path, TABLE, unknown="drop")
    assert (asked.rows.tolist(), asked.unknown, asked.repeated) == ([0], 12, 0)


def of_parquet(**columns):
    return lambda path: pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("u.txt", "\n \n", "names no user: it holds no id; give one id a line, or take --all-users"),
        ("u.csv", "", "names no user"),
        (
            "u.csv",
            "10\n20\n",
            "line 1 must name the columns, but '10' is a user: put a header such as 'user'",
        ),
        ("u.csv", "score,account\n1,10\n", "line 1 must name a column 'user', but names score, account"),
        ("u.csv", "id,user\n1,10\n2, \n", "line 3: the user is missing"),
        ("u.csv", "id,user\n1,10\n2\n", "line 3: the user is missing"),
        ("u.txt", b"\xff\xfe1\x00", "is not UTF-8 text"),
        ("u.parquet", b"user\n1\n", "cannot be read as Parquet"),
        ("u.parquet", of_parquet(a=[1], b=[2]), "must have a column 'user', but has a, b"),
        ("u.parquet", of_parquet(user=[1.0]), "column 'user' must hold integers or text, but holds double"),
        ("u.parquet", of_parquet(user=[10, None]), "row 2: the user is missing"),
    ],
)
def test_what_names_no_users_is_refused(tmp_path, name, content, text):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as raised:
        read_users(path, TABLE)
    assert str(raised.value).startswith(str(path))
    assert text in str(raised.value)


def test_a_file_that_is_not_there_and_one_without_any_known_user(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.txt cannot be read: No such file"):
        read_users(tmp_path / "gone.txt", TABLE)
    (tmp_path / "u.txt").write_text("1\n2\n")
    with pytest.raises(ConfigError, match="none of its 2 ids is a user of the model"):
        read_users(tmp_path / "u.txt", TABLE, unknown="drop")


# The file


def test_file_holds_what_the_model_says_of_each_user(model, tmp_path, small_parts):
    steps = []
    report = write(model, tmp_path / "out.parquet", progress=lambda *step: steps.append(step))
    file = pq.ParquetFile(tmp_path / "out.parquet")
    table = file.read()
    same(table, wanted(model, model.users.ids.tolist()))
    assert file.metadata.num_row_groups == -(-N_USERS // 7)
    assert [str(field.type) for field in table.schema] == ["string", "int32", "int64", "float"]
    assert table.schema.metadata[b"walslab.n"] == b"10"
    assert (report.users, report.rows) == (N_USERS, table.num_rows)
    assert report.items == len(set(table["item"].to_pylist()))
    assert steps[0] == ("recommending", 0, N_USERS)
    assert steps[-1] == ("recommending", N_USERS, N_USERS)
    # User 7 has two items left.
    assert table["user"].to_pylist().count("u7") == 2


def test_rows_come_as_the_users_were_asked_with_titles(model, tmp_path, small_parts):
    rows = np.array([50, 3, 4, 5, 6, 7, 8, 9, 10, 0])
    rule = Rule(3, include_seen=True)
    write(model, tmp_path / "out.parquet", rule, rows, titles=model.titles)
    table = pq.read_table(tmp_path / "out.parquet")
    same(table, wanted(model, model.users.ids[rows], 3, exclude_seen=False))
    columns = model.items.rows(table["item"].to_pylist())
    assert table["title"].to_pylist() == model.titles[columns].tolist()
    assert table.schema.metadata[b"walslab.include_seen"] == b"true"


def test_an_ensemble_recommends_too(made_up_ratings, tmp_path):
    ratings = made_up_ratings(20, 15, seed=3)
    ensemble = Ensemble([fitted(ratings, seed=0), fitted(ratings, seed=1)])
    write(ensemble, tmp_path / "out.parquet")
    same(pq.read_table(tmp_path / "out.parquet"), wanted(ensemble, range(20)))


def test_csv_holds_the_same(model, tmp_path, small_parts):
    from pyarrow import csv

    for name in ("out.csv", "out.parquet"):
        write(model, tmp_path / name, titles=model.titles)
    text, table = csv.read_csv(tmp_path / "out.csv"), pq.read_table(tmp_path / "out.parquet")
    assert text.column_names == table.column_names
    for name in ("user", "rank", "item", "title"):
        assert text[name].to_pylist() == table[name].to_pylist()
    assert text["score"].to_pylist() == pytest.approx(table["score"].to_pylist())


def test_share_of_items_with_few_ratings_is_reported(made_up_ratings, tmp_path):
    model = fitted(made_up_ratings(12, 30, density=0.05))
    counts = np.asarray(model.item_counts)
    report = write(model, tmp_path / "out.parquet")
    items = model.items.rows(pq.read_table(tmp_path / "out.parquet")["item"].to_pylist())
    assert report.few_ratings == pytest.approx((counts[items] < 5).mean())
    assert write(model, tmp_path / "none.parquet", Rule(min_ratings=1000)).rows == 0
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [("out.txt", r"must end in \.parquet or \.csv"), ("there.csv", "exists already"), ("d.csv", "directory")],
)
def test_a_file_that_cannot_be_made_is_refused_before_anything(model, tmp_path, name, text):
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ConfigError, match=text):
        recommend_to_file(model, np.arange(3), tmp_path / name, Rule(), pytest.fail)
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert names(tmp_path) == ["d.csv", "there.csv"]


def test_an_existing_file_is_replaced_when_the_new_one_is_complete(model, tmp_path, small_parts):
    out = tmp_path / "out.parquet"
    out.write_text("old")

    def progress(stage, done, total):
        if done < total:
            assert out.read_text() == "old"

    write(model, out, overwrite=True, progress=progress)
    assert pq.read_table(out).num_rows > 0
    assert names(tmp_path) == ["out.parquet"]


def test_memory_does_not_grow_with_users(tmp_path, made_up_ratings, monkeypatch):
    monkeypatch.setattr(job, "_USERS", 256)
    peaks = []
    for n_users in (512, 4096):
        model = fitted(made_up_ratings(n_users, 60, density=0.1))
        write(model, tmp_path / "warm.parquet", overwrite=True)
        tracemalloc.start()
        write(model, tmp_path / "out.parquet", overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Eight times the users: their row numbers, and what Parquet notes of each row group.
    assert peaks[1] < peaks[0] * 1.5


# When something breaks


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MemoryError(), OSError(28, "No space left on device")]
)
def test_what_breaks_leaves_nothing(model, tmp_path, small_parts, name, error):
    def progress(stage, done, total):
        if done > 20:
            raise error

    with pytest.raises(type(error)) as raised:
        write(model, tmp_path / name, progress=progress)
    assert names(tmp_path) == []
    if isinstance(error, OSError):
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / name))


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 KB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "walslab-test", str(folder)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no disk of one's own is permitted here: {error}")
    if done.returncode:
        pytest.skip(f"no disk of one's own is permitted here: {done.stderr}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_full_disk_is_told_by_name_and_leaves_what_was_there(made_up_ratings, disk, tmp_path, suffix):
    made = fitted(made_up_ratings(500, 300, density=0.1))
    made.save(tmp_path / "model")
    out = disk / f"out.{suffix}"
    out.write_text("old")
    arguments = ["recommend", tmp_path / "model", "--all-users", "--out", out, "-n", 100, "--overwrite"]
    done = CliRunner().invoke(main, [*map(str, arguments), "--backend", "numpy"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"walslab: error: [Errno 28] No space left on device: '{out}'"
    assert out.read_text() == "old"
    assert names(disk) == [out.name]


# The command, whose parts take their time and are told.
COMMAND = """
import signal, sys, time
# Where the tests run in the background, they and their children ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from toolkit.commands import main
from toolkit.recommending import job, ranker

job._USERS = 7
best = ranker.Ranker.best

def slow(self, rows):
    print("part", flush=True)
    time.sleep(0.3)
    return best(self, rows)

ranker.Ranker.best = slow
main(prog_name="walslab")
"""


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_half_way_it_leaves_no_file_and_the_next_one_cleans_up(saved, repo_root, tmp_path, blow):
    arguments = ["recommend", saved, "--all-users", "--out", tmp_path / "out.parquet", "--backend", "numpy"]
    arguments = [*map(str, arguments)]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
    ) as process:
        for _ in range(3):
            assert process.stdout.readline() == "part\n"
        began = time.monotonic()
        process.send_signal(blow)
        told = process.communicate(timeout=30)[1]
    assert time.monotonic() - began < 10
    assert "Traceback" not in told
    assert not (tmp_path / "out.parquet").exists()
    if blow == signal.SIGINT:
        assert (process.returncode, told.split()[-1], names(tmp_path)) == (1, "Aborted!", [])
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert names(tmp_path) == ["out.parquet"]


# On a cluster


def order(path, rule=None):
    return Order(str(path), identity(path), rule or Rule(), "numpy", 1)


def test_a_worker_opens_the_model_once_and_another_one_anew(saved, model, tmp_path, monkeypatch):
    opened = []
    load = Model.load.__func__
    monkeypatch.setattr(Model, "load", classmethod(lambda cls, path: opened.append(path) or load(cls, path)))
    tasks._ranker.cache_clear()
    shutil.copytree(saved, tmp_path / "model")
    told = order(tmp_path / "model")
    for begin in (0, 10, 20):
        best = rank_part(told, np.arange(begin, begin + 10))
        alone = model.recommend_many(model.users.ids[begin : begin + 10])
        np.testing.assert_array_equal(best.items, alone.items)
    assert len(opened) == 1
    model.save(tmp_path / "model", overwrite=True, valid_rmse=1.0)
    assert order(tmp_path / "model") != told
    rank_part(order(tmp_path / "model"), np.arange(3))
    assert len(opened) == 2
    tasks._ranker.cache_clear()
    with pytest.raises(
        ModelError, match=r"has another model in .*model than this machine: put the model where"
    ):
        rank_part(told, np.arange(3))


def test_a_model_of_a_registry_is_refused_with_the_way_out(model):
    where = ranking(model, Rule(), scheduler="tcp://head:8786", name="models:/films@champion")
    with (
        pytest.raises(ConfigError, match=r"mlflow artifacts download -u models:/films@champion -d DIR"),
        where,
    ):
        pytest.fail("the block must not run")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, repo_root):
    """A scheduler and two worker processes, each kept alive by a nanny."""
    with DaskProcesses(tmp_path_factory.mktemp("cluster"), repo_root, **QUICK) as processes:
        processes.start("worker", "--nworkers", "2", "--nthreads", "1")
        processes.start_scheduler()
        wait_for(lambda: not failure_to_connect(processes.address))
        yield processes


@pytest.fixture
def lonely(tmp_path_factory, repo_root):
    """A scheduler and its only worker, which nobody starts again."""
    with DaskProcesses(tmp_path_factory.mktemp("lonely"), repo_root, **QUICK) as processes:
        processes.start_scheduler()
        processes.worker = processes.start("worker", "--no-nanny", "--nthreads", "1")
        wait_for(lambda: not failure_to_connect(processes.address))
        yield processes


@pytest.fixture
def impatient(monkeypatch):
    for name, seconds in (("_WITHOUT_WORKERS", 1.0), ("_LOOK", 0.2), ("_ANSWER", "3s")):
        monkeypatch.setattr(dask_cluster, name, seconds)


def on_cluster(model, path, out, address, progress=None):
    rule = Rule()
    with ranking(model, rule, backend="numpy", scheduler=address, name=path) as (rank, _):
        return recommend_to_file(model, every_user(model.users).rows, out, rule, rank, progress=progress)


@pytest.mark.integration
def test_a_cluster_writes_what_this_process_writes(cluster, model, saved, tmp_path, small_parts):
    write(model, tmp_path / "here.parquet", titles=model.titles)
    served = tmp_path / "served"
    write_mlflow_model(saved, served)
    for name, where in ((saved, cluster.address), (served, str(cluster.file))):
        done = CliRunner().invoke(
            main,
            [
                *("recommend", str(name), "--all-users", "--out", str(tmp_path / "there.parquet")),
                *("--dask-scheduler", where, "--overwrite", "--backend", "numpy"),
            ],
        )
        assert done.exit_code == 0, done.output
        assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()
    assert names(tmp_path) == ["here.parquet", "served", "there.parquet"]


@pytest.mark.integration
def test_results_stream_in_order_and_few_are_begun_ahead(cluster, tmp_path):
    def work(item):
        (tmp_path / f"{item}").touch()
        time.sleep(0.05 * (item % 3))
        return item * item

    with cluster_at(cluster.address, tasks.WORDS) as workers:
        found = workers.stream(work, list(range(20)), ahead=4)
        for item, result in enumerate(found):
            assert result == item * item
            assert len(names(tmp_path)) <= item + 4
    assert len(names(tmp_path)) == 20


@pytest.mark.integration
def test_a_stream_that_is_left_early_leaves_no_task(cluster, tmp_path):
    def work(item):
        (tmp_path / f"begun {item}").touch()
        time.sleep(0.3)
        (tmp_path / f"ended {item}").touch()

    with (
        cluster_at(cluster.address, tasks.WORDS) as workers,
        contextlib.closing(workers.stream(work, range(50), ahead=8)) as found,
    ):
        next(found)
    before = names(tmp_path)
    assert len(before) < 20
    assert len([name for name in before if "begun" in name]) * 2 == len(before)
    time.sleep(0.6)
    assert names(tmp_path) == before


@pytest.mark.integration
def test_it_outlives_a_worker(cluster, model, saved, tmp_path, small_parts):
    killed = []

    def progress(stage, done, total):
        if 20 < done < total and not killed:
            with cluster_at(cluster.address, tasks.WORDS) as workers:
                killed.append(min(workers.client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    on_cluster(model, saved, tmp_path / "there.parquet", cluster.address, progress)
    write(model, tmp_path / "here.parquet")
    assert killed
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()


@pytest.mark.integration
def test_a_worker_that_does_not_see_the_model_is_named(cluster, model, saved, tmp_path):
    hidden = tmp_path / "hidden"
    with cluster_at(cluster.address, tasks.WORDS) as workers:
        with pytest.raises(
            BackendError, match=rf"does not see {hidden}: put the model where all workers see"
        ):
            list(tasks.on_cluster(workers, Order(str(hidden), "", Rule(), "numpy", 1), [np.arange(3)]))
        lost = Order(str(saved), "another", Rule(), "numpy", 1)
        with pytest.raises(ModelError, match="has another model in"):
            list(tasks.on_cluster(workers, lost, [np.arange(3)]))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("victim", "text"),
    [
        ("worker", r"has had no workers for 1 s, and \d+ tasks are left: .*, and recommend again$"),
        ("scheduler", r"^the Dask cluster is gone: .*; recommend again when it is back$"),
    ],
)
def test_a_cluster_that_dies_is_told_and_leaves_nothing(
    lonely, model, saved, *, tmp_path, small_parts, impatient, victim, text
):
    def progress(stage, done, total):
        if done == 14:
            getattr(lonely, victim).kill()

    began = time.monotonic()
    with pytest.raises(BackendError, match=text):
        on_cluster(model, saved, tmp_path / "out.parquet", lonely.address, progress)
    assert time.monotonic() - began < 60
    assert names(tmp_path) == []


@pytest.mark.integration
def test_a_full_disk_ends_the_tasks_of_a_cluster(cluster, model, saved, tmp_path, small_parts):
    def progress(stage, done, total):
        if done == 14:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        on_cluster(model, saved, tmp_path / "out.parquet", cluster.address, progress)
    assert names(tmp_path) == []
    with cluster_at(cluster.address, tasks.WORDS) as workers:
        assert isinstance(workers, Cluster)
        wait_for(lambda: not any(workers.client.processing().values()))
