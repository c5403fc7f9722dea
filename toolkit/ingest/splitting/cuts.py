"""Where the ratings that are held out end, when two cuts through all of them decide."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.engines.threads import Engine
from toolkit.ingest import tasks
from toolkit.ingest.reading.times import shown
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.splitting.rule import SPLITS, TRAIN, VALID, Cut, SplitRule, time_of_key
from toolkit.ingest.splitting.selection import select
from toolkit.ingest.tasks import Splitting


def find(parts: Sequence[Part], rule: SplitRule, n_items: int, engine: Engine) -> Splitting:
    """Return the cuts of a rule through the ratings of all parts; none where each user is split by himself.

    Parameters
    ----------
    parts : sequence of Part
        All ratings.
    rule : SplitRule
        Which of them are held out.
    n_items : int
        All columns.
    engine : Engine
        Where the parts are counted.
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
    found: dict[str, Cut | None] = {}
    for name, k in (("test", n_test), ("valid", n_test + n_valid)):
        found[name] = _cut(parts, splitting, k, n, engine) if k else None
    return dataclasses.replace(splitting, valid=found["valid"] if n_valid else None, test=found["test"])


def times(splitting: Splitting, time_kind: str) -> dict[str, Any]:
    """Return for the record the times from which ratings are held out."""
    if not splitting.rule.needs_times:
        return {}
    found = {"valid_from": splitting.valid, "test_from": splitting.test}
    return {name: shown(time_of_key(cut.key), time_kind) for name, cut in found.items() if cut}


def _cut(parts: Sequence[Part], splitting: Splitting, k: int, n: int, engine: Engine) -> Cut:
    def ask(low: int, high: int, at_key: int | None = None) -> Any:
        return engine.map(
            tasks.probe_part, [(part, splitting, low, high, at_key) for part in parts], lambda: None
        )

    # Hashes are spread evenly: where the k-th lies is known but for a little.
    middle, spread = int(k / n * 2.0**64), int(8 * 2.0**64 * (k * (n - k) / n**3 + 1 / n**2) ** 0.5)
    guess = (max(0, middle - spread), min(2**64 - 1, middle + spread))
    found = select(k, ask) if splitting.rule.needs_times else select(k, ask, guess)
    if found.below + found.equal == k:
        return Cut(found.value)
    tied = select(k - found.below, lambda low, high: ask(low, high, found.value))
    return Cut(found.value, tied.value)
