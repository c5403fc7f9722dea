"""Published ratings: where they are, how they are downloaded, and how they are verified."""

from toolkit.fetching.catalog import CATALOG, PublishedSet, find
from toolkit.fetching.download import DownloadProgress
from toolkit.fetching.job import Fetched, fetch

__all__ = ["CATALOG", "DownloadProgress", "Fetched", "PublishedSet", "fetch", "find"]
