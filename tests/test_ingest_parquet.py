"""Parquet files of ratings: the same dataset as from text, and rows named as lines are."""

from __future__ import annotations

import datetime as dt
import decimal
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.errors import RatingsError
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.ingest.reading.blocks import units
from toolkit.ingest.reading.groups import read_group
from toolkit.ingest.reading.typed_files import rows_before

USERS = [3, 1, 3, 2, -7, 1, 2, 11, 3, 11]
ITEMS = [5, 5, 6, 6, 7, 8, 5, 9, 9, 5]
RATINGS = [3.0, 1.5, 4.0, 5.0, 0.0, 2.5, -1.0, 4.5, 3.0, 0.1]


def table(**columns):
    """Return a table of the ten ratings, with columns replaced or added."""
    return pa.table({"user": USERS, "item": ITEMS, "rating": RATINGS} | columns)


def ingest(root, *tables, rows=None, out="out", detect=None, rule=None, **options):
    """Write tables to Parquet files, in row groups of some rows, and ingest them."""
    paths = []
    for number, content in enumerate(tables):
        paths.append(root / f"{number}.parquet")
        pq.write_table(content, paths[-1], row_group_size=rows)
    source = RatingsSource.detect(paths, **(detect or {}))
    rule = rule or SplitRule(valid=0.1, test=0.2, seed=1)
    return ingest_ratings(source, root / out, split=rule, overwrite=True, **options)


@pytest.fixture(scope="module")
def from_text(tmp_path_factory):
    """The function that returns the digest of the ten ratings as CSV, with ids as they are written there."""
    root = tmp_path_factory.mktemp("text")

    def digest(users=USERS, items=ITEMS, **detect):
        lines = [f"{u},{i},{r}\n" for u, i, r in zip(users, items, RATINGS, strict=True)]
        (root / "r.csv").write_text("".join(lines))
        source = RatingsSource.detect([root / "r.csv"], **detect)
        rule = SplitRule(valid=0.1, test=0.2, seed=1)
        return ingest_ratings(source, root / "out", split=rule, overwrite=True).digest

    return digest


WORDS = [f"user {u}" for u in USERS]


@pytest.mark.parametrize(
    ("rows", "block_bytes"),
    [
        (1, 1 << 20),
        (4, 48),
        (100, 48),
        *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((1, 48), (4, 1 << 20), (100, 1 << 20))),
    ],
)
def test_row_groups_files_and_batches_leave_the_digest_of_the_text(tmp_path, from_text, rows, block_bytes):
    whole = table()
    cut = [whole.slice(0, 3), whole.slice(3, 0), whole.slice(3)]
    for tables in ([whole], cut):
        made = ingest(tmp_path, *tables, rows=rows, block_bytes=block_bytes)
        assert made.digest == from_text()
    facts = made.manifest["source"]["files"]
    assert [fact["name"] for fact in facts] == ["0.parquet", "1.parquet", "2.parquet"]
    assert made.manifest["source"]["delimiter"] == ""


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint32(), pa.uint64()])
def test_ids_of_every_width(tmp_path, from_text, kind):
    users = [abs(u) for u in USERS]
    made = ingest(tmp_path, table(user=pa.array(users, kind), item=pa.array(ITEMS, kind)))
    assert made.digest == from_text(users)
    assert made.user_ids.dtype == np.int64


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pytest.param(pa.large_string(), marks=pytest.mark.slow),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
)
def test_text_of_every_layout(tmp_path, from_text, kind):
    try:
        made = ingest(tmp_path, table(user=pa.array(WORDS, kind)))
    except pa.ArrowNotImplementedError:
        pytest.skip(f"this version of pyarrow writes no {kind}")
    assert made.digest == from_text(WORDS)
    # Integers written as text are integers, as in a text file, unless one of them is not.
    texts = [str(u) for u in USERS]
    assert ingest(tmp_path, table(user=pa.array(texts, kind))).digest == from_text()
    texts[0] = "007"
    assert ingest(tmp_path, table(user=pa.array(texts, kind))).digest == from_text(texts)


def test_integers_of_a_dictionary(tmp_path, from_text):
    assert ingest(tmp_path, table(user=pa.array(USERS).dictionary_encode())).digest == from_text()


def test_blanks_around_text_are_no_part_of_it(tmp_path, from_text):
    made = ingest(tmp_path, table(user=[f" {word}\t" for word in WORDS]))
    assert made.digest == from_text(WORDS)


def test_files_may_differ_in_the_width_and_kind_of_ids(tmp_path, from_text):
    narrow, wide, words = table().slice(0, 4), table().slice(4, 3), table().slice(7)
    narrow = narrow.set_column(0, "user", narrow["user"].cast(pa.int16()))
    words = words.set_column(0, "user", words["user"].cast(pa.string()))
    assert ingest(tmp_path, narrow, wide, words).digest == from_text()
    words = words.set_column(0, "user", pa.array(["x", "3", "y"]))
    texts = [*map(str, USERS[:7]), "x", "3", "y"]
    assert ingest(tmp_path, narrow, wide, words).digest == from_text(texts)


def test_ids_beyond_64_bits_with_a_sign(tmp_path, from_text):
    users = [2**64 - 1, *map(abs, USERS[1:])]
    content = table(user=pa.array(users, pa.uint64()))
    made = ingest(tmp_path, content)
    assert made.digest == from_text(users)
    assert made.users.is_text
    with pytest.raises(
        RatingsError, match=rf"row 1: the user must be an integer of 64 bits, .* '{2**64 - 1}, 5"
    ):
        ingest(tmp_path, content, detect={"ids": "integer"})
    assert ingest(tmp_path, content, detect={"ids": "integer"}, bad_rows="drop").counts["rejected"] == 1


def test_what_ids_are_can_be_said(tmp_path, from_text):
    assert ingest(tmp_path, table(), detect={"ids": "text"}).digest == from_text(ids="text")
    extremes = [str(-(2**63)), " 12", str(2**63 - 1), *map(str, USERS[3:])]
    made = ingest(tmp_path, table(user=extremes), detect={"ids": "integer"})
    assert made.user_ids[[0, -1]].tolist() == [-(2**63), 2**63 - 1]
    for bad in (str(2**63), str(-(2**63) - 1), "007", "1.5", "x"):
        content = table(user=[*map(str, USERS[:5]), bad, *map(str, USERS[6:])])
        with pytest.raises(RatingsError, match=rf"row 6: the user must be an integer .* '{bad}, 8, 2\.5'"):
            ingest(tmp_path, content, rows=4, detect={"ids": "integer"})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.float32(), RATINGS),
        (pa.float16(), [float(np.float16(r)) for r in RATINGS[:9]] + [0.5]),
        (pa.int8(), [int(r) for r in RATINGS]),
        (pa.uint64(), [2**64 - 1, *range(1, 10)]),
        (pa.int64(), [2**53 + 1, *range(1, 10)]),
        (pa.decimal128(4, 2), [decimal.Decimal(str(r)) for r in RATINGS]),
    ],
)
def test_ratings_of_every_type(tmp_path, kind, values):
    array = pa.array(np.array(values, np.float16)) if kind == pa.float16() else pa.array(values, kind)
    made = ingest(tmp_path, table(rating=array), rule=SplitRule(valid=0, test=0))
    wanted = dict(zip(zip(USERS, ITEMS, strict=True), np.array(values, np.float32), strict=True))
    found = made.train.tocoo()
    for u, i, value in zip(found.row, found.col, found.data, strict=True):
        assert value == wanted[made.user_ids[u], made.item_ids[i]]


BAD = {
    "user": ([3, None, 3, 2, -7, 1, 2, 11, 3, 11], "user missing", "the user is missing"),
    "blank user": (["3", "  ", *map(str, USERS[2:])], "user missing", "the user is missing"),
    "rating": ([3.0, None, *RATINGS[2:]], "rating missing", "the rating is missing"),
    "nan": ([3.0, math.nan, *RATINGS[2:]], "rating not finite", "finite float32 number, .* '1, 5, nan'"),
    "inf": ([3.0, -math.inf, *RATINGS[2:]], "rating not finite", "finite float32 number, .* '1, 5, -inf'"),
    "large": ([3.0, 1e39, *RATINGS[2:]], "rating not finite", r"finite float32 number, .* '1, 5, 1e\+39'"),
}


@pytest.mark.parametrize(
    ("name", "block_bytes"),
    [
        pytest.param(name, size, marks=pytest.mark.slow if size > 48 and name not in ("user", "nan") else [])
        for name in BAD
        for size in (48, 1 << 20)
    ],
)
def test_a_bad_row_is_named_or_dropped(tmp_path, name, block_bytes):
    values, reason, text = BAD[name]
    odd = table(**{"user" if "user" in name else "rating": values})
    first = table(item=[i + 50 for i in ITEMS])
    with pytest.raises(RatingsError, match=rf"1\.parquet, row 2: .*{text}.* --bad-rows drop"):
        ingest(tmp_path, first, odd, rows=4, block_bytes=block_bytes)
    assert not (tmp_path / "out").exists()
    made = ingest(tmp_path, first, odd, rows=4, block_bytes=block_bytes, bad_rows="drop")
    assert (made.counts["ratings"], made.counts["rejected"]) == (19, 1)
    told = made.manifest["rejections"]
    assert told["reasons"] == {reason: 1}
    (sample,) = told["samples"]
    assert (sample["file"].rpartition("/")[2], sample["line"]) == ("1.parquet", 2)
    assert sample["text"].count(",") == 2


def test_the_first_bad_row_is_named_and_all_are_counted(tmp_path):
    n = 1000
    wrong = np.arange(n) % 3 == 2
    content = pa.table(
        {
            "user": pa.array([None if at in {990, 70} else str(at) for at in range(n)]).dictionary_encode(),
            "item": np.arange(n) % 7,
            "rating": np.where(wrong, np.nan, 1.0),
            "when": pa.array([2**62] * n, pa.timestamp("us", "America/Lima")),
        }
    )
    detect = {"columns": ["user", "item", "rating", "when"]}
    with pytest.raises(RatingsError, match=r"row 3: the rating must be .* '2, 2, nan, <value out of range"):
        ingest(tmp_path, content, detect=detect)
    made = ingest(tmp_path, content, rows=300, block_bytes=24 * 100, bad_rows="drop", detect=detect)
    told = made.manifest["rejections"]
    assert told["reasons"] == {"rating not finite": 333, "user missing": 2}
    assert made.counts["ratings"] == n - 335
    lines = [(sample["reason"][:4], sample["line"]) for sample in told["samples"]]
    assert sorted(lines) == [("rati", line) for line in (3, 6, 9, 12, 15)] + [("user", 71), ("user", 991)]
    assert told["samples"][-1]["text"].startswith(", 3, ")


def test_a_file_of_bad_rows_alone(tmp_path):
    missing = pa.array([None] * 10, pa.string())
    with pytest.raises(RatingsError, match="holds no rating: all of its 10 rows are bad"):
        ingest(tmp_path, table(user=missing), bad_rows="drop")
    assert ingest(tmp_path, table(), table(user=missing), bad_rows="drop").counts["rejected"] == 10
    with pytest.raises(RatingsError, match="holds no rating"):
        ingest(tmp_path, table().slice(0, 0))


@pytest.mark.parametrize("block_bytes", [48, 1 << 20])
@pytest.mark.parametrize("dropped", [False, True])
def test_a_repeated_pair_is_refused_with_both_its_rows(tmp_path, block_bytes, dropped):
    ratings = [*RATINGS]
    if dropped:
        # One before, and one between, in the same row groups.
        ratings[1] = ratings[4] = math.nan
    again = table(user=[*USERS[:5], 3, *USERS[6:]], item=[*ITEMS[:5], 6, *ITEMS[6:]], rating=ratings)
    options = {"duplicates": "error", "bad_rows": "drop", "block_bytes": block_bytes}
    text = r"0\.parquet, row 6: user 3 rates item 6 again, after .*0\.parquet, row 3 \(1 such"
    for rows in (4, 100):
        with pytest.raises(RatingsError, match=text):
            ingest(tmp_path, again, rows=rows, **options)
    text = r"1\.parquet, row 4: user 2 rates item 6 again, after .*0\.parquet, row 4 \(1 such"
    later = table(user=[90, 91, 92, 2, *range(93, 99)], rating=ratings)
    with pytest.raises(RatingsError, match=text):
        ingest(tmp_path, table(rating=ratings), later, rows=4, **options)


def test_several_ratings_of_a_pair_are_merged(tmp_path):
    twice = pa.concat_tables([table(), table(rating=[r + 1 for r in RATINGS])])
    made = ingest(tmp_path, twice, rows=3, duplicates="mean", rule=SplitRule(valid=0, test=0))
    assert made.counts["duplicates"] == 10
    assert made.train.sum() == pytest.approx(sum(RATINGS) + 5)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"item": [[1]] * 10}, "the item column item must hold whole numbers or text, but holds list<"),
        ({"user": [b"x"] * 10}, "the user column user must hold whole numbers or text, but holds binary"),
        ({"user": pa.nulls(10)}, "the user column user must hold whole numbers or text, but holds null"),
        ({"rating": ["5"] * 10}, "the rating column rating must hold numbers, but holds string"),
        ({"rating": [True] * 10}, "the rating column rating must hold numbers, but holds bool"),
    ],
)
@pytest.mark.parametrize("ids", ["auto", "integer"])
def test_columns_of_another_type_are_refused(tmp_path, columns, text, ids):
    with pytest.raises(RatingsError, match=rf"0\.parquet: .*{text}"):
        ingest(tmp_path, table(**columns), detect={"ids": ids}, bad_rows="drop")


def test_columns_are_found_by_name_or_position(tmp_path, from_text):
    other = pa.table({"stars": RATINGS, "odd": [None] * 10, "a.b": USERS, "thing": ITEMS})
    for columns in (["a.b", "thing", "stars"], ["3", "4", "1"]):
        assert ingest(tmp_path, other, detect={"columns": columns}).digest == from_text()
    with pytest.raises(RatingsError, match=r"stars, odd, a\.b, thing is recognised as user, item: name"):
        ingest(tmp_path, other)
    with pytest.raises(
        RatingsError, match=r"no column 'star' \(did you mean 'stars'\?\): its header has stars"
    ):
        ingest(tmp_path, other, detect={"columns": ["a.b", "thing", "star"]})


def test_files_of_another_form_are_refused(tmp_path):
    with pytest.raises(
        RatingsError, match=r"1\.parquet must have the columns of .*0\.parquet, user, item, rating"
    ):
        ingest(tmp_path, table(), table(extra=ITEMS).drop_columns(["item"]))
    assert ingest(tmp_path, table(), table(extra=ITEMS)).counts["ratings"] == 10
    (tmp_path / "r.csv").write_text("1,2,3\n")
    for paths in (["0.parquet", "r.csv"], ["r.csv", "0.parquet"]):
        with pytest.raises(
            RatingsError, match=rf"{paths[0]} and .*{paths[1]} must be both text or both Parquet"
        ):
            RatingsSource.detect([tmp_path / path for path in paths])


def test_a_split_column(tmp_path):
    said = ["train", "Test ", "valid", "TRAINING", "holdout", "val", "base", "train", "train", "train"]
    given, detect = SplitRule(kind="given"), {"split_column": "part"}
    for values in (said, pa.array(said).dictionary_encode()):
        made = ingest(tmp_path, table(part=values), rule=given, detect=detect, rows=3)
        assert [made.counts[part] for part in ("train", "valid", "test")] == [6, 2, 2]
        assert made.item_ids[made.test.tocoo().col].tolist() == [7, 5]
    for bad in ("", "later", None):
        odd = table(part=[*said[:8], bad, "train"])
        with pytest.raises(
            RatingsError, match=r"row 9: the split must be one of train, valid, test, but .* '3, 9"
        ):
            ingest(tmp_path, odd, rule=given, detect=detect, rows=4)
        made = ingest(tmp_path, odd, rule=given, detect=detect, bad_rows="drop")
        assert made.manifest["rejections"]["reasons"] == {"unknown split": 1}
        assert made.counts["train"] == 5
    with pytest.raises(RatingsError, match="the split column part must hold text, but holds int64"):
        ingest(tmp_path, table(part=ITEMS), rule=given, detect=detect)


MOMENT = dt.datetime(2015, 3, 31, 12, tzinfo=dt.UTC)
HOURS = [MOMENT + dt.timedelta(hours=7 * at % 10) for at in range(10)]
TIMES = {
    "seconds": (pa.array([int(t.timestamp()) for t in HOURS], pa.int32()), int(HOURS[7].timestamp())),
    "float": (pa.array([-t.timestamp() / 3 for t in HOURS], pa.float32()), None),
    "date": (pa.array([dt.date(2015, 3, 1 + 7 * at % 10) for at in range(10)]), "2015-03-10T00:00:00"),
    "date64": (
        pa.array([dt.date(2015, 3, 1 + 7 * at % 10) for at in range(10)], pa.date64()),
        "2015-03-10T00:00:00",
    ),
    "naive": (pa.array([t.replace(tzinfo=None) for t in HOURS], pa.timestamp("ms")), "2015-03-31T21:00:00"),
    "zoned": (pa.array(HOURS, pa.timestamp("us", "America/Lima")), "2015-03-31T21:00:00+00:00"),
    "nanoseconds": (
        pa.array([7 * at % 10 * 10**9 + 1 for at in range(10)], pa.timestamp("ns")),
        "1970-01-01T00:00:09",
    ),
    "zoned nanoseconds": (
        pa.array([7 * at % 10 * 10**9 + 1 for at in range(10)], pa.timestamp("ns", "UTC")),
        "1970-01-01T00:00:09+00:00",
    ),
}


@pytest.mark.parametrize("name", TIMES)
def test_the_latest_are_held_out(tmp_path, name):
    times, from_time = TIMES[name]
    made = ingest(
        tmp_path,
        table(item=range(10), timestamp=times),
        rows=3,
        rule=SplitRule(kind="temporal", valid=2, test=0.1),
        detect={"timestamp": True},
    )
    # 7 at % 10 ascends in this order.
    order = [0, 3, 6, 9, 2, 5, 8, 1, 4, 7]
    if name == "float":
        order.reverse()
    assert made.item_ids[made.test.tocoo().col].tolist() == order[9:]
    assert sorted(made.item_ids[made.valid.tocoo().col].tolist()) == sorted(order[7:9])
    if from_time is not None:
        assert made.manifest["split"]["test_from"] == from_time


def test_rows_of_no_time(tmp_path):
    rule, detect = SplitRule(kind="temporal", valid=0, test=1), {"timestamp": True}
    floats = [float(at) for at in range(7)] + [math.nan, math.inf, None]
    content = table(timestamp=floats)
    with pytest.raises(
        RatingsError, match=r"row 8: the timestamp must be a finite number, .* '11, 9, 4\.5, nan'"
    ):
        ingest(tmp_path, content, rule=rule, detect=detect)
    with pytest.raises(RatingsError, match="row 10: the timestamp is missing"):
        ingest(tmp_path, table(timestamp=[*ITEMS[:9], None]), rule=rule, detect=detect)
    made = ingest(tmp_path, content, rule=rule, detect=detect, bad_rows="drop")
    assert made.manifest["rejections"]["reasons"] == {"bad timestamp": 2, "timestamp missing": 1}
    assert made.manifest["split"]["test_from"] == 6.0


@pytest.mark.parametrize(
    ("times", "text"),
    [
        (pa.array([2**63] * 10, pa.uint64()), "the times must fit int64: .*9223372036854775808"),
        (pa.array([2**61] * 10, pa.timestamp("ms")), r"the times must fit timestamp\[us\]: .*out of bounds"),
        (pa.array(["2015-03-31"] * 10), "timestamp must hold times, as numbers or as 2015-03-31"),
        (pa.array([dt.time(1)] * 10), "timestamp must hold times, as numbers or as 2015-03-31"),
    ],
)
def test_times_that_cannot_be_used(tmp_path, times, text):
    with pytest.raises(RatingsError, match=rf"0\.parquet: {text}"):
        ingest(tmp_path, table(timestamp=times), rule=SplitRule(kind="temporal"), detect={"timestamp": True})


def test_times_of_files_must_be_of_one_kind(tmp_path):
    seconds, dates = table(timestamp=TIMES["seconds"][0]), table(timestamp=TIMES["date"][0])
    rule, detect = SplitRule(kind="temporal"), {"timestamp": True}
    text = r"1\.parquet: timestamp must hold times, as in .*0\.parquet, but holds int32: ingest files of one"
    with pytest.raises(RatingsError, match=text):
        ingest(tmp_path, dates, seconds, rule=rule, detect=detect)
    # Where they are not read, they may be what they like.
    assert ingest(tmp_path, dates, seconds).counts["ratings"] == 10
    finer = table(timestamp=TIMES["naive"][0], item=[i + 50 for i in ITEMS])
    assert ingest(tmp_path, dates, finer, rule=rule, detect=detect).counts["ratings"] == 20


def test_a_file_that_is_cut_short_or_damaged(tmp_path):
    pq.write_table(table(), tmp_path / "r.parquet", compression="none", use_dictionary=False)
    whole = (tmp_path / "r.parquet").read_bytes()
    for data in (whole[: len(whole) // 2], whole[:8], whole[:-4] + b"none"):
        (tmp_path / "r.parquet").write_bytes(data)
        with pytest.raises(RatingsError, match=r"r\.parquet cannot be read as Parquet: .* download it again"):
            RatingsSource.detect([tmp_path / "r.parquet"])
    # The header of the first page is not one.
    (tmp_path / "r.parquet").write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])
    source = RatingsSource.detect([tmp_path / "r.parquet"])
    with pytest.raises(RatingsError, match=r"r\.parquet cannot be read to its end: .* download it again"):
        ingest_ratings(source, tmp_path / "out")


def test_a_file_that_is_replaced_after_it_was_looked_at(tmp_path):
    pq.write_table(table(), tmp_path / "r.parquet", row_group_size=4)
    source = RatingsSource.detect([tmp_path / "r.parquet"])
    found = units(source, 1)
    assert [rows_before(source.files[0], unit.begin) for unit in found] == [0, 4, 8]
    (tmp_path / "r.parquet").write_bytes(b"PAR1, no more")
    for act in (
        lambda: units(source, 1),
        lambda: rows_before(source.files[0], 1),
        lambda: list(read_group(found[0], source, 1)),
    ):
        with pytest.raises(RatingsError, match=r"r\.parquet cannot be read (as Parquet|to its end): "):
            act()
