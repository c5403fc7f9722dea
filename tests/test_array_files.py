"""Arrays on disk: whole, or an error that names its cause; and what is left of them where a process ends."""

from __future__ import annotations

import contextlib
import errno
import resource
import shutil
import sys

import numpy as np
import pytest
from forks import Forked
from ingesting import names, walslab
from sharded_ratings import write_dataset

from toolkit.files import append_array, save_array
from toolkit.models import placing, training_checkpoint
from toolkit.sharded import MemoryPlan
from toolkit.solver import Trainer


@contextlib.contextmanager
def files_of_at_most(size):
    """Let no file of this process grow beyond some bytes: what a full disk does, at a byte of our choice."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    bytecode = sys.dont_write_bytecode
    # Python keeps the bytecode of a module that it imports now, cut short without a word.
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = bytecode


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def forced(monkeypatch):
    """Leave the ratings of every dataset in their shards."""
    monkeypatch.setattr(placing, "plan_memory", lambda *_, **__: MemoryPlan(True, 3 << 20, 2 << 20, 1 << 20))


ARRAYS = [
    np.arange(10_000, dtype=np.float32),
    np.asfortranarray(np.arange(600.0).reshape(20, 30)),
    np.arange(90).reshape(9, 10)[:, ::3],
    np.empty((0, 3)),
    np.array(5, np.int8),
]


@pytest.mark.parametrize("array", ARRAYS)
def test_an_array_is_what_numpy_writes_and_reads(tmp_path, array):
    save_array(tmp_path / "ours.npy", array)
    np.save(tmp_path / "theirs.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


@pytest.mark.parametrize("missing", [1, 50, 3000, 20_000, 40_100])
def test_no_byte_is_lost_without_an_error(tmp_path, missing):
    """NumPy's own writer says nothing where the last few kilobytes do not fit."""
    array = ARRAYS[0]
    with files_of_at_most(128 + array.nbytes - missing):
        with pytest.raises(OSError, match="File too large") as raised:
            save_array(tmp_path / "array.npy", array)
        assert raised.value.errno == errno.EFBIG
        with pytest.raises(OSError, match="File too large"), (tmp_path / "bytes").open("wb") as file:
            append_array(file, np.append(array, np.zeros(32, np.float32)))


@pytest.mark.parametrize("posterior", [False, True])
def test_a_model_that_does_not_fit_on_the_disk_is_not_there(dataset, tmp_path, posterior):
    """One error, no traceback, and nothing half-written."""
    before = names(tmp_path)
    options = ["--posterior", "--samples", 3] if posterior else ["--iterations", 2]
    with files_of_at_most(6000):
        done = walslab("train", dataset.path, "--out", tmp_path / "model", *options, "--factors", 16)
    assert done.exit_code == 1
    assert "walslab: error: [Errno 27] File too large" in done.output
    assert names(tmp_path) == before


@pytest.mark.usefixtures("forced")
def test_ratings_that_do_not_fit_beside_the_model_leave_nothing(dataset, tmp_path):
    before = names(tmp_path)
    with files_of_at_most(5000):
        done = walslab("train", dataset.path, "--out", tmp_path / "model", "--iterations", 1, "--factors", 2)
    assert done.exit_code == 1
    assert "File too large" in done.output
    assert names(tmp_path) == before


KILLED = """
import os, sys
from toolkit.models import files, placing
from toolkit.sharded import MemoryPlan
placing.plan_memory = lambda *_, **__: MemoryPlan(True, 3, 2, 1)
files.check_target = lambda *_, **__: os.kill(os.getpid(), 9)
from toolkit.commands import main
main(sys.argv[1:])
"""


@pytest.mark.usefixtures("forced")
def test_what_a_killed_training_left_beside_its_model_goes_with_the_next(dataset, tmp_path):
    before = names(tmp_path)
    words = ["train", dataset.path, "--out", tmp_path / "model", "--iterations", 1, "--factors", 2]
    with Forked(KILLED, *words) as process:
        assert process.wait() == -9
    assert any(name.startswith(".model") for name in names(tmp_path))
    done = walslab(*words)
    assert done.exit_code == 0, done.output
    assert names(tmp_path) == sorted([*before, "model"])


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(
    "what", ["dataset", pytest.param("dataset/train", marks=pytest.mark.slow), "dataset/valid"]
)
def test_a_dataset_that_goes_away_during_a_training_is_named_and_the_training_goes_on(
    tmp_path, monkeypatch, what
):
    dataset = write_dataset(tmp_path, nnz=900)
    monkeypatch.setattr(training_checkpoint, "_EVERY", 0.0)
    step, steps = Trainer.step, []

    def losing(trainer):
        steps.append(1)
        if len(steps) == 2:
            (tmp_path / what).rename(tmp_path / "away")
        return step(trainer)

    words = ["train", dataset.path, "--out", tmp_path / "model", "--iterations", 3, "--factors", 2]
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", losing)
        lost = walslab(*words)
    assert lost.exit_code == 2
    assert ".npz is missing: the dataset is damaged" in lost.output
    shutil.move(tmp_path / "away", tmp_path / what)
    done = walslab(*words, "--resume")
    assert done.exit_code == 0, done.output
