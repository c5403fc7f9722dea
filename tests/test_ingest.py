"""Ingest against a NumPy oracle, and results that nothing but the ratings decides."""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from forks import Forked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from import_graph import files_of, module_of, targets_of
from ingesting import GOOD, contents, ratings_of, read, usual

from toolkit.commands.describe import describe
from toolkit.commands.ingest import ingest
from toolkit.datasets import RatingsDataset
from toolkit.errors import DatasetError, RatingsError
from toolkit.ingest import RatingsSource, ingest_ratings
from toolkit.tables import whole_number


def oracle(rows, duplicates):
    """Return {(user, item): rating} of rows in input order."""
    pairs = {}
    for user, item, value in rows:
        pairs.setdefault((user, item), []).append(value)
    take = {"last": lambda v: v[-1], "mean": np.mean, "sum": np.sum}[duplicates]
    return {pair: float(np.float32(take(values))) for pair, values in pairs.items()}


integers = st.one_of(st.integers(-9, 30), st.integers(-(2**63), 2**63 - 1))
words = st.one_of(
    st.sampled_from(
        ["7", "007", "+7", "7.0", "NA", "null", "a:b", "é", "\U0001d538", "\uffff", "1e3", str(2**63)]
    ),
    st.text(st.characters(categories=("L", "N")), min_size=1, max_size=4),
)


@settings(max_examples=settings.default.max_examples // 2, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_it_agrees_with_the_oracle(data):
    draw = data.draw
    id_kinds = [draw(st.sampled_from([integers, words])) for _ in "ui"]
    pools = [draw(st.lists(kind.map(str), min_size=1, max_size=6, unique=True)) for kind in id_kinds]
    rows = draw(
        st.lists(
            st.tuples(*map(st.sampled_from, pools), st.sampled_from([0.0, 0.5, 1.0, 3.5, 5.0, -2.25])),
            min_size=1,
            max_size=25,
        )
    )
    delimiter = draw(st.sampled_from([",", "::", "\t", ";", "|"]))
    header, end = draw(st.booleans()), draw(st.sampled_from(["\n", "\r\n"]))
    duplicates = draw(st.sampled_from(["last", "mean", "sum"]))
    cuts = sorted(draw(st.lists(st.integers(1, len(rows)), max_size=2)))
    pieces = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    first = f"user{delimiter}item{delimiter}rating{end}" if header else ""
    files = [
        (first + "".join(delimiter.join(map(str, row)) + end for row in piece)).encode()
        for piece in pieces
        if piece
    ]
    if draw(st.booleans()):
        files[-1] = files[-1].rstrip(b"\r\n")
    packed = draw(st.booleans())
    with tempfile.TemporaryDirectory() as folder:
        made = read(
            Path(folder),
            [gzip.compress(f) for f in files] if packed else files,
            name="r.csv.gz" if packed else "r.csv",
            # Made-up rows look like anything: delimiter, header and columns are told by what is given.
            detect={"delimiter": delimiter, "header": header, "columns": [1, 2, 3]},
            duplicates=duplicates,
            block_bytes=draw(st.integers(1, 60)),
            shard_ratings=draw(st.integers(1, 9)),
        )
        rows = [(whole_number(user), whole_number(item), value) for user, item, value in rows]
        texts = [{row[k] for row in rows} for k in (0, 1)]
        kinds = [int if usual(t) else str for t in texts]
        wanted = oracle([(kinds[0](u), kinds[1](i), v) for u, i, v in rows], duplicates)
        assert ratings_of(made) == wanted
        assert made.user_ids.tolist() == sorted(map(kinds[0], texts[0]))
        assert made.item_ids.tolist() == sorted(map(kinds[1], texts[1]))
        assert made.counts["duplicates"] == len(rows) - len(wanted)
        assert (made.train != made.train_by_item.T).nnz == 0


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"7,1,1\n007,1,2\n", {("7", 1): 1, ("007", 1): 2}),
        (
            b"1,9007199254740993,1\n1,9007199254740993.0,2\n",
            {(1, 2**53 + 1): 2},
        ),
        (b"user,item,rating\n1,1.5,1\n1,2.0,2\n1,1e5,3\n", {(1, "1.5"): 1, (1, "2"): 2, (1, "1e5"): 3}),
        (b"alice::urn:isbn:0140::5\nbob::d::4\n", {("alice", "urn:isbn:0140"): 5, ("bob", "d"): 4}),
        (b"NA,null,3\nNaN,None,1\n", {("NA", "null"): 3, ("NaN", "None"): 1}),
        (b"1, 2,3\n 1,2 ,4\n1,b , 5 \n", {(1, "2"): 4, (1, "b"): 5}),
        (b'"a,b",1,3\n"c""d",1,4\ne"f,1,5\n', {("a,b", 1): 3, ('c"d', 1): 4, ('e"f', 1): 5}),
        (b"1,2,3\r4,5,6\r", {(1, 2): 3, (4, 5): 6}),
        (b" \n\n1,2,3\n  \n4,5,6\n\n", {(1, 2): 3, (4, 5): 6}),
        (b"\xef\xbb\xbf1,2,0\n4,5,6\n", {(1, 2): 0, (4, 5): 6}),
    ],
    ids=[
        "007",
        "large-float",
        "fraction",
        "colons",
        "words",
        "blanks",
        "quotes",
        "old-mac",
        "blank-lines",
        "bom-zero",
    ],
)
def test_ids_and_lines_are_taken_as_they_are(tmp_path, data, wanted):
    assert ratings_of(read(tmp_path, data)) == wanted


@pytest.fixture(scope="module")
def lines():
    rng = np.random.default_rng(0)
    pairs = rng.choice(60 * 50, 1500, replace=False)
    return [
        f"{u * 1000 + 3},{i},{r / 2}\n"
        for u, i, r in zip(*divmod(pairs, 50), rng.integers(1, 11, 1500), strict=True)
    ]


def test_partitions_files_and_order_leave_every_byte_the_same(tmp_path, lines):
    whole = "".join(lines).encode()
    shuffled = [lines[k] for k in np.random.default_rng(1).permutation(len(lines))]
    variants = {
        "one": (whole, 1 << 20),
        "eight": (whole, len(whole) // 8 + 1),
        "files": ([b"".join(x.encode() for x in lines[k::3]) for k in range(3)], 600),
        "shuffled": ("".join(shuffled).encode(), 1 << 20),
    }
    made = {}
    for name, (files, block_bytes) in variants.items():
        (tmp_path / name).mkdir()
        options = {"valid": 0.1, "test": 0.2, "seed": 4, "shard_ratings": 300, "block_bytes": block_bytes}
        made[name] = read(tmp_path / name, files, **options)
    first = contents(made["one"].path)
    assert len(first) == 2 + 4 * 5
    for name, data in made.items():
        assert contents(data.path) == first, name
        assert data.digest == made["one"].digest
    counts = made["one"].counts
    assert (counts["train"], counts["valid"], counts["test"]) == (1050, 150, 300)


def test_the_seed_decides_the_split(tmp_path, lines):
    data = "".join(lines).encode()
    one, two = (read(tmp_path, data, test=0.2, seed=seed, overwrite=True).test.tocsr() for seed in (0, 1))
    assert one.multiply(two).nnz < 0.4 * one.nnz


@pytest.mark.parametrize("block_bytes", [6, 1 << 20])
@pytest.mark.parametrize(("duplicates", "of_a"), [("sum", 11), ("mean", 5.5), ("last", 8)])
def test_logarithms_are_taken_of_what_is_left_of_a_pair(tmp_path, duplicates, of_a, block_bytes):
    views = b"u,a,3\nu,b,0\nv,a,86400\nu,a,8\n"
    options = {"duplicates": duplicates, "block_bytes": block_bytes}
    plain = read(tmp_path, views, **options)
    assert plain.manifest["transform"] == "none"
    made = read(tmp_path, views, transform="log1p", overwrite=True, **options)
    wanted = {("u", "a"): of_a, ("u", "b"): 0, ("v", "a"): 86400}
    assert ratings_of(made) == {pair: float(np.float32(np.log1p(v))) for pair, v in wanted.items()}
    assert made.manifest["transform"] == "log1p"
    assert made.manifest["ratings"]["max"] == float(np.float32(np.log1p(86400)))
    assert made.digest != plain.digest


@pytest.mark.parametrize("block_bytes", [6, 1 << 20])
@pytest.mark.parametrize("packed", [False, True])
def test_no_logarithm_of_a_negative_rating(tmp_path, block_bytes, packed):
    views = b"v,b,1\n\nu,b,1\nu,a,3\nv,b,-2\nu,a,-7\nu,a,1\n"
    files, name = (gzip.compress(views), "r.csv.gz") if packed else (views, "r.csv")
    options = {"name": name, "duplicates": "sum", "transform": "log1p", "block_bytes": block_bytes}
    with pytest.raises(RatingsError) as caught:
        read(tmp_path, files, **options)
    assert str(caught.value).startswith(
        f"the rating of item a by user u, first at {tmp_path / f'0{name}'}, line 4, comes to -3, but "
    )
    assert not (tmp_path / "out").exists()
    # What was subtracted from something larger is no mistake.
    made = read(tmp_path, views.replace(b"-7", b"-3").replace(b"-2", b"-1"), **options | {"name": "s.csv"})
    assert ratings_of(made)["v", "b"] == 0


def test_command_takes_logarithms_and_says_so(tmp_path):
    (tmp_path / "views.csv").write_text("c,p,s\nx,1,10\nx,1,5\ny,2,0\ny,1,3\n", encoding="utf-8")
    words = [str(tmp_path / "views.csv"), "--out", str(tmp_path / "out"), "--columns", "c,p,s"]
    words += ["--valid", "0", "--test", "0", "--aggregate", "sum", "--transform", "log1p"]
    done = CliRunner().invoke(ingest, words)
    assert done.exit_code == 0, done.output
    assert "and 2 items, 1 duplicates (sum), taken as log1p, from 0 to 2.77\n" in done.stdout


def test_numbers_of_numpy_are_numbers(tmp_path):
    options = {"shard_ratings": np.int64(40), "block_bytes": np.int32(100), "memory_bytes": np.int64(1 << 30)}
    made = read(tmp_path, GOOD, seed=np.int64(3), **options)
    assert made.manifest["split"]["seed"] == 3


def test_the_rooms_of_ingest_import_downwards_alone():
    rooms = ["reading", "sorting", "splitting", ""]  # and last the files that run the job

    def level(module):
        return rooms.index(next((room for room in rooms if f"toolkit.ingest.{room}" in f"{module}."), ""))

    graph = {
        module: {target for target in targets_of(path) if target.startswith("toolkit.ingest")} - {module}
        for path in files_of("toolkit/ingest")
        if (module := module_of(path)) != "toolkit.ingest"
    }
    upwards = [
        (one, other) for one, targets in graph.items() for other in targets if level(other) > level(one)
    ]
    assert upwards == []
    assert {level(module) for module in graph} == {0, 1, 2, 3}


def test_a_good_line_never_meets_the_diagnosis(tmp_path, monkeypatch):
    def fail(*arguments):
        raise AssertionError("a block was looked at line by line")

    monkeypatch.setattr("toolkit.ingest.reading.diagnosis.salvage", fail)
    assert read(tmp_path, GOOD * 10, block_bytes=50, bad_rows="drop").counts["ratings"] == 1
    with pytest.raises(AssertionError):
        read(tmp_path, GOOD + b"1,2,x\n", bad_rows="drop", overwrite=True)


def test_a_file_without_a_header_from_the_command_line(tmp_path):
    path = tmp_path / "r.dat"
    path.write_text(
        "".join(
            f"{item}::{user}::{user % 5 + 1}::{user + item}\n"
            for user in range(9)
            for item in range(97, 98 + user % 3)
        )
    )
    words = [str(path), "--out", str(tmp_path / "out"), "--columns", "item,user,rating,timestamp"]
    done = CliRunner().invoke(ingest, [*words, "--split", "temporal"])
    assert done.exit_code == 0, done.output
    assert (
        "delimiter '::', no header, user, item, rating and timestamp in columns 2, 1, 3, 4 of 4\n"
        in done.stdout
    )
    assert RatingsDataset.open(tmp_path / "out").user_ids.tolist() == list(range(9))


def test_a_dataset_is_replaced_on_request_only_and_nothing_else_ever(tmp_path):
    first = read(tmp_path, b"1,2,3\n4,5,6\n")
    with pytest.raises(DatasetError, match=r"exists already: .* --overwrite"):
        read(tmp_path, b"7,8,9\n1,1,1\n")
    with pytest.raises(RatingsError, match="line 2"):
        read(tmp_path, b"7,8,9\n1,1,x\n", overwrite=True)
    assert RatingsDataset.open(first.path, verify=True).digest == first.digest
    assert read(tmp_path, b"7,8,9\n1,1,1\n", overwrite=True).digest != first.digest
    (tmp_path / "other" / "out").mkdir(parents=True)
    (tmp_path / "other" / "out" / "thesis.tex").write_text("x")
    with pytest.raises(DatasetError, match="is not a dataset, so it is not overwritten"):
        read(tmp_path / "other", GOOD, overwrite=True)
    assert (tmp_path / "other" / "out" / "thesis.tex").exists()


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("toolkit.ingest.dataset_files.np.savez", fail)
    with pytest.raises(OSError, match="disk full"):
        read(tmp_path, GOOD)
    assert [p.name for p in tmp_path.iterdir()] == ["0r.csv"]


def test_a_killed_ingest_leaves_no_dataset_and_the_next_one_cleans_up(tmp_path):
    (tmp_path / "r.csv").write_bytes(GOOD)
    program = """
import sys, time, toolkit.ingest as ingest, toolkit.ingest.dataset_files as writing
from toolkit.ingest import RatingsSource
write = writing.np.savez
def slow(path, *args, **options):
    write(path, *args, **options)
    print("writing", flush=True)
    time.sleep(60)
writing.np.savez = slow
ingest.ingest_ratings(RatingsSource.detect([sys.argv[1]]), sys.argv[2])
"""
    with Forked(program, tmp_path / "r.csv", tmp_path / "out") as process:
        assert process.stdout.readline() == "writing\n"
        process.kill()
    assert not (tmp_path / "out").exists()
    assert len(list(tmp_path.glob(".out.partial-*"))) == 1
    read(tmp_path, b"1,2,3\n4,5,6\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0r.csv", "out", "r.csv"]


def test_the_commands(tmp_path):
    path = tmp_path / "my ratings;1.tsv"
    path.write_text("".join(f"{u}\t{i}\t{(u + i) % 5 + 1}\t9\n" for u in range(12) for i in range(10)))
    out, runner = tmp_path / "a dataset", CliRunner()
    done = runner.invoke(
        ingest, [str(path), "--out", str(out), "--delimiter", "\\t", "--no-header", "--json"]
    )
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout.splitlines()[-1])
    wanted = {"ratings": 120, "users": 12, "items": 10, "train": 96, "valid": 12, "test": 12, "rejected": 0}
    assert {key: printed[key] for key in wanted} == wanted
    assert printed["dataset"] == str(out)
    assert set(printed) - set(wanted) == {"dataset", "digest", "duplicates", "seconds", "peak_rss_bytes"}
    assert "walslab tune" in done.stderr
    shown = runner.invoke(describe, [str(out), "--verify", "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout.splitlines()[-1])
    assert (told["digest"], told["density"]) == (printed["digest"], 1.0)
    assert sum(entry["ratings"] for entry in told["histogram"]) == 120
    assert isinstance(runner.invoke(ingest, [str(path), "--out", str(out)]).exception, DatasetError)
    for command in (ingest, describe):
        assert "Example" in runner.invoke(command, ["--help"]).output


def test_movielens_100k(tmp_path, repo_root, movielens_100k):
    path = repo_root / "data" / "ml-100k" / "u.data"
    data = ingest_ratings(RatingsSource.detect([path]), tmp_path / "out")
    assert (data.counts["ratings"], data.n_users, data.n_items) == (100_000, 943, 1682)
    whole = data.train_and_valid() + data.test.tocsr()
    assert (whole != movielens_100k.tocsr()).nnz == 0


@pytest.mark.slow
def test_movielens_1m(tmp_path, repo_root, movielens_1m):
    path = repo_root.parent / "shared" / "data" / "ml-1m" / "ratings.dat.gz"
    if not path.is_file():
        pytest.skip("the packed file of MovieLens 1M is not at hand")
    began = time.perf_counter()
    data = ingest_ratings(RatingsSource.detect([path]), tmp_path / "out")
    assert time.perf_counter() - began < 60
    assert (data.counts["ratings"], data.n_users, data.n_items) == (1_000_209, 6040, 3706)
    whole = data.train_and_valid() + data.test.tocsr()
    assert (whole != movielens_1m.tocsr()).nnz == 0
