"""A second look at the cells of a wide table: a number for no rating, a column of something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from toolkit.errors import RatingsError
from toolkit.ingest.reading.form import Form
from toolkit.tables import is_number

# Fewer cells than this show nothing.
_SEVERAL = 12
# Ratings of one value beyond the range of all others, and where no cell is empty, within it.
_SHARE_OUTSIDE, _SHARE_FULL = 0.1, 0.5


def check_cells(form: Form, chosen: Sequence[int], *, no_rating: bool, named: bool) -> None:
    """Refuse a wide table whose cells are doubtful.

    Parameters
    ----------
    form : Form
        What the first file shows.
    chosen : sequence of int
        Positions of the items.
    no_rating : bool
        Whether the user says what a cell without a rating holds.
    named : bool
        Whether the user names the columns.

    Raises
    ------
    RatingsError
        When a number seems to stand for no rating, or a column seems to hold something else than ratings. The
        text names the option that settles it.
    """
    columns = {at: _numbers(form, at) for at in chosen}
    cells = Counter(value for values in columns.values() for value in values)
    if cells.total() < _SEVERAL or len(cells) < 2:
        return
    full = cells.total() == sum(len(row) > at for row in form.body for at in chosen)
    value, count = next((one for one in _outermost(cells) if _is_far(cells, one[0])), cells.most_common(1)[0])
    share = count / cells.total()
    odd = share > _SHARE_OUTSIDE if _is_far(cells, value) else full and share > _SHARE_FULL
    if odd and not no_rating:
        raise RatingsError(
            f"{form.file}: {share:.0%} of the cells hold {value:g}, which seems to stand for no rating: say "
            f"--no-rating {value:g}, or --no-rating '' where it is a rating"
        )
    if named:
        return
    for at, values in columns.items():
        others = cells - Counter(values)
        if len(values) < _SEVERAL or not others or len(columns) < 3:
            continue
        low, high = min(others), max(others)
        if max(min(values) - high, low - max(values)) > high - low > 0:
            name = repr(form.names[at][:40]) if form.names else str(at + 1)
            raise RatingsError(
                f"{form.file}: the column {name} holds other numbers than the items beside it, such as "
                f"{values[0]:g}: name the columns of users and items, as in --columns 1,3-102"
            )


def _numbers(form: Form, at: int) -> list[float]:
    texts = [row[at].strip() for row in form.body]
    point = (text.replace(",", ".") if form.decimal == "," else text for text in texts)
    values = [float(text) for text in point if is_number(text)]
    return [value for value in values if value == value]  # noqa: PLR0124 - NaN is no rating


def _outermost(cells: Counter[float]) -> list[tuple[float, int]]:
    return [(value, cells[value]) for value in (max(cells), min(cells))]


def _is_far(cells: Counter[float], value: float) -> bool:
    """Tell whether a value is farther from all others than these are from each other."""
    others = [other for other in cells if other != value]
    low, high = min(others), max(others)
    return max(value - high, low - value) > high - low > 0
