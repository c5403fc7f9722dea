"""Ray Tune drives the Trainable: paused or killed trials go on with the bits they would have had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse as sp
from processes import wait_for

from toolkit import WALS, WALSConfig
from tune import WALSTrainable

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CONFIG = {"factors": 4, "iterations": 12, "momentum": 0.3, "pattern_weight": 0.5}

# A driver that is killed while its trials run, and the one that goes on.
DRIVER = """
    import sys, time
    import ray, ray.tune as ray_tune
    import scipy.sparse as sp
    from tune import WALSTrainable

    class Slow(WALSTrainable):
        def step(self):
            time.sleep(0.3)
            return super().step()

    folder, config = sys.argv[1], {config!r}
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    train, valid = (sp.load_npz(f"{{folder}}/{{name}}.npz") for name in ("train", "valid"))
    trainable = ray_tune.with_parameters(Slow, data=train, valid=valid)
    if sys.argv[2] == "restore":
        tuner = ray_tune.Tuner.restore(f"{{folder}}/killed", trainable=trainable, resume_unfinished=True)
    else:
        tuner = ray_tune.Tuner(
            trainable,
            param_space={{**config, "regularization": ray_tune.grid_search([0.05, 0.2, 0.8])}},
            run_config=ray_tune.RunConfig(
                name="killed",
                storage_path=folder,
                checkpoint_config=ray_tune.CheckpointConfig(checkpoint_frequency=3),
                verbose=0,
            ),
        )
    results = tuner.fit()
    for result in results:
        rows = result.metrics_dataframe
        last = rows.drop_duplicates("training_iteration", keep="last")
        print("RESULT", result.config["regularization"], *map(repr, last.valid_rmse.map(float)))
        print("BEGAN", rows.iterations_since_restore.tolist())
"""


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(0)
    full = np.clip(3.5 + rng.standard_normal((60, 2)) @ rng.standard_normal((2, 40)), 1, 5).astype("float32")
    users, items = np.nonzero(rng.random((60, 40)) < 0.5)
    held = rng.random(len(users)) < 0.2
    return [
        sp.csr_matrix((full[users[of], items[of]], (users[of], items[of])), full.shape)
        for of in (~held, held)
    ]


@pytest.fixture(scope="module")
def on_ray():
    import ray

    from toolkit.files import process_settings

    with process_settings():
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def figures_of(config, ratings):
    """Return the RMSE after each iteration of a training that nothing interrupts."""
    model = WALS(WALSConfig(**config)).fit(ratings[0], valid=ratings[1])
    return [figures["valid_rmse"] for figures in model.history]


def fit(scheduler, space, ratings, folder, n):
    import ray.tune as ray_tune

    return ray_tune.Tuner(
        ray_tune.with_parameters(WALSTrainable, data=ratings[0], valid=ratings[1]),
        param_space=space,
        tune_config=ray_tune.TuneConfig(
            metric="valid_rmse", mode="min", num_samples=n, reuse_actors=True, scheduler=scheduler
        ),
        run_config=ray_tune.RunConfig(storage_path=str(folder), verbose=0),
    ).fit()


def test_paused_trials_go_on_as_if_they_had_not_been_paused(on_ray, ratings, tmp_path):
    import ray.tune as ray_tune
    from ray.tune.schedulers import HyperBandScheduler

    space = {**CONFIG, "regularization": ray_tune.loguniform(0.02, 2.0)}
    results = fit(HyperBandScheduler(max_t=12), space, ratings, tmp_path, 9)
    assert (len(results), results.num_errors) == (9, 0)
    paused = 0
    for result in results:
        rows = result.metrics_dataframe
        assert rows.valid_rmse.tolist() == figures_of(result.config, ratings)[: len(rows)]
        paused += (rows.iterations_since_restore < rows.training_iteration).any()
    assert paused, "no trial was paused"
    model = WALSTrainable.model_of(results.get_best_result(), ratings[0])
    assert model.rmse(ratings[1]) == pytest.approx(results.get_best_result().metrics["valid_rmse"], abs=1e-6)


def test_a_population_exchanges_checkpoints(on_ray, ratings, tmp_path):
    import ray.tune as ray_tune
    from ray.tune.schedulers import PopulationBasedTraining

    population = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=3,
        synch=True,
        hyperparam_mutations={"regularization": ray_tune.loguniform(0.001, 10.0)},
    )
    space = {**CONFIG, "regularization": ray_tune.grid_search([0.001, 0.03, 0.5, 10.0])}
    results = fit(population, space, ratings, tmp_path, 1)
    assert (len(results), results.num_errors) == (4, 0)
    assert population._num_perturbations > 0
    assert {result.config["regularization"] for result in results} != {0.001, 0.03, 0.5, 10.0}
    for result in results:
        model = WALSTrainable.model_of(result, ratings[0])
        assert model.config.regularization == result.config["regularization"]
        assert model.rmse(ratings[1]) == pytest.approx(result.metrics["valid_rmse"], abs=1e-6)


@pytest.mark.parametrize(
    "scheduler",
    [
        {"class": "ray.tune.schedulers.ASHAScheduler", "grace_period": 2, "reduction_factor": 2},
        {"class": "ray.tune.schedulers.MedianStoppingRule", "grace_period": 1, "min_samples_required": 2},
    ],
    ids=["asha", "median"],
)
def test_a_study_stops_the_trials_that_rays_own_tuner_stops(on_ray, ratings, tmp_path, scheduler):
    import ray.tune as ray_tune

    from tune import SearchSpec
    from tune.executors import UnsavedStudy, run_on_ray
    from tune.search import StudyRun

    space = {**CONFIG, "regularization": {"low": 0.001, "high": 100.0, "scale": "log"}}
    spec = SearchSpec.from_dict(
        {"space": space, "trials": 10, "sampler": "random", "start": [], "early_stopping": scheduler}
    )
    run = StudyRun(UnsavedStudy(spec), 1)
    train, valid = ratings
    run_on_ray(run, {"train": train, "train_by_item": train.T.tocsr(), "valid": valid.tocoo()})
    run.close()
    assert {trial["stopped"] for trial in run.results} == {None, "scheduler"}
    trials = {t["config"]["regularization"]: t["history"]["valid_rmse"] for t in run.results}
    results = ray_tune.Tuner(
        ray_tune.with_parameters(WALSTrainable, data=train, valid=valid),
        param_space={**CONFIG, "regularization": ray_tune.grid_search(list(trials))},
        tune_config=ray_tune.TuneConfig(
            scheduler=spec.early_stopping.make(spec.metric, spec.max_iterations),
            max_concurrent_trials=1,
            reuse_actors=True,
        ),
        run_config=ray_tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert {r.config["regularization"]: r.metrics_dataframe.valid_rmse.tolist() for r in results} == trials


def test_a_killed_driver_is_restored(ratings, tmp_path):
    for name, matrix in zip(("train", "valid"), ratings, strict=True):
        sp.save_npz(tmp_path / f"{name}.npz", matrix)
    (tmp_path / "driver.py").write_text(textwrap.dedent(DRIVER.format(config=CONFIG)))
    command = [sys.executable, "driver.py", str(tmp_path)]
    # Ray's snapshot of the experiment comes at most so many seconds late.
    environment = {**os.environ, "TUNE_GLOBAL_CHECKPOINT_S": "0.2"}
    with subprocess.Popen(
        [*command, "start"], cwd=tmp_path, env=environment, stdout=-3, stderr=-3, start_new_session=True
    ) as driver:
        try:
            wait_for(lambda: list(tmp_path.glob("killed/*/checkpoint_*/checkpoint.json")))
        finally:
            os.killpg(driver.pid, signal.SIGKILL)
    done = subprocess.run([*command, "restore"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    found = {float(line[1]): [*map(float, line[2:])] for line in lines if line and line[0] == "RESULT"}
    assert found == {
        value: figures_of({**CONFIG, "regularization": value}, ratings) for value in (0.05, 0.2, 0.8)
    }
