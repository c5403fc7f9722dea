"""Test RMSE of the presets: mean ± standard deviation over random 10 % tests, clipped where a preset says so.

    python benchmarks/presets.py data/ml-100k/u.data [MORE RATINGS...] [--splits 5]

Each split is one `walslab ingest` with another seed and no validation share: the presets are fixed, nothing
is chosen.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from toolkit.config import PRESETS, RunOptions
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.models import WALS

# What the tutorial reports for its defaults and for its tuned values, which were tuned on the test set.
REPORTED = {
    ("tutorial-default", 100_000): 1.06,
    ("tutorial-default", 1_000_209): 1.11,
    ("tutorial-tuned", 100_000): 0.98,
    ("tutorial-tuned", 1_000_209): 0.90,
}


def main() -> None:
    """Print one line per ratings file and preset."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", nargs="+")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--presets", default=",".join(PRESETS))
    options = parser.parse_args()
    print(f"{'ratings':<24}{'preset':<20}{'test RMSE':<20}{'tutorial':<10}{'s/iteration':<10}")
    for path in options.ratings:
        source = RatingsSource.detect([path])
        with tempfile.TemporaryDirectory() as folder:
            datasets = [
                ingest_ratings(source, Path(folder, str(seed)), split=SplitRule(valid=0, seed=seed))
                for seed in range(options.splits)
            ]
            for name in options.presets.split(","):
                began = time.perf_counter()
                scores = []
                for seed, data in enumerate(datasets):
                    model = WALS(PRESETS[name], RunOptions(seed=seed)).fit(data)
                    scores.append(model.rmse(data.test) or 0.0)
                seconds = (time.perf_counter() - began) / options.splits / PRESETS[name].iterations
                spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
                reported = REPORTED.get((name, datasets[0].counts["ratings"]))
                print(
                    f"{Path(path).name:<24}{name:<20}{f'{statistics.mean(scores):.4f} ± {spread:.4f}':<20}"
                    f"{reported or '':<10}{seconds:<10.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
