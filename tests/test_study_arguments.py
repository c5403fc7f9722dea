"""Arguments of another class: refused by the names of the arguments, before anything is made or trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit import RatingsDataset
from toolkit.errors import ConfigError
from tune import SearchSpec, create_study, refit_best, run_study
from tune.study import Study

SPEC = SearchSpec.from_dict({"space": {"factors": {"low": 2, "high": 8}}, "trials": 3})
DATA = RatingsDataset(Path("nowhere"), {"files": [], "counts": {"items": 2, "valid": 3}, "digest": "abc"})


@pytest.fixture
def study(tmp_path):
    return Study.create(tmp_path / "first", name="first", digest="abc", spec=SPEC.to_dict())


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((None, DATA, SPEC), "path"),
        (("s", "data", SPEC), "data"),
        (("s", DATA, "spec.yaml"), "spec"),
        (("s", DATA, {"trials": 2}), "spec"),
        (("s", DATA, None), "spec"),
    ],
)
def test_create_study(tmp_path, monkeypatch, arguments, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"^{name} must be a"):
        create_study(*arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [None, 3, b"first", ""])
def test_open_study(name):
    with pytest.raises(ConfigError, match=r"^name must be a path"):
        Study.open(name)


def test_a_specification_is_read_from_a_path():
    with pytest.raises(ConfigError, match=r"^path must be "):
        SearchSpec.load(3)


@pytest.mark.parametrize(
    "changed",
    [{"study": "first"}, {"data": "data"}, {"executor": "thread"}, {"executor": None}, {"progress": "yes"}],
    ids=repr,
)
def test_run_study(study, changed):
    given = {"study": study, "data": DATA, "executor": "in-process", **changed}
    with pytest.raises(ConfigError, match=rf"^{next(iter(changed))} must be "):
        run_study(given.pop("study"), given.pop("data"), **given)


@pytest.mark.parametrize(
    "changed",
    [
        *({"study": "first"}, {"data": "data"}, {"out": None}, {"out": 3}, {"register": "films"}),
        *({"posterior": "5"}, {"posterior": 2.5}, {"posterior": -1}, {"posterior": True}, {"keep": 1.5}),
        {"progress": "yes"},
    ],
    ids=repr,
)
def test_refit_best(study, tmp_path, changed):
    given = {"study": study, "data": DATA, "out": str(tmp_path / "model"), **changed}
    with pytest.raises(ConfigError, match=rf"^{next(iter(changed))} must be "):
        refit_best(given.pop("study"), given.pop("data"), given.pop("out"), **given)


@pytest.mark.parametrize("titles", ["titles.csv", ["a"], [1, 2], np.zeros(2)], ids=repr)
def test_titles_of_a_refit(study, tmp_path, titles):
    with pytest.raises(Exception, match=r"^titles must be 2 texts"):
        refit_best(study, DATA, tmp_path / "model", titles=titles)
