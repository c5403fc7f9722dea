"""A study on a real cluster: nodes are lost, MLflow is, the driver is, and nothing is run twice or told."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import fsspec
import pytest
from cluster_site import ADMIN, BIN, MlflowServer, Postgres, RayCluster, clean_environment, running, wait_for
from conftest import REPO_ROOT
from mlflow import MlflowClient

from tune.study import Study

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SECRET = "s3cret-key-of-the-store"
HANDED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
SPEC = """
space:
  factors: {low: 4, high: 12}
  regularization: {low: 0.1, high: 2, scale: log}
  iterations: 12
early_stopping: none
backend: numpy
concurrency: 4
resources: {cpu: 0.5, gpu: 0.5}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, object_store):
    """Everything that runs, and a folder to submit from."""
    if not Postgres.programs():
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    folder = tmp_path_factory.mktemp("site")
    # Trials that are long enough to be hit: each iteration sleeps.
    (folder / "site").mkdir()
    shutil.copy(Path(__file__).parent / "campaign_site.py", folder / "site" / "sitecustomize.py")
    store = {
        "AWS_ENDPOINT_URL": object_store,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    store["AWS_SECRET_ACCESS_KEY"] = SECRET
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("PYTHONPATH", str(folder / "site"))
        patch.setenv("WALSLAB_TEST_STEP", "0.1")
        with contextlib.ExitStack() as running_here:
            yield Site(folder, store, running_here)


class Site:
    def __init__(self, folder, store, started):
        self.folder, self.store = folder, store
        fsspec.filesystem("s3").mkdir("bucket")
        started.callback(fsspec.filesystem("s3").rm, "bucket", recursive=True)
        postgres = Postgres()
        started.callback(postgres.stop)
        self.mlflow = MlflowServer(folder, postgres, store)
        started.callback(self.mlflow.stop)
        self.ray = RayCluster(folder)
        started.callback(self.ray.stop)
        self.ray.start_head()
        self.workers = [self.ray.add_worker()]
        self.mlflow.wait()
        self._make_dataset()
        (folder / "work").mkdir()
        (folder / "work" / "search.yaml").write_text(SPEC)

    def _make_dataset(self):
        for words in (
            ("synth", "--ratings", "20000", "--out", "r.csv"),
            ("ingest", "r.csv", "--out", "dataset"),
        ):
            subprocess.run([BIN / "walslab", *words], cwd=self.folder, check=True, capture_output=True)
        fsspec.filesystem("s3").put(f"{self.folder}/dataset/", "bucket/dataset/", recursive=True)

    def environment(self, **more):
        ours = {
            "RAY_AUTH_TOKEN_PATH": str(self.ray.token),
            "MLFLOW_TRACKING_URI": self.mlflow.url,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": ADMIN,
        }
        return clean_environment(**{**self.store, **ours, **more})

    def submit(self, *words, wait=True, **more):
        """Submit a walslab command from a folder that holds nothing but a specification."""
        command = [BIN / "walslab", "submit", "--address", self.ray.url]
        for variable in HANDED:
            command += ["--env", variable]
        job = Job([*command, "--", *words], self.folder / "work", self.environment(**more))
        return job.wait() if wait else job

    def tune(self, name, trials, **options):
        words = ["tune", "s3://bucket/dataset", "--spec", "search.yaml", "--name", name]
        return self.submit(*words, "--trials", str(trials), "--studies", "s3://bucket/studies", **options)

    def study(self, name):
        return Study.find(f"s3://bucket/studies/{name}")

    def ended(self, name):
        study = self.study(name)
        return {} if study is None else {trial["trial"]: trial["ended"] for trial in study.trials()}

    def client(self, patch):
        for key in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            patch.setenv(key, self.environment()[key])
        return MlflowClient(tracking_uri=self.mlflow.url)


class Job:
    """A `walslab submit`, with what it writes."""

    def __init__(self, command, folder, environment):
        self.log = folder.parent / f"{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    def until(self, true, seconds=300):
        """Wait for something while it runs."""
        try:
            wait_for(lambda: true() or self.process.poll() is not None, seconds)
            assert self.process.poll() is None, "it ended"
        except AssertionError as error:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{error}: {self.log.read_text()}") from error

    def wait(self, seconds=240):
        """Return exit code and output once it ends."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it runs on: {self.log.read_text()}") from error
        return code, self.log.read_text()


class Watch:
    """Looks through the process list, as anybody on the machine may, for what should not be there."""

    def __init__(self, *words):
        self.seen, self._words, self._stop = set(), words, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        while not self._stop.wait(0.1):
            for pid, line in running():
                if pid != os.getpid() and any(word in line for word in self._words):
                    self.seen.add(line[:300])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def check_record(site, name, trials, patch):
    """Each trial has one child run, finished, with factors and all its iterations."""
    study, client = site.study(name), site.client(patch)
    assert study.status() == "finished"
    results = {trial["trial"]: trial for trial in study.trials()}
    assert len(results) == trials
    parents = client.search_runs(
        [study.facts["experiment_id"]], f"tags.`walslab.study_id` = '{study.facts['id']}'"
    )
    assert [run.info.run_id for run in parents] == [study.facts["parent_run_id"]]
    assert parents[0].info.status == "FINISHED"
    found = f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'"
    children = client.search_runs([study.facts["experiment_id"]], found)
    assert sorted(run.data.tags["walslab.trial"] for run in children) == sorted(results)
    for run in children:
        result = results[run.data.tags["walslab.trial"]]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["valid_rmse"] == pytest.approx(result["valid_rmse"])
        assert run.data.tags["walslab.backend"] == "numpy"
    for run in children[:3]:  # each answer takes a while: the server looks the password up each time
        files = {file.path for file in client.list_artifacts(run.info.run_id, "factors")}
        assert {"factors/factors.json", "factors/user_factors.npy"} <= files


def test_study_outlives_a_node_and_the_mlflow_server_and_is_not_run_again(site):
    with pytest.MonkeyPatch.context() as patch, Watch(SECRET, ADMIN, site.ray.token.read_text()) as watch:
        job = site.tune("first", 48, wait=False)
        job.until(lambda: len(site.ended("first")) >= 4)
        site.ray.lose(site.workers.pop())
        site.mlflow.stop()
        lost_at = time.monotonic()
        site.workers.append(site.ray.add_worker())
        time.sleep(max(0.0, 20 - (time.monotonic() - lost_at)))
        site.mlflow.start()
        code, output = job.wait()
        assert code == 0, output
        assert "48/48 trials" in output
        assert "walslab refit s3://bucket/studies/first" in output
        check_record(site, "first", 48, patch)
        before = site.ended("first")
        code, output = site.tune("first", 48)
        assert code == 0, output
        assert "goes on: 48 trials have ended" in output
        assert site.ended("first") == before
        check_record(site, "first", 48, patch)
    assert watch.seen == set()


def test_driver_that_is_killed_goes_on_when_it_is_submitted_again(site):
    with pytest.MonkeyPatch.context() as patch:
        job = site.tune("second", 16, wait=False)
        job.until(lambda: len(site.ended("second")) >= 3)
        (driver,) = [pid for pid, line in running() if "-m cluster tune" in line and "/bin/sh" not in line]
        os.kill(driver, signal.SIGKILL)
        code, output = job.wait()
        assert code == 137  # its own, as a shell says it
        assert "ended FAILED" in output
        before = site.ended("second")
        code, output = site.tune("second", 16)
        assert code == 0, output
        assert f"goes on: {len(before)} trials have ended" in output
        assert before.items() <= site.ended("second").items()
        check_record(site, "second", 16, patch)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["s3://bucket/nothing"], 2, "s3://bucket/nothing is not a dataset"),
        (
            ["s3://bucket/dataset", "--spec", "greedy.yaml"],
            1,
            "each trial asks for 0.5 CPU .*, 3 GPU .* at most",
        ),
    ],
    ids=["no dataset", "too many GPUs"],
)
def test_what_cannot_work_is_said_with_the_exit_code_of_the_command(site, words, code, told):
    greedy = SPEC.replace("gpu: 0.5", "gpu: 3")
    (site.folder / "work" / "greedy.yaml").write_text(greedy)
    found, output = site.submit("tune", *words, "--name", "never", "--trials", "2")
    assert found == code, output
    assert re.search(told, output.replace("\n", " ")), output


def test_plain_line_of_ray_does_the_same(site):
    told = subprocess.run(
        [
            *(BIN / "ray", "job", "submit", "--address", site.ray.url, "--working-dir", REPO_ROOT),
            *(
                "--",
                "python",
                "-m",
                "tune",
                "tune",
                site.folder / "dataset",
                "--trials",
                "2",
                "--name",
                "plain",
            ),
            *("--studies", site.folder / "kept"),
        ],
        env=site.environment(RAY_AUTH_MODE="token"),
        capture_output=True,
        check=False,
        text=True,
        timeout=240,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "2/2 trials" in told.stdout
    assert Study.open(site.folder / "kept" / "plain").status() == "finished"


def test_doctor_looks_at_the_cluster(site):
    done = subprocess.run(
        [
            *(
                BIN / "walslab",
                "doctor",
                "--json",
                "--address",
                site.ray.url,
                "--dataset",
                "s3://bucket/dataset",
            ),
            *("--studies", "s3://bucket/studies", *(word for name in HANDED for word in ("--env", name))),
        ],
        cwd=site.folder / "work",
        env=site.environment(),
        capture_output=True,
        check=False,
        text=True,
        timeout=240,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    checks = {check["name"]: check for check in told["checks"]}
    # It has GPUs in name only, which is what there is to find.
    assert [name for name, check in checks.items() if not check["ok"]] == ["worker gpu"], checks
    assert done.returncode == 1
    assert checks["head ray"]["detail"] == checks["worker ray"]["detail"] == checks["ray"]["detail"]
    assert checks["worker studies"]["detail"] == "s3://bucket/studies can be written to"
    assert site.mlflow.url in checks["head mlflow store"]["detail"]


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_without_the_clusters_token_nothing_is_submitted(site, token):
    other = site.folder / "other-token"
    other.unlink(missing_ok=True)
    if token:
        other.write_text(token)
    code, output = site.submit("tune", "s3://bucket/dataset", RAY_AUTH_TOKEN_PATH=str(other))
    assert code == 1
    assert "wants a token" in output or "token is not valid" in output.lower() or "Invalid" in output, output
    assert "Traceback" not in output


def test_no_secret_is_in_what_ray_and_mlflow_keep(site):
    """Runs last: by now all was done that could have left one."""
    leaks = []
    for file in site.ray.files():
        content = file.read_bytes()
        leaks += [(file, word) for word in (SECRET, ADMIN) if word.encode() in content]
    assert leaks == []
    request = [
        "curl",
        "-s",
        "-H",
        f"Authorization: Bearer {site.ray.token.read_text()}",
        f"{site.ray.url}/api/jobs/",
    ]
    jobs = subprocess.run(request, capture_output=True, text=True, check=True).stdout
    assert "WALSLAB_HANDOVER" in jobs
    assert SECRET not in jobs
    assert ADMIN not in jobs
    with pytest.MonkeyPatch.context() as patch:
        client = site.client(patch)
        for run in client.search_runs([e.experiment_id for e in client.search_experiments()]):
            text = repr(run.to_dictionary())
            assert SECRET not in text
            assert ADMIN not in text
            assert "RAY" not in run.data.params
