"""The objects below one address: read, write, create, list and remove them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.errors import WalslabError
from toolkit.files.address import as_path, is_address, store_errors
from toolkit.files.masking import mask

_WAY_OUT = "check the address, and the store's variables in this process's environment"
# fsspec's memory store looks and writes in two steps.
_creating = threading.Lock()


class ObjectStore:
    """A folder of objects at an address.

    Every method raises an error of the class `error` when the store does not answer, and `FileNotFoundError`
    when an object, or the bucket, does not exist.

    Parameters
    ----------
    address : str
        Such as ``s3://bucket/studies/first``.
    error : type
        The error class to raise.

    Raises
    ------
    WalslabError
        Of class `error`, when no installed library reads such addresses, or the address names no folder or
        holds a password.
    """

    def __init__(self, address: str, error: type[WalslabError]) -> None:
        self._address, self._error = address, error
        if not is_address(address):
            raise error(f"{mask(address)} must be the address of a folder, such as s3://bucket/mine")
        root: Any = as_path(address, error)
        self._fs, self._root = root.fs, root.path

    def get(self, name: str) -> bytes:
        """Return the content of an object as it is now."""
        with self._errors():
            # fsspec remembers what the store said before.
            self._fs.invalidate_cache(self._path(name))
            content: bytes = self._fs.cat_file(self._path(name))
            return content

    def get_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the content of many objects in one go; objects that are gone are left out."""
        by_path = {self._path(name): name for name in names}
        if not by_path:
            return {}
        with self._errors():
            contents: dict[str, bytes | Exception] = self._fs.cat(list(by_path), on_error="return")
            for content in contents.values():
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
        return {by_path[path]: each for path, each in contents.items() if isinstance(each, bytes)}

    def put(self, name: str, content: bytes) -> None:
        """Write an object, in place of the one of that name."""
        with self._errors():
            self._fs.pipe_file(self._path(name), content)

    def upload(self, name: str, path: Path) -> None:
        """Write an object from a file, which need not fit into memory."""
        with self._errors():
            self._fs.put_file(str(path), self._path(name))

    def download(self, name: str, path: Path) -> None:
        """Write a file from an object."""
        with self._errors():
            self._fs.get_file(self._path(name), str(path))

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one of that name: the store's own conditional write.

        Parameters
        ----------
        name : str
        content : bytes
            Must be of this process alone, for instance by a random identity in it. Where an answer was lost
            and the request repeated, this tells a success from a failure.

        Returns
        -------
        bool
            Whether the object is this one.
        """
        with self._errors(), _creating:
            try:
                self._fs.pipe_file(self._path(name), content, mode="create")
            except Exception:
                # Stores say "there is one" in many ways. Whether there is one, the object itself says.
                try:
                    there = self.get(name)
                except FileNotFoundError:
                    there = None
                if there is None:
                    raise
                return there == content
        return True

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the objects below a folder, in order."""
        top = self._path(folder) if folder else self._root
        with self._errors():
            self._fs.invalidate_cache()
            below = self._fs.find(top)
        # s3fs may name the folder itself, where its first object comes while it looks.
        return sorted(path[len(self._root) + 1 :] for path in below if path.startswith(f"{top}/"))

    def remove(self, name: str = "") -> None:
        """Remove an object or a folder of objects; everything when no name is given."""
        with self._errors():
            self._fs.rm(self._path(name) if name else self._root, recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _errors(self) -> Any:
        return store_errors(self._address, self._error, _WAY_OUT)
