"""``walslab describe``: figures, text on any terminal, picture, and what it makes of odd manifests."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from memory_peaks import peak_of

from toolkit import RatingsDataset, RatingsSource, ingest_ratings
from toolkit.commands.describe import describe
from toolkit.datasets import draw, statistics
from toolkit.errors import ConfigError, DatasetError
from toolkit.ingest import SplitRule


def ingested(folder, rows, **options):
    """Ingest (user, item, rating) rows into `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "r.csv").write_text("user,item,rating\n" + "\n".join(",".join(map(str, row)) for row in rows))
    ingest_ratings(RatingsSource.detect([folder / "r.csv"]), folder / "data", **options)
    return folder / "data"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """120 ratings of 1 to 5 in several shards; user u rates 4 + u items, so that there is a tail."""
    rows = [(u, f"i{i}", (u + i) % 5 + 1) for u in range(12) for i in range(4 + u)]
    return ingested(tmp_path_factory.mktemp("describe"), rows, split=SplitRule(seed=3), shard_ratings=30)


@pytest.fixture
def edited(made, tmp_path):
    """A function that copies the dataset with other keys in its manifest."""

    def edit(**keys):
        (tmp_path / "data").mkdir()
        for file in made.rglob("*.*"):
            target = tmp_path / "data" / file.relative_to(made)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
        manifest = json.loads((made / "manifest.json").read_text())
        manifest["counts"] |= keys.pop("counts", {})
        manifest |= keys
        for key in [key for key, value in manifest.items() if value is None]:
            del manifest[key]
        (tmp_path / "data" / "manifest.json").write_text(json.dumps(manifest))
        return tmp_path / "data"

    return edit


def run(*arguments, columns=80):
    runner = CliRunner(env={"COLUMNS": str(columns)})
    # As `walslab` names them: click keeps the names that a command is first run with.
    done = runner.invoke(describe, list(map(str, arguments)), help_option_names=["-h", "--help"])
    if done.exception:
        raise done.exception
    return done


def test_the_json_tells_it_all(made):
    done = run(made, "--verify", "--json")
    told = json.loads(done.stdout.splitlines()[-1])
    data = RatingsDataset.open(made)
    assert {key: told[key] for key in data.counts} == data.counts
    assert (told["dataset"], told["digest"], told["verified"]) == (str(made), data.digest, True)
    assert told["density"] == data.counts["ratings"] / (12 * 15)
    assert told["split"]["kind"] == "random"
    assert told["source"]["files"][0]["bytes"] == (made.parent / "r.csv").stat().st_size
    values, counted = np.unique(
        np.concatenate([data.train.data, data.valid.data, data.test.data]), return_counts=True
    )
    assert told["histogram"] == [
        {"label": f"{value:g}", "ratings": count} for value, count in zip(values, counted, strict=True)
    ]
    assert sum(bar["ratings"] for bar in told["histogram"]) == data.counts["ratings"]
    by_item = np.diff(data.train_by_item.indptr)
    assert told["quantiles"]["item"]["most"] == told["long_tail"]["items"]["most"] == by_item.max()
    assert told["quantiles"]["user"]["least"] == np.diff(data.train.indptr).min()
    assert [at["top"] for at in told["long_tail"]["users"]["curve"]] == [0.01, 0.05, 0.1, 0.2, 0.5]
    assert told["versions"]["numpy"]
    assert {file["path"] for file in told["files"]} >= {"users.parquet", "train/rows-00000.npz"}
    assert "Gini" in done.stderr


@pytest.mark.parametrize(
    ("counts", "gini", "median", "shares"),
    [
        ([5] * 100, 0, 5, [0.01, 0.05, 0.1, 0.2, 0.5]),
        ([0] * 99 + [7], 0.99, 0, [1] * 5),
        ([0, 0, 0, 0], 0, 0, [0] * 5),
        ([3], 0, 3, [1] * 5),
        ([1, 2, 3, 4], 0.25, 2.5, [0.4, 0.4, 0.4, 0.4, 0.7]),
    ],
)
def test_long_tails_of_known_figures(counts, gini, median, shares):
    tail = statistics.long_tail(np.array(counts))
    assert tail["gini"] == pytest.approx(gini)
    assert (tail["median"], tail["most"]) == (median, max(counts))
    assert [at["share"] for at in tail["curve"]] == pytest.approx(shares)


def test_gini_is_the_mean_difference_of_all_pairs():
    counts = np.random.default_rng(0).integers(0, 50, 200)
    naive = np.abs(counts[:, None] - counts[None]).mean() / (2 * counts.mean())
    assert statistics.long_tail(counts)["gini"] == pytest.approx(naive)


def test_twenty_values_are_told_one_by_one_and_more_in_bins(tmp_path):
    values = np.arange(21) / 2
    for name, n, bars in (("few", 20, 20), ("many", 21, 10)):
        rows = [(k % 30, k % 7, values[:n][k % n]) for k in range(210)]
        data = RatingsDataset.open(ingested(tmp_path / name, rows, shard_ratings=40))
        bins = statistics.histogram(data)
        assert len(bins) == bars
        assert sum(each["ratings"] for each in bins) == data.counts["ratings"]
    assert (bins[0]["label"], bins[-1]["label"]) == ("0 to 1", "9 to 10")


@pytest.mark.parametrize(
    ("low", "high", "edges"),
    [(-10, 10, 11), (0, 1, 11), (0.5, 100, 11), (-1e-3, 1e-3, 11), (1e6, 1e6 + 7, 8), (0, 3.4e38, 8)],
)
def test_edges_of_bins_are_round_and_hold_all(low, high, edges):
    found = statistics._round_edges(low, high)
    assert (found[0] <= low, found[-1] >= high) == (True, True)
    assert len(found) == edges
    assert len({f"{edge:.10g}" for edge in found}) == edges


def test_a_rating_on_an_edge_is_in_the_bin_above(tmp_path):
    values = [round(k / 40, 3) for k in range(41)]  # 0 to 1 in bins of a tenth
    data = RatingsDataset.open(ingested(tmp_path / "edges", [(k, k % 5, v) for k, v in enumerate(values)]))
    assert [bar["ratings"] for bar in statistics.histogram(data)] == [4] * 9 + [5]


def test_the_text(made):
    text = run(made).stdout
    for part in (
        "of 12 users and 15 items, density 63.33%",
        "random, valid 0.1, test 0.1, seed 3",
        "r.csv (",
        "ratings by value, of train, valid and test",
        "training ratings of the top items (Gini 0.",
        "training ratings of the top users (Gini 0.",
        "top 50%",
        "train/rows-*.npz",
    ):
        assert part in text
    assert "every file verified" not in text
    assert "every file verified" in run(made, "--verify").stdout


def test_a_transform_is_told(made, edited):
    assert "transform" not in run(made).stdout
    data = edited(transform="log1p")
    assert "log1p, after duplicates were merged" in run(data).stdout
    assert json.loads(run(data, "--json").stdout.splitlines()[-1])["transform"] == "log1p"


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(made, columns):
    text = run(made, columns=columns).stdout
    assert max(map(len, text.splitlines())) <= columns
    bars = [line for line in text.splitlines() if line.rstrip().endswith("█")]
    assert len(bars) >= 10
    assert all("%" in line for line in bars)
    assert max(line.count("█") for line in bars) <= 40
    assert "\x1b" not in text


def test_an_ascii_terminal_gets_ascii(edited):
    sample = {"file": "r.csv", "line": 7, "reason": "not a number", "text": "1,数," + "x" * 100}
    path = edited(rejections={"policy": "drop", "reasons": {"数": 1}, "samples": [sample]})
    done = CliRunner(charset="ascii").invoke(describe, [str(path)])
    assert done.exception is None
    assert "###" in done.stdout
    assert "\\u6570" in done.stdout


@pytest.mark.parametrize(
    ("split", "told"),
    [
        ({"kind": "per-user", "valid": 0.1, "test": 0.2, "seed": 7}, "per-user, valid 0.1, test 0.2, seed 7"),
        (
            {"kind": "temporal", "valid_from": 9, "test_from": 12},
            "temporal, valid from 9, test from 12",
        ),
        ({"kind": "per-user-last", "valid": 1, "test": 1}, "per-user-last, valid 1, test 1"),
        ({"kind": "given"}, "given"),
        ({}, "unknown"),
    ],
)
def test_other_splits(edited, split, told):
    path = edited(split=split)
    assert told in run(path).stdout
    assert json.loads(run(path, "--json").stdout.splitlines()[-1])["split"] == split


def test_rejected_rows(edited):
    samples = [
        {"file": "r.csv", "line": n, "reason": "the rating is no number", "text": f"row {n} \x1b[31m[/b]"}
        for n in range(1, 20)
    ]
    rejections = {
        "policy": "drop",
        "reasons": {"the rating is no number": 1900, "short": 8},
        "samples": samples,
    }
    path = edited(rejections=rejections, counts={"rejected": 1908})
    done = run(path, "--json")
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["rejected"], told["rejections"]) == (1908, rejections)
    for part in ("1,908 rows", "the rating is no number", "1,900", r"r.csv:1: ", r"row 1 \x1b[31m[/b]"):
        assert part in done.stderr
    assert "\x1b" not in done.stderr
    assert "r.csv:5:" in done.stderr
    assert "r.csv:6:" not in done.stderr


@pytest.mark.parametrize(
    "keys",
    [
        {"rejections": "none"},
        {"rejections": {"reasons": [1], "samples": {"a": 1}}},
        {"rejections": {"reasons": {"x": "many"}, "samples": ["x", {}]}},
        {"source": {"files": ["a.csv", {}, {"path": "b.csv", "bytes": "large"}]}},
        {"source": {"files": [{"name": f"{n}.csv", "bytes": n} for n in range(9)]}},
        {"source": {}, "created": None, "versions": None, "duplicates": None, "ratings": None},
        {"versions": [1], "duplicates": {"policy": "last"}, "counts": {"rejected": "x", "duplicates": None}},
    ],
)
def test_manifests_with_less_or_other_keys(edited, keys):
    path = edited(**keys)
    assert json.loads(run(path, "--json").stdout.splitlines()[-1])["histogram"]


def test_a_damaged_shard_is_named(edited):
    path = edited()
    file = path / "test" / "rows-00000.npz"
    raw = bytearray(file.read_bytes())
    raw[-300] ^= 1
    file.write_bytes(raw)
    with pytest.raises(DatasetError, match=r"test/rows-00000\.npz was changed"):
        run(path)


def test_the_picture(made, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "a b;c.PNG"
    done = run(made, "--plot", path, "--json")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert json.loads(done.stdout.splitlines()[-1])["plot"] == str(path)


def test_the_picture_of_bins_and_of_a_long_tail_is_always_the_same(tmp_path):
    """Into an SVG, matplotlib writes the date and names that it makes up, unless told otherwise."""
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    counts = {"items": rng.zipf(1.5, 5000) - 1, "users": np.array([3])}
    bars = [{"label": f"{k} to {k + 1}", "ratings": k} for k in range(12)]
    for name in ("p.svg", "again.SVG"):
        draw(tmp_path / name, "a $title_{", bars, counts)
    first = (tmp_path / "p.svg").read_bytes()
    assert first.startswith(b"<?xml")
    assert first == (tmp_path / "again.SVG").read_bytes()
    assert len(first) < 200_000


def test_a_picture_that_cannot_be(made, tmp_path, monkeypatch):
    with pytest.raises(
        ConfigError, match=r"--plot must name a file that ends in \.png or \.svg, but got .*p\.pdf"
    ):
        run(made, "--plot", tmp_path / "p.pdf")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"--plot needs matplotlib .*pip install matplotlib"):
        run(made, "--plot", tmp_path / "p.png")


def test_shards_are_read_one_at_a_time(tmp_path):
    rng = np.random.default_rng(0)
    pairs = rng.choice(1000 * 300, 30_000, replace=False)
    rows = [(pair // 300, pair % 300, rng.integers(1, 6)) for pair in pairs]
    data = RatingsDataset.open(ingested(tmp_path / "many", rows, shard_ratings=1500))
    largest = max(entry["bytes"] for entry in data.manifest["files"])
    statistics.histogram(data)  # what it imports is no part of what it holds
    assert len(data.shards("train/rows")) >= 16
    assert peak_of(lambda: statistics.histogram(data)) < 4 * largest + 300_000
