"""Ids come back from a file as they were written, whatever characters they hold."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.datasets import LONGEST_ID, RatingsDataset
from toolkit.errors import RatingsError
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings

# Characters that have some meaning to a reader of tables, and some that people see as a blank.
ODD = "\n\r\t\x0b\x0c\x1c\x1f\x7f\x85\xa0\u2003\u2028\u200b\ufeff\"',;|:\\%=-0 1aé😀"
# White space around an id is no part of it; whole numbers are written in many ways.
IDS = st.text(st.sampled_from(ODD), min_size=1, max_size=6).map("x{}y".format)


def by_csv(rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("user", "item", "rating"), *rows])
    return out.getvalue().encode()


def by_pandas(rows):
    # With the usual line end it would leave a carriage return without quotes.
    table = pd.DataFrame(rows, columns=["user", "item", "rating"])
    return table.to_csv(index=False, lineterminator="\r\n").encode()


def by_polars(rows):
    return pl.DataFrame(rows, schema=["user", "item", "rating"], orient="row").write_csv().encode()


def by_json(rows):
    return "".join(
        json.dumps(dict(zip(("user", "item", "rating"), row, strict=True))) + "\n" for row in rows
    ).encode()


def by_parquet(rows):
    out = io.BytesIO()
    pl.DataFrame(rows, schema=["user", "item", "rating"], orient="row").write_parquet(out)
    return out.getvalue()


WRITERS = {
    "csv": by_csv,
    "pandas.csv": by_pandas,
    "polars.csv": by_polars,
    "jsonl": by_json,
    "parquet": by_parquet,
}


def ingested(tmp_path, data, name="r.csv", **how):
    path = tmp_path / name
    path.write_bytes(data)
    rule = SplitRule(valid=0, test=0)
    ingest_ratings(RatingsSource.detect([path], **how), tmp_path / "out", split=rule, overwrite=True)
    return RatingsDataset.open(tmp_path / "out")


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=settings.default.max_examples // 5)  # of each writer
@given(users=st.lists(IDS, min_size=2, max_size=20, unique=True), item=IDS)
def test_ids_come_back_as_they_were_written(tmp_path_factory, writer, users, item):
    rows = [(user, name, float(at % 5 + 1)) for at, user in enumerate(users) for name in (item, "other")]
    data = ingested(tmp_path_factory.mktemp("ids"), WRITERS[writer](rows), f"r.{writer}")
    assert [*data.user_ids] == sorted(users)
    assert {*data.item_ids} == {item, "other"}


def test_ids_of_a_wide_table_come_back_as_they_were_written(tmp_path):
    rows = [("user", "x\ny", "x y", "x\r\ny"), ("a\nb", 1, 2, 3), ("a b", 4, 5, ""), ("a\rb", 4, "", 1)]
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    data = ingested(tmp_path, out.getvalue().encode(), wide=True)
    assert [*data.user_ids] == ["a\nb", "a\rb", "a b"]
    assert {*data.item_ids} == {"x\ny", "x y", "x\r\ny"}


def test_white_space_around_an_id_is_no_part_of_it(tmp_path):
    ids = ["x", " x", "x\t", "x\xa0", "\u2003x", '"x\n"']
    lines = "".join(f"{user},i{at},{at % 5 + 1}\n" for at, user in enumerate(ids))
    assert [*ingested(tmp_path, lines.encode()).user_ids] == ["x"]


@pytest.mark.parametrize("mark", ["\ufdd0", "\ufdd1"])
def test_a_noncharacter_beside_line_ends_in_quotes_is_refused_with_its_line(tmp_path, mark):
    lines = [f'"u{n}\nv",i{n % 3},{n % 5 + 1}' for n in range(5)] + [f"u{mark}v,i1,2"]
    with pytest.raises(RatingsError, match=r"r\.csv, line 11 holds '.ufdd[01]', which is no character: "):
        ingested(tmp_path, "\n".join(lines).encode())


def test_an_error_shows_the_line_end_of_an_id(tmp_path):
    long = "x\n" + "y" * LONGEST_ID
    with pytest.raises(RatingsError, match=r"line 3: the user must have at most .* begins with 'x\\ny"):
        ingested(tmp_path, by_csv([("a\nb", "i", 1.0), (long, "i", 2.0)])[len("user,item,rating\r\n") :])
