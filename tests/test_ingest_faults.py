"""An ingest that is killed, interrupted or misled: a complete dataset or none, no rubbish."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from disturbed_ingests import SMALL, contents, ratings_fixture, undisturbed_fixture  # noqa: F401 - fixtures
from forks import Forked
from ingesting import names, walslab

from toolkit.datasets import RatingsDataset
from toolkit.errors import DatasetError, RatingsError
from toolkit.ingest import RatingsSource, SplitRule, checkpoints, ingest_ratings, tasks

KILLS = 4


# An ingest whose tasks take their time.
SLOW_INGEST = """
import sys, time
from toolkit.ingest import RatingsSource, ingest_ratings, checkpoints

once = checkpoints._once

def slow(task):
    time.sleep(0.005)
    return once(task)

checkpoints._once = slow
ratings, out, overwrite = sys.argv[1:]
source = RatingsSource.detect([ratings])
ingest_ratings(source, out, overwrite=overwrite == "True", block_bytes=4000, shard_ratings=800)
"""

# The command, with tasks that take their time and are told.
COMMAND = """
import signal, sys, time
# Where the tests run in the background, they and their children ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from toolkit.commands import main
from toolkit.ingest import checkpoints

once = checkpoints._once

def slow(task):
    print(task[0].name, flush=True)
    time.sleep(0.3)
    return once(task)

checkpoints._once = slow
main(prog_name="walslab")
"""


@pytest.fixture
def ran(monkeypatch):
    """The tasks that run from here on, by the names of their notes."""
    found = []
    once = checkpoints._once

    def told(task):
        found.append(task[0].name)
        return once(task)

    monkeypatch.setattr(checkpoints, "_once", told)
    return found


# Killed


def killed_ingest(ratings, out, *, overwrite=False, after, seconds=0.0):
    """Run an ingest in a process of its own, and kill it some seconds after some of its tasks have ended."""
    with Forked(SLOW_INGEST, ratings, out, overwrite) as process:
        while len(notes(out.parent)) < after and process.poll(0.001) is None:
            pass
        time.sleep(seconds)


def work_folders(folder):
    """Return the folders of checkpoints of the ingests that did not end in a folder."""
    return folder.glob(f".*.partial-*/new/{checkpoints.FOLDER}")


def notes(folder):
    """Return the names of the tasks that have ended, of the ingests that did not."""
    return {path.name for work in work_folders(folder) for path in work.glob("*-*.done")}


def kept_notes(folder):
    """Return the names of the tasks that need not run again; none of a folder that was being removed."""
    works = [work for work in work_folders(folder) if (work / "plan.sha256").exists()]
    return {path.name for work in works for path in work.glob("*-*.done")}


@pytest.mark.parametrize("overwrite", [False, True])
def test_whenever_it_is_killed_the_next_one_goes_on(ratings, undisturbed, *, ran, tmp_path, overwrite):
    source = RatingsSource.detect([ratings])
    before = ingest_ratings(source, tmp_path / "before", split=SplitRule(seed=1), **SMALL)
    every = set(ran)
    wanted = contents(undisturbed.path)
    rng = np.random.default_rng(overwrite)
    resumed = 0
    for number, share in enumerate((np.arange(KILLS) + rng.random(KILLS)) / (KILLS - 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        out = folder / "out"
        if overwrite:
            shutil.copytree(before.path, out)
        after = min(int(share * len(every)), len(every))
        killed_ingest(ratings, out, overwrite=overwrite, after=after, seconds=0.02 * rng.random())
        left = [path for path in folder.iterdir() if path != out]
        kept = kept_notes(folder)
        digest = RatingsDataset.open(out, verify=True).digest if out.exists() else None
        if digest != undisturbed.digest:
            assert digest == (before.digest if overwrite else None)
            assert len(left) == 1
            assert after <= len(kept) or after == len(every) or not kept
            resumed += bool(kept)
            ran.clear()
            made = ingest_ratings(source, out, overwrite=overwrite, **SMALL)
            assert made.digest == undisturbed.digest
            # What was done is not done again.
            assert sorted(ran) == sorted(every - kept)
            assert names(folder) == ["out"]
        # One that was killed when it was complete may leave its work folder, which the next one removes.
        assert contents(out) == wanted
    assert resumed >= KILLS // 2


@pytest.fixture(scope="module")
def killed(ratings, tmp_path_factory):
    """What an ingest leaves that is killed half-way."""
    folder = tmp_path_factory.mktemp("killed")
    killed_ingest(ratings, folder / "out", after=15)
    (left,) = folder.iterdir()
    return left


def test_what_other_options_left_is_not_gone_on_with(killed, ratings, ran, tmp_path):
    shutil.copytree(killed, tmp_path / killed.name)
    source, options = RatingsSource.detect([ratings]), {**SMALL, "shard_ratings": 401}
    made = ingest_ratings(source, tmp_path / "out", **options)
    assert names(tmp_path) == ["out"]
    whole, ran[:] = sorted(ran), []
    again = ingest_ratings(source, tmp_path / "again", **options)
    assert whole == sorted(ran)
    assert contents(made.path) == contents(again.path)


@pytest.mark.parametrize(
    "options",
    [
        {"split": SplitRule(seed=1)},
        {"split": SplitRule(kind="per-user")},
        {"duplicates": "mean"},
        {"transform": "log1p"},
        {"bad_rows": "drop"},
        {"block_bytes": 2001},
        {"shard_ratings": 401},
    ],
    ids=lambda options: next(iter(options)),
)
def test_with_every_other_option_it_begins_anew(killed, ratings, ran, tmp_path, options):
    shutil.copytree(killed, tmp_path / killed.name)

    def stop(stage, done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest_ratings(
            RatingsSource.detect([ratings]), tmp_path / "out", progress=stop, **{**SMALL, **options}
        )
    assert "read-000000.done" in ran


def test_what_another_file_left_is_not_gone_on_with(killed, ratings, ran, tmp_path):
    shutil.copytree(killed, tmp_path / killed.name)
    shutil.copy2(ratings, tmp_path / "r.csv")
    with (tmp_path / "r.csv").open("a") as file:
        file.write("9,9,1\n")
    made = ingest_ratings(RatingsSource.detect([tmp_path / "r.csv"]), tmp_path / "out", **SMALL)
    assert {"read-000000.done", "read-000001.done"} <= set(ran)
    assert 1.0 in made.train.data
    assert names(tmp_path) == ["out", "r.csv"]


class Touching:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def loosened(folder):
    folder.chmod(0o750)


def linked(folder):
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


@pytest.mark.parametrize("change", [loosened, linked])
def test_what_others_may_have_written_is_not_gone_on_with(
    killed, ratings, undisturbed, *, ran, tmp_path, change
):
    shutil.copytree(killed, tmp_path / killed.name)
    change(tmp_path / killed.name / "new" / checkpoints.FOLDER)
    made = ingest_ratings(RatingsSource.detect([ratings]), tmp_path / "out", **SMALL)
    assert contents(made.path) == contents(undisturbed.path)
    assert {"read-000000.done", "read-000001.done"} <= set(ran)
    assert names(tmp_path) == ["out"]


def test_what_another_user_left_is_not_gone_on_with(killed, ratings, ran, tmp_path, monkeypatch):
    shutil.copytree(killed, tmp_path / killed.name)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    ingest_ratings(RatingsSource.detect([ratings]), tmp_path / "out", **SMALL)
    assert "read-000000.done" in ran


@pytest.mark.parametrize(
    "note",
    [
        "read-000001",
        *(pytest.param(note, marks=pytest.mark.slow) for note in ("number-000000", "merge-000000")),
        "merged",
        pytest.param("rows-000000", marks=pytest.mark.slow),
    ],
)
def test_a_planted_file_runs_no_code(killed, ratings, tmp_path, note):
    shutil.copytree(killed, tmp_path / killed.name)
    planted = tmp_path / killed.name / "new" / checkpoints.FOLDER / f"{note}.done"
    planted.write_bytes(pickle.dumps(Touching(tmp_path / "ran")))
    with pytest.raises(DatasetError, match=rf"{note}\.done is no note of this version .* ingest again"):
        ingest_ratings(RatingsSource.detect([ratings]), tmp_path / "out", **SMALL)
    assert names(tmp_path) == []
    ingest_ratings(RatingsSource.detect([ratings]), tmp_path / "out", **SMALL)
    assert names(tmp_path) == ["out"]


def test_only_its_user_may_enter_the_scratch_folder(ratings, tmp_path):
    modes = set()

    def progress(stage, done, total):
        modes.update(
            path.stat().st_mode & 0o777 for path in tmp_path.glob(f".out.partial-*/new/{checkpoints.FOLDER}")
        )

    ingest_ratings(RatingsSource.detect([ratings]), tmp_path / "out", progress=progress, **SMALL)
    assert modes == {0o700}


def test_another_output_leaves_it_alone(killed, ratings, tmp_path):
    shutil.copytree(killed, tmp_path / killed.name)
    ingest_ratings(RatingsSource.detect([ratings]), tmp_path / "other", **SMALL)
    assert names(tmp_path) == sorted([killed.name, "other"])


def test_a_dataset_that_was_being_replaced_is_put_back_and_not_overwritten_unasked(
    killed, ratings, undisturbed, tmp_path
):
    shutil.copytree(killed, tmp_path / killed.name)
    shutil.copytree(undisturbed.path, tmp_path / killed.name / "old")
    done = walslab("ingest", ratings, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "exists already" in done.stderr
    assert contents(tmp_path / "out") == contents(undisturbed.path)
    assert names(tmp_path) == ["out"]


def test_a_replacement_that_is_interrupted_puts_the_old_one_back(ratings, undisturbed, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(undisturbed.path, out)
    rename = Path.rename

    def interrupt(self, target):
        if Path(target) == out and self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupt)
    source = RatingsSource.detect([ratings])
    with pytest.raises(KeyboardInterrupt):
        ingest_ratings(source, out, split=SplitRule(seed=1), overwrite=True, **SMALL)
    assert contents(out) == contents(undisturbed.path)
    assert names(tmp_path) == ["out"]


# Interrupted


def until_task(process, prefix):
    """Wait until a task of a stage has begun."""
    for line in process.stdout:
        if line.startswith(prefix):
            return
    pytest.fail(f"no {prefix} came: {process.communicate()[1]}")


@pytest.mark.parametrize(("stage", "overwrite"), [("read-", False), ("merge-", True), ("columns-", False)])
def test_ctrl_c_ends_it_soon_and_leaves_nothing(ratings, undisturbed, *, tmp_path, stage, overwrite):
    out = tmp_path / "out"
    if overwrite:
        shutil.copytree(undisturbed.path, out)
    with Forked(COMMAND, "ingest", ratings, "--out", out, "--overwrite") as process:
        until_task(process, stage)
        process.send_signal(signal.SIGINT)
        printed, told = process.communicate()
    assert len(printed.splitlines()) < 8  # of some forty tasks
    assert process.returncode == 1
    assert told.strip() == "Aborted!"
    assert "dataset in" not in printed
    assert names(tmp_path) == (["out"] if overwrite else [])
    if overwrite:
        assert contents(out) == contents(undisturbed.path)


def test_a_terminated_one_leaves_no_dataset_and_the_next_one_cleans_up(ratings, tmp_path):
    arguments = ["ingest", str(ratings), "--out", str(tmp_path / "out")]
    with Forked(COMMAND, *arguments) as process:
        until_task(process, "merge-")
        process.send_signal(signal.SIGTERM)
        told = process.communicate()[1]
    assert process.returncode != 0
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
    done = walslab(*arguments)
    assert done.exit_code == 0, done.output
    assert names(tmp_path) == ["out"]


# Misled


def appended(path):
    with path.open("a") as file:
        file.write("9,9,1\n")


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        (appended, "reading"),
        pytest.param(appended, "sorting", marks=pytest.mark.slow),
        (appended, "writing by item"),
        (cut, "sorting"),
        (replaced, "sorting"),
    ],
)
def test_a_file_that_is_written_meanwhile(ratings, tmp_path, change, stage):
    path = shutil.copy2(ratings, tmp_path / "r.csv")
    changed = []

    def progress(now, done, total):
        if now == stage and done == 1:
            changed.append(change(path))

    text = r"r\.csv: a file was written while it was read; ingest it again when it is complete"
    with pytest.raises(RatingsError, match=text):
        ingest_ratings(RatingsSource.detect([path]), tmp_path / "out", progress=progress, **SMALL)
    assert changed
    assert names(tmp_path) == ["r.csv"]


def test_a_bad_row_that_is_gone_when_it_is_looked_for(ratings, tmp_path, monkeypatch):
    def bad(*arguments):
        raise tasks.BadInputError("a row is bad")

    monkeypatch.setattr(tasks, "sort_unit", bad)
    with pytest.raises(RatingsError, match=r"r\.csv: a file was written"):
        ingest_ratings(RatingsSource.detect([ratings]), tmp_path / "out", **SMALL)
    assert names(tmp_path) == []


def test_a_file_that_is_gone_meanwhile(ratings, tmp_path):
    path = shutil.copy2(ratings, tmp_path / "r.csv")

    def progress(stage, done, total):
        if stage == "sorting" and done == 1:
            path.unlink()

    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*r\.csv"):
        ingest_ratings(RatingsSource.detect([path]), tmp_path / "out", progress=progress, **SMALL)
    assert names(tmp_path) == []


def test_a_dataset_that_comes_up_meanwhile_is_not_replaced(ratings, undisturbed, tmp_path):
    def progress(stage, done, total):
        if stage == "sorting" and done == 1:
            shutil.copytree(undisturbed.path, tmp_path / "out")

    split = SplitRule(seed=1)
    with pytest.raises(DatasetError, match="exists already"):
        ingest_ratings(
            RatingsSource.detect([ratings]), tmp_path / "out", split=split, progress=progress, **SMALL
        )
    assert contents(tmp_path / "out") == contents(undisturbed.path)
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("below", ["out", "deep/out"])
def test_a_file_where_a_folder_is_to_be(ratings, tmp_path, below):
    (tmp_path / "file").write_text("mine")
    done = walslab("ingest", ratings, "--out", tmp_path / "file" / below)
    assert done.exit_code == 2
    assert f"{tmp_path / 'file'} is a file, and nothing can be made below it: choose another" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_is_read_only(ratings, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("nothing is read-only to root")
    tmp_path.chmod(0o555)
    done = walslab("ingest", ratings, "--out", tmp_path / "out")
    tmp_path.chmod(0o755)
    assert done.exit_code == 1
    assert "walslab: error: [Errno 13] Permission denied, choose another path: " in done.stderr
    assert names(tmp_path) == []
