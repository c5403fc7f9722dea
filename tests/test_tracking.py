"""Where runs are recorded: which store, what is shown of it, and how one that is not usable is refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time

import pytest
import sqlalchemy
from http_servers import always, serving
from mlflow import MlflowClient
from processes import free_port

from toolkit.errors import StudyError
from toolkit.files import mask
from tune import doctor
from tune.record import Tracking, log_dataset, run_writing, store_problems
from tune.record.run_writing import create_run, log
from tune.record.sqlite_store import make_store


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, and an environment that names no store."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "RAY_ADDRESS", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store):
    """A SQLite store with an experiment."""
    file = shutil.copyfile(empty_store, tmp_path_factory.mktemp("store") / "mlflow.db")
    made = Tracking(f"sqlite:///{file}", "first")
    made.experiment_id(made.client())
    return made.uri


@pytest.fixture
def closed_port():
    return free_port()


@pytest.fixture
def serve():
    """Return a function that starts an HTTP server which answers every request with one status."""
    with contextlib.ExitStack() as servers:
        yield lambda status: servers.enter_context(serving(always(status)))


# Which store


def test_default_is_a_sqlite_file_in_this_folder(folder):
    assert Tracking.from_environment() == Tracking(f"sqlite:///{folder}/mlflow.db", "walslab")
    assert not (folder / "mlflow.db").exists()


def test_standard_variables_are_obeyed(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "movies")
    assert Tracking.from_environment() == Tracking("http://127.0.0.1:5000", "movies")


def test_empty_variables_count_as_not_set(monkeypatch):
    default = Tracking.from_environment()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    assert Tracking.from_environment() == default


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:s3cret@127.0.0.1:5000/api", "http://ann:***@127.0.0.1:5000/api"),
        ("postgresql+psycopg2://ann:s3cret@db/mlflow", "postgresql+psycopg2://ann:***@db/mlflow"),
        ("mysql://:s3cret@db/mlflow", "mysql://:***@db/mlflow"),
        ("http://ann:s3c@r@et@host", "http://ann:***@host"),
        ("http://ann:s3c/r:et@host", "http://ann:***@host"),
        ("http://ann:ann@ann", "http://ann:***@ann"),
        ("http://[ann:s3cret@bad", "http://[ann:***@bad"),
        ("http://ann@host:5000/api", "http://ann@host:5000/api"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////home/a:b@c/mlflow.db", "sqlite:////home/a:b@c/mlflow.db"),
        ("databricks", "databricks"),
        ("https://h/x.csv?X-Amz-Signature=ab12&v=3", "https://h/x.csv?X-Amz-Signature=***&v=3"),
        ("https://h/x?sv=1&sig=a%2Fb", "https://h/x?sv=1&sig=***"),
    ],
)
def test_password_is_masked_and_nothing_else(uri, shown):
    assert mask(uri) == Tracking(uri, "x").shown == shown


# Stores that are not usable


def refused(uri):
    """Return what is told of a store, which must be the same before and during a search."""
    tracked = Tracking(uri, "walslab")
    with pytest.raises(StudyError) as raised:
        tracked.experiment_id(tracked.client())
    assert tracked.problem() == str(raised.value)
    return str(raised.value)


def test_closed_port_is_refused_at_once_with_the_way_out(closed_port):
    began = time.monotonic()
    told = refused(f"http://ann:s3cret@127.0.0.1:{closed_port}/")
    # MLflow itself would try again for two minutes.
    assert time.monotonic() - began < 60
    assert told.startswith(
        f"no MLflow server answers at MLFLOW_TRACKING_URI=http://ann:***@127.0.0.1:{closed_port}/ ("
    )
    assert "Connection refused" in told
    assert told.endswith("start it, or unset the variable to record in ./mlflow.db")
    assert "s3cret" not in told


def test_server_that_never_answers_is_refused_when_patience_ends(monkeypatch):
    monkeypatch.setattr(store_problems, "_PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = refused(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "timed out" in told


def test_server_of_something_else_is_refused():
    def speak():
        for _ in range(2):
            peer, _ = listening.accept()
            with peer:
                peer.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        speaker = threading.Thread(target=speak)
        speaker.start()
        told = refused(f"http://127.0.0.1:{listening.getsockname()[1]}")
        speaker.join()
    assert told.startswith("no MLflow server answers")


@pytest.mark.parametrize("uri", ["http://", "http://127.0.0.1:port", "http://ann:s3cret@127.0.0.1:99999"])
def test_address_that_is_none_is_refused(uri):
    told = refused(uri)
    assert told.startswith("no MLflow server answers")
    assert "s3cret" not in told


def test_address_that_cannot_be_taken_apart_is_refused_by_whoever_tries():
    tracked = Tracking("http://ann:s3cret@[", "walslab")
    with pytest.raises(StudyError, match=r"http://ann:\*\*\*@\[ "):
        tracked.client()
    assert "http://ann:***@[ " in tracked.problem()


@pytest.mark.parametrize("uri", ["./mlruns", "127.0.0.1:5000", "nonsense://ann:s3cret@x"])
def test_store_that_mlflow_does_not_take_is_refused(uri):
    told = refused(uri)
    assert told.startswith(f"the MLflow store {mask(uri)} is not usable: ")
    assert "s3cret" not in told


@pytest.mark.parametrize("status", [200, 401, 404])
def test_server_that_answers_is_left_to_mlflow(serve, status):
    server = serve(status)
    # A password belongs into a header, not into the name of the host.
    store_problems.require_answer(f"http://ann:s3cret@127.0.0.1:{server.server_port}/prefix/")
    assert [path for path, _ in server.asked] == ["/prefix/health"]


def test_store_that_is_a_directory_is_refused_with_a_file_to_name(folder):
    (folder / "store").mkdir()
    told = refused(f"sqlite:///{folder}/store")
    assert told.endswith(f"is a directory: set MLFLOW_TRACKING_URI=sqlite:///{folder}/store/mlflow.db")


def test_store_that_is_read_only_is_refused_in_one_line(store):
    """SQLite's own way to open a file for reading: permissions do not stop the superuser."""
    file = store.removeprefix("sqlite:///")
    tracked = Tracking(f"sqlite:///file:{file}?mode=ro&uri=true", "new here")
    assert Tracking.of_study(tracked.uri, "x").uri == tracked.uri
    with pytest.raises(StudyError) as raised:
        tracked.experiment_id(tracked.client())
    assert "\n" not in str(raised.value)
    assert "readonly database" in str(raised.value)
    assert str(raised.value).endswith("writable, or set MLFLOW_TRACKING_URI to another store")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        Exception("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_full_disk_says_what_to_do(error):
    with pytest.raises(StudyError, match="make room on its disk"), Tracking("sqlite:///x.db", "x").errors():
        raise error


# A store that is


def test_experiment_is_made_once(store):
    tracked = Tracking(store, "second")
    made = tracked.experiment_id(tracked.client())
    assert tracked.experiment_id(tracked.client()) == made
    assert MlflowClient(tracking_uri=store).get_experiment(made).name == "second"
    assert tracked.problem() is None


def test_deleted_experiment_is_refused_with_both_ways_out(store):
    tracked = Tracking(store, "deleted")
    made = tracked.experiment_id(tracked.client())
    tracked.client().delete_experiment(made)
    with pytest.raises(StudyError) as raised:
        tracked.experiment_id(tracked.client())
    assert tracked.problem() == str(raised.value)
    assert "the MLflow experiment 'deleted' was deleted: " in str(raised.value)
    assert "set MLFLOW_EXPERIMENT_NAME to another name" in str(raised.value)
    assert f"mlflow experiments restore --experiment-id {made}" in str(raised.value)


def test_parent_run_of_a_deleted_experiment_is_refused_with_the_way_back(store):
    tracked = Tracking(store, "gone with its runs")
    client = tracked.client()
    experiment = tracked.experiment_id(client)
    run_id = client.create_run(experiment).info.run_id
    client.delete_experiment(experiment)
    with pytest.raises(StudyError, match=f"`mlflow experiments restore --experiment-id {experiment}` with"):
        tracked.require_run(client, run_id)
    client.restore_experiment(experiment)
    assert tracked.require_run(client, run_id).info.run_id == run_id


def test_store_that_is_yet_to_be_made_is_no_problem_and_is_not_made_by_asking(folder):
    assert Tracking.from_environment().problem() is None
    assert list(folder.iterdir()) == []


def test_file_that_is_no_store_is_a_problem(folder):
    (folder / "mlflow.db").write_bytes(b"not a database, whatever its name says" * 100)
    told = Tracking.from_environment().problem()
    assert "mlflow.db is not usable: " in told
    assert "not a database" in told


def test_run_has_its_parameters_tags_and_dataset(store):
    tracked = Tracking(store, "first")
    client = tracked.client()
    data = {"dataset": "/data/ml", "digest": "abc", "counts": {"users": 3}, "derived": []}
    run = create_run(
        client, tracked.experiment_id(client), "trial-1", data=data, tags={"a": "b"}, start_time=5000
    )
    for _ in range(2):  # once more changes nothing
        log(client, run.info.run_id, params={"factors": 3, "bias": "full"})
        log_dataset(client, run.info.run_id, data)
    found = client.get_run(run.info.run_id)
    assert (found.info.run_name, found.info.start_time) == ("trial-1", 5000)
    assert found.data.params == {"factors": "3", "bias": "full"}
    assert found.data.tags["a"] == "b"
    (used,) = found.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("ml", "abc")


def test_user_without_a_name_is_recorded_by_number(store, monkeypatch):
    def nameless():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(run_writing.getpass, "getuser", nameless)
    tracked = Tracking(store, "first")
    client = tracked.client()
    data = {"dataset": "ml", "digest": "abc", "counts": {}, "derived": []}
    run = create_run(client, tracked.experiment_id(client), "trial-2", data=data, tags={})
    assert run.data.tags["mlflow.user"] == str(os.getuid())


# What doctor says


def finding(name):
    (found,) = [check for check in doctor.checks() if check["name"] == name]
    return found["ok"], found["detail"], found["fix"]


def test_doctor_is_content_with_an_empty_folder(folder):
    assert finding("mlflow store") == (True, f"sqlite:///{folder}/mlflow.db, experiment 'walslab'", None)
    assert finding("ray address") == (True, "RAY_ADDRESS is not set: studies run on this machine", None)


def test_doctor_says_which_store_does_not_answer(monkeypatch, closed_port):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:s3cret@127.0.0.1:{closed_port}")
    ok, detail, fix = finding("mlflow store")
    assert not ok
    assert f"ann:***@127.0.0.1:{closed_port}" in detail
    assert fix == "start the server, or unset MLFLOW_TRACKING_URI"


def answer_as_ray(server):
    """Answer one connection with the first frame of HTTP/2."""
    there, _ = server.accept()
    with there:
        there.recv(100)
        there.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_doctor_tries_the_ray_address(monkeypatch, closed_port, form):
    monkeypatch.setenv("RAY_ADDRESS", form.format(closed_port))
    ok, detail, fix = finding("ray address")
    assert not ok
    assert detail.startswith(f"RAY_ADDRESS={form.format(closed_port)}: ")
    assert fix == "start that cluster, or unset RAY_ADDRESS"
    with socket.create_server(("127.0.0.1", 0)) as cluster:
        threading.Thread(target=answer_as_ray, args=(cluster,), daemon=True).start()
        monkeypatch.setenv("RAY_ADDRESS", form.format(cluster.getsockname()[1]))
        ok, detail, _ = finding("ray address")
    assert ok, detail


@pytest.mark.parametrize(("address", "ok"), [("auto", True), ("local", True), ("nonsense", False)])
def test_doctor_knows_rays_own_words(monkeypatch, address, ok):
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert finding("ray address")[0] is ok


# Where the default store lies


def test_default_store_lies_in_this_folder_whatever_its_name(tmp_path, monkeypatch):
    here = tmp_path / "sp ace ha#sh per%20cent que?stion quo'te semi;colon"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracking = Tracking.from_environment()
    assert tracking.problem() is None
    tracking.experiment_id(tracking.client())
    assert (here / "mlflow.db").exists()
    assert tracking.problem() is None


def test_other_stores_of_the_process_write_as_safely_while_one_is_made(tmp_path, monkeypatch):
    found = {}

    class OtherThread:
        """Connects to two files while a store is made."""

        def __init__(self, tracking_uri):
            for name, uri in {"made": tracking_uri, "other": f"sqlite:///{tmp_path / 'other.db'}"}.items():
                with sqlalchemy.create_engine(uri).connect() as connection:
                    found[name] = connection.exec_driver_sql("PRAGMA synchronous").scalar()
                    connection.exec_driver_sql("CREATE TABLE t (x)")

    monkeypatch.setattr("mlflow.MlflowClient", OtherThread)
    make_store(tmp_path / "a folder" / "new.db")
    assert (tmp_path / "a folder" / "new.db").exists()
    assert found == {"made": 0, "other": 2}
