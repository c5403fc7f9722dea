"""Ray Tune as an executor: processes are kept, whatever the trials' length beside that of their start."""

from __future__ import annotations

import pytest

from tune.search import StudyRun
from tune.spec import SearchSpec
from tune.study import Study

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("settings_put_back")]

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

    from tune.executors import TrialWorker, connected, run_on_ray
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
    study = Study.create(tmp_path / "s", spec=SPEC.to_dict())
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


@pytest.mark.slow
def test_trial_whose_process_died_goes_on_from_its_checkpoint(tmp_path):
    import dataclasses
    import os

    import ray

    from tune.conformance.executor import _ratings
    from tune.executors import TrialWorker, connected, run_in_process, run_on_ray, trial_worker

    spec = SearchSpec.from_dict(
        {
            "space": {"factors": {"low": 2, "high": 8}, "iterations": 12, "momentum": 0.3},
            "trials": 2,
            "backend": "numpy",
            "sampler": "random",
            "early_stopping": "none",
        }
    )
    flag = tmp_path / "died"

    class Mortal(TrialWorker):
        """Hands a checkpoint over after each iteration, and dies once after the eighth."""

        def __init__(self, ratings, settings):
            trial_worker._SEGMENT_SECONDS = 0.0
            super().__init__(ratings, dataclasses.replace(settings, checkpoint_seconds=0.0))

        def advance(self):
            if self._trainer and self._trainer.iterations == 8 and not flag.exists():
                flag.touch()
                os._exit(1)
            return super().advance()

    whole, mortal = (Study.create(tmp_path / n, spec=spec.to_dict()) for n in ("a", "b"))
    run = StudyRun(whole, 1)
    run_in_process(run, _ratings())
    run.close()
    began = {}

    class Heard:
        def advanced(self, run, trial):
            began.setdefault((trial.trial, trial.attempts), trial.iterations)

        def ended(self, run, result):
            pass

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        with connected():
            run = StudyRun(mortal, 1, (Heard(),))
            run_on_ray(run, _ratings(), worker=Mortal)
            run.close()
    finally:
        ray.shutdown()
    assert began["trial-001", 1] == 1
    assert began["trial-001", 2] > 1, "it did not begin anew"
    figures = [
        {t["trial"]: (t["sampled"], t["history"]["valid_rmse"], t["iterations"]) for t in study.trials()}
        for study in (whole, mortal)
    ]
    assert figures[0] == figures[1]
    assert {t["trial"]: t["attempts"] for t in mortal.trials()} == {"trial-001": 2, "trial-002": 1}
    for path in whole.path.glob("factors/*/*.npy"):
        assert path.read_bytes() == (mortal.path / path.relative_to(whole.path)).read_bytes()
