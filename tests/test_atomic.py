"""Directories and files that are complete or not there, whatever happens to the process that writes them."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from forks import Forked

from toolkit.errors import ConfigError
from toolkit.files import atomic, claimed, on_local_disk, work_folder


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


# What other processes leave


WORK = """
import os, signal, sys, time
from toolkit.files import atomic
path, ending = sys.argv[1:]
with atomic.directory(path, overwrite=True) as part:
    (part / "half").write_text("half")
    if ending == "killed while replacing":
        replace = atomic._replace
        def die(path, work):
            path.rename(work.old)
            os.kill(os.getpid(), signal.SIGKILL)
        atomic._replace = die
    elif ending == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        print("at work", flush=True)
        time.sleep(60)
"""


def start(path, ending, repo_root, *, before=()):
    """Make a directory in a process of its own, which is killed or stays at work."""
    if not before:
        return Forked(WORK, path, ending)
    command = [*before, sys.executable, "-c", WORK, str(path), ending]
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def killed(path, repo_root, ending="killed"):
    """Return the work folder that a killed process left beside `path`."""
    with start(path, ending, repo_root) as process:
        assert process.wait() == -signal.SIGKILL
    (folder,) = path.parent.glob(f".{glob.escape(path.name)}.partial-*")
    return folder


@contextlib.contextmanager
def at_work(path, repo_root, **options):
    """Yield the work folder of a living process."""
    with start(path, "alive", repo_root, **options) as process:
        assert process.stdout.readline() == "at work\n"
        (folder,) = path.parent.glob(f".{path.name}.partial-*")
        yield folder
        process.kill()


def rewrite_owner(folder, **changes):
    owner = json.loads((folder / "owner").read_text())
    assert changes.keys() <= owner.keys()
    (folder / "owner").write_text(json.dumps(owner | changes))


def make_model(tmp_path):
    """Make the directory ``model``, and return the names beside it."""
    with atomic.directory(tmp_path / "model") as part:
        (part / "new").touch()
    return [name for name in names(tmp_path) if name != "model"]


@pytest.fixture
def network_disk(monkeypatch):
    """Let no disk be known to belong to this machine."""
    monkeypatch.setattr(work_folder, "on_local_disk", lambda _: False)


@pytest.mark.parametrize("name", ["model", "model [1]"])
def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path, repo_root, name):
    make(tmp_path / name, old="old")
    folder = killed(tmp_path / name, repo_root)
    assert names(tmp_path / name) == ["old"]
    assert names(folder) == ["new", "owner"]
    with atomic.directory(tmp_path / name, overwrite=True) as part:
        (part / "newer").touch()
    assert names(tmp_path) == [name]
    assert names(tmp_path / name) == ["newer"]


@pytest.mark.parametrize("write", [atomic.file, atomic.scratch])
def test_every_kind_of_writer_removes_what_a_killed_process_left(tmp_path, repo_root, write):
    killed(tmp_path / "model", repo_root)
    with write(tmp_path / "model"):
        assert len(list(tmp_path.glob(".model.partial-*"))) == 1


def test_a_killed_process_on_a_network_disk_of_this_machine_is_known_dead(tmp_path, repo_root, network_disk):
    killed(tmp_path / "model", repo_root)
    assert make_model(tmp_path) == []


def test_a_living_process_of_this_machine_keeps_its_folder(tmp_path, repo_root):
    with at_work(tmp_path / "model", repo_root) as folder:
        assert make_model(tmp_path) == [folder.name]
        assert names(folder / "new") == ["half"]


def test_a_living_process_with_the_number_of_this_one_keeps_its_folder(tmp_path, repo_root):
    # Two containers that share a disk count their processes apart: both are often number 1.
    with at_work(tmp_path / "model", repo_root) as folder:
        rewrite_owner(folder, process=os.getpid())
        assert make_model(tmp_path) == [folder.name]


def test_a_living_process_of_another_container_keeps_its_folder(tmp_path, repo_root):
    container = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*container, "true"], check=False, capture_output=True).returncode:
        pytest.skip("processes with numbers of their own are not permitted here")
    with at_work(tmp_path / "model", repo_root, before=container) as folder:
        assert json.loads((folder / "owner").read_text())["process"] < 10
        assert make_model(tmp_path) == [folder.name]


def test_another_thread_keeps_its_folder(tmp_path):
    with atomic.directory(tmp_path / "model") as part:
        thread = threading.Thread(target=make_model, args=[tmp_path])
        thread.start()
        thread.join()
        assert names(part) == []
        shutil.rmtree(tmp_path / "model")
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize(
    "owner",
    [
        {"boot": "another system"},  # another machine, or this one before it started again
        {"device": 0},  # the same system, but through another mount
        {"locked": False},  # a disk without locks
    ],
)
def test_a_folder_stays_and_is_named_when_its_owner_may_live(
    tmp_path, repo_root, network_disk, caplog, owner
):
    folder = killed(tmp_path / "model", repo_root)
    rewrite_owner(folder, host="elsewhere", process=17, **owner)
    assert make_model(tmp_path) == [folder.name]
    assert names(folder) == ["new", "owner"]
    assert f"{folder} was left by process 17 of elsewhere" in caplog.text
    caplog.clear()
    with atomic.directory(tmp_path / "model", overwrite=True):
        pass
    assert caplog.text == ""  # once is enough


def test_a_folder_of_this_machines_own_disk_is_removed_after_a_restart(tmp_path, repo_root):
    rewrite_owner(killed(tmp_path / "model", repo_root), boot="the system before the restart")
    if not on_local_disk(tmp_path):
        pytest.skip(f"{tmp_path} is not on a disk of this machine")
    assert make_model(tmp_path) == []


def test_a_folder_of_another_user_stays(tmp_path, repo_root, monkeypatch):
    folder = killed(tmp_path / "model", repo_root)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert make_model(tmp_path) == [folder.name]


@pytest.mark.parametrize(
    "name", [".model.partial-4194303", ".model.partial-0123abcd", ".model.replaced-17", ".model.scratch-17"]
)
@pytest.mark.parametrize("owner", [None, "", "{}", "[]", "my own notes"])
def test_a_directory_that_a_user_named_so_stays(tmp_path, name, owner):
    make(tmp_path / name, precious="precious")
    if owner is not None:
        (tmp_path / name / "owner").write_text(owner)
    before = names(tmp_path / name)
    assert make_model(tmp_path) == [name]
    assert names(tmp_path / name) == before


def test_what_was_left_of_another_path_stays(tmp_path, repo_root):
    folder = killed(tmp_path / "model.json", repo_root)
    assert make_model(tmp_path) == [folder.name]


def test_a_directory_that_was_being_replaced_is_put_back_and_not_overwritten_unasked(tmp_path, repo_root):
    make(tmp_path / "model", old="old")
    killed(tmp_path / "model", repo_root, "killed while replacing")
    assert not (tmp_path / "model").exists()
    with pytest.raises(FileExistsError), atomic.directory(tmp_path / "model"):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["old"]


def test_a_directory_that_was_being_replaced_gives_way_to_one_made_since(tmp_path, repo_root):
    make(tmp_path / "model", old="old")
    killed(tmp_path / "model", repo_root, "killed while replacing")
    make(tmp_path / "model", since="since")
    with atomic.directory(tmp_path / "model", overwrite=True, resume=lambda _: True) as part:
        assert names(part) == ["half"]
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["half"]


@pytest.mark.parametrize("wanted", [True, False])
def test_an_unfinished_directory_is_continued_where_that_is_wanted(tmp_path, repo_root, wanted):
    folder = killed(tmp_path / "model", repo_root)
    with atomic.directory(tmp_path / "model", resume=lambda _: wanted) as part:
        assert names(part) == (["half"] if wanted else [])
        assert (part.parent == folder) is wanted
        # While it is continued, it is alive for everybody else.
        with atomic.scratch(tmp_path / "model"):
            assert part.exists()
    assert names(tmp_path) == ["model"]


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


@pytest.mark.parametrize("address", ["s3://bucket/model", "memory://model", "file:///tmp/model"])
@pytest.mark.parametrize("written", [atomic.file, atomic.directory, atomic.scratch])
def test_an_address_is_no_path_of_this_machine(tmp_path, monkeypatch, written, address):
    """A folder s3: was made here, and its owner looked for her model in a bucket."""
    monkeypatch.chdir(tmp_path)
    for given in (address, Path(address)):
        refused = pytest.raises(
            ConfigError, match=r"://.* is an address, but this is written on this machine"
        )
        with refused, written(given):
            pytest.fail("worked")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("written", [atomic.file, atomic.directory])
def test_where_nothing_can_be_made_is_said_before_the_work(tmp_path, monkeypatch, written):
    (tmp_path / "file").touch()
    refused = pytest.raises(FileExistsError, match=r"file is a file, and nothing can be made below it")
    with refused, written(tmp_path / "file" / "below" / "it"):
        pytest.fail("worked")
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may do anything
    refused = pytest.raises(PermissionError, match="Permission denied, choose another path")
    with refused, written(tmp_path / "new" / "path"):
        pytest.fail("worked")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


CLAIMING = """
import sys, time
from toolkit.files import claimed
with claimed(sys.argv[1]):
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_a_claimed_path_is_refused_until_its_process_ends(tmp_path):
    with Forked(CLAIMING, tmp_path / "model") as process:
        assert process.stdout.readline() == "claimed\n"
        refused = pytest.raises(FileExistsError, match=r"another process is making .*model: wait for its end")
        with refused, claimed(tmp_path / "model"):
            pytest.fail("claimed twice")
        with claimed(tmp_path / "other"):
            pass
        process.kill()
        process.wait()
    with claimed(tmp_path / "model"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_of_many_has_the_claim_at_a_time(tmp_path):
    held, most = [], []

    def work():
        for _ in range(50):
            with contextlib.suppress(FileExistsError), claimed(tmp_path / "model"):
                held.append(1)
                most.append(len(held))
                held.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert list(tmp_path.iterdir()) == []
