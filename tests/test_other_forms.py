"""Forms other than a rating a line: JSON lines, Netflix's blocks, MatrixMarket, UTF-16, wide tables."""

from __future__ import annotations

import io
import tarfile

import pytest
from kinds import (
    ITEMS,
    NAMED,
    PLAIN,
    ROWS,
    TWICE,
    USERS,
    detect,
    json_lines,
    matrix,
    netflix,
    packed,
    read,
    wide,
)

from toolkit.errors import RatingsError


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    """The digest of the made-up ratings."""
    return read(tmp_path_factory.mktemp("plain"), PLAIN).digest


ONE_FORM = {
    "JSON lines": json_lines(),
    "JSON of Amazon": json_lines(user="reviewerID", item="asin", rating="overall", vote="3"),
    "JSON of Yelp": json_lines(item="business_id", rating="stars", useful=1),
    "JSON, Windows": b"\xef\xbb\xbf" + json_lines().replace(b"\n", b"\r\n"),
    "JSON, gzip": packed(json_lines()),
    "JSON, two orders": {"a.jsonl": json_lines(ROWS[::2]), "b.jsonl": json_lines(ROWS[1::2], more=[1])},
    "JSON, twice": json_lines(TWICE),
    "Netflix": netflix(),
    "Netflix, an empty block": b"9:\n" + netflix(),
    "Netflix, Windows": netflix().replace(b"\n", b"\r\n"),
    "Netflix, gzip": packed(netflix()),
    "Netflix, a file a film": {
        **{f"mv_{item}.txt": netflix([row for row in ROWS if row[1] == item]) for item in (101, 102)},
        "others.txt": netflix([row for row in ROWS if row[1] > 102]),
    },
    "MatrixMarket": matrix(),
    "MatrixMarket, gzip": packed(matrix()),
    "MatrixMarket, capitals": matrix().replace(b"matrix coordinate real", b"Matrix Coordinate Real"),
    "UTF-16": NAMED.decode().encode("utf-16"),
    "UTF-16, big": b"\xfe\xff" + NAMED.decode().encode("utf-16-be"),
    "UTF-16, gzip": packed(NAMED.decode().encode("utf-16")),
    "UTF-16 JSON": json_lines().decode().encode("utf-16"),
    "sep": b"sep=;\n" + NAMED.replace(b",", b";"),
    "sep, quoted": b'"sep=;"\r\n' + NAMED.replace(b",", b";"),
    "sep, tab": b"\xef\xbb\xbfSEP=\t\r\n" + NAMED.replace(b",", b"\t"),
    "sep, UTF-16": ("sep=;\r\n" + NAMED.decode().replace(",", ";")).encode("utf-16"),
    "sep, no header": b"sep=,\n" + PLAIN,
}


# What is packed, has line ends of Windows or another order of bytes is unpacked and read alike in every form.
ALIKE = {"JSON, Windows", "Netflix, gzip", "MatrixMarket, gzip", "UTF-16, gzip", "UTF-16, big", "sep, quoted"}


def quick_but(slow, cases):
    return [
        pytest.param(*case, id=name, marks=pytest.mark.slow if name in slow else [])
        for name, case in cases.items()
    ]


@pytest.mark.parametrize("files", quick_but(ALIKE, {name: (files,) for name, files in ONE_FORM.items()}))
@pytest.mark.parametrize("block_bytes", [7000])
def test_other_forms_are_read_as_they_are(tmp_path, digest, files, block_bytes):
    assert read(tmp_path, files, block_bytes=block_bytes).digest == digest


WIDE = {
    "a header": (wide(), {}),
    "tabs": (wide(delimiter="\t"), {}),
    "no name": (wide(name=""), {}),
    "NA": (wide(empty="NA"), {}),
    "99": (wide(empty="99"), {"no_rating": "99"}),
    "99.00": (wide(empty="99.00"), {"no_rating": 99}),
    "0": (wide(empty="0"), {"no_rating": 0}),
    "commas": (wide(delimiter=";").replace(b".", b","), {"decimal": ","}),
    "gzip": (packed(wide()), {}),
    "sep": (b"sep=;\n" + wide(delimiter=";"), {}),
    "items written as floats": (wide().replace(b"101,102,", b"101.0,102.0,"), {}),
    "another column": (
        wide().replace(b"user,", b"user,n,").replace(b"\n", b"\n7,"),
        {"columns": ["2", "3-32"]},
    ),
    "two files": ({"a.csv": wide(ROWS[:200]), "b.csv": wide(ROWS[200:])}, {}),
}
WIDE["another column"] = (b"n,user" + wide()[4:].replace(b"\n", b"\n7,")[:-2], {"columns": ["2", "3-32"]})


@pytest.mark.parametrize(("files", "asked"), quick_but({"tabs", "99", "gzip"}, WIDE))
@pytest.mark.parametrize("block_bytes", [1500])
def test_wide_tables_are_read(tmp_path, digest, files, asked, block_bytes):
    assert read(tmp_path, files, wide=True, block_bytes=block_bytes, **asked).digest == digest


def test_wide_tables_without_a_header_number_their_items(tmp_path):
    made = read(tmp_path, wide(header=False), wide=True)
    assert (made.counts["users"], made.counts["items"]) == (USERS, ITEMS)
    assert made.item_ids.tolist() == list(range(1, ITEMS + 1))


DOUBTFUL_CELLS = {
    "99": (wide(empty="99"), "say --no-rating 99"),
    "-1": (wide(empty="-1"), "say --no-rating -1"),
    "0, no header": (wide(header=False, empty="0"), "say --no-rating 0"),
    "a sum": (
        b"\n".join(b"%s,%d" % (line, 500 + n) for n, line in enumerate(wide().split())),
        "column '500'",
    ),
    "decimal commas": (wide(delimiter=";").replace(b".", b","), "--decimal comma"),
}


@pytest.mark.parametrize(("data", "text"), DOUBTFUL_CELLS.values(), ids=DOUBTFUL_CELLS)
def test_cells_that_may_be_no_ratings_are_asked_for(tmp_path, data, text):
    with pytest.raises(RatingsError, match=text):
        detect(tmp_path, data, wide=True)
    if "column" in text:
        columns = ["1", "2-31"]
        assert read(tmp_path, data, wide=True, columns=columns).counts["ratings"] == len(ROWS)
    if "--no-rating" in text:
        full = read(tmp_path, data, wide=True, no_rating="")
        assert full.counts["ratings"] == USERS * ITEMS


BAD_WIDE = {
    "a word": (wide() + b"77" + b",3" * 29 + b",x\n", r"line 42: the rating of item 130 must be .* 'x'"),
    "infinite": (wide() + b"77" + b",3" * 29 + b",inf\n", r"line 42: the rating of item 130"),
    "short": (wide() + b"77,3\n", r"line 42 has 2 field\(s\) where line 1 has 31"),
    "no user": (wide() + b",3" * 30 + b"\n", "line 42: the user is missing"),
}


@pytest.mark.parametrize(("data", "text"), BAD_WIDE.values(), ids=BAD_WIDE)
def test_bad_lines_of_wide_tables(tmp_path, digest, data, text):
    with pytest.raises(RatingsError, match=text):
        read(tmp_path, data, wide=True, block_bytes=400)
    made = read(tmp_path, data, wide=True, bad_rows="drop")
    assert (made.digest, made.counts["rejected"]) == (digest, 1)


def tar(data, mode):
    packed_ = io.BytesIO()
    with tarfile.open(fileobj=packed_, mode=mode) as archive:
        member = tarfile.TarInfo("ratings.csv")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return packed_.getvalue()


REFUSED = {
    "tar": (tar(NAMED, "w"), "is a tar archive: unpack it"),
    "tar.gz": (tar(NAMED, "w:gz"), "is a tar archive: unpack it"),
    "a JSON document": (
        b'[{"user": 1, "item": 2, "rating": 3}]',
        "is one JSON document: write one object a line",
    ),
    "a JSON table": (b'{\n "user": {"0": 1}\n}\n', "is one JSON document"),
    "JSON objects over lines": (b'{\n "user": 1\n}\n{\n "user": 2\n}\n', "jq -c "),
    "JSON arrays": (b"[1, 2, 3.0]\n[1, 3, 4.0]\n", "has JSON arrays for lines"),
    "an entry outside": (matrix().replace(b"\n1 ", b"\n41 ", 1), r"lies outside of its 40 rows"),
    "half a character": (
        json_lines() + b'{"user_id":"\\ud800","item_id":3,"rating":3}\n',
        "line 401 is not UTF-8",
    ),
    "dictionaries of Python": (
        b"{'reviewerID': 'A', 'asin': 'B', 'overall': 3.0}\n" * 5,
        "no JSON objects: write",
    ),
    "UTF-32": (NAMED.decode().encode("utf-32"), "is UTF-32 text: convert it"),
    "UTF-16 without a mark": (NAMED.decode().encode("utf-16-le"), "convert it, as in iconv -f UTF-16LE"),
    "SQLite": (b"SQLite format 3\0\1", "is an SQLite database, not text"),
    "NumPy": (b"\x93NUMPY\1\0v\0", "is an array of NumPy, not text"),
    "a pattern": (matrix(field="pattern"), "pattern entries, which are no ratings"),
    "symmetric": (matrix(symmetry="symmetric"), "write it as general"),
    "dense": (matrix(layout="array"), "dense MatrixMarket table"),
    "cut short": (matrix()[:-40], r"promises 400 entries, but it holds \d+"),
    "Netflix without ratings": (b"1:\n1046323,2005-12-19\n1080030,2005-12-23\n", "line 2: the rating"),
}


@pytest.mark.parametrize(("data", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_named_with_the_way_out(tmp_path, data, text):
    with pytest.raises(RatingsError, match=text):
        read(tmp_path, data)


def test_bad_json_lines_are_bad_rows(tmp_path, digest):
    bad = b'{"user_id": 3, "item_id"\n[1,2]\n{"user_id":null,"item_id":3,"rating":3}\n'
    bad += b'{"user_id":[1],"item_id":3,"rating":3}\n'
    with pytest.raises(RatingsError, match="line 401 must be a JSON object"):
        read(tmp_path, json_lines() + bad)
    made = read(tmp_path, json_lines() + bad, bad_rows="drop")
    assert (made.digest, made.counts["rejected"]) == (digest, 4)
    assert made.manifest["rejections"]["reasons"] == {"not JSON": 2, "user missing": 2}


def test_keys_of_json_are_chosen_by_name(tmp_path, digest):
    data = json_lines(user="who", item="what", rating="n")
    with pytest.raises(RatingsError, match=r"who, what, n, .*--columns"):
        detect(tmp_path, data)
    assert read(tmp_path, data, columns=["who", "what", "n"]).digest == digest


def test_of_json_lines_only_what_is_read_is_kept(tmp_path):
    source = detect(tmp_path, json_lines())
    with source.files[0].open() as stream:
        first, *others = stream.read().splitlines()
    assert first == b"%d,%d,%.1f,%d" % ROWS[0]
    assert len(others) == len(ROWS) - 1
    assert source.files[0].keys == ("user_id", "item_id", "rating", "timestamp")


@pytest.mark.parametrize(
    ("line", "way_out"),
    [
        ("{n},{row}", r"name the first column, too; R's .* row\.names = FALSE"),
        ("{row},", "at the end of the lines"),
    ],
)
def test_header_with_a_name_less_than_lines_have_fields_is_refused(tmp_path, line, way_out):
    rows = [line.format(n=n, row=f"{n % 7},{n % 5},{n % 3}") for n in range(1, 30)]
    with pytest.raises(RatingsError, match=f"line 1 names 3 columns, .* have 4 fields: .*{way_out}"):
        detect(tmp_path, "\n".join(["user,item,rating", *rows]).encode())
    # One such line is a bad row.
    assert detect(tmp_path, "\n".join(["user,item,rating", "1,2,3", *rows]).encode()).fields == 3
