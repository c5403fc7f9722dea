"""What each part of the model is worth: test RMSE with one hyperparameter changed at a time.

    python benchmarks/ablation.py data/ml-100k/u.data --preset ml-100k [--seeds 5]

Random tenths as the test, mean ± sd over seeds. The difference to the preset is that on the same split.
Nothing is tuned again: a change that would be mended by another regularization is shown at its worst.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from quality import split_of, train

from toolkit.config import PRESETS, WALSConfig

CHANGES: dict[str, dict[str, Any]] = {
    "the preset": {},
    "pattern_weight 0": {"pattern_weight": 0.0},
    "bias mean": {"bias": "mean"},
    "bias none": {"bias": "none"},
    "bias_regularization none": {"bias_regularization": None},
    "regularization_offset 0, λ raised to fit": {"regularization_offset": 0.0},
    "regularization_offset 0 and exponent 0.4, λ raised to fit": {
        "regularization_offset": 0.0,
        "regularization_exponent": 0.4,
    },
    "regularization_exponent 0, λ raised to fit": {"regularization_exponent": 0.0},
    "scale none": {"scale": "none"},
    "unobserved_weight 0.01": {"unobserved_weight": 0.01},
    "weight_exponent 0.2": {"weight_exponent": 0.2},
    "clip none": {"clip": "none"},
    "momentum 0.3": {"momentum": 0.3},
    "half the factors": {"factors": 0.5},
    "twice the factors": {"factors": 2.0},
}


def penalised(config: WALSConfig, n: float) -> float:
    """Return the penalty of a row with n ratings, in multiples of λ."""
    return float((n + config.regularization_offset) ** config.regularization_exponent)


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", type=Path)
    parser.add_argument("--preset", required=True, choices=PRESETS)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    base = PRESETS[options.preset]
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in CHANGES}
    for seed in range(options.seeds):
        split = split_of(options.ratings, seed)
        # A penalty of the same size on a row of middling length.
        middle = float(statistics.median(n for n in (split.rest.getnnz(axis=1)) if n))
        for name, change in CHANGES.items():
            values = dict(change)
            if isinstance(values.get("factors"), float):
                values["factors"] = max(1, round(base.factors * values["factors"]))
            config = base.replace(**values)
            if {"regularization_exponent", "regularization_offset"} & values.keys():
                kept = base.regularization * penalised(base, middle) / penalised(config, middle)
                config = config.replace(regularization=kept)
            errors = [error for error, _ in train(split.rest, split.test, config, seed)]
            # Where the error has come within 0.001 of the end: what momentum is for.
            near = next(at for at, error in enumerate(errors, 1) if error <= errors[-1] + 0.001)
            found[name].append((errors[-1], near))
            print(f"seed {seed}: {name} {errors[-1]:.4f}", file=sys.stderr)
    print("| change | test RMSE | difference | iterations to within 0.001 |\n|---|---|---|---|")
    reference = [error for error, _ in found["the preset"]]
    for name, results in found.items():
        errors = [error for error, _ in results]
        spread = f" ± {statistics.stdev(errors):.4f}" if len(errors) > 1 else ""
        pairs = [a - b for a, b in zip(errors, reference, strict=True)]
        told = "" if name == "the preset" else f"{statistics.mean(pairs):+.4f}"
        near = statistics.median(near for _, near in results)
        print(f"| {name} | {statistics.mean(errors):.4f}{spread} | {told} | {near:.0f} |")


if __name__ == "__main__":
    main()
