"""Passwords and signatures out of sight."""

from __future__ import annotations

import re

MASK = "***"
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
