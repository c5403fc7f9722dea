"""Checkpoints of a training and of a sampling that hold what no training wrote: named, with the way out."""

from __future__ import annotations

import json
import shutil

import pytest
from sharded_ratings import write_dataset

from toolkit import WALS
from toolkit.errors import ModelError
from toolkit.models import training_checkpoint

OPTIONS = {"factors": 2, "iterations": 4, "backend": "numpy", "threads": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("ratings"), n_users=40, n_items=20, nnz=500)


def fit(kind, data, path):
    model = WALS(**OPTIONS)
    if kind == "training":
        return model.fit(data, checkpoint=path)
    return model.fit_posterior(data, samples=12, burn_in=1, keep=1, checkpoint=path)


@pytest.fixture(scope="module", params=["training", "sampling"])
def written(request, data, tmp_path_factory):
    """What kind of checkpoint it is, and its directory."""
    path = tmp_path_factory.mktemp("checkpoint") / "kept"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training_checkpoint, "_EVERY", 0.0)
        fit(request.param, data, path)
    return request.param, path


def words_changed(**changes):
    def change(path):
        file = next(path.glob("*ing.json"))
        words = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({name: value for name, value in words.items() if value != "gone"}))

    return change


def text_changed(text):
    return lambda path: next(path.glob("*ing.json")).write_text(text)


def cut_short(path):
    """Each array is half of what it was."""
    for file in [*path.rglob("*.npy"), *path.rglob("*.npz")]:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def emptied(path):
    for file in [*path.rglob("*.npy"), *path.rglob("*.npz")]:
        file.write_bytes(b"")


DAMAGES = {
    "no text": text_changed(""),
    "no object": text_changed("[]"),
    "null": text_changed("null"),
    "deep": text_changed("[" * 100_000),
    "no identity": words_changed(identity="gone"),
    "another identity": words_changed(identity=[1]),
    "no history": words_changed(history=None),
    "history of numbers": words_changed(history=[1, 2, 3, 4]),
    "cut short": cut_short,
    "emptied": emptied,
    "a file": lambda path: (shutil.rmtree(path), path.write_text("")),
    "nothing in it": lambda path: (shutil.rmtree(path), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named(written, data, tmp_path, damage):
    kind, path = written
    shutil.copytree(path, tmp_path / "kept")
    DAMAGES[damage](tmp_path / "kept")
    with pytest.raises(ModelError, match=r"kept is no checkpoint that can be read \(.*\): remove it"):
        fit(kind, data, tmp_path / "kept")


@pytest.mark.parametrize("n", [0, 9])
def test_a_history_of_other_iterations_is_not_gone_on_with(data, tmp_path, monkeypatch, n):
    monkeypatch.setattr(training_checkpoint, "_EVERY", 0.0)
    fit("training", data, tmp_path / "kept")
    figures = {"iteration": 1, "train_rmse": 1.0, "valid_rmse": 1.0, "seconds": 1.0}
    words_changed(history=[figures] * n)(tmp_path / "kept")
    with pytest.raises(ModelError, match=f"its history has {n} iterations, but its factors have 4"):
        fit("training", data, tmp_path / "kept")


def test_a_whole_one_is_gone_on_with(written, data, tmp_path):
    kind, path = written
    shutil.copytree(path, tmp_path / "kept")
    assert fit(kind, data, tmp_path / "kept").history
