"""Made-up ratings, and the same ratings as files of the kinds that people have."""

from __future__ import annotations

import gzip
import io
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings

USERS, ITEMS = 40, 30


def made_up(seed=0, n=400):
    """Return (user, item, rating, time) of different pairs, by user."""
    rng = random.Random(seed)
    pairs = sorted(rng.sample([(u, i) for u in range(1, USERS + 1) for i in range(101, 101 + ITEMS)], n))
    return [(u, i, rng.randrange(2, 11) / 2, 1_500_000_000 + rng.randrange(10**7)) for u, i in pairs]


ROWS = made_up()
# Pairs that were rated before, by an earlier time: higher or lower than later.
TWICE = ROWS + [(u, i, 0.5 + 5 * (i % 2), t - 77) for u, i, _, t in ROWS[:90]]


def lines(rows, form="{0},{1},{2:g}", header=""):
    return ((header + "\n" if header else "") + "".join(form.format(*row) + "\n" for row in rows)).encode()


PLAIN = lines(ROWS)
NAMED = lines(ROWS, header="user,item,rating")


def comma(value):
    return f"{value:g}".replace(".", ",")


def of(form, header=""):
    """Return the ratings as lines of a form; it may use the number of the line, n, too."""
    body = (form.format(*row, n=n, r=comma(row[2]), p=comma(row[2] * 2 + 0.25)) for n, row in enumerate(ROWS))
    return ((header + "\n" if header else "") + "".join(line + "\n" for line in body)).encode()


def json_lines(rows=ROWS, user="user_id", item="item_id", rating="rating", **more):
    return "".join(
        json.dumps({**more, user: u, item: i, rating: r, "timestamp": t, "text": 'say "x",\ny'}) + "\n"
        for u, i, r, t in rows
    ).encode()


def netflix(rows=ROWS):
    found = {}
    for u, i, r, _ in rows:
        found.setdefault(i, []).append(f"{u},{r:g},2005-09-06\n")
    return "".join(f"{i}:\n{''.join(some)}" for i, some in found.items()).encode()


def matrix(rows=ROWS, field="real", symmetry="general", layout="coordinate"):
    return (
        f"%%MatrixMarket matrix {layout} {field} {symmetry}\n% made up\n{USERS} {100 + ITEMS} {len(rows)}\n"
        + "".join(f"{u} {i}  {r:g}\n" for u, i, r, _ in rows)
    ).encode()


def wide(rows=ROWS, empty="", header=True, delimiter=",", name="user"):
    table = np.full((USERS, ITEMS), empty, dtype=object)
    for u, i, r, _ in rows:
        table[u - 1, i - 101] = f"{r:g}"
    body = "".join(delimiter.join([str(u), *row]) + "\n" for u, row in enumerate(table, 1))
    first = delimiter.join([name, *map(str, range(101, 101 + ITEMS))]) + "\n" if header else ""
    return (first + body).encode()


def reviews(rows=ROWS, end="\n", every=7):
    """Return CSV with a column of reviews, some of which hold line ends, quotes, and lines like ratings."""
    texts = [
        "ok",
        f"good, very{end}indeed",
        f'my list:{end}7,Heat,5,great{end}8,Alien,4,""fine""{end}end',
        '""',
    ]
    body = "".join(
        f'{u},{i},{r:g},"{texts[n // every % 4] if n % every == 0 else "ok"}"{end}'
        for n, (u, i, r, _) in enumerate(rows)
    )
    return f"user,item,rating,review{end}{body}".encode()


def packed(data):
    return gzip.compress(data, 1)


def parquet(**columns):
    made = io.BytesIO()
    pq.write_table(pa.table(columns), made, row_group_size=99)
    return made.getvalue()


def detect(folder, files, **asked):
    files = files if isinstance(files, dict) else {"r.csv": files}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return RatingsSource.detect([folder / name for name in files], **asked)


def read(folder, files, *, bad_rows="error", duplicates="last", block_bytes=None, **asked):
    return ingest_ratings(
        detect(folder, files, **asked),
        folder / "out",
        split=SplitRule(valid=0, test=0),
        overwrite=True,
        bad_rows=bad_rows,
        duplicates=duplicates,
        block_bytes=block_bytes,
    )
