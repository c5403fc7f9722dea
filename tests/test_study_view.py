"""MLflow's page on a study: the shared view, the links to it, and the command that opens them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from processes import free_port
from recorded_studies import make_store, make_study

from tune.commands import main
from tune.record import finish_parent, links_of, reopen_parent
from tune.record.sqlite_store import sqlite_file
from tune.study import Study

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store):
    return make_store(tmp_path_factory.mktemp("store"), empty_store)


@pytest.fixture
def study(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return make_study(store, tmp_path / "studies")


def view_of(study):
    client = MlflowClient(tracking_uri=study.facts["tracking_uri"])
    tags = client.get_experiment(study.facts["experiment_id"]).tags
    return json.loads(tags[f"mlflow.sharedViewState.{study.facts['view']}"])


def asked(link):
    """Return the route and the parameters of a link; MLflow's page has both behind the #."""
    route, _, query = urlsplit(link).fragment.partition("?")
    return route, {key: values[0] for key, values in parse_qs(query).items()}


def test_the_view_has_the_trials_best_first_with_figures_and_searched_hyperparameters(study):
    reopen_parent(study)
    view = view_of(study)
    assert view["searchFilter"] == f"tags.`mlflow.parentRunId` = '{study.facts['parent_run_id']}'"
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`valid_rmse`", True)
    figures = ("valid_rmse", "train_rmse", "iterations", "train_seconds")
    assert view["selectedColumns"] == [*(f"metrics.`{name}`" for name in figures), "params.`factors`"]
    parallel, line = view["compareRunCharts"]
    assert (parallel["type"], line["type"], line["metricKey"]) == ("PARALLEL", "LINE", "valid_rmse")
    assert (parallel["selectedParams"], parallel["selectedMetrics"]) == (["factors"], ["valid_rmse"])
    shown = [section["uuid"] for section in view["compareRunSections"] if section["display"]]
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == set(shown)


def test_a_search_for_a_ranking_is_shown_by_it_largest_first(store, tmp_path):
    study = make_study(store, tmp_path, metric="ndcg@5")
    reopen_parent(study)
    view = view_of(study)
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`valid_ndcg_5`", False)
    assert [chart.get("metricKey") for chart in view["compareRunCharts"]] == [
        None,
        "valid_ndcg_5",
        "valid_rmse",
    ]


def test_the_view_is_written_once(study, monkeypatch):
    reopen_parent(study)
    monkeypatch.setattr(MlflowClient, "set_experiment_tag", None)
    reopen_parent(Study.open(study.path))


@pytest.mark.parametrize(
    ("server", "page"),
    [
        ("https://mlflow.example", "https://mlflow.example/"),
        ("https://ann:***@mlflow.example:8443/team/", "https://mlflow.example:8443/team/"),
        ("http://ann:hush@[::1]:5000?token=hush#top", "http://[::1]:5000/"),
    ],
)
def test_links_open_the_view_on_a_server_and_hold_no_secret(study, server, page):
    reopen_parent(study)
    links = links_of(study, server)
    assert {urlsplit(link)._replace(fragment="").geturl() for link in links.values()} == {page}
    route, trials = asked(links["trials"])
    assert route == f"/experiments/{study.facts['experiment_id']}/runs"
    assert trials == {"viewStateShareKey": study.facts["view"]}
    assert asked(links["charts"]) == (route, {**trials, "compareRunsMode": "CHART"})


@pytest.mark.usefixtures("undrawn")
def test_the_description_of_the_parent_run_has_the_links(study):
    reopen_parent(study)
    finish_parent(study, "FINISHED")
    client, parent = MlflowClient(tracking_uri=study.facts["tracking_uri"]), study.facts["parent_run_id"]
    for link in links_of(study, "http://server").values():
        assert (
            f"({link.removeprefix('http://server/')})"
            in client.get_run(parent).data.tags["mlflow.note.content"]
        )


def test_a_store_that_takes_no_view_costs_the_columns_alone(study, monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError("experiment of somebody else")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    reopen_parent(study)
    assert "experiment of somebody else" in caplog.text
    _, shown = asked(links_of(study, "http://server")["trials"])
    parent = study.facts["parent_run_id"]
    assert shown == {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
        "orderByKey": "metrics.`valid_rmse`",
        "orderByAsc": "true",
    }


def results(*arguments):
    found = CliRunner().invoke(main, ["results", *arguments])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_results_name_the_links_on_a_server_and_else_the_command(study):
    assert links_of(study) == {}
    assert results(study.name).endswith(f"\nwalslab ui {study.name}\n")
    study.update(tracking_uri="https://ann:***@mlflow.example")
    *_, trials, charts = results(study.name).splitlines()
    assert trials.startswith("trials: https://mlflow.example/#/experiments/")
    assert charts.startswith("charts: https://mlflow.example/#/experiments/")


# The command


def ui(*arguments, code=0):
    found = CliRunner().invoke(main, ["ui", *arguments])
    assert found.exit_code == code, found.output
    return found


def test_a_server_is_opened_as_it_is(study, monkeypatch):
    opened = []
    monkeypatch.setenv("BROWSER", "any")
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("tune.record.client_of", lambda _: None)
    study.update(tracking_uri="http://mlflow.example")
    links = json.loads(ui(study.name, "--json").stdout)
    assert links == links_of(study)
    assert opened == [links["trials"]]
    ui(study.name, "--no-browser")
    assert len(opened) == 1


def test_without_a_study_and_a_store_the_way_on_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    told = ui(code=1).stderr
    assert f"there is no MLflow store {tmp_path}/mlflow.db yet: `walslab tune` makes it" in told
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_refused(study):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"port {port} of this machine is taken" in ui(study.name, "--port", port, code=1).stderr


def test_a_store_of_another_version_is_refused_with_the_way_on(study, tmp_path):
    file = shutil.copyfile(sqlite_file(study.facts["tracking_uri"]), tmp_path / "other.db")
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'cfd24bdc0731'")
    study.update(tracking_uri=f"sqlite:///{file}")
    told = ui(study.name, code=1).stderr
    assert "mlflow db upgrade" in told


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_answers_and_ends_with_the_command(study, number):
    reopen_parent(study)
    command = [sys.executable, "-m", "tune", "ui", study.name, "--port", str(free_port()), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        links = json.loads(process.stdout.readline())
        server = links["trials"].partition("#")[0]
        assert b"<title>MLflow" in urllib.request.urlopen(server).read()
        experiment = (
            f"{server}ajax-api/2.0/mlflow/experiments/get?experiment_id={study.facts['experiment_id']}"
        )
        tags = json.load(urllib.request.urlopen(experiment))["experiment"]["tags"]
        assert f"mlflow.sharedViewState.{study.facts['view']}" in {tag["key"] for tag in tags}
        process.send_signal(number)
        assert process.wait() == 0
    # Nothing that it started still has the page's port.
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server)
