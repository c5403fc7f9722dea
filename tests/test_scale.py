"""docs/scale.md shows the tables that benchmarks/scale.py prints, and its formulas fit what was measured."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).resolve().parent.parent
PAGE = (REPO_ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
RESULTS = (REPO_ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The folder of the benchmarks, where they find each other."""
    monkeypatch.syspath_prepend(REPO_ROOT / "benchmarks")


@pytest.fixture
def scale(scripts):
    return importlib.import_module("scale")


@pytest.fixture
def model(scripts):
    return importlib.import_module("scale_model")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dataset of 100,000 made-up ratings."""
    from toolkit.ingest import RatingsSource, ingest_ratings
    from toolkit.synth import write_ratings

    folder = tmp_path_factory.mktemp("scale")
    made = write_ratings(folder / "r.csv", ratings=100_000, users=693, items=2_879)
    return ingest_ratings(RatingsSource.detect([made.path]), folder / "data")


def test_the_page_has_every_table_as_it_is_printed(scale):
    found = dict(re.findall(r"<!-- (\w+) -->\n\n((?:\|.*\n)+)", PAGE))
    assert list(found) == list(scale.TABLES)
    for name, make in scale.TABLES.items():
        assert found[name].rstrip("\n") == make(), f"{name}: python benchmarks/scale.py prints another table"


def test_the_command_of_the_page_prints_the_tables(scale, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scale.py"])
    runpy.run_path(str(REPO_ROOT / "benchmarks" / "scale.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert all(f"<!-- {name} -->\n{make()}\n" in printed for name, make in scale.TABLES.items())


def test_constants_called_measured_are_in_the_results(scale, model):
    for *_, took in model.MEASURED.values():
        for rank, seconds in took.items():
            assert f"| {rank} | walslab | {seconds:.3f} |" in RESULTS
    for ratings, (wall, processor, mib) in model.INGESTED.items():
        (line,) = re.findall(rf"(?m)^\| {scale.number(ratings)} \| .*$", RESULTS)
        cells = line.split(" | ")
        assert (cells[1], cells[3], cells[4]) == (f"{wall:.2f}", f"{processor:.2f}", str(mib))


def test_predicted_times_are_within_a_third_of_the_measured(model):
    for nnz, users, items, took in model.MEASURED.values():
        for rank, measured in took.items():
            assert 0.75 < model.cpu_seconds(nnz, users + items, rank) / measured < 4 / 3


def test_what_is_predicted_of_a_dataset_is_found(model, data):
    bytes_of = importlib.import_module("scale_check").bytes_of
    shape = model.Shape(100_000, data.n_users, data.n_items)
    held = sum(map(bytes_of, (data.train, data.train_by_item, data.valid)))
    assert model.host_bytes(shape) == pytest.approx(held, rel=0.01)
    stored = sum(entry["bytes"] for entry in data.manifest["files"])
    assert model.disk_bytes(shape) == pytest.approx(stored, rel=0.1)


def test_what_is_predicted_of_a_model_is_found(model, data, tmp_path):
    from toolkit import WALS, WALSConfig

    shape = model.Shape(100_000, data.n_users, data.n_items)
    trained = WALS(WALSConfig(factors=8, iterations=2, pattern_weight=1)).fit(
        data.train_and_valid(), user_ids=data.user_ids, item_ids=data.item_ids
    )
    trained.save(tmp_path / "model")
    stored = sum(path.stat().st_size for path in (tmp_path / "model").iterdir())
    assert model.model_bytes(shape, 8) == pytest.approx(stored, rel=0.01)
    (tmp_path / "factors").mkdir()
    trained.factors.save(tmp_path / "factors")
    stored = sum(path.stat().st_size for path in (tmp_path / "factors").iterdir())
    assert model.factors_bytes(shape, 8) == pytest.approx(stored, rel=0.01)
