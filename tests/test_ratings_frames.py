"""Files as a checked Dask DataFrame, and a dataset as tables again."""

from __future__ import annotations

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit import RatingsSource, ingest_ratings, read_ratings
from toolkit.errors import ConfigError, DatasetError, RatingsError
from toolkit.ingest import SplitRule

WHOLE = SplitRule(valid=0, test=0)
SPLIT = SplitRule(valid=0.2, test=0.1, seed=2)


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def write(path, users, n=300, header="user,item,rating,timestamp"):
    rows = [f"{users(at % 23)},{at * 7 % 31},{at % 9 / 2},{10**9 + at * 37 % 1000}" for at in range(n)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


USERS = {"integers": lambda at: at * 5 - 20, "words": lambda at: f"né {at}", "floats": lambda at: f"{at}.0"}


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize("block_bytes", [3000, pytest.param(1 << 20, marks=pytest.mark.slow), None])
def test_a_frame_of_files_is_ingested_as_the_files_are(tmp_path, name, block_bytes):
    paths = [write(tmp_path / "a.csv", USERS[name]), write(tmp_path / "b.csv", USERS[name], n=40)]
    frame = read_ratings(paths, block_bytes=block_bytes)
    dtype = "string" if name == "words" else "int64"
    assert [str(kind) for kind in frame.dtypes] == [dtype, "int64", "float32", "int64"]
    assert [*frame.columns] == ["user", "item", "rating", "timestamp"]
    assert frame.npartitions == (2 if block_bytes != 3000 else frame.npartitions)
    computed = frame.compute()
    assert [*computed.dtypes] == [*frame.dtypes]
    assert computed.timestamp.iloc[1] == 10**9 + 37
    wanted = ingest_ratings(RatingsSource.detect(paths), tmp_path / "files", split=SPLIT)
    assert ingest_ratings(frame, tmp_path / "frame", split=SPLIT).digest == wanted.digest


def test_every_form_of_files_is_read(tmp_path):
    (tmp_path / "r.dat").write_text("1::2::3.5::978300760\n")
    frame = read_ratings([tmp_path / "r.dat"], columns=["user", "item", "rating", "timestamp"])
    assert frame.compute().to_numpy().tolist() == [[1, 2, 3.5, 978300760]]
    (tmp_path / "t.csv").write_text("user,item,rating,time\n1,2,3,2015-03-31T10:00:00Z\n")
    assert str(read_ratings([tmp_path / "t.csv"]).dtypes["timestamp"]) == "datetime64[us, UTC]"
    assert read_ratings([tmp_path / "t.csv"]).compute().timestamp[0] == pd.Timestamp(
        "2015-03-31 10:00", tz="UTC"
    )
    times = pa.array([-0.5, 0.25], pa.float64())
    pq.write_table(
        pa.table({"user": ["a", "b"], "item": [1, 2], "rating": [1, 2], "ts": times}), tmp_path / "r.parquet"
    )
    assert read_ratings([tmp_path / "r.parquet"]).compute().timestamp.tolist() == [-0.5, 0.25]
    (tmp_path / "w.csv").write_text("user,up,cars\nann,4,\nben,5,1\n")
    wide = read_ratings(RatingsSource.detect([tmp_path / "w.csv"], wide=True)).compute()
    assert wide.to_numpy().tolist() == [["ann", "up", 4.0], ["ben", "up", 5.0], ["ben", "cars", 1.0]]


def test_errors_are_those_of_an_ingest(tmp_path):
    path = write(tmp_path / "r.csv", USERS["integers"], n=6000)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5000], "1,2,bad,3", *lines[5000:]]) + "\n")
    frame = read_ratings([path], block_bytes=50_000)
    source = RatingsSource.detect([path], timestamp=True)
    with pytest.raises(RatingsError, match=r"r\.csv, line 5001: the rating must be") as from_ingest:
        ingest_ratings(source, tmp_path / "out")
    with pytest.raises(RatingsError) as from_frame:
        frame.compute()
    assert str(from_frame.value) == str(from_ingest.value)
    assert len(read_ratings([path], block_bytes=50_000, bad_rows="drop")) == 6000
    path.write_text("user,item,rating\n1,2,bad\n1,2,3\n")
    with pytest.raises(RatingsError, match=r"r\.csv, line 2: the rating must be"):
        read_ratings([path])
    with pytest.raises(RatingsError, match="there is no ratings file"):
        read_ratings([tmp_path / "none.csv"])
    with pytest.raises(ConfigError, match="block_bytes must be at least 1"):
        read_ratings([path], block_bytes=0)
    with pytest.raises(ConfigError, match="bad_rows must be one of error, drop"):
        read_ratings([path], bad_rows="keep")


def test_ids_of_all_partitions_are_alike_or_refused(tmp_path):
    path = write(tmp_path / "r.csv", lambda at: at, n=20000)
    with path.open("a") as file:
        file.write("ann,1,2,1000000000\n")
    frame = read_ratings([path], block_bytes=100_000, bad_rows="drop")
    with pytest.raises(
        RatingsError, match="the first users are whole numbers, and later there is 'ann': say ids="
    ):
        frame.compute()
    texts = read_ratings([path], block_bytes=100_000, ids="text").compute()
    assert texts.user.iloc[[0, -1]].tolist() == ["0", "ann"]


def test_a_quoted_field_of_several_lines_needs_whole_files(tmp_path):
    path = tmp_path / "r.csv"
    rows = [f'{at},{at},3,"one\nof two"' if at == 4900 else f"{at},{at},3,some text" for at in range(5000)]
    path.write_text("user,item,rating,note\n" + "\n".join(rows) + "\n")
    with pytest.raises(
        RatingsError, match=r"goes over several lines: read each file as one, with block_bytes=None"
    ):
        read_ratings([path], block_bytes=20_000).compute()
    assert len(read_ratings([path], block_bytes=None).compute()) == 5000


def test_a_file_that_is_written_meanwhile_is_refused(tmp_path):
    path = write(tmp_path / "r.csv", USERS["integers"])
    frame = read_ratings([path])
    path.write_text("user,item,rating,timestamp\n1,2,3,4\n")
    with pytest.raises(RatingsError, match="a file was written"):
        frame.compute()


# Of a dataset ids are whole numbers or words.
@pytest.mark.parametrize("name", ["integers", "words", pytest.param("floats", marks=pytest.mark.slow)])
def test_a_dataset_gives_its_ratings_back_with_their_ids(tmp_path, name):
    source = RatingsSource.detect([write(tmp_path / "r.csv", USERS[name])])
    data = ingest_ratings(source, tmp_path / "out", split=SPLIT, shard_ratings=50)
    for split in ("train", "valid", "test"):
        frame, lazy = data.to_pandas(split), data.to_dask(split)
        matrix = getattr(data, split).tocoo()
        assert frame.user.tolist() == data.user_ids[matrix.row].tolist()
        assert frame.item.tolist() == data.item_ids[matrix.col].tolist()
        assert frame.rating.to_numpy().dtype == np.float32
        assert frame.rating.tolist() == matrix.data.tolist()
        assert lazy.npartitions == len(data.shards(f"{split}/rows"))
        assert [*lazy.dtypes] == [*frame.dtypes]
        pd.testing.assert_frame_equal(lazy.compute().reset_index(drop=True), frame)
    assert data.to_dask().npartitions > 3
    again = ingest_ratings(data.to_dask("train"), tmp_path / "again", split=WHOLE)
    assert (again.to_pandas() == data.to_pandas("train")).all(axis=None)
    whole = dd.concat([data.to_dask(split) for split in ("train", "valid", "test")])
    assert ingest_ratings(whole, tmp_path / "whole", split=SPLIT, shard_ratings=50).digest == data.digest
    with pytest.raises(ConfigError, match="split must be one of train, valid, test, but got 'all'"):
        data.to_pandas("all")


def test_partitions_of_a_dataset_that_is_replaced_are_refused(tmp_path):
    for n in (300, 290):
        source = RatingsSource.detect([write(tmp_path / "r.csv", USERS["integers"], n=n)])
        data = ingest_ratings(source, tmp_path / "out", overwrite=True)
        if n == 300:
            frame = data.to_dask()
    with pytest.raises(DatasetError, match="is another dataset by now: open it again"):
        frame.compute()
