"""Passwords and signatures, hidden from every text that people see."""

from __future__ import annotations

import os
import re

MASK = "***"
# This variable lists the variables that the submitter handed to a job. Other processes do not have them.
HANDED_OVER = "WALSLAB_HANDED_OVER"
# An expression of our own: a parser of addresses would refuse one with a mistake in it, and show it.
_PASSWORD = re.compile(r"(://[^:/?#@]*:)([^?#]*)(?=@)")
# Whoever has a signed address can read what it names.
_SIGNED = re.compile(
    r"([?&][^=&#]*(?:signature|sig|token|secret|password|credential|key)[^=&#]*=)([^&#]+)", re.IGNORECASE
)


def mask(address: str) -> str:
    """Return an address with its password, and the signatures in its query, replaced by ``***``."""
    return _SIGNED.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1{MASK}", address))


def secrets_in(address: str) -> list[str]:
    """Return the parts of an address that `mask` hides."""
    return [match[2] for pattern in (_PASSWORD, _SIGNED) for match in pattern.finditer(address)]


def handed_over() -> dict[str, str]:
    """Return the variables that the submitter handed to this job and that its worker processes may need.

    Variables that say where to record are left out: only the driver records.
    """
    names = os.environ.get(HANDED_OVER, "").split()
    return {name: os.environ[name] for name in names if not name.startswith(("MLFLOW_", "WALSLAB_"))}
