"""The table from ids to row numbers: what it takes, what it refuses, and what it says then."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_peaks import peak_of

from toolkit.datasets import LONGEST_ID, IdTable
from toolkit.errors import ConfigError, UnknownIdError


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30, unique=True), st.data())
def test_integer_ids_find_their_rows_as_numbers_and_as_text(ids, data):
    table = IdTable(ids, "user")
    rows = data.draw(st.lists(st.integers(0, len(ids) - 1), min_size=1))
    wanted = [ids[row] for row in rows]
    assert table.rows(wanted).tolist() == rows
    assert table.rows([str(i) for i in wanted]).tolist() == rows
    assert table.ids[table.rows(wanted)].tolist() == wanted


@given(st.lists(st.text(), min_size=1, max_size=30, unique=True))
def test_text_ids_find_their_rows(ids):
    table = IdTable(ids, "item")
    assert table.rows(ids).tolist() == list(range(len(ids)))
    assert table.rows(ids[-1]).tolist() == [len(ids) - 1]


@pytest.mark.parametrize(
    "one", [20, "20", np.int32(20), np.uint64(20), np.array(20), np.array("20", dtype=object)], ids=repr
)
def test_one_id_may_come_in_any_whole_number_form(one):
    assert IdTable([30, 10, 20], "user").rows(one).tolist() == [2]


def test_numbers_find_the_text_ids_they_are_written_as():
    assert IdTable(["10", "a"], "user").rows(10).tolist() == [0]


@pytest.mark.parametrize("table", [IdTable([1, 2], "user"), IdTable(["a"], "user")])
def test_no_ids_have_no_rows(table):
    found = table.rows([])
    assert found.tolist() == []
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    "column",
    [
        np.array(["b", "a"], dtype=object),
        np.array(["b", "a"], dtype=np.dtypes.StringDType()),
        pd.Series(["b", "a"]),
        pd.Series(["b", "a"], dtype="category"),
    ],
    ids=lambda column: str(column.dtype),
)
def test_text_columns_of_any_type_are_texts_of_python(column):
    table = IdTable(column, "item")
    assert table.ids.tolist() == ["b", "a"]
    assert table.id(1) == "a"
    assert table.rows(["a", "b"]).tolist() == [1, 0]


@pytest.mark.parametrize("column", [np.array([5, 3], np.uint32), np.array([5, 3], object), pd.Series([5, 3])])
def test_whole_number_columns_of_any_type_are_kept_as_int64(column):
    table = IdTable(column, "item")
    assert table.ids.dtype == np.int64
    assert table.rows(3).tolist() == [1]


@pytest.mark.parametrize("ids", [[1.0, 2.5], [1, None], [True, False], [[1, 2], [3, 4]], 7, ["a", 1.5, None]])
def test_ids_that_are_neither_whole_numbers_nor_text_are_refused(ids):
    column = np.array(ids, dtype=object) if isinstance(ids, list) and None in ids else ids
    with pytest.raises(ConfigError, match="item ids must be a list of whole numbers or of text"):
        IdTable(column, "item")


@pytest.mark.parametrize("ids", [[3, 1, 3], ["3", "1", "3"]])
def test_id_that_occurs_twice_is_refused_by_name(ids):
    with pytest.raises(ConfigError, match="each user id must occur once, but 3 occurs"):
        IdTable(ids, "user")


def test_unknown_ids_are_named_with_what_the_model_knows():
    with pytest.raises(UnknownIdError) as raised:
        IdTable(np.arange(1000, 3000), "user").rows([1001, 7, 5, 7])
    assert str(raised.value) == (
        "the model has never seen user 5, 7: it knows 2,000 users, such as 1000, 1001, 1002"
    )
    assert isinstance(raised.value, KeyError)


def test_a_long_list_of_unknown_ids_is_cut():
    with pytest.raises(UnknownIdError, match=r"item b0, b1, b2, b3, b4, …: it knows 1 items, such as a"):
        IdTable(["a"], "item").rows([f"b{n}" for n in range(9)])


@pytest.mark.parametrize("wanted", ["abc", "1.5", "", "9" * 30, 10**30, None, np.array([1.5], dtype=object)])
def test_what_is_no_whole_number_is_unknown_to_integer_ids(wanted):
    with pytest.raises(UnknownIdError, match="user ids of this model are whole numbers, but got"):
        IdTable([1, 2], "user").rows(wanted)


@pytest.mark.parametrize("wanted", [1.0, [1.5], True, b"1"])
def test_other_types_are_refused_by_integer_ids(wanted):
    with pytest.raises(ConfigError, match="user ids of this model are whole numbers, but got"):
        IdTable([1, 2], "user").rows(wanted)


def test_number_beyond_int64_does_not_wrap_around():
    with pytest.raises(UnknownIdError):
        IdTable([-1, 0], "user").rows(np.array([2**64 - 1], np.uint64))
    with pytest.raises(ConfigError):
        IdTable(np.array([2**64 - 1], np.uint64), "user")


@pytest.mark.parametrize("ids", [[1, 22, 333], ["a", "bb", "ccc"]])
def test_a_very_long_id_is_unknown_and_widens_nothing(ids):
    table = IdTable(ids, "user")
    long = "1" * 100_000
    assert table.find([ids[1], long, *[ids[2]] * 1000]).tolist() == [1, -1, *[2] * 1000]
    with pytest.raises(UnknownIdError) as caught:
        table.rows([long])
    assert len(str(caught.value)) < 300


def test_what_cannot_be_an_id_is_not_there():
    texts = IdTable(["user 1", "None", "ü"], "user")
    assert texts.find(["user 1", None, "user 1\0", "", 5, "ü"]).tolist() == [0, -1, -1, -1, -1, 2]
    numbers = IdTable([4, 7], "user")
    wanted = [7, "7", "4.0", " 4", "+4", "1_0", "٤", 2**63, -(2**63), 10**5000, "9" * 5000, None, True]
    assert numbers.find(wanted).tolist() == [1, 1, *[-1] * 11]
    assert numbers.find(np.array([7, 2**64 - 1], np.uint64)).tolist() == [1, -1]
    with pytest.raises(ConfigError, match="whole numbers, but got"):
        numbers.find([1.5])


def test_an_id_longer_than_the_longest_is_refused_by_its_row():
    IdTable(["a", "b" * LONGEST_ID], "item")
    with pytest.raises(ConfigError, match=r"at most 8,192 bytes, but id 1, which begins with 'üü.*has 8,194"):
        IdTable(["a", "ü" * (LONGEST_ID // 2 + 1)], "item")


def test_texts_with_the_same_hash_are_told_apart():
    class Same(str):
        __slots__ = ()

        def __hash__(self):
            return 7

    table = IdTable(["a", "b", "c"], "item")
    table._keys, table._order = np.full(3, 7), np.array([2, 0, 1])
    assert table.find([Same("b"), Same("z"), Same("c"), Same("a")]).tolist() == [1, -1, 2, 0]


def test_a_table_travels_to_another_process():
    table = IdTable(["ü", "a", ""], "user")
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).rows(['a', 'ü', '']).tolist())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(table),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )
    assert done.stdout.split() == [b"[1,", b"0,", b"2]"]


def test_ids_are_found_and_kept_at_the_cost_of_their_bytes():
    ids = [f"{n}" for n in range(5000)]
    ids[77] = "x" * LONGEST_ID

    def find():
        assert IdTable(ids, "item").rows(ids).tolist() == list(range(len(ids)))

    # At one width for all they would be 164 MB.
    assert peak_of(find) < 20e6
