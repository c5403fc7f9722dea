"""For whom recommendations are made: the users that a file names, each once, in its order."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.datasets import IdTable
from toolkit.errors import ConfigError, UnknownIdError
from toolkit.recommending import read_users

# The users of a file


TABLE = IdTable([10, 20, 30, 40], "user")
TEXTS = IdTable(["ann", "bob", "7"], "user")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("u.txt", "30\n10\n\n 20 \n"),
        ("u", "\ufeff30\r\n10\r\n20"),
        ("u.csv", "user\n30\n10\n20\n"),
        ("U.CSV", "score, user \n1,30\n2,10\n3,20\n"),
        ("u.csv", 'id,name\n"30","a, b"\n10,\n\n20,c\n'),
        ("u.csv", "\ufeffscore;clientId\r\n1;30\r\n2;10\r\n3;20\r\n"),
        ("u.csv", "customer\tcity\n30\tx, y\n10\tz\n20\t\n"),
    ],
)
def test_users_come_in_the_order_of_the_file(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read_users(tmp_path / name, TABLE).rows.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("columns", "table"),
    [
        ({"user": [30, 10, 20]}, TABLE),
        ({"id": pa.array([30, 10, 20], pa.int32())}, TABLE),
        ({"score": [1.0, 2.0, 3.0], "user": ["30", "10", "20"]}, TABLE),
        ({"score": [1.0, 2.0, 3.0], "userId": ["30", "10", "20"]}, TABLE),
        ({"user": pa.array(["7", "ann", "bob"]).dictionary_encode()}, TEXTS),
    ],
)
def test_users_of_parquet(tmp_path, columns, table):
    pq.write_table(pa.table(columns), tmp_path / "u.parquet")
    assert read_users(tmp_path / "u.parquet", table).rows.tolist() == [2, 0, 1]


def test_users_named_again_count_once_at_their_first_place(tmp_path, monkeypatch):
    (tmp_path / "u.txt").write_text("40\n10\n40\n10\n30\n40\n")
    for piece in (1, 2, 100):
        monkeypatch.setattr("toolkit.recommending.users._AT_ONCE", piece)
        asked = read_users(tmp_path / "u.txt", TABLE)
        assert (asked.rows.tolist(), asked.unknown, asked.repeated) == ([3, 0, 2], 0, 3)


def test_unknown_users_are_counted_and_the_first_few_named(tmp_path):
    path = tmp_path / "u.txt"
    path.write_text("10\n99\nx\n" + "\n".join(map(str, range(100, 110))))
    with pytest.raises(UnknownIdError) as raised:
        read_users(path, TABLE)
    assert str(raised.value) == (
        f"{path} names 12 of 13 users whom the model has never seen: 99 (line 2), x (line 3), 100 (line 4), "
        "101 (line 5), 102 (line 6), …; it knows 4, such as 10, 20, 30 (or have such users left out, "
        "counted, with --unknown drop)"
    )
    asked = read_users(path, TABLE, unknown="drop")
    assert (asked.rows.tolist(), asked.unknown, asked.repeated) == ([0], 12, 0)


def of_parquet(**columns):
    return lambda path: pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("u.txt", "\n \n", "names no user: it holds no id; give one id a line, or take --all-users"),
        ("u.csv", "", "names no user"),
        (
            "u.csv",
            "10\n20\n",
            "line 1 must name the columns, but '10' is a user: put a header such as 'user'",
        ),
        ("u.csv", "score,account\n1,10\n", "line 1 must name a column 'user', but names score, account"),
        ("u.csv", "id,user\n1,10\n2, \n", "line 3: the user is missing"),
        ("u.csv", "id,user\n1,10\n2\n", "line 3: the user is missing"),
        ("u.txt", b"\xff\xfe1\x00", "is not UTF-8 text"),
        ("u.parquet", b"user\n1\n", "cannot be read as Parquet"),
        ("u.parquet", of_parquet(a=[1], b=[2]), "must have a column 'user', but has a, b"),
        ("u.parquet", of_parquet(user=[1.0]), "column 'user' must hold integers or text, but holds double"),
        ("u.parquet", of_parquet(user=[10, None]), "row 2: the user is missing"),
    ],
)
def test_what_names_no_users_is_refused(tmp_path, name, content, text):
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as raised:
        read_users(path, TABLE)
    assert str(raised.value).startswith(str(path))
    assert text in str(raised.value)


def test_a_file_that_is_not_there_and_one_without_any_known_user(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.txt cannot be read: No such file"):
        read_users(tmp_path / "gone.txt", TABLE)
    (tmp_path / "u.txt").write_text("1\n2\n")
    with pytest.raises(ConfigError, match="none of its 2 ids is a user of the model"):
        read_users(tmp_path / "u.txt", TABLE, unknown="drop")
