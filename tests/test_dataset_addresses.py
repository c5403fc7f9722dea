"""Datasets that are read at an address: the same as in a folder, or an error that names it."""

from __future__ import annotations

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from memory_addresses import address_fixture, data_address_fixture, dataset_fixture, store_fixture  # noqa: F401 - fixtures

from toolkit import RatingsDataset
from toolkit.errors import DatasetError


def test_dataset_at_an_address_is_the_same(data_address, dataset):
    there = RatingsDataset.open(data_address, verify=True)
    assert there.digest == dataset.digest
    assert there.where == data_address
    for name in ("train", "train_by_item", "valid", "test"):
        assert (getattr(there, name) != getattr(dataset, name)).nnz == 0
    np.testing.assert_array_equal(there.item_ids, dataset.item_ids)


@pytest.mark.parametrize("verify", [False, True])
def test_file_that_an_address_lacks_or_has_changed_is_named(data_address, dataset, store, verify):
    file = next(
        entry["path"] for entry in dataset.manifest["files"] if entry["path"].startswith("train/rows")
    )
    at = f"{data_address.removeprefix('memory:/')}/{file}"
    content = store.cat(at)
    store.pipe(at, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DatasetError, match=f"{data_address}/{file} was changed"):
        RatingsDataset.open(data_address, verify=verify).train  # noqa: B018 - read now
    store.rm(at)
    with pytest.raises(DatasetError, match=f"{data_address}/{file} is missing"):
        RatingsDataset.open(data_address)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("memory://nothing/here", "memory://nothing/here is not a dataset: it has no manifest.json"),
        ("s4://bucket/key", "s4://bucket/key cannot be reached: .*check the part before ://"),
        ("gs://bucket/key", "gs://bucket/key cannot be reached: .*pip install gcsfs"),
        ("ftp://ann:s3cret@host/key", r"ftp://ann:\*\*\*@host/key must be without passwords"),
    ],
)
def test_address_without_a_dataset_is_refused(where, told):
    with pytest.raises(DatasetError, match=told):
        RatingsDataset.open(where)


def test_store_that_refuses_is_named_with_a_way_out(monkeypatch, data_address):
    def failing(self, *args, **options):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "_open", failing)
    with pytest.raises(DatasetError, match="cannot be used: Access Denied; check the address, and the store"):
        RatingsDataset.open(data_address)
