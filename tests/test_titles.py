"""Titles out of every kind of file that holds them, and what a file that holds none is answered with."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.datasets import IdTable, read_titles
from toolkit.errors import ConfigError

NUMBERS = IdTable(np.array([1, 5, 20]), "item")
WORDS = IdTable(np.array(["a-1", "b 2", "ç"]), "item")
FLAGS = "|".join("0" * 19)


def read(tmp_path, data, items=NUMBERS, name="titles"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_titles(path, items).tolist()


@pytest.mark.parametrize(
    "data",
    [
        # MovieLens 100K
        f"1|Alpha (1995)|01-Jan-1995||http://a/?Alpha, The|{FLAGS}\n5|Misérables, Les|||x|{FLAGS}\n".encode(
            "latin-1"
        ),
        # 1M and 10M
        "1::Alpha (1995)::Drama|War\n5::Misérables, Les::Drama\n".encode("latin-1"),
        "1::Alpha (1995)::Drama|War\r\n5::Misérables, Les::Drama\r\n",
        # 20M and later
        'movieId,title,genres\n1,Alpha (1995),Drama|War\n5,"Misérables, Les",Drama\n',
        '\ufeffmovieId,title,genres\r\n1,Alpha (1995),Drama|War\r\n5,"Misérables, Les",Drama\r\n\r\n',
        # RecBole
        "item_id:token\tmovie_title:token_seq\tyear:token\n1\tAlpha (1995)\t1995\n5\tMisérables, Les\t1998\n",
        # Tables of one's own
        "title;genre;id\nAlpha (1995);x;1\nMisérables, Les;y;5\n",
        "Code,Headline,note\n1,Alpha (1995),\n5,'\"'\n".replace("5,'\"'", '5,"Misérables, Les",'),
        'sku\tshown\n1\t"Alpha (1995)"\n5\tMisérables, Les\n',
        "1\tAlpha (1995)\n5\tMisérables, Les",
        "name\tproduct_id\n Alpha (1995) \t 1 \nMisérables, Les\t5\n\n",
        # A tab, although other characters find as many fields or more.
        "1\tAlpha (1995)\tDrama|War|a;b\n5\tMisérables, Les\tDrama|Crime|c;d\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_titles_of_every_form(tmp_path, data, packed):
    data = data if isinstance(data, bytes) else data.encode()
    found = read(tmp_path, gzip.compress(data) if packed else data)
    assert found == ["Alpha (1995)", "Misérables, Les", ""]


def test_result_is_an_array_of_text_whatever_there_is(tmp_path):
    (tmp_path / "t.csv").write_text("1,\n5,\n", encoding="utf-8")
    found = read_titles(tmp_path / "t.csv", NUMBERS)
    assert (found.shape, found.dtype.kind, found.tolist()) == ((3,), "O", ["", "", ""])


@pytest.mark.parametrize(
    "columns",
    [
        {"movieId": [20, 1, 7], "title": ["Z", "A", "G"]},
        {"x": ["Z", "A", "G"], "item_id": [20.0, 1.0, float("nan")]},
        {"movieId": ["20", "1", None], "x": pa.array([b"Z", b"A", None])},
        {"name": pa.array(["Z", "A", None]).dictionary_encode(), "sku": pa.array([20, 1, 9], pa.int16())},
    ],
)
def test_parquet(tmp_path, columns):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert read_titles(tmp_path / "t.parquet", NUMBERS).tolist() == ["A", "", "Z"]


def test_ids_that_are_text(tmp_path):
    assert read(tmp_path, "contentId,title\nb 2, two \nç,cé\na-01,no\n", WORDS) == ["", "two", "cé"]
    # A number of one's own writing is another id, as in the ratings.
    assert read(tmp_path, "1,a\n05,b\n+20,c\n") == ["a", "", ""]


def test_an_item_that_is_called_as_columns_are_is_no_header(tmp_path):
    assert read(tmp_path, "1::Title::x\n5::Id::x\n") == ["Title", "Id", ""]
    assert read(tmp_path, "id,name\nx,y\n", IdTable(["id", "x"], "item")) == ["name", "y"]


def test_the_first_title_that_is_not_empty_counts(tmp_path):
    assert read(tmp_path, "1,\n1,first\n1,second\n5,x\n5,\n") == ["first", "x", ""]


def test_quotes(tmp_path):
    assert read(tmp_path, '1,"A ""B"" C"\n5,"two\nlines, and more"\n') == [
        'A "B" C',
        "two lines, and more",
        "",
    ]
    assert read(tmp_path, '1\t"A ""B"" C"\n5\t"Great" and "Small"\n20\tit\'s 5"\n') == [
        'A "B" C',
        '"Great" and "Small"',
        "it's 5\"",
    ]


def test_nothing_that_a_terminal_obeys_comes_through(tmp_path):
    data = "1\t\x1b[31mred\x07\x9b2J\n5\tab\u202ecd\u2028e\x85f\u00a0g\n20\tक्\u200dष\n"
    assert read(tmp_path, data) == [
        "\ufffd[31mred\ufffd\ufffd2J",
        "ab\ufffdcd e f g",
        "क्\u200dष",
    ]


def test_endless_titles_are_cut(tmp_path):
    (title, *_) = read(tmp_path, f"1,{'x' * 100_000}\n")
    assert title == "x" * 499 + "…"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is empty: give u.item, movies.dat or movies.csv"),
        (b"\n \n", "is empty"),
        (b"1 Alpha\n5 Beta\n", "line 1 must hold an id and a title, with .* but is '1 Alpha'"),
        ("1\tA\n".encode("utf-16"), "holds a zero byte, so it is not text: save it as UTF-8"),
        (
            b"1::A::x\n\n5::B\n",
            r"line 3 has 2 field\(s\) where the first has 3 .*'::'.*'5::B'; mend the line$",
        ),
        (b"1,A\n5,B, The\n20,C\n", r"line 2 has 3 field\(s\) .*with quotes around a title that holds ','"),
        (b'1,A\n5,"B\n20,C\n', "line 2: unexpected end of data; close the quotes"),
        (b'1,A\n5,"B" C\n20,C\n', "line 2: ',' expected after '\"'"),
        (b"\x1f\x8bno gzip", "the titles file .* cannot be read: .*; give u.item"),
        (gzip.compress(b"1,A\n" * 99, mtime=0)[:-9], "cannot be read"),
        (b"PAR1 no Parquet", "cannot be read as Parquet"),
        (b"item_id,title\n", "none of its 0 ids is an item of the model: it has none"),
        (
            b"9,A\n8,B\n\x1b7,C\n6,D\n",
            r"none of its 4 ids .*: it has '9', '8', '\\x1b7', the model has '1', '5', '20'; choose",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_the_line_and_the_way_out(tmp_path, data, text):
    with pytest.raises(ConfigError, match=text) as caught:
        read(tmp_path, data)
    assert str(tmp_path / "titles") in str(caught.value)
    assert str(caught.value).isprintable()


def test_file_that_is_not_there_and_table_of_one_column(tmp_path):
    with pytest.raises(ConfigError, match=r"the titles file .*none cannot be read: .*No such file"):
        read_titles(tmp_path / "none", NUMBERS)
    pq.write_table(pa.table({"movieId": [1]}), tmp_path / "t.parquet")
    with pytest.raises(
        ConfigError, match=r"must have a column of ids and one of titles, but has \['movieId'\]"
    ):
        read_titles(tmp_path / "t.parquet", NUMBERS)
    with pytest.raises(ConfigError, match=r"cannot be read: .*Is a directory"):
        read_titles(tmp_path, NUMBERS)


def test_titles_at_an_address(tmp_path):
    import fsspec

    with fsspec.open("memory://titles/movies.csv", "wb") as file:
        file.write(b"movieId,title\n5,E\n")
    assert read_titles("memory://titles/movies.csv", NUMBERS).tolist() == ["", "E", ""]
    with pytest.raises(ConfigError, match="cannot be read"):
        read_titles("memory://titles/none.csv", NUMBERS)
