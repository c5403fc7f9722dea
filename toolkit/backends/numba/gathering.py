"""The factors of the columns that a row has rated, gathered or summed."""

from __future__ import annotations

from toolkit.backends.numba.compiling import Kernel, compiled
from toolkit.backends.numba.tiles import add_row, prefetch, put_row

# Ratings ahead whose factors are asked for: a row of them is at no address that a processor could foresee.
_AHEAD = 8
# What the loops read of a column beside its factors, in the order in which it lies in one line of the cache.
ROOT, SCALE, OFFSET, BORDER = range(4)
MARKS = 4


@compiled
def gather(  # type: ignore[no-untyped-def]
    columns, values, table, marks, bordered, biased, pattern, n, unknowns, gathered, summed, pulled
):
    """Gather the first n ratings: their columns' factors, and behind these their weighted residuals.

    The other arrays are those of `solve_batch`. The factors are added to `summed`, and the pattern factors to
    `pulled`, where these have room.
    """
    wide, pattern_wide, ld = table.shape[1], pattern.shape[1], gathered.shape[1]
    one = table.dtype.type(1)
    for p in range(n):
        if p + _AHEAD < len(columns):
            ahead = columns[p + _AHEAD]
            prefetch(table, ahead * wide, wide)
            prefetch(marks, ahead * marks.shape[1], 1)
            if pattern_wide:
                prefetch(pattern, ahead * pattern_wide, pattern_wide)
        column = columns[p]
        root = marks[column, ROOT]
        put_row(gathered, p * ld, table, column * wide, root, wide)
        if len(summed):
            add_row(summed, 0, table, column * wide, one, wide)
        if pattern_wide:
            add_row(pulled, 0, pattern, column * pattern_wide, one, pattern_wide)
        if biased:
            gathered[p, unknowns - 1] = root
        gathered[p, unknowns] = marks[column, SCALE] * (values[p] - marks[column, OFFSET])
        if bordered:
            gathered[p, unknowns + 1] = marks[column, BORDER]


@Kernel
def sum_rows(rows, starts, counts, columns, table, out):  # type: ignore[no-untyped-def]
    """Add to out[row] the lines of the table that stand for the columns a row has rated, for some rows."""
    for at in range(len(rows)):
        row = rows[at]
        for p in range(starts[at], starts[at] + counts[at]):
            column = columns[p]
            for j in range(table.shape[1]):
                out[row, j] += table[column, j]
