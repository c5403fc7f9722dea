"""Recommendations for many users: what the model says of each, complete or not there."""

from __future__ import annotations

import errno
import signal
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from forks import Forked
from memory_peaks import peak_of
from recommending_models import (  # noqa: F401 - fixtures
    N_ITEMS,
    N_USERS,
    fitted,
    model_fixture,
    names,
    same,
    saved_fixture,
    small_parts_fixture,
    wanted,
    write,
)

from toolkit.backends import Backend
from toolkit.commands import main
from toolkit.errors import ConfigError
from toolkit.recommending import Ranker, Rule, job, recommend_to_file

# Ranker


def test_ranker_says_what_the_model_says(model, backend):
    rows = np.array([5, 3, 4, 9])
    for include in (False, True):
        best = Ranker(model, Rule(6, exclude_seen=not include), backend).best(rows)
        items, scores = model.recommend(model.users.ids[rows], 6, exclude_seen=not include, backend=backend)
        np.testing.assert_array_equal(np.where(best.items >= 0, model.items.ids[best.items], -1), items)
        np.testing.assert_allclose(best.scores, scores, rtol=1e-6)
        assert (best.items.dtype, best.scores.dtype) == (np.int32, np.float32)


def test_neighbours_are_ranked_as_others(model):
    ranker = Ranker(model, Rule(), Backend(1))
    together, apart = ranker.best(np.arange(20)), ranker.best(np.arange(20)[::-1])
    np.testing.assert_array_equal(together.items, apart.items[::-1])


def test_items_of_few_ratings_are_left_out(model, backend):
    counts = np.asarray(model.item_counts)
    least = int(np.median(counts))
    best = Ranker(model, Rule(N_ITEMS, exclude_seen=False, min_ratings=least), backend).best(np.arange(5))
    assert {*best.items.ravel().tolist()} == {-1, *np.flatnonzero(counts >= least).tolist()}
    none = Ranker(model, Rule(3, min_ratings=10_000), backend).best(np.arange(5))
    assert (none.items == -1).all()
    assert np.isnan(none.scores).all()


@pytest.mark.parametrize(("options", "text"), [({"n": 0}, "n must be"), ({"min_ratings": -1}, "min_ratings")])
def test_rule_refuses_what_is_out_of_range(options, text):
    with pytest.raises(ConfigError, match=text):
        Rule(**options)


# The file


def test_file_holds_what_the_model_says_of_each_user(model, tmp_path, small_parts):
    steps = []
    report = write(model, tmp_path / "out.parquet", progress=lambda *step: steps.append(step))
    file = pq.ParquetFile(tmp_path / "out.parquet")
    table = file.read()
    same(table, wanted(model, model.users.ids.tolist()))
    assert file.metadata.num_row_groups == -(-N_USERS // 7)
    assert [str(field.type) for field in table.schema] == ["string", "int32", "int64", "float"]
    assert table.schema.metadata[b"walslab.n"] == b"10"
    assert (report.users, report.rows) == (N_USERS, table.num_rows)
    assert report.items == len(set(table["item"].to_pylist()))
    assert steps[0] == ("recommending", 0, N_USERS)
    assert steps[-1] == ("recommending", N_USERS, N_USERS)
    # User 7 has two items left.
    assert table["user"].to_pylist().count("u7") == 2


def test_rows_come_as_the_users_were_asked_with_titles(model, tmp_path, small_parts):
    rows = np.array([50, 3, 4, 5, 6, 7, 8, 9, 10, 0])
    rule = Rule(3, exclude_seen=False)
    write(model, tmp_path / "out.parquet", rule, rows, titles=model.titles)
    table = pq.read_table(tmp_path / "out.parquet")
    same(table, wanted(model, model.users.ids[rows], 3, exclude_seen=False))
    columns = model.items.rows(table["item"].to_pylist())
    assert table["title"].to_pylist() == model.titles[columns].tolist()
    assert table.schema.metadata[b"walslab.exclude_seen"] == b"false"


def test_csv_holds_the_same(model, tmp_path, small_parts):
    from pyarrow import csv

    for name in ("out.csv", "out.parquet"):
        write(model, tmp_path / name, titles=model.titles)
    text, table = csv.read_csv(tmp_path / "out.csv"), pq.read_table(tmp_path / "out.parquet")
    assert text.column_names == table.column_names
    for name in ("user", "rank", "item", "title"):
        assert text[name].to_pylist() == table[name].to_pylist()
    assert text["score"].to_pylist() == pytest.approx(table["score"].to_pylist())


def test_share_of_items_with_few_ratings_is_reported(made_up_ratings, tmp_path):
    model = fitted(made_up_ratings(12, 30, density=0.05))
    counts = np.asarray(model.item_counts)
    report = write(model, tmp_path / "out.parquet")
    items = model.items.rows(pq.read_table(tmp_path / "out.parquet")["item"].to_pylist())
    assert report.few_ratings == pytest.approx((counts[items] < 5).mean())
    assert write(model, tmp_path / "none.parquet", Rule(min_ratings=1000)).rows == 0
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [("out.txt", r"must end in \.parquet or \.csv"), ("there.csv", "exists already"), ("d.csv", "directory")],
)
def test_a_file_that_cannot_be_made_is_refused_before_anything(model, tmp_path, name, text):
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ConfigError, match=text):
        recommend_to_file(model, np.arange(3), tmp_path / name, Rule(), pytest.fail)
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert names(tmp_path) == ["d.csv", "there.csv"]


def test_an_existing_file_is_replaced_when_the_new_one_is_complete(model, tmp_path, small_parts):
    out = tmp_path / "out.parquet"
    out.write_text("old")

    def progress(stage, done, total):
        if done < total:
            assert out.read_text() == "old"

    write(model, out, overwrite=True, progress=progress)
    assert pq.read_table(out).num_rows > 0
    assert names(tmp_path) == ["out.parquet"]


def test_memory_does_not_grow_with_users(tmp_path, made_up_ratings, monkeypatch):
    monkeypatch.setattr(job, "_USERS", 128)
    peaks = []
    for n_users in (256, 2048):
        model = fitted(made_up_ratings(n_users, 60, density=0.1))
        write(model, tmp_path / "warm.parquet", overwrite=True)
        peaks.append(peak_of(lambda model=model: write(model, tmp_path / "out.parquet", overwrite=True)))
    # Eight times the users: their row numbers, and what Parquet notes of each row group.
    assert peaks[1] < peaks[0] * 1.5


# When something breaks


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MemoryError(), OSError(28, "No space left on device")]
)
def test_what_breaks_leaves_nothing(model, tmp_path, small_parts, name, error):
    def progress(stage, done, total):
        if done > 20:
            raise error

    with pytest.raises(type(error)) as raised:
        write(model, tmp_path / name, progress=progress)
    assert names(tmp_path) == []
    if isinstance(error, OSError):
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / name))


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 KB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "walslab-test", str(folder)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no disk of one's own is permitted here: {error}")
    if done.returncode:
        pytest.skip(f"no disk of one's own is permitted here: {done.stderr}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_full_disk_is_told_by_name_and_leaves_what_was_there(made_up_ratings, disk, tmp_path, suffix):
    made = fitted(made_up_ratings(500, 300, density=0.1))
    made.save(tmp_path / "model")
    out = disk / f"out.{suffix}"
    out.write_text("old")
    arguments = ["recommend", tmp_path / "model", "--all-users", "--out", out, "-n", 100, "--overwrite"]
    done = CliRunner().invoke(main, [*map(str, arguments), "--backend", "numpy"])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"walslab: error: [Errno 28] No space left on device: '{out}'"
    assert out.read_text() == "old"
    assert names(disk) == [out.name]


# The command, whose parts take their time and are told.
COMMAND = """
import signal, sys, time
# Where the tests run in the background, they and their children ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from toolkit.commands import main
from toolkit.recommending import job, ranker

job._USERS = 1
best = ranker.Ranker.best

def slow(self, rows):
    print("part", flush=True)
    time.sleep(0.3)
    return best(self, rows)

ranker.Ranker.best = slow
main(prog_name="walslab")
"""


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_half_way_it_leaves_no_file_and_the_next_one_cleans_up(saved, tmp_path, blow):
    arguments = ["recommend", saved, "--all-users", "--out", tmp_path / "out.parquet", "--backend", "numpy"]
    arguments = [*map(str, arguments)]
    with Forked(COMMAND, *arguments) as process:
        for _ in range(3):
            assert process.stdout.readline() == "part\n"
        process.send_signal(blow)
        printed, told = process.communicate()
    assert printed.count("part") < 20  # of forty
    assert "Traceback" not in told
    assert not (tmp_path / "out.parquet").exists()
    if blow == signal.SIGINT:
        assert (process.returncode, told.split()[-1], names(tmp_path)) == (1, "Aborted!", [])
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert names(tmp_path) == ["out.parquet"]
