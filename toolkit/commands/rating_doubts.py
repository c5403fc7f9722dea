"""What an ingest says of ratings that are read without an error and may yet mean something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.ingest import RatingsSource


def doubts_of_first(source: RatingsSource) -> Iterator[str]:
    """Yield what is odd about the first ratings of files, each in a sentence with the way out."""
    from toolkit.ingest import rating_apart

    if apart := rating_apart(source):
        value, count, n, low, high = apart
        yield (
            f"Of the first {n} ratings, {count} {'is' if count == 1 else 'are'} {value:g}, and all others "
            f"{low:g} to {high:g}. If {value:g} stands for no rating, remove those lines"
        )


def doubts_of_all(manifest: dict[str, Any]) -> Iterator[str]:
    """Yield what is odd about the ratings of a dataset, each in a sentence with the way out."""
    from toolkit.ingest import different_scales, different_units, far_ratings

    files = manifest["source"]["files"]
    if apart := different_scales(files):
        one, other = (f"{facts['name']} are around {facts['mean']:.3g}" for facts in apart)
        yield (
            f"Ratings of {one}, and those of {other}. If these are different scales, put the files on one, "
            "or ingest them apart: a model takes all ratings for ones of one scale"
        )
    if units := different_units(files):
        one, other = (f"in {unit}, such as {time} of {name}" for name, time, unit in units)
        yield (
            f"Some times are {one}, and some {other}. Their order is that of the numbers: write all times in "
            "one unit"
        )
    if not apart and manifest["transform"] == "none" and manifest["duplicates"] != "sum":
        for rating in far_ratings(files, manifest["ratings"]["min"], manifest["ratings"]["max"]):
            yield (
                f"A rating is {rating:g}, far from nearly all others. If it is a total or stands for no "
                "rating, remove its line; amounts, such as seconds, fit a model as --transform log1p"
            )
