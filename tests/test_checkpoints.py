"""Long trials go on from their checkpoint bit for bit; short ones leave none."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid

import fsspec
import numpy as np
import pytest
import scipy.sparse as sp
from processes import wait_for

from toolkit import Backend, WALSConfig
from toolkit.files import ObjectStore
from toolkit.solver import PosteriorTrainer, TrainingData
from tune.executors import TrialWorker, run_in_process, trial_worker
from tune.search import Checkpoint, StudyRun
from tune.search.checkpoint import Checkpoints
from tune.spec import SearchSpec
from tune.study import Study, mirror

# Trials that stop themselves, are halved, and have momentum and a pattern.
KEYS = {
    "space": {
        "factors": {"low": 3, "high": 8},
        "regularization": {"low": 0.02, "high": 0.3, "scale": "log"},
        "momentum": 0.3,
        "pattern_weight": 0.5,
        "regularization_offset": 0,
        "bias_regularization": "none",
        "scale": "none",
        "iterations": 10,
    },
    "backend": "numpy",
    "trials": 3,
    "startup_trials": 2,
    "early_stopping": {"grace_iterations": 4, "reduction_factor": 3, "patience": 3},
}


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(0)
    full = np.clip(3.5 + rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20)), 1, 5)
    full = (full + 0.5 * rng.standard_normal(full.shape)).astype("float32")
    u, i = np.nonzero(rng.random(full.shape) < 0.5)
    held = rng.random(len(u)) < 0.2
    train = sp.csr_matrix((full[u[~held], i[~held]], (u[~held], i[~held])), full.shape)
    valid = sp.coo_matrix((full[u[held], i[held]], (u[held], i[held])), full.shape)
    return {"train": train, "train_by_item": train.T.tocsr(), "valid": valid}


@pytest.fixture
def make(tmp_path):
    def make(name, **keys):
        spec = SearchSpec.from_dict({**KEYS, **keys})
        return Study.create(tmp_path / name, spec=spec.to_dict())

    return make


@pytest.fixture(autouse=True)
def each_iteration_is_a_segment(monkeypatch):
    monkeypatch.setattr(trial_worker, "_SEGMENT_SECONDS", 0.0)


def worker_of(ratings, run, checkpoint_seconds=0.0):
    settings = dataclasses.replace(run.settings, checkpoint_seconds=checkpoint_seconds)
    return TrialWorker(ratings, settings)


def go_on(run, ratings, segments):
    """Run so many segments, each with a checkpoint; return whether the study is over."""
    worker = worker_of(ratings, run)
    while segments and (trial := run.next()) is not None:
        worker.begin(trial.config, to_beat=trial.to_beat, checkpoint=trial.checkpoint)
        goes_on = True
        while goes_on and segments:
            goes_on, segments = run.report(trial.trial, worker.advance()), segments - 1
    run.close()
    return run.over


def counted(method, calls):
    """Return a method that notes what it is called with."""

    def noting(self, *given):
        calls.append(given)
        return method(self, *given)

    return noting


def without_times(study):
    kept = {}
    for trial in study.trials():
        facts = {key: trial[key] for key in ("sampled", "stopped", "valid_rmse", "iterations", "status")}
        history = {key: figures for key, figures in trial["history"].items() if key != "seconds"}
        kept[trial["trial"]] = {**facts, "history": history}
    return kept


def factor_bytes(study):
    return {
        path.relative_to(study.path).as_posix(): path.read_bytes()
        for path in sorted(study.path.glob("factors/*/*.npy"))
    }


# Samples in the place of iterations, of which patience takes an earlier mean.
POSTERIOR = {
    "model": "posterior",
    "trials": 2,
    "space": {"factors": {"low": 3, "high": 8}, "pattern_weight": 0.5, "iterations": 8},
    "early_stopping": {"grace_iterations": 4, "reduction_factor": 3, "patience": 2},
}
ASHA = {"class": "ray.tune.schedulers.ASHAScheduler", "grace_period": 4, "reduction_factor": 3}


@pytest.mark.parametrize(
    "keys",
    [
        # test_study_at_an_address_goes_on_from_machine_to_machine has trials of both kinds.
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"early_stopping": "none"}, marks=pytest.mark.slow),
        {"early_stopping": ASHA},
        POSTERIOR,
    ],
    ids=["stopping", "all iterations", "scheduler", "posterior"],
)
def test_study_that_is_interrupted_all_the_time_is_that_of_one_go(make, ratings, keys):
    whole, cut = make("whole", **keys), make("cut", **keys)
    run = StudyRun(whole, 1)
    run_in_process(run, ratings)
    run.close()
    # Three iterations, then the process dies; far fewer than a trial has.
    for _ in range(40):
        if go_on(StudyRun(cut, 1), ratings, 3):
            break
    assert without_times(cut) == without_times(whole)
    assert factor_bytes(cut) == factor_bytes(whole)
    stops = {trial["stopped"] for trial in whole.trials()} - {None}
    assert stops or keys.get("early_stopping") == "none"
    assert list(cut.path.glob("checkpoints/*")) == [], "a trial that ended needs none"


@pytest.fixture
def address(monkeypatch):
    """An address in this process, kept in step quickly."""
    monkeypatch.setattr(mirror, "_PAUSE", 0.02)
    name = uuid.uuid4().hex
    yield f"memory://{name}/cut"
    with contextlib.suppress(FileNotFoundError):
        fsspec.filesystem("memory").rm(f"/{name}", recursive=True)


def objects(address):
    """Return the checkpoints at an address."""
    found = fsspec.filesystem("memory").find(address.removeprefix("memory:/"))
    return [name.partition("/checkpoints/")[2] for name in found if "/checkpoints/" in name]


def test_study_at_an_address_goes_on_from_machine_to_machine(make, ratings, address):
    whole = make("whole")
    run = StudyRun(whole, 1)
    run_in_process(run, ratings)
    run.close()
    Study.create(address, spec=SearchSpec.from_dict(KEYS).to_dict())
    over = False
    for _ in range(40):
        study = Study.open(address)  # in a directory of its own, as on another machine
        with study.locked():
            over = go_on(StudyRun(study, 1), ratings, 3)
        if over:
            break
        # That of the trial which ran, and no older one.
        assert len({tuple(name.split("/")[:2]) for name in objects(address)}) == 1
    assert over
    assert without_times(Study.open(address)) == without_times(whole)
    assert factor_bytes(Study.open(address)) == factor_bytes(whole)
    assert objects(address) == []
    assert {trial["stopped"] for trial in whole.trials()} > {None}


def test_checkpoint_is_at_the_address_while_the_trial_runs(ratings, address):
    study = Study.create(address, spec=SearchSpec.from_dict(KEYS).to_dict())
    with study.locked():
        run = StudyRun(study, 1)
        worker, trial = worker_of(ratings, run), run.next()
        worker.begin(trial.config)
        for _ in range(3):
            run.report(trial.trial, worker.advance())
        wait_for(lambda: {name.split("/")[1] for name in objects(address)} == {"000000003"})
        run.close()
    # A process that was killed while it copied left the next one incomplete.
    fs, top = fsspec.filesystem("memory"), f"{address.removeprefix('memory:/')}/checkpoints/trial-001"
    fs.pipe_file(f"{top}/000000005/checkpoint.json", b"{}")
    again = Study.open(address)
    with again.locked():
        run = StudyRun(again, 1)
        trial = run.next()
        assert trial.iterations == 3
        worker = worker_of(ratings, run)
        worker.begin(trial.config, to_beat=trial.to_beat, checkpoint=trial.checkpoint)
        for _ in range(2):
            run.report(trial.trial, worker.advance())
        run.close()
    third = Study.open(address)
    with third.locked():
        run = StudyRun(third, 1)
        assert run.next().iterations == 5
        run.close()


def test_short_trials_at_an_address_cost_no_request_more(ratings, address, monkeypatch):
    calls = []
    for name in ("put", "upload", "download", "names", "remove"):
        monkeypatch.setattr(ObjectStore, name, counted(getattr(ObjectStore, name), calls))
    study = Study.create(address, spec=SearchSpec.from_dict(KEYS).to_dict())
    with study.locked():
        run = StudyRun(study, 1)
        run_in_process(run, ratings)
        run.close()
    assert calls
    assert "checkpoints" not in str(calls)


def test_checkpoints_that_a_kill_left_of_an_ended_trial_go(ratings, address):
    study = Study.create(address, spec=SearchSpec.from_dict(KEYS).to_dict())
    with study.locked():
        run_in_process(run := StudyRun(study, 1), ratings)
        run.close()
    fs, top = fsspec.filesystem("memory"), f"{address.removeprefix('memory:/')}/checkpoints/trial-001"
    fs.pipe_file(f"{top}/000000005/checkpoint.json", b"{}")
    again = Study.open(address)
    with again.locked():
        StudyRun(again, 1).close()
    assert objects(address) == []


def test_trial_whose_process_died_goes_on_in_the_same_run(make, ratings):
    whole, study = make("whole", trials=1), make("died", trials=1)
    go_on(StudyRun(whole, 1), ratings, 1000)
    run = StudyRun(study, 1)
    worker, trial = worker_of(ratings, run), run.next()
    worker.begin(trial.config)
    for _ in range(6):
        run.report(trial.trial, worker.advance())
    run.lost(trial.trial, "killed")
    again = run.next()
    assert again is trial
    assert again.iterations == again.checkpoint.factors.iterations == 6
    worker = worker_of(ratings, run)
    worker.begin(again.config, to_beat=again.to_beat, checkpoint=again.checkpoint)
    while run.report(again.trial, worker.advance()):
        pass
    run.close()
    assert study.trials()[0]["attempts"] == 2
    assert without_times(study) == without_times(whole)


def test_short_trials_leave_no_checkpoint_and_ask_for_none(make, ratings, monkeypatch):
    study = make("short")
    monkeypatch.setattr(Checkpoints, "save", lambda *_: pytest.fail("saved"))
    run = StudyRun(study, 1)
    run_in_process(run, ratings)
    run.close()
    assert run.outcome == "finished"
    assert not (study.path / "checkpoints").exists()


def test_checkpoint_comes_once_in_its_interval(make, ratings):
    run = StudyRun(make("seldom", early_stopping="none"), 1)
    worker = worker_of(ratings, run, checkpoint_seconds=3600.0)
    trial = run.next()
    worker.begin(trial.config)
    assert worker.advance().checkpoint is None
    worker._saved_at -= 3601.0
    assert worker.advance().checkpoint.factors.iterations == 2
    assert worker.advance().checkpoint is None
    run.close()


def test_checkpoint_that_is_cut_short_is_passed_over(make, ratings):
    study = make("short", early_stopping="none")
    go_on(StudyRun(study, 1), ratings, 5)
    (folder,) = study.path.glob("checkpoints/trial-001/*")
    (folder / "factors" / "user_factors.npy").write_bytes(b"")
    run = StudyRun(study, 1)
    assert (run.next().iterations, run.next()) == (0, None)
    run.close()


@pytest.mark.parametrize("content", [b"", b"PK", bytes(100), None])
def test_chain_whose_archive_is_damaged_begins_anew(ratings, tmp_path, content):
    """As a power cut leaves it: empty, of zeros, or cut short."""
    config = WALSConfig(factors=2, iterations=3)
    trainer = PosteriorTrainer(TrainingData(ratings["train"], backend=Backend.require("numpy")), config)
    trainer.step()
    kept = Checkpoint(trainer.host_factors(), None, None, {}, sampling=trainer.host_state())
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("trial-001", kept)
    assert checkpoints.load("trial-001").sampling.keys() == kept.sampling.keys()
    archive = next(tmp_path.rglob("*.npz"))
    archive.write_bytes(archive.read_bytes()[:300] if content is None else content)
    assert checkpoints.load("trial-001") is None


def test_factors_are_handed_over_only_where_they_may_be_kept(make, ratings):
    run = StudyRun(make("best", keep_factors="best", early_stopping="none"), 1)
    worker, trial = worker_of(ratings, run, 3600.0), run.next()
    config = trial.config

    def handed_over(to_beat):
        worker.begin(config, to_beat=to_beat)
        segments = [worker.advance() for _ in range(config.iterations)]
        return segments[-1].figures["valid_rmse"], [s.factors is not None for s in segments]

    reached, first = handed_over(float("inf"))
    assert first == [False] * 9 + [True]
    assert handed_over(reached)[1] == [False] * 10
    assert handed_over(reached + 1e-6)[1] == [False] * 9 + [True]
    run.close()


def test_best_factors_are_those_that_are_kept(make, ratings):
    study = make("best", keep_factors="best", trials=6)
    run = StudyRun(study, 1)
    run_in_process(run, ratings)
    run.close()
    best, kept = float("inf"), set()
    for trial in sorted(study.trials(), key=lambda trial: trial["number"]):
        if trial["valid_rmse"] < best:
            best = trial["valid_rmse"]
            kept.add(trial["trial"])
    assert {path.name for path in study.path.glob("factors/*")} == kept
    assert len(kept) < 6
