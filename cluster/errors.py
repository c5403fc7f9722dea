"""What goes wrong between here and a cluster."""

from __future__ import annotations

from toolkit.errors import WalslabError


class JobError(WalslabError, RuntimeError):
    """A job cannot be submitted, or ended badly.

    Parameters
    ----------
    message : str
        What happened, and the way out.
    exit_code : int, default 1
        What the command line ends with: a job's own where it has one.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
