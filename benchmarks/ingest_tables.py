"""Time and memory of an ingest from a Dask DataFrame, beside the same ratings by path.

    python benchmarks/ingest_tables.py [--ratings 20M] [--rounds 5] [--memory 512MiB]

The ratings are made by `walslab synth`, as CSV and as Parquet of 16 files. Every contestant is a fresh
process, in turn within each round: `csv` and `parquet` ingest by path, `dask` a `dask.dataframe.read_parquet`
of the same Parquet files in threads. All make the same dataset. `to the dataset` is from the DataFrame or
path on; `in all` has the start of Python and its imports, too, among them Dask and pandas.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import shutil
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from ingest import Run, count, given, heading, measure, progress, sized, warm

PARTS = 16
CONTESTANTS = ("csv", "parquet", "dask")
# What a contestant leaves in its dataset: the seconds of its call.
CALL = "call.json"
FIGURES = ("call_wall", "call_cpu", "wall", "cpu")


def main() -> None:
    """Print a table, as it stands in RESULTS.md; or, asked for one contestant, be it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", default="20M", help="how many, such as 5M")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", default="512MiB")
    parser.add_argument(
        "--work", type=Path, default=Path("bench-ingest"), help="folder for files and outputs"
    )
    parser.add_argument("--one", nargs=3, metavar=("CONTESTANT", "INPUT", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        ingest(*options.one, options.memory)
        return
    if count(options.ratings) is None or options.rounds < 1:
        parser.error("--ratings must be a number such as 5M, and --rounds at least 1")
    options.work.mkdir(parents=True, exist_ok=True)
    csv = sized(options.work, options.ratings, "user")
    # In a process of its own: this one must stay small, or the kernel counts it to the peak of the others.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        parquet = pool.submit(as_parquet, csv).result()
    runs: dict[str, list[Run]] = {name: [] for name in CONTESTANTS}
    digests = set()
    for number in range(options.rounds):
        for path in (csv, *parquet.iterdir()):
            warm(path)
        for name in CONTESTANTS:
            out = options.work / f"out-{name}"
            start = functools.partial(command, name, options.memory)
            run = measure(start, csv if name == "csv" else parquet, out)
            digests.add(json.loads((out / "manifest.json").read_text(encoding="utf-8"))["digest"])
            run |= json.loads((out / CALL).read_text(encoding="utf-8"))
            runs[name].append(run)
            progress({"contestant": name, "round": number, **run})
    for name in CONTESTANTS:
        shutil.rmtree(options.work / f"out-{name}")
    if len(digests) != 1:
        sys.exit(f"the contestants made different datasets: {digests}")
    print(f"## Tables in ({heading()})\n\n    python benchmarks/ingest_tables.py {given()}\n")
    print(table(runs))


def command(name: str, memory: str, path: Path, out: Path) -> list[str]:
    """Return the command line of one contestant."""
    return [sys.executable, __file__, "--memory", memory, "--one", name, str(path), str(out)]


def ingest(name: str, path: str, out: str, memory: str) -> None:
    """Ingest in this process."""
    from toolkit import RatingsSource, ingest_ratings
    from toolkit.ingest import keep_freed_memory, parse_size

    keep_freed_memory()
    if name == "dask":
        import dask.dataframe as dd
    wall, cpu = time.perf_counter(), time.process_time()
    source: object = dd.read_parquet(path) if name == "dask" else RatingsSource.detect([path])
    ingest_ratings(source, out, memory_bytes=parse_size(memory))
    seconds = {"call_wall": time.perf_counter() - wall, "call_cpu": time.process_time() - cpu}
    Path(out, CALL).write_text(json.dumps(seconds), encoding="utf-8")


def as_parquet(csv: Path) -> Path:
    """Return a folder with the ratings of a file as Parquet files."""
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq

    folder = csv.with_suffix(".parts")
    if not folder.exists():
        part = folder.with_suffix(".making")
        part.mkdir(exist_ok=True)
        ratings = pacsv.read_csv(csv)
        rows = -(-len(ratings) // PARTS)
        for at in range(PARTS):
            pq.write_table(ratings.slice(at * rows, rows), part / f"part-{at:02}.parquet")
        part.rename(folder)
    return folder


def table(runs: dict[str, list[Run]]) -> str:
    """Return medians as Markdown; a ratio is the median of the rounds' own ratios."""
    figures = ("wall s", "CPU s", "dask ÷ it, wall", "dask ÷ it, CPU")
    parts = ("to the dataset", "in all")
    heads = ["input", *(f"{part}: {figure}" for part in parts for figure in figures), "peak MiB"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, of_name in runs.items():
        median = {key: statistics.median(run[key] for run in of_name) for key in (*FIGURES, "peak")}
        ratio = {
            key: statistics.median(
                dask[key] / run[key] for dask, run in zip(runs["dask"], of_name, strict=True)
            )
            for key in FIGURES
        }
        cells = [name]
        for wall, cpu in (FIGURES[:2], FIGURES[2:]):
            cells += [f"{numbers[key]:.2f}" for numbers in (median, ratio) for key in (wall, cpu)]
        lines.append(f"| {' | '.join(cells)} | {median['peak']:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
