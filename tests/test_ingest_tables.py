"""Tables of other libraries become the dataset that the same ratings in a file become."""

from __future__ import annotations

import datetime as dt
import os
import random
import tempfile
import uuid
from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from frames_of_ratings import OnGpu, dask_of_gpu
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit import RatingsSource, ingest_ratings
from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest import SplitRule

RULES = {
    "random": SplitRule(valid=0.1, test=0.2, seed=3),
    "per user": SplitRule(kind="per-user", valid=0.1, test=0.1),
    "latest of each user": SplitRule(kind="per-user-last", valid=1, test=1),
    "temporal": SplitRule(kind="temporal", valid=0.2, test=0.1),
    "given": SplitRule(kind="given"),
}
IDS = {
    "integers": lambda at: at * 37 - 90,
    "words": lambda at: f"né {at}",
    "mixed": lambda at: f"w{at}" if at % 3 else at,
    "large": lambda at: 2**64 + at if at == 2 else at,
    "uuids": lambda at: uuid.UUID(int=at * 3**70),
}


def made_up(ids, seed, n=60):
    """Return ratings as rows of user, item, rating, time and split; each pair once."""
    draw = random.Random(seed)
    pairs = draw.sample([(u, i) for u in range(9) for i in range(8)], n)
    times = draw.sample(range(10**9, 10**9 + 10**6), n)
    splits = ["train", "valid", "test"]
    return [
        (IDS[ids](u), i + 1, draw.randint(1, 10) / 2, time, splits[time % 3])
        for (u, i), time in zip(pairs, times, strict=True)
    ]


def frame_of(rows):
    return pd.DataFrame(rows, columns=["userId", "item", "stars", "ts", "part"])


def from_file(folder, frame, rule, **options):
    frame.to_csv(folder / "r.csv", index=False)
    detect = {"split_column": "part"} if rule.kind == "given" else {}
    source = RatingsSource.detect([folder / "r.csv"], timestamp=rule.needs_times, **detect)
    return ingest_ratings(source, folder / "file", split=rule, overwrite=True, **options)


def from_table(folder, table, rule=RULES["random"], **options):
    columns = {"split_column": "part"} if rule.kind == "given" else {}
    return ingest_ratings(table, folder / "table", split=rule, overwrite=True, **columns, **options)


def polars_of(frame):
    import polars as pl

    return pl.from_pandas(frame.astype({"userId": str}))


def arrow_of(frame):
    try:
        return pa.Table.from_pandas(frame)
    except (pa.ArrowException, OverflowError):  # a column of Arrow has one type
        return pa.Table.from_pandas(frame.astype({"userId": str}))


def chunks(frame, n):
    return (frame.iloc[at : at + n] for at in range(0, len(frame), n))


@pytest.fixture
def objects():
    """Dask leaves objects as they are; otherwise it makes texts of them."""
    with dask.config.set({"dataframe.convert-string": False}):
        yield


FORMS = {
    "pandas": lambda frame, _: frame,
    "nullable": lambda frame, _: frame.astype({"stars": "Float32", "item": "UInt16", "ts": "Int64"}),
    "categorical": lambda frame, _: frame.astype({"userId": "category", "item": "category"}),
    "chunks of pandas": chunks,
    "arrow": lambda frame, _: arrow_of(frame),
    "reader": lambda frame, n: arrow_of(frame).to_reader(n),
    "batches": lambda frame, n: iter(arrow_of(frame).to_batches(n)),
    "dictionaries": lambda frame, n: (
        arrow_of(frame.astype({"userId": str})).unify_dictionaries().to_batches(n)
    ),
    "dask": lambda frame, n: dd.from_map(lambda one: one, [*chunks(frame, n)], meta=frame.iloc[:0]),
    "cudf": lambda frame, _: OnGpu(frame.astype({"userId": str})),
    "dask of cudf": lambda frame, n: dask_of_gpu(frame.astype({"userId": str}), -(-len(frame) // n)),
}


@settings(max_examples=settings.default.max_examples // 2)
@given(
    ids=st.sampled_from([*IDS]),
    form=st.sampled_from([*FORMS]),
    rule=st.sampled_from([*RULES]),
    rows=st.integers(1, 70),
    seed=st.integers(0, 3),
    shuffled=st.booleans(),
    scheduler=st.sampled_from(["sync", "threads"]),
    block_bytes=st.sampled_from([120, 1 << 20]),
)
def test_a_table_is_the_dataset_of_its_file(*, ids, form, rule, rows, seed, shuffled, scheduler, block_bytes):
    frame = frame_of(made_up(ids, seed))
    other = frame.sample(frac=1, random_state=seed) if shuffled else frame
    with tempfile.TemporaryDirectory() as name, dask.config.set(scheduler=scheduler):
        folder = Path(name)
        wanted = from_file(folder, frame, RULES[rule])
        made = from_table(folder, FORMS[form](other, rows), RULES[rule], block_bytes=block_bytes)
        assert made.digest == wanted.digest
        assert made.manifest["split"] == wanted.manifest["split"]
        assert sorted(path.name for path in folder.iterdir()) == ["file", "r.csv", "table"]


def test_polars_gives_its_tables_by_the_arrow_stream(tmp_path):
    frame = frame_of(made_up("words", 0))
    table = polars_of(frame)
    wanted = from_file(tmp_path, frame, RULES["temporal"]).digest
    import polars as pl

    for one in (table, table.with_columns(pl.col("userId").cast(pl.Categorical))):
        assert from_table(tmp_path, one, RULES["temporal"]).digest == wanted
    with pytest.raises(ConfigError, match=r"call its collect\(\)"):
        from_table(tmp_path, table.lazy())


@pytest.mark.parametrize(
    ("policy", "timed", "forms"),
    [
        ("last", True, ("pandas", "reader", "dask")),
        # Any other is merged where the form of the table is no more known.
        ("last", False, ("dask",)),
        ("mean", False, ("pandas",)),
        ("sum", True, ("reader",)),
        *(
            pytest.param(policy, timed, ("pandas", "reader", "dask"), marks=pytest.mark.slow)
            for policy, timed in (("last", False), ("mean", False), ("mean", True), ("sum", False))
        ),
    ],
)
def test_repeated_pairs_are_merged_as_those_of_a_file(tmp_path, policy, timed, forms):
    rows = made_up("integers", 1)
    again = [(u, i, 6 - r, t + 10**7 - 2 * t % 10**8, s) for u, i, r, t, s in rows[::2]]
    frame = frame_of(rows + again)
    frame = frame if timed else frame.drop(columns="ts")
    wanted = from_file(tmp_path, frame, RULES["random"], duplicates=policy)
    for form in forms:
        made = from_table(tmp_path, FORMS[form](frame, 17), duplicates=policy)
        assert (made.digest, made.counts) == (wanted.digest, wanted.counts)


def test_a_pair_that_is_repeated_is_named_by_partition_and_row(tmp_path):
    frame = frame_of(made_up("integers", 1)[:20])
    twice = pd.concat([frame, frame.iloc[3:4]])
    table = FORMS["dask"](twice, 6)
    text = (
        r"^partition 3, row 3: user .* rates item .* again, after partition 0, row 4 \(1 such lines in all\)"
    )
    with pytest.raises(RatingsError, match=text):
        from_table(tmp_path, table, duplicates="error")
    with pytest.raises(RatingsError, match=r"^the table, row 21: .* after the table, row 4 \("):
        from_table(tmp_path, chunks(twice, 5), duplicates="error", block_bytes=120)


BAD = [
    ("userId", None, "the user is missing"),
    ("userId", pd.NA, "the user is missing"),
    ("item", float("nan"), "the item is missing"),
    ("stars", None, "the rating is missing"),
    ("stars", float("inf"), "the rating must be a finite float32 number"),
    ("ts", pd.NaT, "the timestamp is missing"),
    ("userId", " ", "the user is missing"),
    ("userId", "x" * 9000, "the user must have at most 8,192 bytes"),
]


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize(
    ("form", "where", "column", "value", "text"),
    [
        *(("pandas", "the table, row 17", *bad) for bad in BAD),
        # A partition is a table, whose rows are looked at as those of any other.
        *(("dask", "partition 2, row 3", *bad) for bad in (BAD[0], BAD[4])),
        *(
            pytest.param("dask", "partition 2, row 3", *bad, marks=pytest.mark.slow)
            for bad in (*BAD[1:4], *BAD[5:])
        ),
    ],
)
def test_bad_rows_are_named_by_partition_and_row(tmp_path, *, form, where, column, value, text):
    frame = frame_of(made_up("words", 0, n=20))
    frame["ts"] = pd.to_datetime(frame.ts, unit="s")
    kept = {"stars": float, "ts": "datetime64[ns]"}.get(column, object)
    frame[column] = pd.Series([*frame[column][:16], value, *frame[column][17:]], dtype=kept)
    rule = RULES["temporal"] if column == "ts" else RULES["random"]
    with pytest.raises(RatingsError, match=rf'^{where}: {text}.* with bad_rows="drop"\)$'):
        from_table(tmp_path, FORMS[form](frame, 7), rule, block_bytes=150)
    made = from_table(tmp_path, FORMS[form](frame, 7), rule, bad_rows="drop", block_bytes=150)
    (sample,) = made.manifest["rejections"]["samples"]
    assert f"{sample['file']}, row {sample['line']}" == where
    assert (made.counts["rejected"], made.counts["ratings"]) == (1, 19)


@pytest.mark.usefixtures("objects")
def test_objects_that_are_no_ids_and_no_ratings_are_named(tmp_path):
    frame = frame_of(made_up("words", 0, n=20))
    for column, value, text in (
        (
            "userId",
            (1, 2),
            r"the user must be a whole number, a text or a UUID, but is \(1, 2\) of the type tuple",
        ),
        (
            "stars",
            "n/a",
            "the rating must be a number, but is 'n/a' of the type str: convert the column, as with",
        ),
        ("userId", True, "the user must be a whole number, a text or a UUID, but is True of the type bool"),
    ):
        odd = frame.astype({column: object})
        odd[column] = [*odd[column][:16], value, *odd[column][17:]]
        with pytest.raises(RatingsError, match=f"^partition 2, row 3: {text}"):
            from_table(tmp_path, FORMS["dask"](odd, 7))
    with pytest.raises(
        RatingsError, match="partition 0: the rating column stars must hold numbers, but holds string"
    ):
        from_table(tmp_path, FORMS["dask"](frame.astype({"stars": str}), 7))


def test_columns_are_chosen_by_name_or_recognised(tmp_path):
    frame = frame_of(made_up("integers", 0))
    wanted = from_file(tmp_path, frame, RULES["temporal"]).digest
    odd = frame.rename(columns={"userId": "a", "item": "b", "stars": "c", "ts": "when"})
    chosen = {"columns": ("a", "b", "c", "when")}
    for form in ("pandas", "arrow", "dask"):
        table = FORMS[form](odd[["when", "c", "part", "a", "b"]].rename(columns={"a": "userId"}), 9)
        named = {"columns": ("userId", "b", "c", "when")}
        assert from_table(tmp_path, table, RULES["temporal"], **named).digest == wanted
    with pytest.raises(
        RatingsError, match=r"^the table: none of the columns a, b, c, when, part is recognised as"
    ):
        from_table(tmp_path, odd)
    with pytest.raises(RatingsError, match=r"^the Dask DataFrame has no column 'd'"):
        from_table(tmp_path, FORMS["dask"](odd, 9), columns=("a", "b", "d"))
    with pytest.raises(RatingsError, match="the table has the column a 2 times"):
        from_table(tmp_path, odd.rename(columns={"b": "a"}), columns=("a", "a", "c"))
    with pytest.raises(RatingsError, match=r"the index is named userId: .*reset_index\(\)"):
        from_table(tmp_path, frame.set_index("userId"))
    with pytest.raises(RatingsError, match=r"the index is named userId: .*reset_index\(\)"):
        from_table(tmp_path, FORMS["dask"](frame, 9).set_index("userId"))
    assert from_table(tmp_path, odd, RULES["temporal"], **chosen).digest == wanted


def test_columns_without_names_are_looked_at_twice(tmp_path):
    frame = frame_of(made_up("integers", 0)).drop(columns="part")
    wanted = from_file(tmp_path, frame, RULES["random"]).digest
    for form in ("pandas", "dask", "gpu"):
        counted = frame.set_axis(range(4), axis=1)
        made = OnGpu if form == "gpu" else lambda one, form=form: FORMS[form](one, 9)
        assert from_table(tmp_path, made(counted)).digest == wanted
        swapped = counted[[0, 1, 3, 2]].set_axis(range(4), axis=1)
        with pytest.raises(RatingsError, match="the ratings would be times, such as 1000"):
            from_table(tmp_path, made(swapped))


def test_parts_that_do_not_match_are_refused(tmp_path):
    frame = frame_of(made_up("integers", 0))
    other = frame.rename(columns={"stars": "rating"})
    with pytest.raises(
        RatingsError, match=r"the table, row 61: each part of it must have the columns .* has userId"
    ):
        from_table(tmp_path, iter([frame, other]))
    dates = frame.assign(ts=pd.to_datetime(frame.ts, unit="s"))
    text = r"the table: ts must hold integers, as the first rows do, but holds timestamp\[.*one type"
    with pytest.raises(RatingsError, match=text):
        from_table(tmp_path, iter([frame, dates]), RULES["temporal"])
    # Where the times are not read, they may be what they like.
    assert from_table(tmp_path, iter([frame[:30], dates[30:]])).counts["ratings"] == 60


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("ratings.csv", "source must be a RatingsSource, such as .* but got 'ratings.csv'"),
        (["ratings.csv"], "but got 'ratings.csv'"),
        (3, "but got 3"),
        (None, "but got None"),
        ({"user": [1]}, "or a table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, table, text):
    with pytest.raises(ConfigError, match=text):
        ingest_ratings(table, tmp_path / "out")


@pytest.mark.parametrize(
    "table", [iter([]), pd.DataFrame({"user": [], "item": [], "rating": []}), pa.table({}), []]
)
def test_a_table_of_nothing_is_refused(tmp_path, table):
    with pytest.raises(RatingsError, match=r"holds no rating: |has no columns: "):
        from_table(tmp_path, table)
    assert [*tmp_path.iterdir()] == []


def test_empty_partitions_change_nothing(tmp_path):
    frame = frame_of(made_up("words", 0))
    parts = [frame[:0], frame[:20], frame[20:20], frame[20:], frame[:0]]
    table = dd.from_map(lambda one: one, parts, meta=frame.iloc[:0])
    assert from_table(tmp_path, table).digest == from_file(tmp_path, frame, RULES["random"]).digest


def test_what_is_for_tables_is_refused_for_files(tmp_path):
    frame_of(made_up("integers", 0)).to_csv(tmp_path / "r.csv")
    source = RatingsSource.detect([tmp_path / "r.csv"])
    with pytest.raises(ConfigError, match=r"are for tables: give them to RatingsSource\.detect"):
        ingest_ratings(source, tmp_path / "out", ids="text")


def test_a_partition_is_computed_once_and_not_again_after_a_kill(tmp_path, monkeypatch):
    # Mixed ids, and times that only repeated pairs ask for: the ratings are read again.
    rows = made_up("mixed", 1)
    frame = frame_of([*rows, *((u, i, r, t + 5, s) for u, i, r, t, s in rows[:9])])
    wanted = from_file(tmp_path, frame, RULES["random"]).digest
    computed = tmp_path / "computed"

    def part(at):
        with computed.open("a") as log:
            log.write(f"{at}\n")
        return frame.iloc[at : at + 10]

    table = dd.from_map(part, range(0, len(frame), 10), meta=frame.iloc[:0])

    def stop(stage, done, total):
        if stage == "numbering":
            raise SystemExit  # and nothing is cleaned up

    monkeypatch.setattr("toolkit.files.work_folder.WorkFolder.remove", lambda self: os.close(self._owner))
    with dask.config.set(scheduler="sync"), pytest.raises(SystemExit):
        from_table(tmp_path, table, progress=stop)
    monkeypatch.undo()
    with dask.config.set(scheduler="sync"):
        assert from_table(tmp_path, table).digest == wanted
    assert sorted(map(int, computed.read_text().split())) == [*range(0, len(frame), 10)]


def test_a_time_of_any_type_sorts(tmp_path):
    frame = frame_of(made_up("integers", 0))
    wanted = from_file(tmp_path, frame, RULES["temporal"]).digest
    moments = pd.to_datetime(frame.ts, unit="s")
    for times in (moments, moments.dt.tz_localize("UTC"), moments.dt.date, frame.ts.astype(float)):
        made = from_table(tmp_path, frame.assign(ts=times), RULES["temporal"])
        assert made.digest == wanted or isinstance(times.iloc[0], dt.date)


def test_the_engine_of_an_array_is_not_asked_for_its_truth(tmp_path):
    # NumPy's integers and floats among objects, as rows of another library may hold them.
    rows = [(np.int64(u), np.int32(i), np.float32(r), t, s) for u, i, r, t, s in made_up("integers", 0)]
    frame = frame_of(rows).astype(object)
    assert from_table(tmp_path, frame).digest == from_file(tmp_path, frame, RULES["random"]).digest
