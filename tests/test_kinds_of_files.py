"""Files of the kinds that people have: each is read as it is meant, or refused with the way out.

What is read is always the same made-up ratings, so that one digest tells that all of them are right.
"""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPO_ROOT
from ingesting import walslab
from kinds import (
    NAMED,
    PLAIN,
    ROWS,
    detect,
    json_lines,
    lines,
    netflix,
    of,
    packed,
    parquet,
    read,
    wide,
)

from toolkit.errors import RatingsError, WalslabError
from toolkit.ingest import RatingsSource, example_ratings
from toolkit.tables import doubt_of_roles

CASES = REPO_ROOT.parent / "shared" / "cases"


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    """The digest of the made-up ratings."""
    return read(tmp_path_factory.mktemp("plain"), PLAIN).digest


# The delimiter

BESIDE = {
    "a decimal comma": "{p}",
    "a place": "Oslo, Norway, N",
    "a place with a number": "Oslo, Norway, 3",
    "thousands": "1,234,567",
    "tags": "a/b/c",
    "a clock": "12::30::05",
    "a date": "2015,03,31",
}


# The others cut as the semicolon does, but a blank, which other fields may hold.
FEW = ("a decimal comma", "a place with a number", "a clock")


@pytest.mark.parametrize(
    ("delimiter", "beside"),
    [
        pytest.param(
            delimiter, beside, marks=[] if delimiter == ";" or name in FEW else pytest.mark.slow, id=name
        )
        for delimiter in (";", "|", " ", "\t")
        for name, beside in BESIDE.items()
    ],
)
def test_what_cuts_a_field_is_no_delimiter(tmp_path, digest, delimiter, beside):
    data = of(
        delimiter.join(["{0}", "{1}", "{2:g}", beside.replace(" ", "") if delimiter == " " else beside])
    )
    try:
        assert read(tmp_path, data).digest == digest
    except RatingsError as error:
        assert "--delimiter" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("delimiter", [";", "|", " ", "\t"])
@pytest.mark.parametrize("header", [False, True])
def test_decimal_commas_are_read_when_it_is_said(tmp_path, digest, delimiter, header):
    first = delimiter.join(["user", "item", "rating", "price"]) if header else ""
    data = of(delimiter.join(["{0}", "{1}", "{r}", "{p}"]), first)
    assert read(tmp_path, data, decimal=",").digest == digest
    with pytest.raises(RatingsError, match="--decimal comma"):
        read(tmp_path, data, bad_rows="drop")


def test_two_delimiters_that_both_make_ratings_are_told_apart_by_the_user(tmp_path):
    data = of("{0};{n};{2:g},{1};{0},{2:g}")
    assert detect(tmp_path, of("{0},{n},{2:g};{1};{2:g}"), delimiter=";").delimiter == ";"
    with pytest.raises(RatingsError, match=r"--delimiter|--columns|decimal"):
        read(tmp_path, data)


# The columns

SHUFFLED = ROWS[:]
random.Random(1).shuffle(SHUFFLED)
DOUBTFUL = {
    "a row number": ("{n},{0},{1},{2:g}", "2,3,4"),
    "a row number before the time": ("{n}\t{0}\t{1}\t{2:g}\t{3}", "2,3,4"),
    "a row number and no rating": ("{n},{0},{1}", "1,2,3"),
    "an id of the line": ("x{n},{0},{1},{2:g}", "2,3,4"),
    "seconds": ("{0},{1},{3}", "1,2,3"),
    "milliseconds": ("{0},{1},{3}000", "1,2,3"),
    "microseconds": ("{0},{1},{3}000000", "1,2,3"),
    "fractions of seconds": ("{0},{1},{3}.5", "1,2,3"),
    "days": ("{0},{1},20150309", "1,2,3"),
    "the rating second": ("{0},{2:g},{1}", "1,3,2"),
    "the rating first": ("{2:g},{0},{1}", "2,3,1"),
    "the time first": ("{3},{0},{1},{2:g}", "2,3,4"),
    "the time second": ("{0},{3},{1},{2:g}", "1,3,4"),
    "the day second": ("{0},2015-03-09,{1},{2:g}", "1,3,4"),
    "the day first": ("2015-03-09 10:00:00 UTC,{0},{1},{2:g}", "2,3,4"),
    "blanks side by side": ("{0}  {1}  {2:g}", "1,3,5"),
    "neighbours": ("{0} {1} {1} {1} {1}", "1,2,3"),
    "real numbers": ("{0},{2:g}1,-{2:g}7,{2:g}3", "1,2,3"),
}


# Other units of time, and ids of each line, at another place.
ALIKE = {
    "a row number before the time",
    "an id of the line",
    "milliseconds",
    "microseconds",
    "the time second",
    "the day first",
}


@pytest.mark.parametrize(
    ("form", "columns"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.slow if name in ALIKE else [])
        for name, case in DOUBTFUL.items()
    ],
)
def test_columns_that_do_not_look_like_their_roles_are_asked_for(tmp_path, form, columns):
    with pytest.raises(RatingsError, match=r"were taken for user, item and rating, but .*--columns"):
        detect(tmp_path, of(form))
    assert read(tmp_path, of(form), columns=columns.split(",")).counts["rejected"] == 0


@pytest.mark.parametrize(
    "data",
    [
        wide(header=False),
        wide(),
        wide(name=""),
        wide(header=False, empty="99"),
        wide(header=False, delimiter="\t"),
        "".join(
            f"{7 * n}," + ",".join(str(n * k % 5 + 1) for k in range(1, 7)) + "\n" for n in range(90)
        ).encode(),
        "".join(f"{70 + n % 30},{n / 7 - 9:.2f},{9 - n / 7:.2f},99\n" for n in range(90)).encode(),
    ],
)
def test_wide_tables_are_asked_for(tmp_path, data):
    with pytest.raises(RatingsError, match="--wide"):
        detect(tmp_path, data)


ACCEPTED = {
    "shuffled": lines(SHUFFLED, "{0}\t{1}\t{2:g}\t{3}"),
    "text": of("u{0},i{1},{2:g}"),
    "likes": of("{0},{1},1"),
    "0 to 100": "".join(f"{u},{i},{n * 7 % 101}\n" for n, (u, i, *_) in enumerate(ROWS)).encode(),
    "durations": "".join(f"{u},{i},{n * 37 % 4000}\n" for n, (u, i, *_) in enumerate(ROWS)).encode(),
    "around 0": of("{0},{1},-{2:g}"),
    "one a user": "".join(f"{n},{n % 9},{n % 5}\n" for n in range(200)).encode(),
    "leave one out": "".join(f"{n}\t{n % 9}\t{n % 5}\t97830{n:04}\n" for n in range(200)).encode(),
    "the same twice": of("{0},{1},{2:g}") * 3,
    "names of two words": of("al b{0},the m{1},{2:g}"),
    "bars in ids": of("auth0|x|{0},i{1},{2:g}"),
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_ratings_as_they_are_need_no_option(tmp_path, data):
    source = detect(tmp_path, data)
    assert (source.columns, source.header) == ((0, 1, 2), False)


def test_what_is_accepted_is_said_in_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    u, i, r, _ = ROWS[0]
    (tmp_path / "r.csv").write_bytes(NAMED)
    done = walslab("ingest", "r.csv", "--out", "ds")
    assert f"\nuser {u} gave item {i} a {r:g}; user " in done.stdout
    hostile = b"user,item,rating\n\x1b[31mred,%s,4\n" % (b"x" * 99)
    (said,) = example_ratings(detect(tmp_path, hostile))
    assert "\x1b" not in said
    assert len(said) < 120


@pytest.mark.parametrize("columns", [{"n": range(90)}, {}])
def test_tables_of_arrow_and_pandas_get_the_same_second_look(columns):
    made = {name: list(values)[:90] for name, values in zip("uir", zip(*ROWS, strict=True), strict=False)}
    table = pa.table({**columns, **made})
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    frame = table.to_pandas().itertuples(index=False)
    doubts = [doubt_of_roles(sample, (0, 1, 2)) for sample in (rows, frame)]
    assert [doubt is not None for doubt in doubts] == [bool(columns)] * 2
    assert doubts[0] == doubts[1]


# The header

COUNTED = {
    "commas": b"0,1,2\n" + PLAIN,
    "quoted": b'"0","1","2"\n' + PLAIN,
    "floats": b"0.0,1.0,2.0\n" + PLAIN,
    "Windows": b"\xef\xbb\xbf0,1,2\r\n" + PLAIN.replace(b"\n", b"\r\n"),
    "with an index": of("{n},{0},{1},{2:g}", ",0,1,2"),
    "with an index read again": of("{n},{0},{1},{2:g}", "Unnamed: 0,0,1,2"),
    "tabs": of("{0}\t{1}\t{2:g}\tx", "0\t1\t2\t3"),
    "gzip": packed(b"0,1,2\n" + PLAIN),
}


@pytest.mark.parametrize("data", COUNTED.values(), ids=COUNTED)
def test_a_line_that_counts_the_columns_is_a_header(tmp_path, digest, data):
    assert read(tmp_path, data).digest == digest
    assert detect(tmp_path, data).counted


def test_a_header_is_what_is_said(tmp_path, digest):
    assert read(tmp_path, b"0,1,2\n" + PLAIN, header=False).counts["ratings"] == len(ROWS) + 1
    for first, columns in (
        (b"7,8,9\n", [1, 2, 3]),
        (b"7,8,9\n", ["7", "8", "9"]),
        (b"0,1,2\n", ["0", "1", "2"]),
    ):
        assert read(tmp_path, first + PLAIN, header=True, columns=columns).digest == digest
    with pytest.raises(RatingsError, match=r"7, 8, 9 is recognised .* --columns"):
        detect(tmp_path, b"7,8,9\n" + PLAIN, header=True)


def test_a_line_that_counts_and_may_be_a_rating_is_asked_for(tmp_path, digest):
    from_zero = b"0,1,2\n0,5,3\n1,1,1\n2,5,4\n"
    for data in (from_zero, b"1,2,3\n" + PLAIN, b"1,2,3,4\n" + of("{0},{1},{2:g},{3}")):
        with pytest.raises(
            RatingsError, match=r"may count the columns or be a rating: say --header.* --no-header"
        ):
            detect(tmp_path, data)
    assert read(tmp_path, b"1,2,3\n" + PLAIN, header=True, columns=[1, 2, 3]).digest == digest
    assert read(tmp_path, from_zero, header=False).counts["ratings"] == 4
    assert read(tmp_path, b"1,2,3\n2,2,5\n1,9,4\n" + b"7,9,2\n7,2,1\n" * 9).counts["ratings"] == 5


def test_a_table_below_other_lines_is_said(tmp_path):
    with pytest.raises(
        RatingsError, match=r"begins with the line 'user,item,rating', below .* '# made by me'"
    ):
        detect(tmp_path, b"# made by me\n\n" + NAMED)


# Several files

FIRST = lines(ROWS[::2], header="user,item,rating")


@pytest.mark.parametrize(
    "second",
    [
        lines(ROWS[1::2], "{1},{2:g},{0}", "item,rating,user"),
        lines(ROWS[1::2], "x,{2:g},{1},{0},y", "note,rating,item,user,more"),
        lines(ROWS[1::2], '"{2:g}","{0}","{1}"', '"rating","user","item"'),
        packed(lines(ROWS[1::2], "{1},{0},{2:g}", "item,user,rating")),
        lines(ROWS[1::2], "{1},{2:g},{0}", "item,rating,user").decode().encode("utf-16"),
    ],
)
def test_columns_in_another_order_are_found_by_name(tmp_path, digest, second):
    files = {"a.csv": FIRST, "b.csv": second}
    assert read(tmp_path, files, block_bytes=2500).digest == digest
    for columns in (["user", "item", "rating"], [1, 2, 3]):
        assert detect(tmp_path, files, columns=columns).layouts == detect(tmp_path, files).layouts


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (FIRST, lines(ROWS[1::2])),
        (FIRST, lines(ROWS[1::2], "{1},{2:g},{0}", "movie,score,uid")),
        (FIRST, lines(ROWS[1::2], "{0};{1};{2:g}", "user;item;rating")),
        (FIRST, lines(ROWS[1::2], "{0},{1},{2:g},{0}", "user,item,rating,user").replace(b"item", b"film")),
        (lines(ROWS[::2]), FIRST),
        (lines(ROWS[::2]), lines(ROWS[1::2], "{0},{2:g},{1}")),
        (lines(ROWS[::2]), lines(ROWS[1::2], "{2:g},{0},{1}")),
        (lines(ROWS[::2], "{0},{1},3"), lines(ROWS[1::2], "{0},3,{1}")),
        (lines(ROWS[::2]), lines(ROWS[1::2], "{0},{1},{3}")),
        (b"0,1,2\n" + PLAIN, lines(ROWS, "{1},{0},{2:g}", "item,user,rating")),
        (lines(ROWS[::2]), lines(ROWS[1::2], "{1},{0},{2:g}")),
        (json_lines(), NAMED),
        (PLAIN, netflix()),
    ],
)
def test_files_that_cannot_be_matched_are_refused(tmp_path, first, second):
    with pytest.raises(RatingsError, match=r"b\.csv"):
        read(tmp_path, {"a.csv": first, "b.csv": second})


def test_a_header_of_another_order_is_no_bad_row(tmp_path, digest):
    files = {"a.csv": lines(ROWS[::2]), "b.csv": lines(ROWS[1::2], "{1},{0},{2:g}", "item,user,rating")}
    with pytest.raises(RatingsError, match=r"b\.csv has a header, 'item,user,rating', and .* has none"):
        read(tmp_path, files, bad_rows="drop")
    files["b.csv"] = lines(ROWS[1::2], header="user,item,rating")
    assert read(tmp_path, files, bad_rows="drop").digest == digest


def test_decimal_commas_of_any_file_are_refused(tmp_path):
    second = of("{0};{1};{r}", "user;item;rating")
    with pytest.raises(RatingsError, match=r"b\.csv: ratings have a decimal comma"):
        detect(tmp_path, {"a.csv": NAMED.replace(b",", b";"), "b.csv": second})


# Parquet and the front door


def test_parquet_with_a_name_twice_floats_and_another_order(tmp_path, digest):
    users, items, ratings, times = zip(*ROWS, strict=True)
    twice = pa.Table.from_arrays(
        [pa.array(c) for c in (users, items, ratings, users)], ["user", "item", "rating", "user"]
    )
    pq.write_table(twice, tmp_path / "twice.parquet")
    for columns in (None, [1, 2, 3], ["user", "item", "rating"]):
        with pytest.raises(RatingsError, match=r"has the column user 2 times: write it with other names"):
            RatingsSource.detect([tmp_path / "twice.parquet"], columns=columns)
    pq.write_table(twice.rename_columns(["user", "item", "rating", "x"]), tmp_path / "once.parquet")
    floats = [float(user) for user in users]
    half = len(ROWS) // 2
    files = {
        "a.parquet": parquet(user=users[:half], item=items[:half], rating=ratings[:half], time=times[:half]),
        "b.parquet": parquet(rating=ratings[half:], time=times[half:], user=floats[half:], item=items[half:]),
    }
    assert read(tmp_path, files).digest == digest
    made = read(tmp_path, {"r.parquet": parquet(user=floats, item=[f"{i}.0" for i in items], rating=ratings)})
    assert made.digest == digest
    odd = parquet(user=[*floats[:-1], 1.5], item=items, rating=ratings)
    with pytest.raises(RatingsError, match="row 400: the user must be a whole number"):
        read(tmp_path, {"r.parquet": odd})


@pytest.mark.parametrize("paths", ["/", "r.csv", Path("r.csv"), b"r.csv", None, {"r.csv": 1}, [["r.csv"]], 3])
def test_what_is_no_list_of_paths_is_refused_before_any_file_is_touched(paths, monkeypatch):
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("a folder was listed"))
    with pytest.raises(WalslabError, match="paths must be a list"):
        RatingsSource.detect(paths)


# The cases of others

GOOD, ASK = "a5591ba5c62e35f5c74e5914612309e8", None
OF_OTHERS = {
    "02_delimiter_guess/T03b_semi.csv": (["--decimal", "comma"], "--decimal comma"),
    "02_delimiter_guess/T03b_pipe.csv": (["--decimal", "comma"], "--decimal comma"),
    "02_delimiter_guess/T03b_space.csv": (["--decimal", "comma"], "--decimal comma"),
    "03_first_three_columns_taken/T06h.csv": (["--columns", "2,3,4"], "--columns 2,3,4"),
    "03_first_three_columns_taken/T22a.csv": ([], "--wide"),
    "03_first_three_columns_taken/T22c.dat": ([], "--columns"),
    "03_first_three_columns_taken/T22d.tsv": ([], "--columns"),
    "03_first_three_columns_taken/T22g.txt": ([], "--columns"),
    "04_last_ignores_the_time/T08d.csv": ([], ""),
    "04_last_ignores_the_time/T08d_rev.csv": ([], ""),
    "09_header_of_digits/T06c.csv": ([], ""),
    "10_ids_as_floats/T06e.csv": ([], ""),
    "10_ids_as_floats/T07a.txt": ([], ""),
    "11_reviews_in_quotes/T15a.csv": ([], ""),
    "11_reviews_in_quotes/T15c.csv": ([], ""),
    "11_reviews_in_quotes/T15d.tsv": (["--quote", "none"], "--quote none"),
    "19_parquet_duplicate_names/P20.parquet": ([], "user 2 times"),
}


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
@pytest.mark.parametrize(
    ("name", "options", "refused"),
    # The tests above make up the same kinds.
    [
        pytest.param(k, *v, id=k, marks=[] if k.endswith(("semi.csv", "T15a.csv")) else pytest.mark.slow)
        for k, v in OF_OTHERS.items()
    ],
)
def test_the_cases_of_others(tmp_path, name, options, refused):
    out = ["--out", tmp_path / "ds"]
    if refused:
        done = walslab("ingest", CASES / name, *out, "--bad-rows", "drop")
        assert done.exit_code == 2
        assert refused in done.stderr
    if options or not refused:
        done = walslab("ingest", CASES / name, *out, *options)
        assert GOOD in done.stdout


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_floats_of_one_file_are_the_integers_of_another(tmp_path):
    paths = [CASES / "10_ids_as_floats" / name for name in ("T06g1.csv", "T06g2.csv")]
    assert GOOD in walslab("ingest", *paths, "--out", tmp_path / "ds").stdout
