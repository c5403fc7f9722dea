"""Addresses of files in stores, such as ``s3://bucket/key``, used like local paths."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from toolkit.errors import WalslabError
from toolkit.files.masking import MASK, mask, secrets_in

_EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}


def is_address(path: str | Path) -> bool:
    """Return whether a path is an address: it names its file system, as ``s3://bucket/key`` does."""
    return "://" in str(path)


def strip_file_scheme(path: str | Path) -> str | Path:
    """Return the local path of a ``file://`` address, and any other path or address unchanged."""
    return unquote(urlsplit(str(path)).path) if str(path).startswith("file://") else path


def as_path(path: str | Path, error: type[WalslabError]) -> Path:
    """Return a `Path` for a local path, and for an address an object that behaves like a `Path`.

    Parameters
    ----------
    path : str or Path
        Path or address.
    error : type
        The error class to raise.

    Raises
    ------
    WalslabError
        Of class `error`, when no installed library reads such addresses, or the address names nothing. Also
        when it holds a password: studies, runs and messages name addresses.
    """
    if not is_address(path):
        return Path(path)
    from upath import UPath

    if secrets_in(str(path)):
        raise error(
            f"{mask(str(path))} must be without passwords and signatures, as it is named in records and "
            "logs: give them in the environment"
        )
    if not str(path).partition("://")[2].strip("/"):
        raise error(f"{path} must be the address of a folder, such as s3://bucket/mine")
    try:
        store_path = UPath(str(path))
        store_path.fs  # noqa: B018 - this looks for the library that reads the address
    except Exception as problem:  # each store has errors of its own
        raise error(f"{mask(str(path))} cannot be reached: {_unreadable(str(path), problem)}") from problem
    return cast("Path", store_path)


def file_system(address: str, error: type[WalslabError]) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path within it.

    Raises
    ------
    WalslabError
        Of class `error`, when no installed library reads such addresses.
    """
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(address)
    except Exception as problem:  # each store has errors of its own
        raise error(f"{mask(address)} cannot be reached: {_unreadable(address, problem)}") from problem
    return system, path


@contextlib.contextmanager
def store_errors(path: str | Path, error: type[WalslabError], way_out: str) -> Iterator[None]:
    """Turn the errors that a store raises inside the block into one that names the address.

    Errors about local paths pass unchanged. So do missing files and the errors of this package.

    Parameters
    ----------
    path : str or Path
        The path or address that the block uses.
    error : type
        The error class to raise.
    way_out : str
        What the user can do about it.

    Raises
    ------
    WalslabError
        Of class `error`, when the store fails.
    """
    if not is_address(path):
        yield
        return
    try:
        yield
    except (WalslabError, FileNotFoundError, NotADirectoryError):
        raise
    except Exception as problem:  # each store has errors of its own
        raise error(
            f"{mask(str(path))} cannot be used: {error_text(problem, str(path))}; {way_out}"
        ) from problem


def error_text(error: BaseException, path: str) -> str:
    """Return the text of an error in one line, without the secrets that its address `path` holds."""
    # Some errors have no text of their own, some have several lines, and some quote a part of the address.
    text = mask(" ".join(str(error).split())) or type(error).__name__
    for secret in secrets_in(path):
        text = text.replace(secret, MASK)
    return text


def _unreadable(address: str, problem: Exception) -> str:
    scheme = address.partition("://")[0]
    way = f"pip install {_EXTRAS[scheme]}" if scheme in _EXTRAS else "check the part before ://"
    return f"{error_text(problem, address)}; {way}"
