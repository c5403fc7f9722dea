"""A cluster that is looked at from here: what is told of its head and of a worker, without a cluster."""

from __future__ import annotations

import json
import types

import pytest
from click.testing import CliRunner

from cluster import inspection, probe, submission
from cluster.cli import main
from cluster.errors import JobError
from toolkit.commands import Check, machine_checks

ADDRESS = "http://127.0.0.1:8265"
HERE = {"python": "3.11.7", "ray": "2.56.1", "pandas": "3.0.1"}


def checks(**details):
    return [Check(name=name, ok=True, detail=detail, fix=None) for name, detail in details.items()]


@pytest.fixture
def told(monkeypatch, tmp_path):
    """Returns what is told where the job on the cluster prints this, by name."""

    def told(log):
        job = types.SimpleNamespace(id="raysubmit_1", follow=lambda write: write(log))
        monkeypatch.setattr(inspection, "Submission", lambda *_: job)
        found = inspection.of_cluster(ADDRESS, str(tmp_path), checks(**HERE), pytest.fail)
        return {check["name"]: check for check in found}

    return told


def log_of(worker, **head):
    found = {"driver": checks(**head), "worker": worker, "worker_name": "node-1"}
    return f"a line of Ray\n{probe.MARK}{json.dumps(found)}\nanother\n"


def test_versions_that_differ_are_told_and_harm_between_head_and_worker_alone(told):
    worker = checks(python="3.11.7", ray="2.50.0", pandas="2.0")
    found = told(log_of(worker, python="3.12.1", ray="2.56.1", pandas="2.9"))
    assert [found[f"head {name}"]["detail"] for name in HERE] == ["3.12.1 (here: 3.11.7)", "2.56.1", "2.9"]
    assert all(found[f"head {name}"]["ok"] for name in HERE)
    assert found["worker"]["detail"] == "node-1"
    assert [found[f"worker {name}"]["ok"] for name in HERE] == [False, False, True]
    assert found["worker ray"]["detail"] == "2.50.0, but 2.56.1 on the head"
    assert "same image" in found["worker ray"]["fix"]


def test_a_cluster_that_has_no_worker_now_is_well(told):
    found = told(log_of(None, **HERE))
    assert "there is none now" in found["worker"]["detail"]
    assert found["worker"]["ok"]


def test_a_job_that_tells_nothing_is_an_error_with_its_log(told):
    with pytest.raises(JobError, match=r"raysubmit_1 ended without .*: no space left"):
        told("no space left")


@pytest.mark.parametrize(("detail", "well"), [("usable", True), ("no device", False)])
def test_a_worker_with_a_gpu_must_be_able_to_use_it(monkeypatch, detail, well):
    monkeypatch.setattr(machine_checks, "checks", lambda: iter(checks(numpy="2.3", gpu=detail)))
    monkeypatch.setattr(machine_checks, "versions", lambda _: iter(()))
    numpy, gpu = probe.checks_of_a_worker(None, None, {}, has_gpu=True)
    assert numpy["ok"]
    assert gpu["ok"] == well
    (_, gpu) = probe.checks_of_a_worker(None, None, {}, has_gpu=False)
    assert gpu["ok"]


@pytest.mark.parametrize("no_wait", [False, True])
def test_a_job_is_followed_unless_nobody_waits_for_it(monkeypatch, tmp_path, no_wait):
    followed = []
    job = types.SimpleNamespace(id="raysubmit_1", follow=followed.append)
    monkeypatch.setattr(submission, "Submission", lambda *_: job)
    monkeypatch.chdir(tmp_path)
    options = ["--no-wait"] if no_wait else []
    done = CliRunner().invoke(main, ["submit", "--address", ADDRESS, *options, "--", "fetch", "ml-100k"])
    assert done.exit_code == 0, done.output
    assert "job raysubmit_1" in done.output
    assert bool(followed) != no_wait
