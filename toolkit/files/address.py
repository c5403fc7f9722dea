"""Addresses of other file systems, such as ``s3://bucket/key``, beside the paths of this one."""

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
    """Tell whether a path names a file system, as ``s3://bucket/key`` does."""
    return "://" in str(path)


def strip_file_scheme(path: str | Path) -> str | Path:
    """Return a ``file://`` address as the path that it is; others as they are."""
    return unquote(urlsplit(str(path)).path) if str(path).startswith("file://") else path


def as_path(path: str | Path, error: type[WalslabError]) -> Path:
    """Return a local path as a `Path`, and an address as what behaves like one.

    Parameters
    ----------
    path : str or Path
        Path or address.
    error : type
        Raised when nothing that is installed can read such an address, or it holds a password: what is at an
        address is named in studies, runs and messages.
    """
    if not is_address(path):
        return Path(path)
    from upath import UPath

    if secrets_in(str(path)):
        raise error(
            f"{mask(str(path))} must be without passwords and signatures, as it is named in records and "
            "logs: give them in the environment"
        )
    try:
        found = UPath(str(path))
        found.fs  # noqa: B018 - only now it looks for what can read it
    except Exception as problem:  # each store has errors of its own
        raise error(f"{mask(str(path))} cannot be reached: {_unreadable(str(path), problem)}") from problem
    return cast("Path", found)


def file_system(address: str, error: type[WalslabError]) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path within; `error` as in `as_path`."""
    import fsspec

    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    except Exception as problem:  # each store has errors of its own
        raise error(f"{mask(address)} cannot be reached: {_unreadable(address, problem)}") from problem
    return found


@contextlib.contextmanager
def store_errors(path: str | Path, error: type[WalslabError], way_out: str) -> Iterator[None]:
    """Name an address in whatever goes wrong while it is used; a local path's own errors pass.

    Parameters
    ----------
    path : str or Path
        What is used.
    error : type
        Raised instead of what the store raised.
    way_out : str
        What to do about it.
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
    """Return an error's text in one line, without the secrets of an address."""
    # Some errors have no text of their own, some have several lines, and some quote a part of the address.
    text = mask(" ".join(str(error).split())) or type(error).__name__
    for secret in secrets_in(path):
        text = text.replace(secret, MASK)
    return text


def _unreadable(address: str, problem: Exception) -> str:
    scheme = address.partition("://")[0]
    way = f"pip install {_EXTRAS[scheme]}" if scheme in _EXTRAS else "check the part before ://"
    return f"{error_text(problem, address)}; {way}"
