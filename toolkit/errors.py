"""The exceptions that this package raises on purpose, as one tree.

::

    WalslabError                    the base of all
    ├── ConfigError     ValueError  a hyperparameter or option is unknown or out of range
    ├── SpecError       ValueError  a search specification has mistakes (all of them listed)
    ├── RatingsError    ValueError  a file or a matrix does not hold ratings that can be used
    ├── DatasetError    ValueError  a dataset directory is missing, unfinished or corrupt
    ├── ModelError      ValueError  a model directory is missing, unfinished or corrupt
    │   └── NotFittedError  AttributeError   a model is asked before it is fitted
    ├── UnknownIdError  KeyError    a user or item that the model has never seen
    ├── SolverError     ArithmeticError   the normal equations have no finite solution
    ├── BackendError    RuntimeError      an array backend was required and is not usable
    ├── FetchError      OSError     a published data set cannot be downloaded or verified
    └── StudyError      RuntimeError      a study cannot be started, found or finished

Each class is also the builtin exception that Python programmers expect. Its exit code is that of the command
line: 2 for bad usage or bad input, 1 for work that failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WalslabError(Exception):
    """Base of the errors of this package; the text says which rule, which value, and the way out.

    Examples
    --------
    >>> from toolkit import WALSConfig, WalslabError
    >>> try:
    ...     WALSConfig(bias="ful")
    ... except WalslabError as error:
    ...     print(error)
    bias must be one of none, mean, full, but got 'ful' (did you mean 'full'?)
    """

    exit_code = 2

    def __str__(self) -> str:
        """Return the message alone; `KeyError` would quote it."""
        return str(self.args[0]) if self.args else ""


class ConfigError(WalslabError, ValueError):
    """A hyperparameter or option is unknown, of the wrong type, or out of range."""


class SpecError(WalslabError, ValueError):
    """A search specification has mistakes; the text lists all of them, each with its key path."""


class RatingsError(WalslabError, ValueError):
    """A file or a matrix does not hold usable ratings; the text names file and line, or row and column."""


class DatasetError(WalslabError, ValueError):
    """A dataset directory is missing, unfinished, corrupt, or of another format version."""


class ModelError(WalslabError, ValueError):
    """A model directory is missing, unfinished, corrupt, or of another format version."""


class NotFittedError(ModelError, AttributeError):
    """A model is asked for what only a fitted model has."""


class UnknownIdError(WalslabError, KeyError):
    """A model was asked for a user or an item that it has never seen."""


class SolverError(WalslabError, ArithmeticError):
    """The normal equations of a row have no finite solution."""

    exit_code = 1


class BackendError(WalslabError, RuntimeError):
    """An array backend was required and is not usable here."""

    exit_code = 1


class FetchError(WalslabError, OSError):
    """A published data set cannot be downloaded or does not match its checksum."""

    exit_code = 1


class StudyError(WalslabError, RuntimeError):
    """A study cannot be started, found, resumed or finished."""

    exit_code = 1


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest valid word, or an empty string.

    Parameters
    ----------
    word : str
        The word that somebody wrote.
    valid : iterable of str
        The words that are valid.
    """
    near = difflib.get_close_matches(word, list(valid), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
