"""Directories and files that are complete or not there, whatever happens to the process that writes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from toolkit.files import atomic


class BoomError(Exception):
    pass


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make(path, **files):
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name).write_text(text)


def write_and_raise(path, error, **options):
    with atomic.directory(path, **options) as part:
        (part / "new").write_text("new")
        raise error


@pytest.fixture(scope="module")
def dead_pid():
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize("name", ["model", "model v2.1", "[a-z]*; rm -rf x", "ü 🙂"])
def test_directory_appears_with_everything_in_it(tmp_path, name):
    path = tmp_path / "new parent" / name
    with atomic.directory(path) as part:
        (part / "deep").mkdir()
        (part / "deep" / "file").write_text("x")
        assert not path.exists()
    assert (path / "deep" / "file").read_text() == "x"
    assert names(path.parent) == [name]


@pytest.mark.parametrize("error", [BoomError, KeyboardInterrupt, SystemExit])
def test_exception_inside_the_block_leaves_nothing(tmp_path, error):
    with pytest.raises(error):
        write_and_raise(tmp_path / "model", error)
    assert names(tmp_path) == []


def test_exception_inside_the_block_leaves_the_old_directory_untouched(tmp_path):
    make(tmp_path / "model", old="old")
    with pytest.raises(BoomError):
        write_and_raise(tmp_path / "model", BoomError, overwrite=True)
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["old"]


def test_existing_directory_is_replaced_only_on_request(tmp_path):
    make(tmp_path / "model", old="old")
    with pytest.raises(FileExistsError, match="choose another path, or overwrite"):  # noqa: SIM117
        with atomic.directory(tmp_path / "model"):
            pytest.fail("the block must not run")
    assert names(tmp_path / "model") == ["old"]


def test_overwriting_replaces_in_full(tmp_path):
    make(tmp_path / "model", old="old", both="old")
    with atomic.directory(tmp_path / "model", overwrite=True) as part:
        (part / "both").write_text("new")
        assert names(tmp_path / "model") == ["both", "old"]
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["both"]
    assert (tmp_path / "model" / "both").read_text() == "new"


def test_directory_of_another_kind_is_not_overwritten(tmp_path):
    make(tmp_path / "home", diary="dear diary")
    with pytest.raises(FileExistsError, match=r"holds other things \(it has no model.json\)"):  # noqa: SIM117
        with atomic.directory(tmp_path / "home", overwrite=True, holding="model.json"):
            pytest.fail("the block must not run")
    assert names(tmp_path / "home") == ["diary"]


@pytest.mark.parametrize("files", [{}, {"model.json": "{}"}])
def test_empty_directory_and_one_of_its_kind_are_overwritten(tmp_path, files):
    make(tmp_path / "model", **files)
    with atomic.directory(tmp_path / "model", overwrite=True, holding="model.json") as part:
        (part / "new").touch()
    assert names(tmp_path / "model") == ["new"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_file_is_never_replaced_by_a_directory(tmp_path, overwrite):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(FileExistsError, match="is a file"):  # noqa: SIM117
        with atomic.directory(tmp_path / "model", overwrite=overwrite):
            pytest.fail("the block must not run")
    assert (tmp_path / "model").read_text() == "a file"
    assert names(tmp_path) == ["model"]


def test_directory_that_came_up_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(FileExistsError), atomic.directory(tmp_path / "model"):
        make(tmp_path / "model", other="other")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["other"]


def test_symbolic_link_keeps_pointing_at_what_is_replaced(tmp_path):
    make(tmp_path / "disk" / "model", old="old")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "model")
    with atomic.directory(tmp_path / "link", overwrite=True) as part:
        (part / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "link") == names(tmp_path / "disk" / "model") == ["new"]
    assert names(tmp_path) == ["disk", "link"]


def test_current_directory_is_refused_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileExistsError, match="exists already"), atomic.directory("."):
        pytest.fail("the block must not run")


def test_leftovers_of_dead_processes_are_removed(tmp_path, dead_pid):
    make(tmp_path / f".model.partial-{dead_pid}", half="half")
    make(tmp_path / "model", new="new")
    make(tmp_path / f".model.replaced-{dead_pid}", old="old")
    atomic.discard_leftovers(tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["new"]


def test_leftover_of_this_processs_number_is_removed(tmp_path):
    # In a container the process after a crash often has the number of the one that crashed.
    make(tmp_path / f".model.partial-{os.getpid()}", half="half")
    with atomic.directory(tmp_path / "model") as part:
        assert names(part) == []
    assert names(tmp_path) == ["model"]


def test_what_living_processes_write_stays(tmp_path):
    with atomic.directory(tmp_path / "model") as part:
        make(tmp_path / f".model.partial-{os.getppid()}", half="half")
        (part / "mine").touch()
        atomic.discard_leftovers(tmp_path / "model")
        assert names(part) == ["mine"]
    assert names(tmp_path) == [f".model.partial-{os.getppid()}", "model"]


@pytest.mark.parametrize(
    "other", [".model.backup-{}", ".model.json.partial-{}", ".model.json.replaced-{}", "model.partial-{}"]
)
def test_directories_that_only_look_alike_stay(tmp_path, dead_pid, other):
    make(tmp_path / other.format(dead_pid), precious="precious")
    with atomic.directory(tmp_path / "model"):
        pass
    assert names(tmp_path / other.format(dead_pid)) == ["precious"]


def test_directory_that_was_being_replaced_is_put_back_and_not_overwritten_unasked(tmp_path, dead_pid):
    make(tmp_path / f".model.replaced-{dead_pid}", old="old")
    make(tmp_path / f".model.partial-{dead_pid}", new="new")
    with pytest.raises(FileExistsError), atomic.directory(tmp_path / "model"):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["old"]


KILLED = """
import os, signal, sys
from toolkit.files import atomic
with atomic.directory(sys.argv[1], overwrite=True) as part:
    (part / "new").write_text("new")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_process_leaves_the_old_directory_and_the_next_one_cleans_up(tmp_path, repo_root):
    path = tmp_path / "model [1]"
    make(path, old="old")
    command = [sys.executable, "-c", KILLED, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}
    assert subprocess.run(command, check=False, env=environment).returncode == -signal.SIGKILL
    assert names(path) == ["old"]
    assert len(names(tmp_path)) == 2
    with atomic.directory(path, overwrite=True) as part:
        (part / "newer").touch()
    assert names(tmp_path) == [path.name]
    assert names(path) == ["newer"]


def test_text_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "study [1].json"
    for text in ("first", "second, longer\n", "ü"):
        atomic.write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert names(tmp_path) == [path.name]


def test_text_that_cannot_be_written_leaves_the_old_text(tmp_path):
    path = tmp_path / "study.json"
    atomic.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        atomic.write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["study.json"]
