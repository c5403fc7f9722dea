"""An ingest that is short of disk: an error that says so, and what was there before."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from disturbed_ingests import SMALL, STAGES, ratings_fixture, undisturbed_fixture, write_ratings  # noqa: F401 - fixtures
from ingesting import names, walslab

from toolkit.datasets import RatingsDataset
from toolkit.engines import Threads
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings


@pytest.fixture
def disk(tmp_path):
    """A disk of 8 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "walslab-test", str(folder)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"there is no mount: {error}")
    if done.returncode:
        pytest.skip(f"a disk of its own is not permitted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk, leave=0):
    """Fill a disk with one file, but for some bytes; return the file."""
    facts = os.statvfs(disk)
    with (disk / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, facts.f_bavail * facts.f_frsize - leave)
    return disk / "ballast"


def test_a_full_disk_is_told_and_leaves_what_was_there(disk, ratings, undisturbed):
    source = RatingsSource.detect([ratings])
    out = disk / "out"
    shutil.copytree(undisturbed.path, out)
    other = {**SMALL, "split": SplitRule(seed=1), "overwrite": True}

    def fail(filled=None, end=False):
        """Return the stage that it fails in, on a disk that is filled at the beginning or end of one."""
        reached = [""]

        def progress(stage, done, total):
            reached.append(stage)
            if stage == filled and done == (total if end else 0):
                fill(disk)

        with pytest.raises(OSError, match="No space left on device") as raised:
            ingest_ratings(source, out, progress=progress, engine=Threads(1), **other)
        assert raised.value.errno == errno.ENOSPC
        assert names(disk) == ["ballast", "out"]
        assert RatingsDataset.open(out, verify=True).digest == undisturbed.digest
        (disk / "ballast").unlink()
        return reached[-1]

    failed = set()
    for leave in range(0, 240_001, 60_000):
        fill(disk, leave)
        failed.add(fail())
    assert {"", "reading", "numbering", "sorting"} <= failed
    # By others, while it is at work.
    assert [fail(stage) for stage in STAGES] == [*STAGES]
    assert fail(STAGES[-1], end=True) == STAGES[-1]
    made = ingest_ratings(source, out, **other)
    assert made.digest != undisturbed.digest
    assert RatingsDataset.open(out, verify=True).digest == made.digest
    assert names(disk) == ["out"]


def test_the_command_says_that_the_disk_is_full(disk, tmp_path):
    path = write_ratings(tmp_path / "many.csv", 20_000)
    for share in (0.1, 0.45):
        ballast = fill(disk, int(share * 380e3))
        done = walslab("ingest", path, "--out", disk / "out")
        assert done.exit_code == 1
        assert "walslab: error: [Errno 28] No space left on device" in done.stderr
        assert names(disk) == ["ballast"]
        ballast.unlink()
    done = walslab("ingest", path, "--out", disk / "out")
    assert done.exit_code == 0, done.output
    assert names(disk) == ["out"]


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="there is no /dev/full, which is as a full disk is"
)
@pytest.mark.parametrize(
    "file",
    [
        ".work/run-000000-0000.run",
        ".work/users",
        ".work/run-000000-0000.numbers",
        ".work/part-00000.counts",
        ".work/part-00000.items",
        ".work/part-00000.ratings",
        ".work/columns-00000",
        "train/rows-00000.npz",
        "train/cols-00000.npz",
        "valid/rows-00000.npz",
        "users.parquet",
        "manifest.json",
    ],
)
def test_no_file_is_cut_short_by_a_full_disk_unnoticed(tmp_path, file):
    # Few ratings: what is lost would be lost when the file is closed.
    (tmp_path / "r.csv").write_text("".join(f"{u},{u % 7},3\n" for u in range(50)))
    told = []

    def progress(stage, done, total):
        if not told:
            (folder,) = tmp_path.glob(".out.partial-*/new")
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).symlink_to("/dev/full")
        told.append(stage)

    with pytest.raises(OSError, match="No space left on device") as raised:
        ingest_ratings(RatingsSource.detect([tmp_path / "r.csv"]), tmp_path / "out", progress=progress)
    assert raised.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["r.csv"]


def test_a_disk_that_is_read_only(disk, ratings):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = walslab("ingest", ratings, "--out", disk / "out")
    assert done.exit_code == 1
    assert "walslab: error: [Errno 30] Read-only file system, choose another path: " in done.stderr
    assert names(disk) == []
