"""Ray Tune as an executor: processes are kept, whatever the trials' length beside that of their start."""

from __future__ import annotations

import pytest

from tune.search import StudyRun
from tune.spec.search_spec import SearchSpec
from tune.study.study import Study

pytestmark = pytest.mark.integration

SPEC = SearchSpec.from_dict(
    {
        "space": {"factors": {"low": 2, "high": 8}, "iterations": 1},
        "trials": 60,
        "concurrency": 6,
        "early_stopping": "none",
        "sampler": "random",
    }
)


@pytest.mark.slow
def test_processes_are_started_once_however_short_the_trials(tmp_path, monkeypatch):
    import ray
    from ray.air.execution._internal import RayActorManager

    from tune.executors.on_ray import run_on_ray
    from tune.executors.ray_session import connected
    from tune.executors.trial_worker import TrialWorker
    from tune.search import Segment

    class Sleeper(TrialWorker):
        """Tells of the process that it runs in."""

        def __init__(self, ratings, settings):
            pass

        def begin(self, config, **_):
            pass

        def advance(self):
            import os
            import time

            time.sleep(0.3)
            figures = {"valid_rmse": 1.0, "train_rmse": 1.0}
            history = {"valid_rmse": [1.0], "train_rmse": [1.0], "seconds": [0.3]}
            system = {"backend": "numpy", "device": "", "host": str(os.getpid()), "peak_bytes": 1}
            return Segment(history, figures, iterations=1, done=True, system=system)

    started, add = [], RayActorManager.add_actor

    def counted(*arguments, **options):
        started.append(1)
        return add(*arguments, **options)

    monkeypatch.setattr(RayActorManager, "add_actor", counted)
    study = Study.create(tmp_path / "s", spec=SPEC.to_dict(), seconds=0.0)
    ray.init(address="local", num_cpus=6, include_dashboard=False, log_to_driver=False)
    try:
        with connected():
            run = StudyRun(study, 6)
            run_on_ray(run, {"train": None, "train_by_item": None, "valid": None}, worker=Sleeper)
            run.close()
    finally:
        ray.shutdown()
    trials = study.trials()
    assert run.outcome == "finished"
    assert len(trials) == 60
    assert len(started) == 6
    assert len({trial["system"]["host"] for trial in trials}) <= 6
