"""An ingest on the GPUs of this machine, and how any shows its progress."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pty
import re
import sys
import types

import pytest
from engine_ratings import N_RATINGS, ratings_fixture, wanted_fixture  # noqa: F401 - fixtures
from forks import Forked
from ingesting import names, walslab

from toolkit.commands import step_progress as shown
from toolkit.datasets import RatingsDataset
from toolkit.errors import ConfigError
from toolkit.ingest import chosen_engine

# GPUs


def fake_cuda(monkeypatch, cluster):
    module = types.ModuleType("dask_cuda")
    module.LocalCUDACluster = cluster
    monkeypatch.setitem(sys.modules, "dask_cuda", module)


@pytest.mark.integration
def test_a_worker_on_each_gpu(ratings, wanted, tmp_path, monkeypatch):
    from distributed import LocalCluster

    fake_cuda(
        monkeypatch, functools.partial(LocalCluster, n_workers=2, threads_per_worker=1, processes=False)
    )
    done = walslab(
        "ingest", ratings, "--out", tmp_path / "out", "--dask", "cuda", "--split", "temporal", "--json"
    )
    assert done.exit_code == 0, done.output
    made = RatingsDataset.open(tmp_path / "out", verify=True)
    assert json.loads(done.stdout.splitlines()[-1])["digest"] == made.digest
    assert (made.train != wanted.train).nnz == 0


def test_no_gpu_is_explained(ratings, tmp_path, monkeypatch):
    def fail(**options):
        raise RuntimeError("NVML Shared Library Not Found")

    fake_cuda(monkeypatch, fail)
    done = walslab("ingest", ratings, "--out", tmp_path / "out", "--dask", "cuda")
    assert done.exit_code == 1
    assert (
        "error: --dask cuda found no GPU to use: NVML Shared Library Not Found; leave it out" in done.stderr
    )
    assert names(tmp_path) == []


def test_a_missing_dask_cuda_is_explained(ratings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    done = walslab("ingest", ratings, "--out", tmp_path / "out", "--dask", "cuda")
    assert done.exit_code == 1
    assert "error: --dask cuda needs dask-cuda: " in done.stderr
    assert "pip install 'walslab[gpu]'" in done.stderr
    assert names(tmp_path) == []


def test_two_clusters_are_one_too_many(ratings, tmp_path):
    done = walslab(
        "ingest", ratings, "--out", tmp_path / "out", "--dask", "cuda", "--dask-scheduler", "tcp://h:1"
    )
    assert done.exit_code == 2
    assert "--dask-scheduler names a cluster, and --dask starts one: give one of them" in done.stderr
    with pytest.raises(ConfigError), chosen_engine("tcp://h:1", "cuda"):
        pytest.fail("the block must not run")
    with chosen_engine() as nothing:
        assert nothing is None


# Progress


def test_progress_is_a_line_now_and_then(ratings, tmp_path, monkeypatch):
    assert "reading" not in walslab("ingest", ratings, "--out", tmp_path / "quick").stderr
    monkeypatch.setattr(shown, "_SECONDS_BETWEEN_LINES", 0.0)
    done = walslab("ingest", ratings, "--out", tmp_path / "slow", "--json")
    lines = [line for line in done.stderr.splitlines() if re.fullmatch(r"[a-z ]+: \d+ of \d+", line)]
    assert {"reading: 0 of 2", "reading: 2 of 2", "writing by item: 1 of 1"} <= set(lines)
    assert len(done.stdout.splitlines()) == 1
    assert not set(done.output) & set("\x1b\r█")


def test_progress_is_a_bar_on_a_terminal_and_gone_at_the_end(ratings, tmp_path):
    ours, theirs = pty.openpty()
    program = "from toolkit.commands import main; main(prog_name='walslab')"
    arguments = ["ingest", ratings, "--out", tmp_path / "out", "--json"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with os.fdopen(theirs, "w") as terminal:
        process = Forked(program, *arguments, stderr=terminal, env=environment)
    with process:
        screen = b""
        with contextlib.suppress(OSError):  # the terminal is closed at the other end
            while data := os.read(ours, 1 << 16):
                screen += data
        printed = process.stdout.read()
        assert process.wait() == 0
    os.close(ours)
    text = screen.decode()
    assert all(stage in text for stage in ("reading", "sorting", "writing by user", "1/1", "█"))
    # The bar is wiped out before the summary comes.
    assert re.search(r"\r +\r1,500 ratings of 60 users and 50 items", text)
    assert json.loads(printed)["ratings"] == N_RATINGS
