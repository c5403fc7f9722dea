"""What Ray Tune's driver spends on a trial, by how many results it has; nothing is trained.

    python benchmarks/ray_results.py [--trials 40] [--dataset DIR]

Processes are kept (`reuse_actors`), two trials run at once, and only Ray's own loggers write. A trial reports
the figures of `tune.WALSTrainable` 15 times, or once; with a checkpoint of such a model's size at its end, or
without. With a dataset, `tune.WALSTrainable` itself runs, too. Printed is the processor time of the driver
for each trial, in milliseconds, once every process is up.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ITERATIONS, AT_ONCE, RANK = 15, 2, 16
# Users and items of MovieLens 100K.
SHAPES = (943, RANK), (1682, RANK)


def main() -> None:
    """Print a row for each contestant."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--dataset", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # verbose=0 prints nothing then
    import ray

    ray.init(address="local", num_cpus=AT_ONCE, include_dashboard=False, log_to_driver=False)
    print("| trials of | results | checkpoint | driver, ms a trial |\n|---|---|---|---|")
    for results, checkpoint in ((1, False), (1, True), (ITERATIONS, False), (ITERATIONS, True)):
        spent = driver_ms(_empty(results), options.trials, checkpoint=checkpoint)
        print(f"| nothing | {results} | {'yes' if checkpoint else 'no'} | {spent:.0f} |", flush=True)
    if options.dataset:
        from ray.tune import with_parameters

        from toolkit.datasets import RatingsDataset
        from tune import WALSTrainable

        data = RatingsDataset.open(options.dataset)
        ours = with_parameters(WALSTrainable, data=data.train, valid=data.valid)
        for checkpoint in (False, True):
            spent = driver_ms(ours, options.trials, checkpoint=checkpoint)
            told = "yes" if checkpoint else "no"
            print(f"| `WALSTrainable` | {ITERATIONS} | {told} | {spent:.0f} |", flush=True)


def _empty(results: int) -> Any:
    """Return a Trainable that reports so many results of a training, without one."""
    import ray.tune as ray_tune

    class Empty(ray_tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.n = 0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.n = 0
            return True

        def step(self) -> dict[str, Any]:
            self.n += 1
            figures = {"seconds": 0.01, "valid_rmse": 0.9 + 1 / self.n, "train_rmse": 0.8 + 1 / self.n}
            return {**figures, "done": self.n >= results}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            for number, shape in enumerate(SHAPES):
                np.save(f"{checkpoint_dir}/{number}.npy", np.zeros(shape, np.float32))

        def load_checkpoint(self, checkpoint: str) -> None:
            pass

    return Empty


def driver_ms(trainable: Any, trials: int, *, checkpoint: bool) -> float:
    """Return the processor milliseconds of this process for each trial after two of each process."""
    import ray.tune as ray_tune

    class Ends(ray_tune.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.at: list[float] = []

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.at.append(time.process_time())

    ends = Ends()
    with tempfile.TemporaryDirectory() as folder:
        ray_tune.Tuner(
            ray_tune.with_resources(trainable, {"cpu": 1}),
            param_space={
                "iterations": ITERATIONS,
                "factors": RANK,
                "regularization": ray_tune.loguniform(0.1, 2.0),
            },
            tune_config=ray_tune.TuneConfig(
                metric="valid_rmse",
                mode="min",
                num_samples=trials,
                max_concurrent_trials=AT_ONCE,
                reuse_actors=True,
            ),
            run_config=ray_tune.RunConfig(
                storage_path=folder,
                callbacks=[ends],
                checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=checkpoint),
                verbose=0,
            ),
        ).fit()
    begun, *rest = ends.at[2 * AT_ONCE - 1 :]
    return 1000 * (rest[-1] - begun) / len(rest)


if __name__ == "__main__":
    main()
