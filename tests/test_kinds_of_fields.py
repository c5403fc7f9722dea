"""Fields of the kinds that people write: ids, quotes and times are read as they are meant, or refused.

What is read is always the same made-up ratings, so that one digest tells that all of them are right.
"""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from ingesting import walslab
from kinds import (
    NAMED,
    PLAIN,
    ROWS,
    TWICE,
    detect,
    lines,
    of,
    packed,
    parquet,
    read,
    reviews,
)

from toolkit.errors import RatingsError


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    """The digest of the made-up ratings."""
    return read(tmp_path_factory.mktemp("plain"), PLAIN).digest


# Ids that are whole numbers

FLOATS = {
    "pandas": of("{0}.0,{1}.0,{2:g}", "user,item,rating"),
    "savetxt": "".join("{:.18e} {:.18e} {:.18e}\n".format(*row) for row in ROWS).encode(),
    "short": "".join("{:.3E},{:.3E},{:.2E}\n".format(*row) for row in ROWS).encode(),
    "quoted": of('"{0}.0","{1}.",{2:g}'),
    "from the middle on": lines(ROWS[:200]) + lines(ROWS[200:], "{0}.0,{1}.00,{2:g}"),
    "two files": {"a.csv": lines(ROWS[::2]), "b.csv": lines(ROWS[1::2], "{0}.0,{1}.0,{2:g}")},
}


@pytest.mark.parametrize("files", FLOATS.values(), ids=FLOATS)
def test_whole_numbers_written_as_floats_are_these_numbers(tmp_path, digest, files):
    made = read(tmp_path, files, block_bytes=2500, ids="integer" if isinstance(files, dict) else "auto")
    assert made.digest == digest
    assert made.manifest["ids"]["users"]["floats"].startswith(("1", "2", "3", "4"))


def test_floats_beside_text_and_floats_that_are_no_whole_numbers(tmp_path, monkeypatch):
    mixed = lines(ROWS[:200], "u{0},{1},{2:g}") + lines(ROWS[200:], "{0}.0,{1}.5,{2:g}")
    made = read(tmp_path, mixed, block_bytes=1500, columns=[1, 2, 3])
    ids = {*made.user_ids.tolist(), *made.item_ids.tolist()}
    assert {str(row[0]) for row in ROWS[200:]} < ids
    assert {f"{row[1]}.5" for row in ROWS[200:]} < ids
    assert read(tmp_path, of("{0}.0,{1}e5,{2:g}"), ids="text").user_ids[0] == "1.0"
    assert read(tmp_path, of("{0},{1}e5,{2:g}")).item_ids[0] == "101e5"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.csv").write_bytes(FLOATS["pandas"])
    said = "users such as 1.0 are taken as whole numbers (--ids text keeps them as written)\n"
    assert said in walslab("ingest", "r.csv", "--out", "ds").stdout


ROUNDED = {
    "a workbook": of("1.2345{0}E+15,{1},{2:g}", "user,item,rating"),
    "six digits": "".join(f"{10**15 + 10**9 * u + i:.6e},{i},{r}\n" for u, i, r, _ in ROWS).encode(),
    "items": of("{0},1.23{1}E+11,{2:g}", "user,item,rating"),
}


@pytest.mark.parametrize("data", ROUNDED.values(), ids=ROUNDED)
def test_ids_that_were_rounded_are_not_taken_for_whole_numbers(tmp_path, data):
    with pytest.raises(RatingsError, match=r"line \d: the (user|item) 1\.\S+ was rounded .* --ids text"):
        read(tmp_path, data)
    assert read(tmp_path, data, ids="text", columns=[1, 2, 3]).counts["rejected"] == 0


def test_long_and_short_forms_of_whole_numbers(tmp_path):
    short = "".join(f"{u}{'0' * 5000 if u == 7 else ''}.0,{i},{r:g}\n" for u, i, r, _ in ROWS).encode()
    assert read(tmp_path, short).user_ids[-1] == "9"
    assert "7" + "0" * 5000 in read(tmp_path, short).user_ids.tolist()
    in_r = of("{0}00000,{1},{2:g}").replace(b"\n100000,", b"\n1e+05,")
    assert read(tmp_path, in_r).digest == read(tmp_path, of("{0}00000,{1},{2:g}")).digest


@pytest.mark.parametrize("most", [pa.float64(), pa.float32()])
def test_floats_of_parquet_that_may_be_rounded_are_bad_rows(tmp_path, most):
    users = pa.array([1.0, 3.0, 2.0**60], most)
    data = {"r.parquet": parquet(user=users, item=[1, 2, 3], rating=[1.0, 2.0, 3.0])}
    with pytest.raises(RatingsError, match=r"row 3: the user must be at most [\d,]+ in a column of the type"):
        read(tmp_path, data)
    text = {"r.parquet": parquet(user=["1.23457E+15", "2", "3"], item=[1, 2, 3], rating=[1.0, 2.0, 3.0])}
    with pytest.raises(RatingsError, match=r"row 1: .*rounded"):
        read(tmp_path, text)
    assert read(tmp_path, data, bad_rows="drop").counts["rejected"] == 1


# Quotes

REVIEWS = {
    "commas": reviews(),
    "Windows": reviews(end="\r\n"),
    "semicolons": reviews().replace(b",", b";"),
    "every line": reviews(every=1),
    "gzip": packed(reviews()),
    # The first quoted field of several lines comes after the lines that are looked at.
    "late": NAMED.replace(b"\n", b",ok\n").replace(b"rating,ok", b"rating,review") * 1
    + b"".join(b'%d,9,9,"ok"\n' % n for n in range(900, 2100))
    + b'1,777,9,"my list:\n7,Heat,5,great\n8,Alien,4,fine"\n',
}


@pytest.mark.parametrize("data", REVIEWS.values(), ids=REVIEWS)
@pytest.mark.parametrize(
    ("bad_rows", "block_bytes"),
    [
        ("drop", 700),
        pytest.param("error", None, marks=pytest.mark.slow),
        pytest.param("drop", 5000, marks=pytest.mark.slow),
    ],
)
def test_line_ends_within_quotes_cost_nothing_and_make_no_rating(
    tmp_path, digest, data, bad_rows, block_bytes
):
    made = read(tmp_path, data, bad_rows=bad_rows, block_bytes=block_bytes)
    assert made.counts["rejected"] == 0
    assert not {"Heat", "Alien", "7", "8"} & set(map(str, made.item_ids.tolist()))
    assert made.digest == digest or made.counts["ratings"] == len(ROWS) + 1201


BODY = of("{0}\t{1}\t{2:g}\tok", "user\titem\trating\ttext")
MEANINGLESS = {
    "opened twice": BODY.replace(b"\tok", b'\t"so he said', 3),
    "opened once": BODY + b'9\t777\t3\t"open\n' + b"8\t777\t3\tok\n" * 300,
    "closed within a field": BODY + b'9\t777\t3\t"x\n" y\n8\t777\t3\tok\n',
}


@pytest.mark.parametrize("data", MEANINGLESS.values(), ids=MEANINGLESS)
@pytest.mark.parametrize(
    ("bad_rows", "block_bytes"), [pytest.param("error", None, marks=pytest.mark.slow), ("drop", 1500)]
)
def test_quotes_that_mean_nothing_are_refused_until_it_is_said(tmp_path, data, bad_rows, block_bytes):
    with pytest.raises(RatingsError, match=r"line \d+ opens a quote that it .* --quote none"):
        read(tmp_path, data, bad_rows=bad_rows, block_bytes=block_bytes)
    made = read(tmp_path, data, bad_rows="drop", block_bytes=block_bytes, quotes=False)
    assert made.counts["rejected"] == (1 if b'" y' in data else 0)


def test_lines_behind_quoted_ones_keep_their_numbers(tmp_path):
    data = reviews()
    number = data.count(b"\n") + 1
    for block_bytes in (2500, None):
        with pytest.raises(RatingsError, match=rf"line {number}: the rating .* is 'x'"):
            read(tmp_path, data + b"3,4,x,y\n", block_bytes=block_bytes)
        again = b"%d,%d,5,ok\n" % ROWS[0][:2]
        with pytest.raises(RatingsError, match=rf"line {number}: user {ROWS[0][0]} rates item .* line 2 "):
            read(tmp_path, data + again, block_bytes=block_bytes, duplicates="error")


# Times


def moment(form):
    return lambda t: dt.datetime.fromtimestamp(t, dt.UTC).strftime(form)


TIMES = {
    "seconds": str,
    "milliseconds": lambda t: f"{t}000",
    "microseconds": lambda t: f"{t}000000",
    "nanoseconds": lambda t: f"{t}000000000",
    "fractions": lambda t: f"{t}.25",
    "ISO": moment("%Y-%m-%d %H:%M:%S"),
    "ISO with T": moment("%Y-%m-%dT%H:%M:%S"),
    "Zulu": moment("%Y-%m-%dT%H:%M:%SZ"),
    "BigQuery": moment("%Y-%m-%d %H:%M:%S UTC"),
    "BigQuery, fine": moment("%Y-%m-%d %H:%M:%S.%f UTC"),
    "quoted": moment('"%Y-%m-%d %H:%M:%S UTC"'),
    "an offset": moment("%Y-%m-%d %H:%M:%S+00:00"),
}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        *(pytest.param(name, str, id=name) for name in ("time", "Date", "created_at")),
        # Of numbers and of texts some are told apart in the way of the others.
        *(
            pytest.param(
                "timestamp",
                form,
                id=name,
                marks=pytest.mark.slow if name in {"microseconds", "nanoseconds", "ISO with T"} else [],
            )
            for name, form in TIMES.items()
        ),
    ],
)
def test_last_is_last_in_time(tmp_path, digest, written, name):
    # Of each pair the last line is the earliest.
    data = "".join(f"{u},{i},{r:g},{written(t)}\n" for u, i, r, t in TWICE)
    made = read(tmp_path, f"user,item,rating,{name}\n{data}".encode(), block_bytes=4000)
    assert made.digest == digest
    assert made.counts["duplicates"] == 90
    assert made.manifest["source"]["timestamp"] == 3


def test_a_fourth_column_of_times_serves_without_a_header(tmp_path, digest):
    assert read(tmp_path, lines(TWICE, "{0},{1},{2:g},{3}")).digest == digest
    files = {
        "b.csv": lines(TWICE[::-2], "{0}\t{1}\t{2:g}\t{3}"),
        "a.csv": lines(TWICE[-2::-2], "{0}\t{1}\t{2:g}\t{3}"),
    }
    assert read(tmp_path, files).digest == digest


def test_ratings_at_the_same_time_have_no_order(tmp_path):
    ties = [(u, i, r * k % 5, 5) for u, i, r, _ in ROWS for k in (1, 3)]
    head = "user,item,rating,time"
    one, two = (read(tmp_path, lines(rows, "{0},{1},{2:g},{3}", head)) for rows in (ties, ties[::-1]))
    assert one.digest == two.digest


def test_the_order_of_lines_counts_where_no_time_is_read_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, rows in (("a", TWICE), ("b", TWICE[::-1])):
        (tmp_path / f"{name}.csv").write_bytes(lines(rows))
        (tmp_path / f"{name}t.csv").write_bytes(lines(rows, "{0},{1},{2:g},{3}", "user,item,rating,time"))
    said = [walslab("ingest", f"{name}.csv", "--out", name).stdout for name in ("a", "b", "at", "bt")]
    order = "90 duplicates (last in the order of lines and files, as no times are read)\n"
    assert [order in one for one in said] == [True, True, False, False]
    assert ["90 duplicates (last in time)\n" in one for one in said] == [False, False, True, True]
    digests = [one.split("digest ")[1].split()[0] for one in said]
    assert len(set(digests)) == 2
    assert digests[2] == digests[3]


def test_times_matter_only_where_pairs_are_repeated(tmp_path):
    head = "user,item,rating,time"
    odd = lines(ROWS, "{0},{1},{2:g},{3}", head) + b"1,777,3,soon\n"
    assert read(tmp_path, odd).counts["ratings"] == len(ROWS) + 1
    again = odd + b"%d,%d,3,1\n" % ROWS[0][:2]
    with pytest.raises(RatingsError, match=r"line 402: the timestamp .* 'soon'.* --duplicates mean"):
        read(tmp_path, again)
    assert read(tmp_path, again, duplicates="mean").counts["duplicates"] == 1
    units = {
        "a.csv": lines(ROWS, "{0},{1},{2:g},{3}", head),
        "b.csv": lines(ROWS, "{0},{1},{2:g},{3}000", head),
    }
    assert detect(tmp_path, units).spare_time is None
    with pytest.raises(RatingsError, match=r"b\.csv: its times are milliseconds .* are seconds"):
        detect(tmp_path, units, timestamp=True)
