"""What tests of an ingest have in common: running a command, and looking at what it left in a folder."""

from __future__ import annotations

from click.testing import CliRunner

from toolkit.commands import main


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
