"""The two cuts through all ratings behind which they are held out, found by counting part by part."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from toolkit.arrays import IntArray
from toolkit.datasets import SPLITS, TRAIN, VALID
from toolkit.engines import Engine
from toolkit.ingest.reading.times import as_written
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.splitting.assignment import Cut, assign, assign_by_user, hash_pairs, keys_of, time_of_key
from toolkit.ingest.splitting.rule import SplitRule
from toolkit.ingest.splitting.selection import LAST, Probe, probe, select

_Range: TypeAlias = tuple[int, int]
"""Lowest and highest number."""


@dataclass(frozen=True)
class Splitting:
    """How the ratings are split: a rule, and what it comes to for these ratings.

    Attributes
    ----------
    rule : SplitRule
        The rule.
    n_items : int
        How many items there are.
    valid, test : Cut or None
        Ratings up to these are held out, where two cuts through all ratings decide.
    """

    rule: SplitRule
    n_items: int
    valid: Cut | None = None
    test: Cut | None = None


def find_cuts(parts: Sequence[Part], rule: SplitRule, n_items: int, engine: Engine) -> Splitting:
    """Return the cuts of a rule through the ratings of all parts; none where each user is split apart.

    Parameters
    ----------
    parts : sequence of Part
        All ratings.
    rule : SplitRule
        The rule.
    n_items : int
        How many items there are.
    engine : Engine
        Counts the parts.

    Raises
    ------
    ConfigError
        When the rule leaves no rating to train on.
    """
    splitting = Splitting(rule, n_items)
    if rule.by_user:
        return splitting
    n = sum(part.n for part in parts)
    if rule.kind == "given":
        counts = [np.bincount(part.column("splits"), minlength=len(SPLITS)) for part in parts]
        given = np.sum(counts, axis=0)
        if given[VALID]:
            return splitting
        n = int(given[TRAIN])
    n_valid, n_test = rule.totals(n)
    ends = {"test": n_test} if n_test else {}
    if n_valid:
        ends["valid"] = n_test + n_valid
    cuts = _cuts(parts, splitting, ends, n, engine)
    return dataclasses.replace(splitting, valid=cuts.get("valid"), test=cuts.get("test"))


def splits_of_part(part: Part, splitting: Splitting) -> IntArray:
    """Return the split of each rating of a part, uint8."""
    keys, hashes = _keys(part, splitting)
    rule = splitting.rule
    if rule.by_user:
        return assign_by_user(rule, keys, hashes, part.column("counts"), part.start)
    assigned = assign(rule, keys, hashes, splitting.valid, splitting.test)
    if rule.kind == "given":
        given = part.column("splits")
        assigned = np.where((given == TRAIN) & (assigned == VALID), np.uint8(VALID), given)
    return assigned


def probe_part(task: tuple[Part, Splitting, Sequence[_Range], int | None]) -> list[Probe]:
    """Count the keys of a part in each range, or the hashes of its ratings with one key.

    Parameters
    ----------
    task : tuple
        The part, the splitting so far, lowest and highest number of each range, and the one key or None.
    """
    part, splitting, ranges, at_key = task
    keys, hashes = _keys(part, splitting)
    if splitting.rule.kind == "given":
        keys = keys[part.column("splits") == TRAIN]
    numbers = keys if at_key is None else hashes[keys == np.uint64(at_key)]
    return [probe(numbers, low, high) for low, high in ranges]


def times_of_cuts(splitting: Splitting, time_kind: str) -> dict[str, int | float | str]:
    """Return for the manifest the times from which ratings are held out; nothing without times."""
    if not splitting.rule.needs_times:
        return {}
    cuts = {"valid_from": splitting.valid, "test_from": splitting.test}
    return {name: as_written(time_of_key(cut.key), time_kind) for name, cut in cuts.items() if cut}


def _keys(part: Part, splitting: Splitting) -> tuple[IntArray, IntArray]:
    """Return keys and hashes of the ratings of a part."""
    hashes = hash_pairs(part.users(), part.column("items"), splitting.n_items, splitting.rule.seed)
    times = part.column("times") if splitting.rule.needs_times else None
    return keys_of(splitting.rule, hashes, times), hashes


def _cuts(
    parts: Sequence[Part], splitting: Splitting, ends: dict[str, int], n: int, engine: Engine
) -> dict[str, Cut]:
    """Return for each k of `ends` the cut behind the k ratings with the smallest keys, of n."""

    def probes(ranges: Sequence[_Range], at_key: int | None = None) -> list[list[Probe]]:
        tasks = [(part, splitting, ranges, at_key) for part in parts]
        return [[*of_parts] for of_parts in zip(*engine.map(probe_part, tasks, lambda: None), strict=True)]

    guesses = {name: _guess(splitting.rule, k, n) for name, k in ends.items()}
    # One pass over the ratings looks into the first range of every cut.
    first = [*dict.fromkeys(guesses.values())]
    known = dict(zip(first, probes(first) if first else [], strict=True))

    def ask(low: int, high: int) -> list[Probe]:
        return known[low, high] if (low, high) in known else probes([(low, high)])[0]

    cuts = {}
    for name, k in ends.items():
        last = select(k, ask, guesses[name])
        cuts[name] = Cut(last.value)
        if last.below + last.equal > k:
            tied = select(k - last.below, lambda low, high: probes([(low, high)], last.value)[0])  # noqa: B023
            cuts[name] = Cut(last.value, tied.value)
    return cuts


def _guess(rule: SplitRule, k: int, n: int) -> _Range:
    """Return the range to look into first for the k-th smallest key of n."""
    if rule.needs_times:
        return 0, LAST
    # Hashes are spread evenly, so that the range of the k-th is known but for a little.
    middle, spread = int(k / n * 2.0**64), int(8 * 2.0**64 * (k * (n - k) / n**3 + 1 / n**2) ** 0.5)
    return max(0, middle - spread), min(LAST, middle + spread)
