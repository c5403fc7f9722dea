"""The names of columns: one list for each role, for ratings, titles and users alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Role = Literal["user", "item", "rating", "timestamp", "title"]
ALIASES: dict[Role, tuple[str, ...]] = {
    "user": (
        *("user", "userid", "user_id", "uid", "user_name", "username"),
        *("client", "clientid", "client_id", "customer", "customerid", "customer_id"),
        *("reviewerid", "reviewer_id"),
    ),
    "item": (
        *("item", "itemid", "item_id", "iid", "movie", "movieid", "movie_id"),
        *("product", "productid", "product_id", "article", "articleid", "article_id"),
        *("book", "bookid", "book_id", "content", "contentid", "content_id"),
        *("businessid", "business_id", "asin", "parent_asin"),
    ),
    "rating": ("rating", "ratings", "score", "stars", "value", "overall"),
    "timestamp": (
        *("timestamp", "time", "datetime", "date", "ts", "unix_timestamp", "unixreviewtime"),
        *("rating_timestamp", "rated_at", "created_at", "review_date", "event_time"),
    ),
    "title": (
        *("title", "movie_title", "item_title", "content_title", "product_title", "article_title"),
        *("name", "item_name", "movie_name", "product_name", "headline"),
    ),
}
"""Names in lower case. Where a table has several names of a role, the first of this list counts."""


def bare_name(name: str) -> str:
    """Return the name of a column in lower case, without blanks, quotes and the type that RecBole appends."""
    return name.strip().strip('"').lower().partition(":")[0]


def find_column(names: Sequence[str], role: Role, *, also: Sequence[str] = ()) -> int | None:
    """Return the position of the column of a role, or None where no name belongs to the role.

    Parameters
    ----------
    names : sequence of str
        The names of the columns of a table, in their order.
    role : {"user", "item", "rating", "timestamp", "title"}
        What the column holds.
    also : sequence of str
        Further names, which count where none of `ALIASES` occurs: ``id`` in a table of items alone.
    """
    bare = [bare_name(name) for name in names]
    return next((bare.index(alias) for alias in (*ALIASES[role], *also) if alias in bare), None)
