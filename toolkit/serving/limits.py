"""The limits of one request: none may hold up the others for long, or fill the memory."""

from __future__ import annotations

from toolkit.errors import ConfigError

# Bytes of a request.
BODY = 16 << 20
# Rows of the table of a request.
ROWS = 10_000
# Recommended items of one row.
N = 1_000
# Recommended items of all rows together.
ITEMS = 200_000
# Ratings of all new users of a request together.
RATINGS = 100_000
# Users to recommend to × items of the model: some seconds of work.
SCORES = 250_000_000


def require_at_most(limit: int, n: int, what: str) -> None:
    """Refuse a request that asks for too much.

    Raises
    ------
    ConfigError
        When `n` is above `limit`; the text names `what` there is too much of.
    """
    if n > limit:
        raise ConfigError(f"a request may have at most {limit:,} {what}, but this one has {n:,}: split it")
