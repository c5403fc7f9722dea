"""A study recorded by a real MLflow server, over HTTP, with the artifacts behind it."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.request

import numpy as np
import pytest
from click.testing import CliRunner
from forks import Forked
from mlflow import MlflowClient
from processes import free_port, wait_for

from cluster.cli import main
from toolkit.backends import Backend
from toolkit.datasets import RatingsDataset
from toolkit.evaluation import rmse
from toolkit.ingest import RatingsSource, ingest_ratings
from toolkit.solver import Factors

pytestmark = pytest.mark.integration


# `mlflow server`, whose uvicorn would import MLflow once more in a process of its own.
SERVER = """
import os, runpy, sys
from mlflow import server
from mlflow.cli import cli

def here(command, *, extra_env, **_):
    os.environ.update(extra_env)
    sys.argv = command[2:]
    runpy.run_module("uvicorn", run_name="__main__")

server._exec_cmd = here
cli(sys.argv[1:])
"""


@pytest.fixture
def server(tmp_path, empty_store):
    """The address of an MLflow server of our own."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    store = ["--backend-store-uri", f"sqlite:///{shutil.copyfile(empty_store, tmp_path / 'server.db')}"]
    place = [
        "--artifacts-destination",
        str(tmp_path / "artifacts"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command = ["server", *store, *place, "--workers", "1"]
    imports = ("mlflow.cli", "mlflow.store.tracking.sqlalchemy_store", "uvicorn")
    with (tmp_path / "server.log").open("w") as log:

        def answers():
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            with contextlib.suppress(OSError):
                return urllib.request.urlopen(f"{address}/health", timeout=60).status == 200

        with Forked(SERVER, *command, stdout=log, stderr=log, imports=imports) as process:
            wait_for(answers)
            yield address


def test_study_is_recorded_by_a_server(server, tmp_path, monkeypatch, undrawn):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "shared")
    rng = np.random.default_rng(0)
    rows = [f"{u},{i},{rng.integers(1, 6)}" for u in range(40) for i in range(15) if rng.random() < 0.5]
    (tmp_path / "r.csv").write_text("user,item,rating\n" + "\n".join(rows) + "\n")
    ingest_ratings(RatingsSource.detect([tmp_path / "r.csv"]), tmp_path / "dataset")
    (tmp_path / "search.json").write_text(
        json.dumps({"space": {"factors": {"low": 2, "high": 4}, "iterations": 2}, "trials": 2})
    )
    result = CliRunner().invoke(
        main,
        ["tune", "dataset", "--spec", "search.json", "--name", "remote", "--in-process", "--json"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name("shared")
    page = f"{server}/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey={told['parent_run_id']}"
    assert f"trials: {page}\n" in result.stderr
    assert f"charts: {page}&compareRunsMode=CHART\n" in result.stderr
    assert f"mlflow.sharedViewState.{told['parent_run_id']}" in experiment.tags
    assert client.get_run(told["parent_run_id"]).info.status == "FINISHED"
    children = client.search_runs(
        [client.get_experiment_by_name("shared").experiment_id],
        f"tags.`mlflow.parentRunId` = '{told['parent_run_id']}'",
    )
    assert len(children) == 2
    assert not (tmp_path / "mlflow.db").exists()
    valid = RatingsDataset.open("dataset").valid
    for child in children:
        factors = Factors.load(client.download_artifacts(child.info.run_id, "factors", str(tmp_path)))
        assert rmse(factors, valid.row, valid.col, valid.data, Backend()) == pytest.approx(
            child.data.metrics["valid_rmse"], abs=1e-6
        )
    pruned = CliRunner().invoke(main, ["prune", "remote", "--keep", "1", "--yes"], catch_exceptions=False)
    assert pruned.exit_code == 0, pruned.output
    assert len(list((tmp_path / "artifacts").rglob("factors"))) == 1
    (left,) = client.search_runs(
        [client.get_experiment_by_name("shared").experiment_id],
        f"tags.`mlflow.parentRunId` = '{told['parent_run_id']}'",
    )
    assert left.info.run_id == told["best"]["run_id"]
