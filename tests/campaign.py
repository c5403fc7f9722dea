"""Faults at random moments of a study, and what must be true of it afterwards.

``python tests/campaign.py --rounds 32 --seed 0`` does rounds of every kind in turn, and prints what came of
them. Each round makes a study with the command in a folder of its own, does it one harm, and resumes it until
it is finished.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from campaign_faults import nothing
from campaign_kinds import KINDS
from campaign_round import ROOT, Round, SkippedError
from mlflow import MlflowClient

from toolkit.ingest import RatingsSource, ingest_ratings


class Campaign:
    """What the rounds have in common: a dataset, an empty MLflow store, compiled modules.

    Parameters
    ----------
    base : Path
        An empty folder.
    seed : int
        Of the moments, and of the studies.
    """

    def __init__(self, base, seed=0):
        self.base, self.seed = base, seed
        self.rng = np.random.default_rng(seed)
        self.rounds = 0
        self.undisturbed = {}
        for name in ("site", "logs", "rounds"):
            (base / name).mkdir()
        shutil.copyfile(Path(__file__).with_name("campaign_site.py"), base / "site" / "sitecustomize.py")
        write_ratings(base / "ratings.csv")
        ingest_ratings(RatingsSource.detect([base / "ratings.csv"]), base / "dataset")
        MlflowClient(f"sqlite:///{base}/empty.db").search_experiments()
        # Only new folders are trusted with it: nothing may write back to it.
        (base / "empty.db").chmod(0o444)

    def environment(self, mark):
        """Return the environment of a round's processes, which they are found again by."""
        ours = ("MLFLOW_", "RAY_", "WALSLAB_TEST")
        found = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        if found.pop("PYTHONDONTWRITEBYTECODE", None):
            # Most of the time would go into compiling the same modules again.
            found["PYTHONPYCACHEPREFIX"] = str(self.base / "compiled")
        found["PYTHONPATH"] = os.pathsep.join(map(str, (self.base / "site", ROOT)))
        found["MLFLOW_DISABLE_TELEMETRY"] = "true"
        return {**found, "WALSLAB_TEST_MARK": mark}

    def calm(self, executor):
        """Return how a study goes that nothing happens to."""
        if executor not in self.undisturbed:
            outcome = self.round("nothing", executor)
            assert not outcome.problems, outcome
        return self.undisturbed[executor]

    def round(self, kind, executor):
        """Do a round, once more where it was over before the fault came."""
        prepare, act = KINDS[kind][0] if kind in KINDS else (None, nothing)
        if kind != "nothing":
            # What a random moment is, and which values are proposed, is measured beforehand.
            for each in {executor, "in-process"}:
                self.calm(each)
        for _ in range(4):
            self.rounds += 1
            with contextlib.ExitStack() as stack:
                round_ = Round(self, kind, executor, stack)
                outcome = round_.do(prepare, act)
            if outcome.faults or outcome.problems or kind == "nothing":
                break
        return outcome


def write_ratings(path):
    """Write a ratings file with a header: 150 users, 60 items."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((150, 2)), rng.standard_normal((60, 2))
    users, items = np.nonzero(rng.random((150, 60)) < 0.3)
    ratings = np.clip(np.rint(3.5 + (x @ y.T)[users, items] + 0.3 * rng.standard_normal(len(users))), 1, 5)
    rows = zip(users * 7 + 1, items * 3 + 10, ratings, strict=True)
    path.write_text("userId,movieId,rating\n" + "".join(f"{u},{i},{r:.0f}\n" for u, i, r in rows))


def plan(rounds):
    """Return the kinds of so many rounds, each in its turn, and where they run."""
    for number in range(rounds):
        cycle, place = divmod(number, len(KINDS))
        kind = list(KINDS)[place]
        executors = KINDS[kind][1]
        yield kind, executors[cycle % len(executors)]


def run(base, rounds, seed, told=print):
    """Do rounds, each kind in its turn, or those of a list.

    Returns
    -------
    list of Outcome
    """
    campaign = Campaign(base, seed)
    outcomes, began = [], time.monotonic()
    for kind, executor in plan(rounds) if isinstance(rounds, int) else rounds:
        try:
            outcome = campaign.round(kind, executor)
        except SkippedError as error:
            told(f"{kind}: skipped, {error}")
            continue
        outcomes.append(outcome)
        told(
            f"{time.monotonic() - began:6.0f} s  round {campaign.rounds:3d}  {kind} ({executor}): "
            f"{'; '.join(outcome.faults)}: {len(outcome.problems)} problems, {outcome.resumes} resumes, "
            f"{outcome.seconds:.1f} s"
        )
        for problem in outcome.problems:
            told(f"    {problem}")
    return outcomes


def table(outcomes):
    """Return the tally as text."""
    head = ("fault", "rounds", "faults", "lost", "duplicated", "hung", "other", "s to complete (most)")
    kinds = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.kind, []).append(outcome)
    rows = [head, *(_row(kind, of_kind) for kind, of_kind in kinds.items()), _row("all", outcomes)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _row(kind, outcomes):
    sums = [sum(getattr(o, name) for o in outcomes) for name in ("lost", "duplicated", "hung")]
    others = sum(len(o.problems) for o in outcomes if not (o.lost or o.duplicated or o.hung))
    seconds = [o.seconds for o in outcomes if o.resumes]
    time_ = f"{np.median(seconds):.1f} ({max(seconds):.1f})" if seconds else "by itself"
    faults = sum(len(o.faults) for o in outcomes)
    return (kind, *map(str, (len(outcomes), faults, *sums, others)), time_)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2 * len(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="rounds of the kinds whose names hold this, and no others")
    parser.add_argument("--keep", type=Path, help="an empty folder, which is kept")
    options = parser.parse_args()
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    rounds = options.rounds
    if options.only:
        some = [each for each in plan(1000 * len(KINDS)) if options.only in each[0]]
        rounds = some[: options.rounds]
    with contextlib.ExitStack() as stack:
        base = options.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="walslab-faults-"))
        )
        outcomes = run(base, rounds, options.seed, lambda text: print(text, flush=True))
    print(table(outcomes))
    sys.exit(any(outcome.problems for outcome in outcomes))


if __name__ == "__main__":
    main()
