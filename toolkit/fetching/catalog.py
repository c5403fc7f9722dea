"""The published data sets that ``walslab fetch`` knows: their addresses, sizes, checksums and licences.

TensorFlow Datasets publishes the checksums of the zip files of 100K, 1M, 20M and 25M. For 10M and 32M,
several independent projects agree on them and on GroupLens' published MD5. Where the checksum of a ratings
file is not known, the checksum of its zip stands for it: ``SHA256SUMS`` beside the ratings file records what
came out of the zip.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from toolkit.errors import ConfigError, did_you_mean

CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
    "ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. https://doi.org/10.1145/2827872"
)
_NO_REDISTRIBUTION = "research only, no redistribution"
_SAME_TERMS = "research only, share alike"
_BASE = "https://files.grouplens.org/datasets/movielens"


@dataclass(frozen=True, kw_only=True)
class WheelCopy:
    """A copy of the ratings in a wheel on the Python package index.

    Parameters
    ----------
    requirement : str
        The only release that holds the copy, as ``name==version``.
    member : str
        The file in the wheel: a header line, then the ratings file byte for byte.
    titles, titles_sha256 : str, optional
        The file in the wheel that holds the items' titles, and its checksum.
    """

    requirement: str
    member: str
    titles: str | None = None
    titles_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedSet:
    """One data set: a zip file, and the ratings file in it.

    Parameters
    ----------
    name : str
        The name that ``walslab fetch`` takes.
    url : str
        The zip file.
    zip_bytes, zip_sha256 : int, str
        Size and checksum of the zip file.
    ratings : str
        The ratings file's name in the zip.
    companions : tuple of str
        Other files to unpack, by their names in the zip: first the items with their titles, then the README
        with the licence.
    rows : int
        Number of ratings.
    licence, terms_url : str
        The terms of use, in a line and in full.
    ratings_sha256 : str, optional
        Checksum of the ratings file, if it is known.
    wheel : WheelCopy, optional
        A second source.
    citation : str
        The article that publications have to cite.
    """

    name: str
    url: str
    zip_bytes: int
    zip_sha256: str
    ratings: str
    companions: tuple[str, ...]
    rows: int
    licence: str
    terms_url: str
    ratings_sha256: str | None = None
    wheel: WheelCopy | None = None
    citation: str = CITATION

    @property
    def ratings_name(self) -> str:
        """Name of the ratings file on disk."""
        return PurePosixPath(self.ratings).name

    @property
    def titles_names(self) -> tuple[str, ...]:
        """Names on disk of the files that hold titles: the one from the zip, and the one from the wheel."""
        members = (*self.companions[:1], self.wheel.titles if self.wheel else None)
        return tuple(PurePosixPath(member).name for member in members if member)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in the order in which they are tried."""
        return ("grouplens",) if self.wheel is None else ("grouplens", "pypi")


CATALOG: dict[str, PublishedSet] = {
    published.name: published
    for published in (
        PublishedSet(
            name="ml-100k",
            url=f"{_BASE}/ml-100k.zip",
            zip_bytes=4_924_029,
            zip_sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
            ratings="ml-100k/u.data",
            companions=("ml-100k/u.item", "ml-100k/README"),
            rows=100_000,
            licence=_NO_REDISTRIBUTION,
            terms_url=f"{_BASE}/ml-100k-README.txt",
            ratings_sha256="06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
            wheel=WheelCopy(
                requirement="recbole==1.2.1",
                member="recbole/dataset_example/ml-100k/ml-100k.inter",
                titles="recbole/dataset_example/ml-100k/ml-100k.item",
                titles_sha256="51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            ),
        ),
        PublishedSet(
            name="ml-1m",
            url=f"{_BASE}/ml-1m.zip",
            zip_bytes=5_917_549,
            zip_sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            ratings="ml-1m/ratings.dat",
            companions=("ml-1m/movies.dat", "ml-1m/README"),
            rows=1_000_209,
            licence=_NO_REDISTRIBUTION,
            terms_url=f"{_BASE}/ml-1m-README.txt",
            ratings_sha256="506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f",
        ),
        PublishedSet(
            name="ml-10m",
            url=f"{_BASE}/ml-10m.zip",
            zip_bytes=65_566_137,
            zip_sha256="813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862",
            ratings="ml-10M100K/ratings.dat",
            companions=("ml-10M100K/movies.dat", "ml-10M100K/README.html"),
            rows=10_000_054,
            licence=_NO_REDISTRIBUTION,
            terms_url=f"{_BASE}/ml-10m-README.html",
        ),
        PublishedSet(
            name="ml-20m",
            url=f"{_BASE}/ml-20m.zip",
            zip_bytes=198_702_078,
            zip_sha256="96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
            ratings="ml-20m/ratings.csv",
            companions=("ml-20m/movies.csv", "ml-20m/README.txt"),
            rows=20_000_263,
            licence=_NO_REDISTRIBUTION,
            terms_url=f"{_BASE}/ml-20m-README.html",
        ),
        PublishedSet(
            name="ml-25m",
            url=f"{_BASE}/ml-25m.zip",
            zip_bytes=261_978_986,
            zip_sha256="8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
            ratings="ml-25m/ratings.csv",
            companions=("ml-25m/movies.csv", "ml-25m/README.txt"),
            rows=25_000_095,
            licence=_NO_REDISTRIBUTION,
            terms_url=f"{_BASE}/ml-25m-README.html",
        ),
        PublishedSet(
            name="ml-32m",
            url=f"{_BASE}/ml-32m.zip",
            zip_bytes=238_950_008,
            zip_sha256="e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee",
            ratings="ml-32m/ratings.csv",
            companions=("ml-32m/movies.csv", "ml-32m/README.txt"),
            rows=32_000_204,
            licence=_SAME_TERMS,
            terms_url=f"{_BASE}/ml-32m-README.html",
            ratings_sha256="91159850e41ee59c86231165a688709647e2726cab2e7ba9faf04001bd5261ee",
        ),
    )
}


def find(name: str) -> PublishedSet:
    """Return the data set called `name`.

    Raises
    ------
    ConfigError
        When there is no data set of that name.
    """
    if name not in CATALOG:
        known = ", ".join(CATALOG)
        raise ConfigError(f"no published data set {name!r}{did_you_mean(name, CATALOG)}; there are {known}")
    return CATALOG[name]
