"""Addresses in the memory of this process, and a small dataset at one."""

from __future__ import annotations

import contextlib
import uuid

import fsspec
import pytest

from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings


@pytest.fixture(name="address")
def address_fixture():
    """An address of its own, in the memory of this process."""
    name = uuid.uuid4().hex
    yield f"memory://{name}/studies/first"
    with contextlib.suppress(FileNotFoundError):
        fsspec.filesystem("memory").rm(f"/{name}", recursive=True)


@pytest.fixture(name="store")
def store_fixture():
    """What lies at addresses in memory."""
    return fsspec.filesystem("memory")


@pytest.fixture(scope="module", name="dataset")
def dataset_fixture(tmp_path_factory):
    """A small dataset in a folder."""
    root = tmp_path_factory.mktemp("data")
    rows = [f"{u},{i},{(u * i) % 5 + 1}" for u in range(30) for i in range(20) if (u + i) % 3]
    (root / "r.csv").write_text("user,item,rating\n" + "\n".join(rows))
    rule = SplitRule(valid=0.2, test=0.1)
    return ingest_ratings(RatingsSource.detect([root / "r.csv"]), root / "dataset", split=rule)


@pytest.fixture(name="data_address")
def data_address_fixture(dataset, store, address):
    """The same dataset at an address."""
    there = address.replace("studies/first", "dataset")
    store.put(str(dataset.path), there.removeprefix("memory:/"), recursive=True)
    return there
