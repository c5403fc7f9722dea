"""The same ratings as files of every kind, and their ingest from wherever they lie."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.errors import RatingsError
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings

ROWS = [(u, i, (u * i) % 5 + 0.5) for u in range(1, 31) for i in range(u % 3, 40, 3)]


def text_of(rows):
    return ("userId,movieId,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows)).encode()


def zip_of(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def parquet_of(rows):
    packed = io.BytesIO()
    columns = zip(("userId", "movieId", "rating"), map(list, zip(*rows, strict=True)), strict=True)
    pq.write_table(pa.table(dict(columns)), packed, row_group_size=99)
    return packed.getvalue()


TEXT = text_of(ROWS)
PARTS = {f"part-{k}.csv": text_of(ROWS[k::3]) for k in range(3)}
PACKED = {
    "plain": TEXT,
    "gzip": gzip.compress(TEXT),
    "bzip2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zip": zip_of({"scores.csv": TEXT}),
    "parquet": parquet_of(ROWS),
}


def read(out, *paths, detect=None, split=None, **options):
    source = RatingsSource.detect(paths, **(detect or {}))
    rule = split or SplitRule(valid=0.1, test=0.1)
    return ingest_ratings(source, out, split=rule, overwrite=True, **options)


def digest_of_all(root):
    """Return the digest of all ratings, from one plain file of this machine."""
    (root / "r.csv").write_bytes(TEXT)
    return read(root / "out", root / "r.csv").digest


def source_of(*files):
    return RatingsSource(files=files, delimiter=",", header=False, columns=(0, 1, 2), fields=3)


def refused(text):
    return pytest.raises(RatingsError, match=text)


def put(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
