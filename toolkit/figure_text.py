"""Figures as people read them, in whatever unit the ratings have."""

from __future__ import annotations

_SMALLEST, _LARGEST = 1e-3, 1e3


def shown(figure: float | None) -> str:
    """Return an RMSE, or another figure, for people.

    Parameters
    ----------
    figure : float or None
        The figure, in whatever unit.

    Returns
    -------
    str
        Four decimals; four digits of what is very small or very large; ``none`` where there is no figure.

    Examples
    --------
    >>> shown(0.93214), shown(0.0), shown(1.2733e-08), shown(127304879.6), shown(None)
    ('0.9321', '0.0000', '1.273e-08', '1.273e+08', 'none')
    """
    if figure is None:
        return "none"
    usual = figure == 0 or _SMALLEST <= abs(figure) < _LARGEST
    return f"{figure:.4f}" if usual else f"{figure:.4g}"
