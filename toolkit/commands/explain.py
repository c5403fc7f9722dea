"""``walslab explain``: which of a user's ratings a prediction comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from toolkit.commands.items import Items, model_argument, plain, titles_option
from toolkit.commands.output import console, emit, json_option, shown_rating

if TYPE_CHECKING:
    from rich.table import Table

    from toolkit.arrays import IntArray
    from toolkit.models import Explanation

# Predictions that differ by a smaller share of their size look the same.
_SHOWN = 0.0015


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
    from toolkit.serving import open_model

    fitted = open_model(model)
    explanation = fitted.explain(user, item)
    items = Items(fitted, titles)
    row = fitted.items.row(item)
    predicted = float(fitted.predict(user, item, clip=False)[0])
    clipped = float(fitted.predict(user, item)[0])
    most = np.sort(np.argsort(-np.abs(explanation.contributions), kind="stable")[:n])
    rest = float(explanation.contributions.sum() - explanation.contributions[most].sum())
    screen = console(as_json=as_json)
    screen.print(f"user {plain(user)}, {items.name(row)}", soft_wrap=True)
    screen.print(_table(explanation, items, most, rest))
    alike = _SHOWN * max(abs(predicted), abs(explanation.base))
    if abs(predicted - explanation.score) > alike:
        screen.print(
            f"the model itself says {shown_rating(predicted)}: items have changed since the user was solved",
            soft_wrap=True,
        )
    if abs(clipped - predicted) > alike:
        screen.print(f"clipped to the rating scale: {shown_rating(clipped)}", soft_wrap=True)
    if as_json:
        drivers = [
            items.entry(
                int(rated),
                rating=float(explanation.ratings[at]),
                contribution=float(explanation.contributions[at]),
            )
            for at, rated in zip(most, items.rows(explanation.items[most]), strict=True)
        ]
        emit(
            {
                "user": fitted.users.id(fitted.users.row(user)),
                **items.entry(row),
                "predicted": predicted,
                "clipped": clipped,
                "score": explanation.score,
                "base": explanation.base,
                "drivers": drivers,
                "rest": rest,
                "rated": len(explanation.items),
            }
        )


def _table(explanation: Explanation, items: Items, most: IntArray, rest: float) -> Table:
    from rich.table import Table

    score, base = explanation.score, explanation.base
    table = Table("because of", show_footer=True)
    table.columns[0].footer = "predicted rating"
    table.add_column("rated", justify="right")
    table.add_column("adds", justify="right", footer=shown_rating(score))
    table.add_row("the mean, and how the item is rated by everybody", "", shown_rating(base, beside=score))
    for at, row in zip(most, items.rows(explanation.items[most]), strict=True):
        table.add_row(
            items.name(int(row)),
            f"{explanation.ratings[at]:g}",
            shown_rating(explanation.contributions[at], "+", beside=score),
        )
    if others := len(explanation.items) - len(most):
        table.add_row(
            f"{others:,} other rating{'s' * (others > 1)}", "", shown_rating(rest, "+", beside=score)
        )
    return table
