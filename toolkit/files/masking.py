"""Passwords and signatures out of sight."""

from __future__ import annotations

import os
import re

MASK = "***"
# Names of the variables that a job was handed by whoever submitted it: other processes do not have them.
HANDED_OVER = "WALSLAB_HANDED_OVER"
# By hand, because an address with a mistake in it must not be shown in full either.
_PASSWORD = re.compile(r"(://[^:/?#@]*:)([^?#]*)(?=@)")
# A signed address opens what it names to whoever has it.
_SIGNED = re.compile(
    r"([?&][^=&#]*(?:signature|sig|token|secret|password|credential|key)[^=&#]*=)([^&#]+)", re.IGNORECASE
)


def mask(address: str) -> str:
    """Return an address with its password, and what signs its query, replaced by ``***``."""
    return _SIGNED.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1{MASK}", address))


def secrets_in(address: str) -> list[str]:
    """Return what `mask` hides of an address."""
    return [match[2] for pattern in (_PASSWORD, _SIGNED) for match in pattern.finditer(address)]


def handed_over() -> dict[str, str]:
    """Return the variables that this job was handed and that its other processes may need.

    Where to record is not among them: that is the driver's business alone.
    """
    names = os.environ.get(HANDED_OVER, "").split()
    return {name: os.environ[name] for name in names if not name.startswith(("MLFLOW_", "WALSLAB_"))}
