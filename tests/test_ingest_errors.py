"""What an ingest refuses: each error names the file and the line, or the option, and the way out."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from ingesting import GOOD, read

from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.ingest.reading.ratings_file import RatingsFile


@pytest.mark.parametrize(("block_bytes", "packed"), [(60, True), (1 << 20, False)])
@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (b"4,5,x\n", "line 41: the rating must be a finite float32 number, but is 'x'"),
        (b"4,5,nan\n", "line 41: .* is 'nan'"),
        (b"4,5,-inf\n", "line 41: .* is '-inf'"),
        (b"4,5,1e39\n", "line 41: .* is '1e39'"),
        (b"4,5,1_0\n", "line 41: .* is '1_0'"),
        (b"4,5,\n", "line 41: .* is ''"),
        (b"\n\r\n4,5,x\n", "line 43: "),
        (b",5,3\n", "line 41: the user is missing"),
        (b"4,  ,3\n", "line 41: the item is missing"),
        (b"4,5\n", "line 41 has 2 .* line 1 has 3"),
        (b"4,5,6,7\n", "line 41 has 4 "),
        (b"4,5,6,7\n4,5\n", "line 41 has 4 "),
        (b"4;5;6\n", "line 41 has 1 "),
        (b'"4,5,6\n7,8,9\n', "line 41 opens a quote that it does not close"),
        (b"\xe9,5,6\n", "line 41 is not UTF-8"),
        (b"4\0,5,6\n", "line 41 holds a zero byte"),
        (b"4,5,x\n" + GOOD + b"1,2\n", "line 41: "),
    ],
)
def test_errors_name_file_and_line(tmp_path, bad, text, packed, block_bytes):
    # More lines before it than the form is found from.
    data = GOOD + bad + GOOD * 3
    given = {"delimiter": ",", "header": False, "columns": [1, 2, 3]}
    files = [GOOD, data]
    with pytest.raises(RatingsError, match=rf"1r\.csv(\.gz)?(, |:? ).*{text}"):
        read(
            tmp_path,
            [gzip.compress(f) for f in files] if packed else files,
            name="r.csv.gz" if packed else "r.csv",
            detect=given,
            block_bytes=block_bytes,
        )
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == []


def test_a_header_taken_for_ratings_is_explained(tmp_path):
    with pytest.raises(RatingsError, match=r"line 1: .* is 'rating'; if that is a header, say --header"):
        read(tmp_path, b"userId,movieId,rating\n1,2,3\n", detect={"header": False})


def test_a_decimal_comma_is_explained(tmp_path):
    with pytest.raises(RatingsError, match=r"line 2: .* is '3,5'; write it with a point, 3\.5"):
        read(tmp_path, b"1;2;3\n1;3;3,5\n")


def test_a_header_and_nothing_else(tmp_path):
    with pytest.raises(RatingsError, match="holds no rating: there is nothing below the header"):
        read(tmp_path, b"userId,movieId,rating\n")


def test_a_truncated_gzip_file(tmp_path):
    rng = np.random.default_rng(0)
    lines = "".join(f"{u},{i},3\n" for u, i in rng.integers(1, 10**6, (20_000, 2)))
    with pytest.raises(RatingsError, match=r"0r\.csv\.gz cannot be read to its end: .* download it again"):
        read(tmp_path, gzip.compress(lines.encode())[:-500], name="r.csv.gz")


@pytest.mark.parametrize("block_bytes", [60, 1 << 20])
def test_a_repeated_pair_is_refused_with_both_its_lines(tmp_path, block_bytes):
    files = [b"user,item,rating\n9,9,1\n\n1,2,3\n", b"user,item,rating\n5,5,5\n1,2,4\n9,9,2\n"]
    text = r"1r\.csv, line 3: user 1 rates item 2 again, after .*0r\.csv, line 4 \(2 such lines"
    with pytest.raises(RatingsError, match=text):
        read(tmp_path, files, duplicates="error", block_bytes=block_bytes)


def test_a_sum_that_float32_cannot_hold(tmp_path):
    with pytest.raises(RatingsError, match="of item 2 by user 1 add up to more than float32"):
        read(tmp_path, b"1,2,3e38\n1,2,3e38\n3,4,1\n", duplicates="sum")


@pytest.mark.parametrize(
    "options",
    [
        {"valid": -0.1},
        {"valid": 0.5, "test": 0.5},
        {"seed": -1},
        {"duplicates": "first"},
        {"transform": "log"},
    ],
)
def test_options_out_of_range(tmp_path, options):
    with pytest.raises(ConfigError, match="but got"):
        read(tmp_path, GOOD, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shard_ratings": 0}, "shard_ratings must be at least 1, but got 0"),
        ({"shard_ratings": 2.5}, "shard_ratings must be a whole number"),
        ({"shard_ratings": 2**31}, "shard_ratings must be at most 2147483647"),
        ({"block_bytes": 0}, "block_bytes must be at least 1, but got 0"),
        ({"block_bytes": "1MB"}, "block_bytes must be a whole number"),
        ({"memory_bytes": -1}, "memory_bytes must be at least 1, but got -1"),
        ({"memory_bytes": "512MiB"}, "memory_bytes must be a whole number"),
        ({"memory_bytes": 1}, "--memory must be at least"),
        ({"split": "temporal"}, r"split must be a SplitRule, but got .temporal.: give SplitRule\(kind="),
        (
            {"split": SplitRule(kind="tempral")},
            "--split must be one of .* but got 'tempral' .did you mean 'temporal'",
        ),
        ({"split": SplitRule(kind=["random"])}, "--split must be one of"),
        ({"split": SplitRule(valid="0.1")}, "--valid must be a share"),
        ({"split": SplitRule(test=None)}, "--test must be a share"),
        ({"split": SplitRule(seed=1.5)}, "--seed must be a whole number, but got 1.5"),
        ({"split": SplitRule(seed=2**64)}, r"--seed must be at least 0 and below 2\*\*64"),
        ({"duplicates": "lst"}, "--duplicates must be one of .* .did you mean 'last'"),
        ({"duplicates": ["last"]}, "--duplicates must be one of"),
        ({"bad_rows": True}, "--bad-rows must be one of error, drop, but got True"),
        ({"engine": 2}, "engine must be an engine"),
        ({"progress": "yes"}, "progress must be"),
        ({"overwrite": "yes"}, "overwrite must be True or False, but got 'yes'"),
        (
            {"source": ["r.csv"]},
            r"source must be a RatingsSource, such as .*, or a table: .* but got 'r.csv'",
        ),
        ({"out": 3}, "out must be a path"),
    ],
)
def test_natural_mistakes_in_python_are_refused_before_a_file_is_touched(tmp_path, options, text):
    gone = RatingsSource(
        files=(RatingsFile(str(tmp_path / "gone.csv")),),
        delimiter=",",
        header=False,
        columns=(0, 1, 2),
        fields=3,
    )
    arguments = {"source": gone, "out": tmp_path / "out", **options}
    if options == {"memory_bytes": 1}:  # the size of the input is a part of this one
        (tmp_path / "gone.csv").touch()
    with pytest.raises(ConfigError, match=text):
        ingest_ratings(**arguments)
    assert not (tmp_path / "out").exists()
