"""How a file is to be read, found out from its first lines, and what is said where that fails."""

from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest

from toolkit.errors import RatingsError
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
        (b"1,2,3\n", {"columns": ["u", "i", "r"], "header": False}, "no header to find u, i, r in"),
        (b"1,2,3\n4,5,6\n", {"header": True, "columns": ["1", "2", "3"]}, "holds a number: give --no-header"),
        ("1,2,3\n".encode("utf-16"), {}, "not UTF-8 text"),
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


def test_the_header_must_be_the_same_in_all_files(tmp_path):
    (tmp_path / "a.csv").write_text("userId,movieId,rating\n1,2,3\n")
    (tmp_path / "b.csv").write_text("movieId,userId,rating\n1,2,3\n")
    with pytest.raises(RatingsError, match=r"b\.csv, line 1 must be the header of .*a\.csv"):
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
