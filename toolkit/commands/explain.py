"""``walslab explain``: which of a user's ratings a prediction comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from toolkit.commands.output import console, emit, json_option
from toolkit.commands.shown import Items, model_argument, plain, titles_option

if TYPE_CHECKING:
    from rich.table import Table

    from toolkit.models.explaining import Explanation

# What a prediction may differ by and look the same.
_SHOWN = 0.005


@click.command()
@model_argument
@click.option("--user", required=True, help="Id of a user, as in the ratings file.")
@click.option("--item", required=True, help="Id of an item, as in the ratings file.")
@click.option(
    "-n", default=5, show_default=True, type=click.IntRange(min=1), help="How many of the user's ratings."
)
@titles_option
@json_option
def explain(model: str, user: str, item: str, n: int, titles: Path | None, *, as_json: bool) -> None:
    """Say which of a user's ratings make MODEL predict what it predicts for an item.

    A prediction is a sum: what everybody is predicted, and what each of the user's ratings adds or takes
    away. The -n ratings that move it most are shown, and the others as one figure, so that the column adds
    up. MODEL is a directory, or models:/NAME@ALIAS or models:/NAME/VERSION of MLflow.

    \b
    Example:
      walslab explain models/first --user 196 --item 318 --titles data/ml-100k/ml-100k.item
    """
    from toolkit.serving.opening import open_model

    fitted = open_model(model)
    found = fitted.explain(user, item)
    shown = Items(fitted, titles)
    asked = int(fitted.items.rows(item)[0])
    predicted = float(fitted.predict(user, item, clip=False)[0])
    clipped = float(fitted.predict(user, item)[0])
    most = np.sort(np.argsort(-np.abs(found.contributions), kind="stable")[:n])
    rest = float(found.contributions.sum() - found.contributions[most].sum())
    screen = console(as_json=as_json)
    screen.print(f"user {plain(user)}, {shown.name(asked)}", soft_wrap=True)
    screen.print(_table(found, shown, most, rest))
    if abs(predicted - found.score) > _SHOWN:
        screen.print(
            f"the model itself says {predicted:.2f}: items have changed since the user was solved",
            soft_wrap=True,
        )
    if abs(clipped - predicted) > _SHOWN:
        screen.print(f"clipped to the rating scale: {clipped:.2f}", soft_wrap=True)
    if as_json:
        drivers = [
            shown.entry(
                int(row), rating=float(found.ratings[at]), contribution=float(found.contributions[at])
            )
            for at, row in zip(most, shown.rows(found.items[most]), strict=True)
        ]
        emit(
            {
                "user": fitted.users.ids[fitted.users.rows(user)[0]].item(),
                **shown.entry(asked),
                "predicted": predicted,
                "clipped": clipped,
                "score": found.score,
                "base": found.base,
                "drivers": drivers,
                "rest": rest,
                "rated": len(found.items),
            }
        )


def _table(found: Explanation, shown: Items, most: np.ndarray[Any, Any], rest: float) -> Table:
    from rich.table import Table

    table = Table("because of", show_footer=True)
    table.columns[0].footer = "predicted rating"
    table.add_column("rated", justify="right")
    table.add_column("adds", justify="right", footer=f"{found.score:.2f}")
    table.add_row("the mean, and how the item is rated by everybody", "", f"{found.base:.2f}")
    for at, row in zip(most, shown.rows(found.items[most]), strict=True):
        table.add_row(shown.name(int(row)), f"{found.ratings[at]:g}", f"{found.contributions[at]:+.2f}")
    if others := len(found.items) - len(most):
        table.add_row(f"{others:,} other rating{'s' * (others > 1)}", "", f"{rest:+.2f}")
    return table
