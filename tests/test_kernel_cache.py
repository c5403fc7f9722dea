"""The folder of compiled kernels: on a disk of this machine, and nobody else's."""

from __future__ import annotations

import os

import pytest

from toolkit.backends import keep_kernels_locally, kernel_cache
from toolkit.errors import BackendError
from toolkit.files import mounts


class Machine:
    """A home folder, a temporary one, and the kind of file system that each is on."""

    def __init__(self, monkeypatch, path):
        self._monkeypatch, self._path = monkeypatch, path
        self.home, self.scratch = path / "my home", path / "scratch"
        for folder in (self.home, self.scratch):
            folder.mkdir()
        monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.setattr(kernel_cache.tempfile, "gettempdir", lambda: str(self.scratch))
        self.mounts("nfs4")

    def mounts(self, *kinds, root="ext4"):
        places = [("/", root), *((str(self.home), kind) for kind in kinds)]
        text = "".join(
            f"disk {where} {kind} rw 0 0\n".replace("my home", "my\\040home") for where, kind in places
        )
        table = self._path / "mounts"
        table.write_text(text, encoding="utf-8")
        self._monkeypatch.setattr(mounts, "_MOUNTS", str(table))

    @property
    def folder(self):
        return self.scratch / f"walslab-cupy-{os.getuid()}"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with its home on the network."""
    return Machine(monkeypatch, tmp_path.resolve())


def test_kernels_are_kept_in_a_private_folder_where_the_home_is_on_the_network(machine):
    keep_kernels_locally()
    assert os.environ["CUPY_CACHE_DIR"] == str(machine.folder)
    assert machine.folder.stat().st_mode & 0o777 == 0o700
    # The next process finds it there.
    del os.environ["CUPY_CACHE_DIR"]
    keep_kernels_locally()
    assert os.environ["CUPY_CACHE_DIR"] == str(machine.folder)


@pytest.mark.parametrize("kinds", [(), ("xfs",), ("autofs", "ext4"), ("nfs4", "overlay")])
def test_kernels_stay_in_a_home_on_a_local_disk(machine, kinds):
    machine.mounts(*kinds)
    keep_kernels_locally()
    assert "CUPY_CACHE_DIR" not in os.environ
    assert not machine.folder.exists()


@pytest.mark.parametrize("kinds", [("lustre",), ("ext4", "fuse.sshfs"), ("autofs",), ("beegfs",)])
def test_home_is_local_only_where_that_is_known(machine, kinds):
    machine.mounts(*kinds)
    keep_kernels_locally()
    assert os.environ["CUPY_CACHE_DIR"] == str(machine.folder)


def test_home_that_cannot_be_written_to_is_none(machine, monkeypatch):
    machine.mounts()
    monkeypatch.setattr(kernel_cache.os, "access", lambda *_: False)
    keep_kernels_locally()
    assert os.environ["CUPY_CACHE_DIR"] == str(machine.folder)


def test_folder_that_the_user_chose_is_obeyed(machine, monkeypatch):
    monkeypatch.setenv("CUPY_CACHE_DIR", "/scratch/me")
    keep_kernels_locally()
    assert os.environ["CUPY_CACHE_DIR"] == "/scratch/me"
    assert not machine.folder.exists()


def test_folder_is_left_to_cupy_where_nothing_tells_a_local_disk(machine, monkeypatch):
    monkeypatch.setattr(mounts, "_MOUNTS", str(machine.home / "nothing"))
    keep_kernels_locally()
    assert "CUPY_CACHE_DIR" not in os.environ


def test_folder_of_somebody_else_is_refused(machine, monkeypatch):
    monkeypatch.setattr(kernel_cache.os, "getuid", lambda: 54321)
    with pytest.raises(
        BackendError, match=r"open to user 54321 alone, but .*54321 is of user \d+ with mode drwx"
    ):
        keep_kernels_locally()
    assert "CUPY_CACHE_DIR" not in os.environ


def test_folder_that_others_may_write_to_is_refused(machine):
    machine.folder.mkdir()
    machine.folder.chmod(0o777)
    with pytest.raises(BackendError, match=r"with mode drwxrwxrwx: remove it, or set CUPY_CACHE_DIR"):
        keep_kernels_locally()


def test_link_in_place_of_the_folder_is_refused(machine):
    machine.folder.symlink_to(machine.home)
    with pytest.raises(BackendError, match=r"with mode l"):
        keep_kernels_locally()


def test_folder_that_cannot_be_made_is_told(machine, monkeypatch):
    (machine.home / "file").touch()
    monkeypatch.setattr(kernel_cache.tempfile, "gettempdir", lambda: str(machine.home / "file"))
    with pytest.raises(BackendError, match=r"cannot be made: .*; set CUPY_CACHE_DIR"):
        keep_kernels_locally()
