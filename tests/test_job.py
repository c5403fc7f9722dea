"""A job on its way: what is uploaded and handed over, whether a token is sent, how its log is followed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import types
from pathlib import Path

import pytest
from click.testing import CliRunner
from http_servers import always, serving, silent

import cluster
import toolkit
import tune
from cluster import authentication, handover, job_client, submission, working_dir
from cluster.cli import main
from cluster.errors import JobError
from cluster.job import FORWARDED, Job
from cluster.submission import Submission
from toolkit.files import HANDED_OVER, handed_over

ADDRESS = "http://127.0.0.1:8265"


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """An empty current folder and home, and an environment that says nothing of a cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (*FORWARDED, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", handover.POINTER):
        monkeypatch.delenv(name, raising=False)
    # What a test sets is taken back.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return tmp_path


# The command


def test_variables_are_handed_over_to_the_command_and_shown_nowhere(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    job = Job.of_command(ADDRESS, ".", ["tune", "a"], ["AWS_SECRET_ACCESS_KEY"])
    assert job.environment == {"MLFLOW_TRACKING_PASSWORD": "s3cret", "AWS_SECRET_ACCESS_KEY": "s3cret"}
    assert job.entrypoint == "python -m cluster tune a"
    assert "-- python -m tune tune a" in job.shown
    assert "s3cret" not in repr(job) + job.shown + job.entrypoint


def test_command_without_variables_is_the_plain_one():
    assert Job.of_command(ADDRESS, ".", ["describe", "a"]).entrypoint == "python -m toolkit describe a"


def test_variable_that_is_not_set_is_refused():
    told = CliRunner().invoke(main, ["submit", "--address", ADDRESS, "--env", "NOWHERE", "--", "tune", "a"])
    assert told.exit_code == 2
    assert "--env NOWHERE: there is no such variable" in told.stderr


def test_packages_go_along_where_the_folder_has_none(surroundings, repo_root):
    env = Job.of_command(ADDRESS, str(surroundings), ["tune", "a"]).runtime_env
    assert env["py_modules"] == [str(Path(module.__file__).parent) for module in (toolkit, tune, cluster)]
    assert Job.of_command(ADDRESS, str(repo_root), ["tune", "a"]).runtime_env == {}


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (["tune", "a"], True),
        (["tune", "a", "--studies", "s3://b/c"], True),
        (["tune", "a", "--studies", "s3://b/c", "--name", "n"], False),
        (["tune", "a", "--studies=s3://b/c", "--name=n"], False),
        (["describe", "a"], False),
    ],
    ids=str,
)
def test_study_that_would_go_with_its_job_is_warned_of(words, warned):
    told = CliRunner().invoke(main, ["submit", "--address", ADDRESS, "--dry-run", "--", *words])
    assert told.exit_code == 0
    assert ("after a loss this line begins anew" in told.stdout) == warned


def test_study_that_is_kept_where_the_environment_says_is_not_warned_of(monkeypatch):
    words = ["submit", "--address", ADDRESS, "--dry-run", "--", "tune", "data", "--name", "first"]
    assert "begins anew" in CliRunner().invoke(main, words).stdout
    monkeypatch.setenv("WALSLAB_STUDIES", "s3://bucket/studies")
    assert "begins anew" not in CliRunner().invoke(main, words).stdout


# What is uploaded


def test_biggest_files_of_a_large_folder_are_named(surroundings):
    (surroundings / "notes.txt").write_text("a")
    (surroundings / "big.bin").write_bytes(bytes(8 << 20))
    (surroundings / "bigger.bin").write_bytes(bytes(9 << 20))
    told = working_dir.check(surroundings)
    assert "would upload 17 MiB in 3 files; the biggest are bigger.bin (9 MiB), big.bin (8 MiB)" in told
    (surroundings / ".rayignore").write_text("bigger.bin\n")
    assert working_dir.check(surroundings) is None


def test_what_git_ignores_stays_here_unless_ray_is_told_otherwise(surroundings):
    (surroundings / ".gitignore").write_text("data\n")
    (surroundings / "data").write_text("a")
    names = {path.name for _, path in working_dir.upload_of(surroundings)}
    assert "data" not in names
    os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = "1"
    assert {path.name for _, path in working_dir.upload_of(surroundings)} == {*names, "data"}


def test_folder_that_ray_would_refuse_is_refused_before_it_is_packed(surroundings, monkeypatch):
    assert working_dir._MOST == 100 << 20
    monkeypatch.setattr(working_dir, "_MOST", 1 << 20)
    with (surroundings / "zeros.bin").open("wb") as file:
        file.truncate(11 << 20)
    assert "zeros.bin (11 MiB)" in working_dir.check(surroundings)  # packed, it is nothing
    (surroundings / "data.bin").write_bytes(os.urandom(2 << 20))
    with pytest.raises(JobError, match=r"13 MiB in 2 files, 2.* packed, and Ray takes 1 MiB") as raised:
        working_dir.check(surroundings)
    assert raised.value.exit_code == 2
    assert "data.bin (2 MiB)" in str(raised.value)
    assert ".rayignore" in str(raised.value)


def test_repository_uploads_little(repo_root):
    files = working_dir.upload_of(repo_root)
    assert sum(size for size, _ in files) < 3 << 20
    names = {path.parts[0] for _, path in files}
    assert {"toolkit", "tune", "cluster"} <= names
    assert not names & {"tests", "docs", "benchmarks", ".git", ".venv", "data", "studies", "mlruns"}


def test_folder_that_is_not_there_is_refused(surroundings):
    with pytest.raises(JobError, match="--working-dir must be a folder"):
        working_dir.check(surroundings / "nowhere")


# What is handed over


class Store:
    """The key-value store of a cluster, with the job server that fills it."""

    def __init__(self, status=200):
        self.content, self.status = {}, status

    def _do_request(self, method, path, data):
        assert method == "PUT"
        self.content["gcs://" + path.rpartition("/")[2]] = data
        return types.SimpleNamespace(status_code=self.status)

    def internal_kv_get(self, key, namespace, timeout):
        return self.content.get(key.decode())

    def internal_kv_del(self, key, by_prefix, namespace, timeout):
        del self.content[key.decode()]


@pytest.fixture
def store(monkeypatch):
    """A store that `take` finds."""
    import ray._raylet

    found = Store()
    monkeypatch.setattr(ray._raylet, "GcsClient", lambda address: found)  # noqa: ARG005 - Ray's name of it
    os.environ["RAY_ADDRESS"] = "127.0.0.1:6379"
    return found


def test_what_is_handed_over_is_taken_once_and_then_gone(store):
    told = handover.put(store, {"A_KEY": "s3cret", "B": ""})
    assert "s3cret" not in json.dumps(told)
    os.environ.update(told)
    handover.take()
    assert (os.environ["A_KEY"], os.environ["B"]) == ("s3cret", "")
    assert os.environ[HANDED_OVER].split() == ["A_KEY", "B"]
    assert handed_over() == {"A_KEY": "s3cret", "B": ""}
    assert handover.POINTER not in os.environ
    assert store.content == {}
    handover.take()  # nothing more to take
    os.environ.update(told)
    with pytest.raises(
        JobError, match="taken before, or the head node was started anew since: submit it again"
    ):
        handover.take()


def test_what_a_job_never_took_is_taken_back(store):
    told = handover.put(store, {"A_KEY": "s3cret"})
    handover.withdraw(store, told)
    assert b"s3cret" not in b"".join(store.content.values())
    os.environ.update(told)
    with pytest.raises(JobError, match="submit it again"):
        handover.take()


def test_argument_with_a_password_is_refused():
    words = ["submit", "--address", ADDRESS, "--dry-run", "--", "ingest", "ftp://ann:s3cret@host/r.csv"]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 2
    assert "ftp://ann:***@host/r.csv holds a password" in told.stderr
    assert "s3cret" not in told.output


def test_nothing_is_handed_over_where_there_is_nothing(store):
    assert handover.put(store, {}) == {}
    assert store.content == {}


def test_job_server_that_does_not_take_them_is_told_of_without_values():
    with pytest.raises(
        JobError, match=r"did not take A_KEY \(HTTP 500\): set them in the environment"
    ) as raised:
        handover.put(Store(500), {"A_KEY": "s3cret"})
    assert "s3cret" not in str(raised.value)


# Whether a token is sent


@pytest.fixture
def job_server():
    """Return a function that starts a server which answers one status; it notes what it was sent."""
    with contextlib.ExitStack() as servers:
        yield lambda status: servers.enter_context(serving(always(status)))


@pytest.mark.parametrize("place", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "home"])
def test_token_at_hand_is_sent_where_one_is_wanted(job_server, surroundings, place):
    address = job_server(401).address
    file = surroundings / "home" / ".ray" / "auth_token"
    if place == "RAY_AUTH_TOKEN":
        os.environ[place] = "0" * 64
    else:
        file.parent.mkdir(parents=True)
        file.write_text("0" * 64)
        if place == "RAY_AUTH_TOKEN_PATH":
            file = file.rename(surroundings / "token")
            os.environ[place] = str(file)
    authentication.prepare(address)
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_no_token_is_sent_to_a_server_that_does_not_ask(job_server, surroundings):
    server = job_server(200)
    os.environ["RAY_AUTH_TOKEN"] = "s3cret"
    authentication.prepare(server.address)
    assert "RAY_AUTH_MODE" not in os.environ
    assert "s3cret" not in str(server.asked)


def test_missing_token_is_told_with_where_to_put_it(job_server):
    address = job_server(401).address
    with pytest.raises(
        JobError, match="wants a token: give it the cluster's token in RAY_AUTH_TOKEN, or in a file"
    ):
        authentication.prepare(address)
    os.environ["RAY_AUTH_TOKEN"] = "0" * 64
    os.environ["RAY_AUTH_MODE"] = "disabled"
    with pytest.raises(JobError, match="wants a token, but RAY_AUTH_MODE is disabled"):
        authentication.prepare(address)


def test_user_and_password_of_an_address_are_sent_as_such(job_server):
    server = job_server(200)
    authentication.prepare(server.address.replace("://", "://ann:s3cret@"))
    assert server.asked[0][1]["Authorization"] == "Basic YW5uOnMzY3JldA=="


def test_server_that_does_not_answer_is_named_without_its_password():
    with pytest.raises(
        JobError, match=r"no Ray job server answers at http://ann:\*\*\*@127.0.0.1:1 "
    ) as raised:
        authentication.prepare("http://ann:s3cret@127.0.0.1:1")
    assert "s3cret" not in str(raised.value)


def test_job_server_that_hangs_ends_the_submission_and_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(job_client, "_ANSWER", 1.0)
    version = b'{"version": "4", "ray_version": "2.60.0", "ray_commit": "", "session_name": ""}'
    for environment in ({}, {"A_KEY": "s3cret"}):
        with serving(silent(("/api/version", version))) as server:
            job = Job(server.address, str(tmp_path), ("toolkit", "fetch", "ml-100k"), environment)
            text = (
                rf"^the Ray job server at {server.address} did not take the job: no answer to (GET|PUT) "
                r"/api/\S+ within 1 s: see that the cluster's head .*; it may have begun: `ray job list` t"
            )
            with pytest.raises(JobError, match=text) as raised:
                Submission(job, print)
        assert "s3cret" not in str(raised.value)


# How its log is followed


SILENCE = "nothing comes any more"


class Client:
    """A job server's client, whose connection breaks; `turns` says what each look at the log gives."""

    def __init__(self, *turns, status="SUCCEEDED", message=None, code=0):
        self.turns, self.at = turns, -1
        self.end = types.SimpleNamespace(message=message, driver_exit_code=code)
        self.status = status

    async def tail_job_logs(self, name):
        self.at = min(self.at + 1, len(self.turns) - 1)
        for piece in self.turns[self.at]:
            if isinstance(piece, BaseException):
                raise piece
            if piece is SILENCE:
                await asyncio.sleep(3600)
            yield piece

    def get_job_info(self, name):
        from ray.job_submission import JobStatus

        ended = self.at == len(self.turns) - 1
        return types.SimpleNamespace(
            status=JobStatus(self.status) if ended else JobStatus.RUNNING, **vars(self.end)
        )


def followed(client, monkeypatch):
    monkeypatch.setattr(submission, "_PAUSE", 0.0)
    job = Submission.__new__(Submission)
    job._client, job.id, job._written, job._pointer = client, "raysubmit_1", 0, {}
    log = []
    try:
        job.follow(log.append)
    finally:
        client.log = "".join(log)
    return client.log


def test_log_goes_on_where_a_connection_broke(monkeypatch):
    lost = ConnectionError("closed")
    client = Client(
        ["one\n", "two\n", lost], [lost], ["one\ntwo\nth", "ree\n", lost], ["one\ntwo\n", "three\nfour\n"]
    )
    assert followed(client, monkeypatch) == "one\ntwo\nthree\nfour\n"


def test_log_that_falls_silent_is_taken_up(monkeypatch):
    monkeypatch.setattr(submission, "_SILENCE", 0.01)
    assert followed(Client(["one\n", SILENCE], ["one\ntwo\n"]), monkeypatch) == "one\ntwo\n"


def test_log_that_ends_before_its_job_is_taken_up(monkeypatch):
    assert followed(Client(["one\n"], ["one\ntwo\n"]), monkeypatch) == "one\ntwo\n"


@pytest.mark.parametrize(("code", "status"), [(2, "FAILED"), (None, "FAILED"), (None, "STOPPED")])
def test_exit_code_is_the_jobs(monkeypatch, code, status):
    client = Client(["log\n"], status=status, message="it broke\nlog", code=code)
    with pytest.raises(JobError, match=f"job raysubmit_1 ended {status}: it broke$") as raised:
        followed(client, monkeypatch)
    assert raised.value.exit_code == (code or 1)
    assert client.log == "log\n"


def test_interrupted_follower_says_how_to_go_on(monkeypatch):
    client = Client(["one\n", KeyboardInterrupt()])
    with pytest.raises(
        JobError, match="the job goes on; `ray job logs --follow raysubmit_1` follows it"
    ) as raised:
        followed(client, monkeypatch)
    assert raised.value.exit_code == 130


def test_job_server_that_stays_away_is_given_up(monkeypatch):
    monkeypatch.setattr(submission, "_PATIENCE", 0.0)
    with pytest.raises(JobError, match="the job server has not answered for 0 s"):
        followed(Client([ConnectionError("refused")]), monkeypatch)


def test_job_takes_up_its_variables_before_its_command(store):
    """What a job of the cluster does first."""
    os.environ.update(handover.put(store, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}))
    os.environ["RAY_ADDRESS"] = "a:1"
    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout.splitlines()[-1])
    assert any("MLFLOW_TRACKING_URI=http://127.0.0.1:1" in check["detail"] for check in told["checks"])
