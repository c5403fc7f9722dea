"""Frames: here the tables of other libraries become files of Arrow columns, which `reading` then reads."""

from __future__ import annotations

from toolkit.ingest.frames.opening import open_table
from toolkit.ingest.frames.written import WrittenTable

__all__ = ["WrittenTable", "open_table"]
