"""Passwords out of sight."""

from __future__ import annotations

import re

MASK = "***"


def mask(address: str) -> str:
    """Return an address with its password replaced by ``***``."""
    # By hand, because an address with a mistake in it must not be shown in full either.
    return re.sub(r"(://[^:/?#@]*):[^?#]*@", rf"\1:{MASK}@", address)
