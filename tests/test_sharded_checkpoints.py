"""Trainings that are killed, and go on from their checkpoints with the same bits, in memory or in shards."""

from __future__ import annotations

import itertools
import json

import pytest
from ingesting import names, walslab
from sharded_ratings import (
    BASE,
    CONFIGS,
    assert_same_factors,
    write_dataset,
)

from toolkit import WALS
from toolkit.config import RunOptions
from toolkit.errors import ConfigError
from toolkit.files import claimed
from toolkit.models import Model, placing, training_checkpoint
from toolkit.sharded import MemoryPlan
from toolkit.solver import Trainer

pytestmark = pytest.mark.usefixtures("short_search")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("sharded"))


class Killed(BaseException):
    pass


def killed_after(n):
    def look(progress):
        if progress["iteration"] == n:
            raise Killed

    return look


QUICK = [("momentum", "cg", 0), ("default", "exact", 3)]
EVERY = itertools.product(["default", "momentum"], ["exact", "cg"], [0, 3])


@pytest.mark.parametrize(
    ("name", "solver", "patience"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in EVERY if case not in QUICK)],
)
def test_a_killed_training_goes_on_to_the_same_bits(
    dataset, tmp_path, monkeypatch, *, name, solver, patience
):
    """It begins in memory, and ends in shards: where the ratings are does not matter."""
    monkeypatch.setattr(training_checkpoint, "_EVERY", 0.0)
    config, options = CONFIGS[name].replace(iterations=6), RunOptions(backend="numba", solver=solver, seed=4)
    whole = WALS(config, options).fit(dataset, patience=patience)
    for n in (1, 4):
        with pytest.raises(Killed):
            WALS(config, options).fit(
                dataset, patience=patience, checkpoint=tmp_path / "kept", on_iteration=killed_after(n)
            )
    seen = []
    monkeypatch.setattr(placing, "plan_memory", lambda *_, **__: MemoryPlan(True, 3, 2, 1))
    again = WALS(config, options).fit(
        dataset, patience=patience, checkpoint=tmp_path / "kept", on_iteration=seen.append
    )
    assert [each["iteration"] for each in seen] == [each["iteration"] for each in whole.history][4:]
    assert_same_factors(whole.factors, again.factors)
    assert [h["valid_rmse"] for h in whole.history] == [h["valid_rmse"] for h in again.history]


def test_a_checkpoint_of_another_training_is_refused(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(training_checkpoint, "_EVERY", 0.0)
    WALS(BASE).fit(dataset, checkpoint=tmp_path / "kept")
    with pytest.raises(ConfigError, match=r"kept is the checkpoint of a training of another seed: go on"):
        WALS(BASE, seed=1).fit(dataset, checkpoint=tmp_path / "kept")


def test_the_command_goes_on_only_where_it_is_told_to(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(training_checkpoint, "_EVERY", 0.0)
    out = tmp_path / "model"
    arguments = ["train", dataset.path, "--out", out, "--iterations", 3, "--json"]
    with monkeypatch.context() as patched:
        step, steps = Trainer.step, []

        def killed(trainer):
            if len(steps) == 2:
                raise Killed
            steps.append(step(trainer))

        patched.setattr(Trainer, "step", killed)
        with pytest.raises(Killed):
            walslab(*arguments)
    assert names(tmp_path) == ["model.training"]
    refused = walslab(*arguments)
    assert refused.exit_code
    assert "model.training is what an unfinished training left: go on with --resume" in refused.output
    done = walslab(*arguments, "--resume")
    assert done.exit_code == 0, done.output
    assert "begins anew" not in done.output
    assert json.loads(done.stdout)["iterations"] == 3
    assert names(tmp_path) == ["model"]
    anew = walslab(*arguments, "--resume", "--overwrite")
    assert f"there is no {tmp_path / 'model.training'}, so the training begins anew" in anew.stderr
    assert Model.load(out).history[0]["iteration"] == 1


@pytest.mark.parametrize("options", [[], ["--posterior"], ["--overwrite", "--resume"]])
def test_two_trainings_for_one_model_are_one_too_many(dataset, tmp_path, options):
    """The first to end removed the checkpoints of both, and the other trained for nothing."""
    with claimed(tmp_path / "model"):
        refused = walslab("train", dataset.path, "--out", tmp_path / "model", "--iterations", 1, *options)
    assert refused.exit_code == 2
    assert "another process is making" in refused.output
    assert names(tmp_path) == []
