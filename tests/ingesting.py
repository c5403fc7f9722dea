"""What tests of an ingest have in common: an ingest, a command, and looking at what it left."""

from __future__ import annotations

from click.testing import CliRunner

from toolkit.commands import main
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings

GOOD = b"1,2,3\n" * 40


def walslab(*arguments):
    """Run a command in this process, with its exit code and what it prints."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(path):
    """Return the files of a dataset but the manifest, which has a date."""
    return {
        p.relative_to(path).as_posix(): p.read_bytes()
        for p in path.rglob("*")
        if p.name != "manifest.json" and p.is_file()
    }


def usual(texts):
    """Tell whether all are 64-bit integers written as Python would write them."""
    try:
        return all(str(int(t)) == t and -(2**63) <= int(t) < 2**63 and t.isascii() for t in texts)
    except ValueError:
        return False


def read(root, files, *, name="r.csv", valid=0.0, test=0.0, seed=0, split="random", detect=None, **options):
    """Write the files (bytes), ingest them into root/out, and return the dataset."""
    paths = []
    for number, data in enumerate([files] if isinstance(files, bytes) else files):
        paths.append(root / f"{number}{name}")
        paths[-1].write_bytes(data)
    source = RatingsSource.detect(paths, **(detect or {}))
    rule = SplitRule(kind=split, valid=valid, test=test, seed=seed)
    return ingest_ratings(source, root / "out", split=rule, **options)


def ratings_of(data):
    """Return {(user, item): rating} over train, valid and test."""
    found = {}
    for part in (data.train.tocoo(), data.valid, data.test):
        for u, i, value in zip(part.row, part.col, part.data, strict=True):
            found[data.users.id(u), data.items.id(i)] = float(value)
    return found
