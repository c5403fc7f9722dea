"""A sample of users: nested, equal to filtering by hand, the same for all shards, and whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingesting import walslab

from toolkit import RatingsDataset, ingest_ratings, sample_users
from toolkit.engines import Threads
from toolkit.errors import ConfigError, DatasetError
from toolkit.ingest import SplitRule

SPLITS = ("train", "valid", "test")


def frame_of(n_users, n_items, *, text, seed=0):
    """Made-up ratings with a split; each item is rated by user 0."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((n_users, n_items)) < 0.3)
    users, items = np.append(users, np.zeros(n_items, int)), np.append(items, np.arange(n_items))
    frame = pd.DataFrame(
        {"user": users * 7 + 1, "item": items, "rating": rng.integers(0, 11, len(users)) / 2}
    )
    frame["split"] = rng.choice(SPLITS, len(frame), p=[0.7, 0.15, 0.15])
    frame = frame.drop_duplicates(["user", "item"])
    if text:
        frame["user"], frame["item"] = "ü" + frame.user.astype(str), "i" + frame["item"].astype(str)
    return frame.sample(frac=1, random_state=seed)


def ingested(frame, out, **options):
    return ingest_ratings(
        frame,
        out,
        columns=("user", "item", "rating"),
        split_column="split",
        split=SplitRule(kind="given"),
        **options,
    )


def number_of(user, seed):
    digest = hashlib.blake2b(str(user).encode(), digest_size=8, salt=seed.to_bytes(16, "little")).digest()
    return int.from_bytes(digest, "little")


def by_hand(frame, share, seed):
    return frame[[number_of(user, seed) < share * 2**64 for user in frame.user]]


def ratings_of(data):
    parts = [data.to_pandas(split).assign(split=split) for split in SPLITS]
    whole = pd.concat(parts).astype({"user": str, "item": str})
    return sorted(whole.itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module", params=[False, True], ids=["integers", "text"])
def whole(request, root):
    frame = frame_of(40, 20, text=request.param)
    return frame, ingested(frame, root / f"whole-{request.param}", shard_ratings=60)


@pytest.fixture(scope="module")
def plain(root):
    """One dataset, where ids do not matter."""
    return ingested(frame_of(40, 20, text=False), root / "plain", shard_ratings=60)


@settings(max_examples=3, deadline=None)
@given(share=st.floats(0.05, 1), seed=st.integers(0, 2**64 - 1))
def test_it_is_what_filtering_by_hand_gives(whole, tmp_path_factory, share, seed):
    frame, data = whole
    chosen = by_hand(frame, share, seed)
    out = tmp_path_factory.mktemp("out") / "sample"
    if not (chosen.split == "train").any():
        with pytest.raises(ConfigError, match="no rating to train on"):
            sample_users(data, share, out, seed=seed)
        return
    sample = sample_users(data, share, out, seed=seed)
    assert RatingsDataset.open(out, verify=True).digest == sample.digest
    assert ratings_of(sample) == sorted(
        (str(row.user), str(row.item), np.float32(row.rating), row.split) for row in chosen.itertuples()
    )
    assert sample.user_ids.tolist() == sorted(chosen.user.unique())
    # Items keep their columns, also those that nobody of the sample rated.
    assert sample.item_ids.tolist() == data.item_ids.tolist()
    for kind in ("users", "items"):
        axis = 1 if kind == "users" else 0
        counts = np.diff((sample.train if axis else sample.train.T.tocsr()).indptr)
        assert sample.training_counts(kind).tolist() == counts.tolist()
    assert (sample.train_by_item != sample.train.T).nnz == 0
    facts = sample.manifest["ratings"]
    assert (facts["min"], facts["max"]) == (chosen.rating.min(), chosen.rating.max())
    assert facts["mean"] == pytest.approx(chosen.rating.mean())
    assert sample.derived == [{"digest": data.digest, "users": share, "seed": seed}]


def test_a_sample_is_the_ingest_of_its_ratings(whole, tmp_path):
    """Where every item is rated still; user 0, who rated all, is chosen by this seed."""
    frame, data = whole
    seed = next(seed for seed in range(99) if number_of(frame.user.min(), seed) < 2**63)
    sample = sample_users(data, 0.5, tmp_path / "half", seed=seed)
    chosen = by_hand(frame, 0.5, seed)
    assert set(chosen["item"]) == set(frame["item"])
    assert sample.digest == ingested(chosen, tmp_path / "again").digest


@settings(max_examples=2, deadline=None)
@given(shares=st.lists(st.floats(0.3, 1), min_size=2, max_size=2).map(sorted), seed=st.integers(0, 5))
def test_samples_are_nested_and_a_sample_of_a_sample_is_the_smaller(whole, tmp_path_factory, shares, seed):
    data, out = whole[1], tmp_path_factory.mktemp("out")
    small, large = (sample_users(data, share, out / str(at), seed=seed) for at, share in enumerate(shares))
    assert set(small.user_ids) <= set(large.user_ids)
    twice = sample_users(large, shares[0], out / "twice", seed=seed)
    assert twice.digest == small.digest
    steps = [
        {"digest": each.digest, "users": share, "seed": seed}
        for each, share in ((large, shares[0]), (data, shares[1]))
    ]
    assert twice.derived == steps


@pytest.mark.parametrize(
    "text", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["integers", "text"]
)
def test_shards_engines_and_memory_do_not_decide(text, tmp_path, monkeypatch):
    # Few: a shard of three ratings is a case.
    frame = frame_of(14, 7, text=text)
    data = ingested(frame, tmp_path / "whole", shard_ratings=20)
    monkeypatch.setattr("toolkit.ingest.shards.SHARD_RATINGS", 4)
    expected = sample_users(data, 0.5, tmp_path / "expected")
    assert len(expected.shards("train/rows")) > 2
    sources = [ingested(frame, tmp_path / f"in {size}", shard_ratings=size) for size in (3, 17, 10_000)]
    cases = [(source, {}) for source in sources]
    cases += [(sources[1], {"engine": Threads(1)}), (sources[1], {"memory_bytes": 200 << 20})]
    for at, (source, options) in enumerate(cases):
        assert sample_users(source, 0.5, tmp_path / f"sample {at}", **options).digest == expected.digest
    # Numbers of rows and the order of lines do not decide either: only ids do.
    with_more = pd.concat(
        [
            frame,
            pd.DataFrame({"user": frame.user, "item": frame["item"].max(), "rating": 1.0, "split": "train"}),
        ]
    )
    more = ingested(with_more.drop_duplicates(["user", "item"]), tmp_path / "more")
    assert set(sample_users(more, 0.5, tmp_path / "of-more").user_ids) == set(expected.user_ids)


def test_the_whole_is_a_sample(whole, tmp_path):
    frame, _ = whole
    data = ingested(frame, tmp_path / "usual")
    assert sample_users(data, 1, tmp_path / "all").digest == data.digest


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan"), float("inf"), True, "0.5", None, [0.5]])
def test_a_share_that_is_none(plain, tmp_path, share):
    with pytest.raises(
        ConfigError, match=r"--users must be a share above 0 and up to 1, such as 0\.125, but got"
    ):
        sample_users(plain, share, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seed": -1}, "--seed must be at least 0"),
        ({"seed": 2**64}, "--seed must be below"),
        ({"seed": 0.5}, "--seed must be a whole number"),
        ({"memory_bytes": 1 << 20}, "--memory must be at least"),
        ({"overwrite": "yes"}, "overwrite must be"),
    ],
)
def test_options_that_are_none(plain, tmp_path, options, text):
    with pytest.raises(ConfigError, match=text):
        sample_users(plain, 0.5, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_so_small_a_share_that_nobody_is_left(plain, tmp_path):
    for share in (1e-30, 1e-9):
        with pytest.raises(ConfigError, match=r"the sample has 0 of \d\d users, and no rating to train on"):
            sample_users(plain, share, tmp_path / "out")


def test_what_is_there_stays_unless_it_is_a_dataset_to_overwrite(plain, tmp_path):
    data = plain
    first = sample_users(data, 0.5, tmp_path / "out")
    with pytest.raises(DatasetError, match="exists already: give another --out, or --overwrite"):
        sample_users(data, 0.6, tmp_path / "out")
    assert sample_users(data, 0.6, tmp_path / "out", overwrite=True).digest != first.digest
    (tmp_path / "thesis").mkdir()
    with pytest.raises(DatasetError, match="is not a dataset"):
        sample_users(data, 0.6, tmp_path / "thesis", overwrite=True)


@pytest.mark.parametrize("out", ["whole", "whole/../whole", ".", "link"])
def test_the_dataset_that_it_is_taken_of_is_not_replaced(plain, tmp_path, monkeypatch, out):
    """Whose other users would be lost; nor is a dataset that holds it."""
    data = sample_users(plain, 1, tmp_path / "whole")
    (tmp_path / "manifest.json").write_bytes((tmp_path / "whole" / "manifest.json").read_bytes())
    (tmp_path / "link").symlink_to("whole")
    monkeypatch.chdir(tmp_path)
    done = walslab("sample", "whole", "--users", "0.5", "--out", out, "--overwrite")
    assert done.exit_code == 2
    assert f"--out {out} would replace {tmp_path}/whole, which the dataset is made of" in done.output
    assert RatingsDataset.open(tmp_path / "whole", verify=True).digest == data.digest


@pytest.mark.parametrize("kind", ["train/rows", "valid/rows"])
def test_a_damaged_shard_is_named_and_nothing_is_left(tmp_path, kind):
    data = ingested(frame_of(60, 20, text=False), tmp_path / "data", shard_ratings=60)
    path = tmp_path / "data" / data.shards(kind)[1]["path"]
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{kind}-00001\.npz was changed"):
        sample_users(tmp_path / "data", 0.5, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


def test_a_full_disk_leaves_nothing(plain, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("toolkit.ingest.sample_tasks.write_array", full)
    with pytest.raises(OSError, match="No space left"):
        sample_users(plain, 0.5, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_sample_at_an_address_of_a_dataset_at_an_address(plain, memory, tmp_path):
    expected = sample_users(plain, 0.5, tmp_path / "here")
    for path in filter(Path.is_file, plain.path.rglob("*")):
        memory.pipe(f"/bucket/whole/{path.relative_to(plain.path)}", path.read_bytes())
    made = sample_users("memory://bucket/whole", 0.5, "memory://bucket/half", scratch=tmp_path / "scratch")
    assert made.digest == expected.digest == RatingsDataset.open("memory://bucket/half", verify=True).digest
    for out in ("memory://bucket/whole", "memory://bucket/whole/", "memory://bucket"):
        with pytest.raises(DatasetError, match=r"would replace memory://bucket/whole, which the dataset is"):
            sample_users("memory://bucket/whole", 0.5, out, overwrite=True)


def test_the_command(plain, tmp_path):
    data = plain
    done = walslab("sample", data.path, "--users", "0.5", "--out", tmp_path / "half", "--seed", "3", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["digest"] == sample_users(data, 0.5, tmp_path / "python", seed=3).digest
    assert said["derived"] == [{"digest": data.digest, "users": 0.5, "seed": 3}]
    assert f"walslab refit STUDY --dataset {data.path}" in done.output
    shown = walslab("describe", tmp_path / "half")
    assert f"0.5 of the users of {data.digest}, seed 3" in " ".join(shown.output.split())
    refused = walslab("sample", data.path, "--users", "nan", "--out", tmp_path / "other")
    assert refused.exit_code == 2
    assert "--users must be a share above 0" in refused.output


def test_a_manifest_whose_lineage_is_damaged(plain, tmp_path):
    sample_users(plain, 0.5, tmp_path / "half")
    path = tmp_path / "half" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["derived"] = [{"digest": 5}]
    path.write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="must have a list of objects with a digest as derived"):
        RatingsDataset.open(tmp_path / "half")


def test_what_comes_next_can_be_pasted(tmp_path, monkeypatch):
    """Into a shell, whatever the names of folders."""
    monkeypatch.chdir(tmp_path)
    for words, made in (
        (["synth", "--out", "it's made.csv", "--ratings", 300, "--users", 30, "--items", 20], "it's made"),
        (
            ["synth", "--out", "no suffix", "--ratings", 300, "--users", 30, "--items", 20],
            "no suffix.dataset",
        ),
        (["ingest", "it's made.csv", "--out", "a set"], "a set"),
        (["sample", "a set", "--users", 0.5, "--out", "$half"], "$half"),
    ):
        done = walslab(*words)
        assert done.exit_code == 0, done.output
        told = done.output.partition("Next:")[2].splitlines()
        assert any(made in shlex.split(line) for line in told), told
