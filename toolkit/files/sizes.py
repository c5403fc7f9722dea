"""Numbers of bytes as text for people."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size: float) -> str:
    """Return a number of bytes with three digits in units of 1024, such as ``3.5 GiB``."""
    if size < 1024:
        return f"{size:.0f} bytes"
    amount, unit = size / 1024, 0
    while amount >= 999.5 and unit + 1 < len(_UNITS):
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.3g} {_UNITS[unit]}"
