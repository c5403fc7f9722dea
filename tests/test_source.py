"""How a file is to be read, found out from its first lines, and what is said where that fails."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest import RatingsSource


@pytest.fixture
def detect(tmp_path):
    def detect(data, name="r.csv", **given):
        path = tmp_path / name
        path.write_bytes(data)
        return RatingsSource.detect([path], **given)

    return detect


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n", ("\t", False, (0, 1, 2), 4)),
        (b"1::1193::5::978300760\n1::661::3::978302109\n", ("::", False, (0, 1, 2), 4)),
        (b"userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n", (",", True, (0, 1, 2), 4)),
        (b"\xef\xbb\xbfuserId,movieId,rating\r\n1,2,3.5\r\n", (",", True, (0, 1, 2), 3)),
        (b'"rating";"item_id";"User_ID"\n3;1;2\n', (";", True, (2, 1, 0), 3)),
        (b"a|b|3\nc|d|4\n", ("|", False, (0, 1, 2), 3)),
        (b"1 2 3\n4 5 1\n", (" ", False, (0, 1, 2), 3)),
        (b'uid,title,movie,stars\n1,"x, y",5,4\n', (",", True, (0, 2, 3), 4)),
    ],
    ids=["ml-100k", "ml-1m", "ml-20m", "bom-crlf", "quoted-names", "bar", "space", "quoted-delimiter"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_the_form_is_found(detect, data, form, packed):
    source = detect(gzip.compress(data), "r.dat.gz") if packed else detect(data)
    assert (source.delimiter, source.header, source.columns, source.fields) == form


def test_what_is_given_is_not_guessed(detect):
    named = detect(b"a,b,c\n3,1,2\n", columns=["c", "b", "a"])
    assert (named.header, named.columns) == (True, (2, 1, 0))
    assert detect(b"9,3,1,2\n", columns=["4", "3", "2"]).columns == (3, 2, 1)
    assert detect(b"a,b,c\nx,y,z\n", header=False).columns == (0, 1, 2)


ML_1M = b"1::1193::5::978300760\n1::661::3::978302109\n"


@pytest.mark.parametrize(
    ("data", "names", "positions"),
    [
        (b"1,1193,5\n1,661,3\n", "user,item,rating", (0, 1, 2)),
        (b"1193,1,5\n661,1,3\n", "item,user,rating", (1, 0, 2)),
        (b"5\talice\tx1\n3\tbob\tx2\n", "rating,userId,movieId", (1, 2, 0)),
        (b"1,Drama,1193,5\n1,War,661,3\n", "user,genre,item,rating", (0, 2, 3)),
        (ML_1M, "user,item,rating,timestamp", (0, 1, 2, 3)),
        (ML_1M, "User_ID,Product_ID,Score,Date", (0, 1, 2, 3)),
        (b"978300760,1,1193,5\n978302109,1,661,3\n", "time,user,item,rating", (1, 2, 3, 0)),
        # Fewer names than fields: those of the first.
        (ML_1M, "user,item,rating", (0, 1, 2)),
        (ML_1M, "item,user,rating", (1, 0, 2)),
        (b"1,1193,5,fine\n1,661,3,\n", "user,item,rating", (0, 1, 2)),
        (b"1,2,3.5,978300760,x,y\n", "user,item,rating,ts", (0, 1, 2, 3)),
    ],
)
@pytest.mark.parametrize("header", [None, False])
def test_names_of_fields_without_a_header(detect, data, names, positions, header):
    source = detect(data, columns=names.split(","), header=header)
    assert source.header is False
    assert (*source.columns, *([] if source.timestamp is None else [source.timestamp])) == positions
    assert source.fields == len(
        data.splitlines()[0].decode().replace("::", ",").replace("\t", ",").split(",")
    )


def test_names_of_fields_serve_the_split_as_well(detect):
    named = detect(
        b"1,2,3,test\n4,5,6,train\n", columns=["user", "item", "stars", "fold"], split_column="fold"
    )
    assert (named.columns, named.split_column) == ((0, 1, 2), 3)
    timed = detect(ML_1M, columns=["item", "user", "rating"], timestamp=True)
    assert (timed.columns, timed.timestamp) == ((1, 0, 2), 3)


@pytest.mark.parametrize(
    ("data", "names", "text"),
    [
        (
            b"1,2,3\n",
            "u,i,r",
            "no header to find u, i, r in, and none .* the user or the item or the rating: name",
        ),
        (b"1,2,3\n", "user,item,stern", "none of these names says which field is the rating"),
        (b"1,2,3\n", "user,item,rating,time", "names 4 fields, .* but the first line has 3: name all fields"),
        (b"1,2,3\n", "user,user,rating", "must name different columns"),
        (b"1,2,3\n", "user,item,3", "mixes names and positions, user,item,3: give either"),
        # The last three may be meant as well: pandas reads them like that.
        (
            b"7,1,2,3\n8,4,5,6\n",
            "user,item,rating",
            "3 of 4 fields, .* both the first and the last fields fit",
        ),
        (
            b"978300760,1,1193,5\n",
            "user,item,rating",
            "both the first and the last fields fit: name all fields",
        ),
        (
            b"x7,1,y1,3\nx8,4,y2,6\n",
            "user,item,rating",
            "first fields do not fit: the rating would be 'y1'; name",
        ),
        # What has a header is not named, but looked up.
        (
            b"userId,movieId,rating\n1,2,3\n",
            "userId,movieid,rating",
            "no column 'movieid' .did you mean 'movieId'",
        ),
        (b"userId,movieId,rating\n1,2,3\n", "user,item,rating", "no column 'user' .did you mean 'userId'"),
        (b"user,item,2015\n1,2,3\n", "user,items,2015", "no column 'items' .did you mean 'item'"),
    ],
)
def test_names_that_leave_open_which_field_is_which(detect, data, names, text):
    with pytest.raises(RatingsError, match=text):
        detect(data, columns=names.split(","))


def test_a_header_is_what_the_user_says(detect):
    assert (
        detect(b"user,item,rating\n1,2,3\n", columns=["user", "item", "rating"], header=False).header is False
    )
    with pytest.raises(RatingsError, match="has no column 'user': its header has 1, 2, 3"):
        detect(b"1,2,3\n4,5,6\n", columns=["user", "item", "rating"], header=True)


@pytest.mark.parametrize(
    ("paths", "given", "text"),
    [
        ("r.csv", {}, r"paths must be a list such as \[\"ratings.csv\"\], but got 'r.csv'"),
        (Path("r.csv"), {}, "paths must be a list"),
        (None, {}, "paths must be a list"),
        ([3], {}, "paths must be a list .* but holds 3"),
        (
            ["r.csv"],
            {"columns": "user,item,rating"},
            "columns must be a list such as .* but got 'user,item,rating'",
        ),
        (["r.csv"], {"columns": [0.5, 1, 2]}, "columns must be a list .* but holds 0.5"),
        (["r.csv"], {"delimiter": ""}, "--delimiter must be one ASCII character"),
        (["r.csv"], {"delimiter": "\n"}, "--delimiter must be one ASCII character"),
        (["r.csv"], {"delimiter": 3}, "--delimiter must be one ASCII character"),
        (["r.csv"], {"header": 0}, "header must be True, False or None"),
        (["r.csv"], {"split_column": 1.5}, "split_column must be a name or a position"),
        (["r.csv"], {"split_files": ["test.csv"]}, "split_files must be as"),
        (["r.csv"], {"split_files": {"test": "test.csv"}}, r"split_files\['test'\] must be a list"),
        (["r.csv"], {"split_files": {"train": ["r.csv"]}}, "must be valid=FILE or test=FILE, but got train="),
        (["r.csv"], {"ids": "int"}, "--ids must be one of auto, integer, text, but got 'int'"),
    ],
)
def test_natural_mistakes_in_python_are_refused_before_any_file_is_looked_for(paths, given, text):
    with pytest.raises(ConfigError, match=text):
        RatingsSource.detect(paths, **given)


@pytest.mark.parametrize(
    ("data", "delimiter"),
    [
        # Each of these has other characters that cut all lines alike.
        (b"1::2::3::a,b,c,d,e\n4::5::6::f,g,h,i,j\n", "::"),
        (b"1\t2\t3\ta|b|c|d|e\n4\t5\t6\tf|g|h|i|j\n", "\t"),
        (b"1;2;3,5;0,5;0,5\n4;5;6,5;0,5;0,5\n", ";"),
        (b"1,2,3,Thu Mar 5 12:00:00 2015\n4,5,6,Fri Mar 6 12:00:00 2015\n", ","),
    ],
)
def test_the_delimiter_is_found_among_others(detect, data, delimiter):
    decimal = "," if b"3,5" in data else "."
    assert detect(data, decimal=decimal).delimiter == delimiter


@pytest.mark.parametrize(
    "names", ["client,article,score", "customer_id,content_id,value", "uid,bookId,stars"]
)
def test_columns_are_recognised_by_one_list_of_names(detect, names):
    assert detect(names.encode() + b"\na,b,3\n").columns == (0, 1, 2)


def test_patterns_are_expanded_in_order(tmp_path):
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).write_text("1,2,3\n")
    found = RatingsSource.detect([tmp_path / "c.txt", f"{tmp_path}/*.csv"]).paths
    assert [path.rpartition("/")[2] for path in found] == ["c.txt", "a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("data", "given", "text"),
    [
        (b"", {}, "r.csv is empty"),
        (b"\n \n", {}, "r.csv is empty"),
        (b"1,2,3\n", {"delimiter": ";"}, "'1,2,3', has 1 field.* give another --delimiter"),
        (b"1-2-3\n", {}, "no delimiter cuts .* '1-2-3': give --delimiter"),
        (
            b"who,what,howmuch\n1,2,3\n",
            {},
            "who, what, howmuch is recognised as user, item, rating.*--columns",
        ),
        (b"userId,movieId,rating\n1,2,3\n", {"columns": ["userId", "movieid", "rating"]}, "mean 'movieId'"),
        (b"userId,movieId,rating\n1,2,3\n", {"columns": ["userId", "rating"]}, "user, item and rating"),
        (b"1,2,3\n", {"columns": ["1", "2", "4"]}, "from 1 to 3, but got 4"),
        (b"1,2,3\n", {"columns": ["1", "1", "3"]}, "must name different columns"),
        (b"1,2,3\n", {"columns": ["u", "i", "r"], "header": False}, "no header to find u"),
        ("1,2,3\n".encode("utf-32"), {}, "is UTF-32 text: convert it"),
        ("1,2,3\n".encode("utf-16-le"), {}, "zero byte in every second place: convert it"),
        (b"PK\x03\x04\xff\xfe", {}, "cannot be read as a zip file: .* download it again"),
    ],
)
def test_mistakes_say_the_way_out(detect, data, given, text):
    with pytest.raises(RatingsError, match=text):
        detect(data, **given)


def test_files_that_are_not_there(tmp_path):
    (tmp_path / "ratings.csv").write_text("1,2,3\n")
    with pytest.raises(RatingsError, match=r"no ratings file .*rating\.csv \(did you mean 'ratings\.csv'"):
        RatingsSource.detect([tmp_path / "rating.csv"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RatingsError, match="empty holds no file"):
        RatingsSource.detect([tmp_path / "empty"])
    with pytest.raises(RatingsError, match="no ratings file was given"):
        RatingsSource.detect([])


def test_columns_in_another_order_are_matched_by_name(tmp_path):
    (tmp_path / "a.csv").write_text("userId,movieId,rating\n1,2,3\n")
    (tmp_path / "b.csv").write_text("movieId,note,userId,rating\n1,x,2,3\n")
    source = RatingsSource.detect([f"{tmp_path}/*.csv"])
    assert [(one.columns, one.fields) for one in source.layouts] == [((0, 1, 2), 3), ((2, 0, 3), 4)]
    (tmp_path / "c.csv").write_text("movie,user,rating\n1,2,3\n")
    with pytest.raises(RatingsError, match=r"c\.csv, line 1 must be the header of .*a\.csv"):
        RatingsSource.detect([f"{tmp_path}/*.csv"])


def test_gzip_files_that_are_broken(detect):
    whole = gzip.compress(b"1,2,3\n")
    noise = np.random.default_rng(0).integers(48, 58, 400_000, dtype=np.uint8).tobytes()
    broken = bytearray(gzip.compress(noise))
    broken[3000:3010] = b"\xff" * 10
    with pytest.raises(zlib.error):
        gzip.decompress(bytes(broken))
    for data in (whole[:-4], bytes(broken)):
        with pytest.raises(RatingsError, match=r"r\.csv\.gz cannot be read"):
            detect(data, "r.csv.gz")
