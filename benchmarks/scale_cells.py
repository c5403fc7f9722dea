"""How benchmarks/scale.py writes a table: numbers, sizes, times and prices."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    lines = [list(head)]
    lines += [["---"] + ["---:"] * (len(lines[0]) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines + [list(row) for row in rows])


def number(value: float) -> str:
    """Return a number of things."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def size(value: float) -> str:
    """Return bytes, in powers of ten."""
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= scale:
            return f"{value / scale:.{0 if value >= 100 * scale else 1}f} {unit}"
    return f"{value / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """Return a time, to two digits."""
    for scale, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 2 * scale or scale == 1:
            found = seconds / scale
            return f"{found:.0f} {unit}" if found >= 10 else f"{found:.2g} {unit}"
    raise AssertionError


def money(seconds: float, price: float) -> str:
    """Return what it costs, to two digits."""
    dollars = seconds / 3600 * price
    return "< $0.01" if dollars < 0.01 else f"${dollars:,.2g}" if dollars < 100 else f"${dollars:,.0f}"
