"""``walslab similar``: the items most like one item."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.commands.items import Items, model_argument, titles_option
from toolkit.commands.output import console, emit, json_option


@click.command()
@model_argument
@click.option("--item", required=True, help="Id of an item, as in the ratings file.")
@click.option("-n", default=10, show_default=True, type=click.IntRange(min=1), help="How many items.")
@click.option(
    "--min-ratings",
    default=5,
    show_default=True,
    type=click.IntRange(min=0),
    help="Training ratings that a listed item must have: the factors of one with a few point anywhere.",
)
@titles_option
@json_option
def similar(model: str, item: str, n: int, min_ratings: int, titles: Path | None, *, as_json: bool) -> None:
    """List the items of MODEL whose factors point the same way as those of one item.

    MODEL is a directory, or models:/NAME@ALIAS or models:/NAME/VERSION of MLflow. The cosine is 1 for items
    that are liked and disliked by the same people, and 0 for items that have nothing to do with each other.

    \b
    Example:
      walslab similar models/first --item 50 --titles data/ml-100k/ml-100k.item
    """
    from toolkit.serving import open_model

    fitted = open_model(model)
    row = fitted.items.row(item)
    items = Items(fitted, titles)
    ids, cosines = fitted.similar_items(item, len(fitted.items))
    rows = items.rows(ids)
    enough = fitted.item_counts[rows] >= min_ratings
    others = list(zip(rows[enough][:n].tolist(), cosines[enough][:n].tolist(), strict=True))
    screen = console(as_json=as_json)
    heading = f"like {items.name(row)}, {items.ratings(row):,} ratings"
    screen.print(heading, soft_wrap=True)
    screen.print(items.table("cosine", ((other, f"{cosine:.2f}", "") for other, cosine in others)))
    if items.ratings(row) < min_ratings:
        screen.print(f"it has {items.ratings(row)} ratings itself, which is little to go by", soft_wrap=True)
    if len(others) < n:
        screen.print(
            f"{len(rows) - int(enough.sum()):,} of {len(rows):,} other items have less than {min_ratings} "
            "ratings and are left out: --min-ratings 0 lists them, too",
            soft_wrap=True,
        )
    if as_json:
        emit(
            {
                **items.entry(row),
                "min_ratings": min_ratings,
                "items": [items.entry(other, cosine=cosine) for other, cosine in others],
            }
        )
