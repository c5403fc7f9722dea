"""docs/scale.md shows the tables that benchmarks/scale.py prints, and its formulas fit what was measured."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).resolve().parent.parent
PAGE = (REPO_ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
RESULTS = (REPO_ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("scale", REPO_ROOT / "benchmarks" / "scale.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale"] = module  # its dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules["scale"]


def test_the_page_has_every_table_as_it_is_printed(scale):
    found = dict(re.findall(r"<!-- (\w+) -->\n\n((?:\|.*\n)+)", PAGE))
    assert list(found) == list(scale.TABLES)
    for name, make in scale.TABLES.items():
        assert found[name].rstrip("\n") == make(), f"{name}: python benchmarks/scale.py prints another table"


def test_the_command_of_the_page_prints_the_tables(scale):
    done = subprocess.run(
        [sys.executable, "benchmarks/scale.py"], cwd=REPO_ROOT, capture_output=True, text=True, check=True
    )
    assert all(f"<!-- {name} -->\n{make()}\n" in done.stdout for name, make in scale.TABLES.items())


def test_constants_called_measured_are_in_the_results(scale):
    for *_, took in scale.MEASURED.values():
        for rank, seconds in took.items():
            assert f"| {rank} | walslab | {seconds:.3f} |" in RESULTS
    for ratings, (wall, processor, mib) in scale.INGESTED.items():
        (line,) = re.findall(rf"(?m)^\| {scale.number(ratings)} \| .*$", RESULTS)
        cells = line.split(" | ")
        assert (cells[1], cells[3], cells[4]) == (f"{wall:.2f}", f"{processor:.2f}", str(mib))


def test_predicted_times_are_within_a_third_of_the_measured(scale):
    for nnz, users, items, took in scale.MEASURED.values():
        for rank, measured in took.items():
            assert 0.75 < scale.cpu_seconds(nnz, users + items, rank) / measured < 4 / 3


def test_what_is_predicted_of_a_dataset_is_found(scale, tmp_path):
    from toolkit.ingest import RatingsSource, ingest_ratings
    from toolkit.synth import write_ratings

    made = write_ratings(tmp_path / "r.csv", ratings=200_000, users=1_385, items=5_757)
    data = ingest_ratings(RatingsSource.detect([made.path]), tmp_path / "data")
    shape = scale.Shape(200_000, data.n_users, data.n_items)
    held = sum(map(scale._bytes_of, (data.train, data.train_by_item, data.valid)))
    assert scale.host_bytes(shape) == pytest.approx(held, rel=0.01)
    stored = sum(entry["bytes"] for entry in data.manifest["files"])
    assert scale.disk_bytes(shape) == pytest.approx(stored, rel=0.1)
