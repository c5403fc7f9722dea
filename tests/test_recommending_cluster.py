"""Recommendations for many users by the workers of a Dask cluster: the same file, or none."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from dask_processes import QUICK, DaskProcesses
from processes import wait_for
from recommending_models import model_fixture, names, saved_fixture, small_parts_fixture, write  # noqa: F401 - fixtures

from toolkit import WALS, WALSConfig, ingest_ratings
from toolkit.commands import main
from toolkit.engines import WAITS, Cluster, cluster_at
from toolkit.errors import BackendError, ConfigError, ModelError
from toolkit.models import Model
from toolkit.recommending import Rule, evaluate_on, every_user, ranking, recommend_to_file, tasks
from toolkit.recommending.tasks import RankingJob, model_checksum, rank_part
from toolkit.serving import write_mlflow_model

pytestmark = pytest.mark.usefixtures("short_search")


def ranking_job(path, rule=None):
    return RankingJob(str(path), model_checksum(path), rule or Rule(), "numpy", 1)


def test_a_worker_opens_the_model_once_and_another_one_anew(saved, model, tmp_path, monkeypatch):
    opened = []
    load = Model.load.__func__
    monkeypatch.setattr(Model, "load", classmethod(lambda cls, path: opened.append(path) or load(cls, path)))
    tasks._ranker.cache_clear()
    shutil.copytree(saved, tmp_path / "model")
    told = ranking_job(tmp_path / "model")
    for begin in (0, 10, 20):
        best = rank_part(told, np.arange(begin, begin + 10))
        alone, _ = model.recommend(model.users.ids[begin : begin + 10])
        ids = np.where(best.items >= 0, model.items.ids[best.items], -1)
        np.testing.assert_array_equal(ids, alone)
    assert len(opened) == 1
    model.save(tmp_path / "model", overwrite=True, valid_rmse=1.0)
    assert ranking_job(tmp_path / "model") != told
    rank_part(ranking_job(tmp_path / "model"), np.arange(3))
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
    """A scheduler and two worker processes."""
    with DaskProcesses(tmp_path_factory.mktemp("cluster"), repo_root, **QUICK) as processes:
        processes.start_scheduler()
        processes.start_workers(2)
        yield processes


def test_a_cluster_evaluates_to_the_same_bits(cluster, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((60, 20)) < 0.4)
    frame = pd.DataFrame({"user": users, "item": items, "rating": rng.integers(1, 11, len(users)) / 2})
    data = ingest_ratings(frame, tmp_path / "data", shard_ratings=60)
    fitted = WALS(WALSConfig(factors=2, iterations=2)).fit(
        data.train, user_ids=data.users, item_ids=data.items
    )
    fitted.save(tmp_path / "model")
    expected = evaluate_on(tmp_path / "model", data)
    assert evaluate_on(tmp_path / "model", data, scheduler=cluster.address) == expected
    monkeypatch.setattr(WAITS, "connection", 1.0)
    with pytest.raises(BackendError):
        evaluate_on(tmp_path / "model", data, scheduler="tcp://127.0.0.1:9")


@pytest.fixture
def lonely(tmp_path_factory, repo_root):
    """A scheduler and its only worker, which nobody starts again."""
    with DaskProcesses(tmp_path_factory.mktemp("lonely"), repo_root, **QUICK) as processes:
        processes.start_scheduler()
        (processes.worker,) = processes.start_workers(1)
        yield processes


@pytest.fixture
def impatient(monkeypatch):
    for name, seconds in (("without_workers", 1.0), ("news", 0.2), ("answer", 3.0)):
        monkeypatch.setattr(WAITS, name, seconds)


def on_cluster(model, path, out, address, progress=None):
    rule = Rule()
    with ranking(model, rule, backend="numpy", scheduler=address, name=path) as (rank, _):
        return recommend_to_file(model, every_user(model.users).rows, out, rule, rank, progress=progress)


@pytest.mark.integration
@pytest.mark.parametrize("served", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_cluster_writes_what_this_process_writes(cluster, model, saved, *, tmp_path, small_parts, served):
    """The model, and as MLflow serves it, which takes seconds to import."""
    folder = tmp_path / "out"
    folder.mkdir()
    write(model, folder / "here.parquet", titles=model.titles)
    name = tmp_path / "served" if served else saved
    if served:
        write_mlflow_model(saved, name)
    for where in (cluster.address, str(cluster.file)):
        done = CliRunner().invoke(
            main,
            [
                *("recommend", str(name), "--all-users", "--out", str(folder / "there.parquet")),
                *("--dask-scheduler", where, "--overwrite", "--backend", "numpy"),
            ],
        )
        assert done.exit_code == 0, done.output
        assert (folder / "there.parquet").read_bytes() == (folder / "here.parquet").read_bytes()
    assert names(folder) == ["here.parquet", "there.parquet"]


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
    third = cluster.start("worker", "--no-nanny", "--nthreads", "1")
    cluster.wait_for_workers(3)

    def progress(stage, done, total):
        if 20 < done < total and not killed:
            third.kill()
            killed.append(third)

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
            list(tasks.on_cluster(workers, RankingJob(str(hidden), "", Rule(), "numpy", 1), [np.arange(3)]))
        lost = RankingJob(str(saved), "another", Rule(), "numpy", 1)
        with pytest.raises(ModelError):
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
