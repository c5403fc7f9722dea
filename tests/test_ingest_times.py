"""Times in any of the ways that people write them, in the one order that a temporal split needs."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import RatingsError
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.ingest.reading import times

naive = st.datetimes()
finite = st.floats(allow_nan=False, allow_infinity=False)


def sorted_by(values, arrow_type):
    """Return values in the order of what `sortable` makes of them."""
    found = times.sortable(pa.array(values, arrow_type))
    assert found.dtype == np.int64
    return [values[at] for at in np.argsort(found, kind="stable")]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("0", "integer number"),
        ("-881250949", "integer number"),
        ("1427846399123456789", "integer number"),
        (str(2**63 - 1), "integer number"),
        (str(2**63), "number"),
        ("1.5", "number"),
        ("-2.", "number"),
        ("8.8125e8", "number"),
        ("1e400", ""),
        ("nan", ""),
        ("inf", ""),
        ("١٢", ""),
        ("2015-03-31", "time"),
        ("2015-03-31 23:59", "time"),
        ("2015-03-31T23:59:59.123456", "time"),
        ("2015-03-31T23:59:59.1234567", ""),
        ("2015-02-29", ""),
        ("2015-03-31 24:00:00", ""),
        ("31.03.2015", ""),
        ("2015-03-31T23:59:59Z", "zoned time"),
        ("2015-03-31 23:59:59.5+05:30", "zoned time"),
        ("2015-03-31 23:59-0330", "zoned time"),
        ("2015-03-31 23:59:59 CET", ""),
        ("", ""),
    ],
)
def test_what_is_a_time(text, kinds):
    assert " ".join(kind for kind in times.KINDS if times.is_time(text, kind)) == kinds


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "2"], "integer"),
        (["1", "2.5"], "number"),
        (["2015-03-31", "2015-03-31 12:00"], "time"),
        (["2015-03-31T00Z", "2015-03-31 12:00+01"], "zoned time"),
        (["2015-03-31", "n/a", "2015-03-31 12:00"], "time"),
        (["2015-03-31", "1"], ""),
        (["soon"], ""),
    ],
)
def test_most_of_the_sample_decide(texts, kind):
    assert times.kind_of(texts) == kind


@pytest.mark.parametrize(
    ("arrow_type", "kind"),
    [
        (pa.int32(), "integer"),
        (pa.uint64(), "integer"),
        (pa.float32(), "number"),
        (pa.timestamp("ns"), "time"),
        (pa.date32(), "time"),
        (pa.date64(), "time"),
        (pa.timestamp("ms", "Europe/Berlin"), "zoned time"),
        (pa.string(), ""),
        (pa.time64("us"), ""),
        (pa.duration("s"), ""),
    ],
)
def test_the_kind_of_a_parquet_column(arrow_type, kind):
    assert times.kind_of_type(arrow_type) == kind


@given(st.lists(finite | st.sampled_from([0.0, -0.0, 5e-324, -5e-324, -1.5, -1e300]), min_size=1))
def test_floats_sort_as_numbers_do_and_are_shown_again(values):
    assert sorted_by(values, pa.float64()) == sorted(values)
    found = times.sortable(pa.array(values, pa.float64()))
    assert [times.as_written(int(at), "number") for at in found] == values


def test_the_two_zeros_are_one_time_and_the_infinite_ones_the_last():
    found = times.sortable(pa.array([0.0, -0.0, math.inf, -math.inf, 1.7e308, -1.7e308]))
    assert found[0] == found[1]
    assert np.argsort(found[1:]).tolist() == [2, 4, 0, 3, 1]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_are_as_they_are(values):
    found = times.sortable(pa.array(values, times.arrow_type("integer")))
    assert [times.as_written(int(at), "integer") for at in found] == values


@given(st.lists(naive, min_size=1))
def test_moments_sort_as_they_come_and_are_shown_again(values):
    assert sorted_by(values, times.arrow_type("time")) == sorted(values)
    zoned = [value.replace(tzinfo=dt.UTC) for value in values]
    for kind, moments in (("time", values), ("zoned time", zoned)):
        found = times.sortable(pa.array(moments, times.arrow_type(kind)))
        texts = [times.as_written(int(at), kind) for at in found]
        assert texts == [moment.isoformat() for moment in moments]
        assert times.kind_of(texts) == kind


def test_zones_are_brought_to_one_order():
    texts = ["2015-04-01T00:30:00+02:00", "2015-03-31T23:00:00Z", "2015-03-31T18:15:00-05:00"]
    found = times.sortable(pa.array(texts).cast(times.arrow_type("zoned time")))
    assert np.argsort(found).tolist() == [0, 1, 2]
    assert times.as_written(int(found[0]), "zoned time") == "2015-03-31T22:30:00+00:00"


def test_years_that_python_does_not_have_are_shown():
    (year_0,) = times.sortable(pa.array(["0000-01-01"]).cast(times.arrow_type("time")))
    assert times.as_written(int(year_0), "time").startswith("0000-01-01T00:00:00")
    assert times.as_written(2**62, "time").startswith("148108-07-06T")
    assert times.as_written(2**62, "zoned time").endswith("+00:00")


def ingest(path, lines, *, kind="temporal", valid=0.2, test=0.2, columns=None, **options):
    path.write_text("".join(f"{line}\n" for line in lines))
    source = RatingsSource.detect([path], timestamp=True, columns=columns)
    return ingest_ratings(
        source, path.parent / "out", split=SplitRule(kind=kind, valid=valid, test=test), **options
    )


def items_of(data, split):
    return sorted(data.item_ids[getattr(data, split).tocoo().col].tolist())


WRITTEN = {
    "integer": [-5, 3, 20, 881250949, 1427846399000000001],
    "number": [-1e9, -2.5, 0.0, 1.5, 8.8125e8],
    "time": ["1969-12-31", "2015-03-31", "2015-03-31T00:00:01", "2015-03-31 00:00:01.000001", "9999-12-31"],
    "zoned time": [
        "2015-04-01T00:30:00+02:00",
        "2015-03-31T23:00Z",
        "2015-03-31 18:15:00-05:00",
        "2015-04-01T00:00:00+00",
        "2015-04-01T00:00:00.000001+0000",
    ],
}
TEST_FROM = {
    "integer": 1427846399000000001,
    "number": 8.8125e8,
    "time": "9999-12-31T00:00:00",
    "zoned time": "2015-04-01T00:00:00.000001+00:00",
}


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("kind", times.KINDS)
def test_the_latest_are_held_out_however_times_are_written(tmp_path, kind, header):
    order = [3, 0, 4, 2, 1]
    lines = [f"1,{at},3,{WRITTEN[kind][at]}" for at in order]
    data = ingest(tmp_path / "r.csv", ["user,item,rating,time"] * header + lines)
    assert [items_of(data, split) for split in ("train", "valid", "test")] == [[0, 1, 2], [3], [4]]
    assert data.manifest["source"]["time_kind"] == kind
    assert data.manifest["split"]["test_from"] == TEST_FROM[kind]
    assert data.manifest["split"]["valid_from"] < data.manifest["split"]["test_from"]


@pytest.mark.parametrize("kind", times.KINDS)
def test_the_latest_of_each_user_and_the_latest_of_a_pair(tmp_path, kind):
    written = WRITTEN[kind]
    lines = [f"{user},{at},{user},{written[at]}" for user in (1, 2) for at in (2, 0, 1)]
    # Rated again, later and earlier than before.
    lines += [f"1,0,9,{written[4]}", f"2,2,9,{written[1]}"]
    data = ingest(tmp_path / "r.csv", lines, kind="per-user-last", valid=0, test=1)
    held = data.test.tocoo()
    assert [(held.row[at], data.item_ids[held.col[at]], held.data[at]) for at in range(2)] == [
        (0, 0, 9),
        (1, 2, 2),
    ]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ("2015-13-01", "time"),
        ("2015-03-31T23:00Z", "time"),
        ("", "time"),
        ("soon", "integer"),
    ],
)
def test_a_row_of_no_time_is_named_or_dropped(tmp_path, bad, kind):
    good = [f"1,{at},3,{WRITTEN[kind][at]}" for at in range(5)]
    lines = [*good[:3], f"1,9,3,{bad}", *good[3:]]
    with pytest.raises(RatingsError, match=r"r\.csv, line 4: the timestamp must be an? "):
        ingest(tmp_path / "r.csv", lines, columns=["1", "2", "3", "4"])
    data = ingest(tmp_path / "r.csv", lines, bad_rows="drop")
    assert data.manifest["rejections"]["reasons"] == {"bad timestamp": 1}
    assert items_of(data, "test") == [4]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (
            ["user,item,rating", "1,2,3"],
            "none of the columns .* is recognised as timestamp: .*, and timestamp,",
        ),
        (["1,2,3"], "no column of times is found, .* such as 1,2,3,4"),
        (["1,2,3,soon"], "no column of times is found"),
        (["user,item,rating,time", "1,2,3,soon"], "time, such as 'soon', must hold times"),
        (
            ["user,item,rating,time", "1,2,3,2015-01-01", "1,2,3,2015-02-30"],
            "such as '2015-02-30', must hold",
        ),
    ],
)
def test_times_that_are_not_found(tmp_path, lines, text):
    with pytest.raises(RatingsError, match=text):
        ingest(tmp_path / "r.csv", lines)


def test_a_position_of_no_times_is_named(tmp_path):
    with pytest.raises(RatingsError, match="column 4, such as 'soon', must hold times"):
        ingest(tmp_path / "r.csv", ["1,2,3,soon"], columns=["1", "2", "3", "4"])
