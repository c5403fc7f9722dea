"""Every location of a study passes the suite that the package ships."""

from __future__ import annotations

import uuid

import pytest

from tune.conformance import LocationConformance
from tune.study import location_of, mirror, store_lock


@pytest.fixture
def short_waits(monkeypatch):
    """Locks that expire within seconds."""
    monkeypatch.setattr(store_lock, "HEARTBEAT", 0.1)
    monkeypatch.setattr(store_lock, "EXPIRY", 3.0)
    monkeypatch.setattr(mirror, "_PAUSE", 0.02)


class Addressed(LocationConformance):
    """A location that its label finds again, below a root of its own."""

    root: str

    def new_location(self):
        return location_of(f"{self.root}/{uuid.uuid4().hex}/first")

    def same_location(self, location):
        return location_of(location.label)


class TestFolder(Addressed):
    @pytest.fixture(autouse=True)
    def _root(self, tmp_path):
        self.root = str(tmp_path)


@pytest.mark.usefixtures("short_waits")
class TestMemory(Addressed):
    root = "memory:/"


@pytest.mark.integration
@pytest.mark.usefixtures("short_waits", "s3")
class TestS3(Addressed):
    root = "s3://bucket"
