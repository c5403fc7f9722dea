"""Time and memory of `walslab ingest`, beside the same job by hand in pandas, polars and DuckDB.

    python benchmarks/ingest.py [RATINGS.csv] [--rounds 3] [--growth 5M,20M,80M] [--memory 512MiB]

Every contestant is a fresh process, timed from its start to its end, in turn within each round. RATINGS.csv
is in the form of MovieLens 20M; without it, a file of that size is made by `walslab synth`. The peers
(`ingest_peers.py`) need the dependency group `bench`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

# MovieLens 20M: ratings, users, items.
ML_20M = (20_000_263, 138_493, 26_744)
PEERS = ("pandas", "polars", "duckdb", "pandas-usual")
LIBRARIES = ("walslab", "numpy", "scipy", "pandas", "pyarrow", "polars", "duckdb")
SCALE = {"k": 1_000, "M": 1_000_000}
SAMPLE_SECONDS = 0.05
Run = dict[str, Any]


def main() -> None:
    """Print two tables, as they stand in RESULTS.md."""
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    ratings = options.ratings or synthetic(options.work, ML_20M[0], options.order)
    contestants: dict[str, Callable[[Path, Path], list[str]]] = {"walslab": walslab(options.memory)}
    contestants |= {peer: by_hand(peer) for peer in options.peers}
    print(f"## Ingest ({heading()})\n\n    python benchmarks/ingest.py {given()}\n")
    print(", ".join(f"{name} {version}" for name, version in versions().items()), end=".\n\n", flush=True)

    runs: list[Run] = []
    for number in range(options.rounds):
        warm(ratings)
        for name, command in contestants.items():
            out = options.work / f"out-{name}"
            runs.append({"contestant": name, "round": number, **measure(command, ratings, out)})
            progress(runs[-1])
        if number == 0:
            compare([options.work / f"out-{name}" for name in contestants])
    for name in contestants:
        shutil.rmtree(options.work / f"out-{name}")
    print(contest_table(runs))

    grown: list[Run] = []
    files = {size: sized(options.work, size, options.order) for size in options.growth}
    for number in range(options.rounds if files else 0):
        for size, path in files.items():
            warm(path)
            out = options.work / "out-growth"
            grown.append({"size": size, "round": number, **measure(contestants["walslab"], path, out)})
            progress(grown[-1])
            shutil.rmtree(out)
    if grown:
        print(growth_table(grown))
    if options.json:
        record = {"heading": heading(), "versions": versions(), "arguments": given()}
        record |= {"runs": runs, "growth": grown}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    """Read the command line; refuse what could only fail after minutes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", nargs="?", type=Path, metavar="RATINGS.csv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=listed, default=list(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument(
        "--growth", type=listed, default=[], help="walslab alone on these: 5M,20M,80M or files"
    )
    parser.add_argument("--memory", help="passed on to walslab ingest")
    parser.add_argument(
        "--order", choices=["user", "random"], default="user", help="lines of files made here"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("bench-ingest"), help="folder for files and outputs"
    )
    parser.add_argument("--json", type=Path, help="write the figures of every run here")
    options = parser.parse_args()
    for peer in options.peers:
        if peer not in PEERS or not importlib.util.find_spec(peer.partition("-")[0]):
            parser.error(f"--peers: {peer} is none of {', '.join(PEERS)}, or not installed (group bench)")
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, but got {options.rounds}")
    if options.ratings and not options.ratings.is_file():
        parser.error(f"{options.ratings} is no file")
    for size in options.growth:
        if not Path(size).is_file() and count(size) is None:
            parser.error(f"--growth: {size} is neither a file nor a number of ratings such as 5M")
    return options


def listed(text: str) -> list[str]:
    """Split at commas."""
    return [part for part in text.split(",") if part]


def count(size: str) -> int | None:
    """Return the number that `5M` or `500k` stands for, if it is one."""
    digits, unit = size[:-1], size[-1:]
    return int(digits) * SCALE[unit] if digits.isdecimal() and unit in SCALE else None


def script() -> str:
    """Return the path of the `walslab` that belongs to this Python."""
    return str(Path(sys.executable).with_name("walslab"))


def walslab(memory: str | None) -> Callable[[Path, Path], list[str]]:
    """Return what makes walslab's command line."""
    limit = ["--memory", memory] if memory else []
    return lambda ratings, out: [script(), "ingest", str(ratings), "--out", str(out), "--json", *limit]


def by_hand(peer: str) -> Callable[[Path, Path], list[str]]:
    """Return what makes a peer's command line."""
    program = str(Path(__file__).with_name("ingest_peers.py"))
    return lambda ratings, out: [sys.executable, program, peer, str(ratings), str(out)]


def sized(work: Path, size: str, order: str) -> Path:
    """Return the file of this name, or a made one of this many ratings."""
    n_ratings = count(size)
    return Path(size) if n_ratings is None else synthetic(work, n_ratings, order)


def synthetic(work: Path, n_ratings: int, order: str) -> Path:
    """Return a made file: as many ratings a user, and the same items, as in MovieLens 20M."""
    path = work / f"synth-{n_ratings}-{order}.csv"
    if not path.exists():
        n_users = round(ML_20M[1] * n_ratings / ML_20M[0])
        command = [script(), "synth", "--ratings", str(n_ratings), "--users", str(n_users)]
        command += ["--items", str(ML_20M[2]), "--order", order]
        # A half-written file of a run that was stopped must not pass for a whole one.
        part = path.with_name(f"part-{path.name}")
        subprocess.run([*command, "--out", str(part)], check=True, stdout=subprocess.DEVNULL)
        part.rename(path)
    return path


def warm(path: Path) -> None:
    """Read the file once, so that no contestant pays for the disk."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def measure(command: Callable[[Path, Path], list[str]], ratings: Path, out: Path) -> Run:
    """Run one contestant to its end.

    The kernel counts what this process held when it started another towards the peak of that other one; so
    this process must stay small, and what is large (`summary`) runs elsewhere.

    Returns
    -------
    dict
        Seconds by the clock (``wall``) and of all cores (``cpu``), ``peak`` resident memory of the largest
        process and of all its processes together (``peak_tree``) in MiB.
    """
    shutil.rmtree(out, ignore_errors=True)
    # Otherwise the disk still writes what the one before left.
    os.sync()
    log = out.with_suffix(".log")
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(command(ratings, out), stdout=output, stderr=subprocess.STDOUT)
        tree = TreePeak(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command(ratings, out))} failed:\n{log.read_text(encoding='utf-8')}")
    log.unlink()
    # Linux reports KiB.
    peak = used.ru_maxrss / 1024
    cpu = used.ru_utime + used.ru_stime
    return {"wall": wall, "cpu": cpu, "peak": peak, "peak_tree": max(peak, tree.stop())}


class TreePeak:
    """Peak memory of a process and its children together, by sampling while there are children.

    A page that processes share is counted once (`Pss` of /proc). Of a process without children the kernel's
    own figure is exact, so nothing is sampled.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._stop = pid, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Return the peak in MiB; zero if no child was ever seen."""
        self._stop.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            pids = family(self._pid)
            if len(pids) > 1:
                self._peak = max(self._peak, sum(map(proportional, pids)))


def family(pid: int) -> list[int]:
    """Return the process and all that descend from it."""
    found = [pid]
    # The list grows while it is walked.
    for parent in found:
        try:
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text(encoding="ascii").split())
        except OSError:  # it has just ended
            continue
    return found


def proportional(pid: int) -> float:
    """Return the memory of one process in MiB, shared pages by share."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:  # it has just ended
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


def compare(folders: list[Path]) -> None:
    """Stop unless all have made the same thing; only the choice of held-out ratings may differ."""
    seen: dict[str, Any] = {}
    for folder in folders:
        # In a process of its own: see `measure`.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seen[folder.name] = pool.submit(summary, folder).result()
    first, *others = seen
    for other in others:
        for what, value in seen[first].items():
            if seen[other][what] != value:
                sys.exit(f"{first} and {other} differ in {what}: {value} and {seen[other][what]}")


def summary(folder: Path) -> dict[str, Any]:
    """Read a dataset by SciPy and pandas alone, check it, and return what all must have in common."""
    import hashlib

    import numpy as np
    import pandas as pd
    import scipy.sparse as sp

    def stacked(kind: str) -> Any:
        return sp.vstack([sp.load_npz(path) for path in sorted(folder.glob(f"{kind}-*.npz"))], format="csr")

    def hashed(*arrays: Any) -> str:
        content = hashlib.sha256()
        for array in arrays:
            content.update(np.ascontiguousarray(array))
        return content.hexdigest()

    def wrong(what: str) -> None:
        sys.exit(f"{folder}: {what}")

    counts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["counts"]
    counts = {name: counts[name] for name in ("ratings", "users", "items", "train", "valid", "test")}
    total: Any = 0
    for name in ("train", "valid", "test"):
        matrix = stacked(f"{name}/rows")
        if matrix.nnz != counts[name] or matrix.dtype != np.float32 or not matrix.has_sorted_indices:
            wrong(f"{name}/rows are not {counts[name]:,} float32 ratings with sorted columns")
        if name == "train" and (stacked("train/cols") != matrix.T).nnz:
            wrong("train/cols are not the transpose of train/rows")
        total = matrix if name == "train" else total + matrix
    if total.nnz != counts["ratings"] or total.shape != (counts["users"], counts["items"]):
        wrong("a rating is in two splits, or in none")
    total.sort_indices()
    return {
        "counts": counts,
        **{
            name: hashed(pd.read_parquet(folder / f"{name}.parquet")["id"].to_numpy(np.int64))
            for name in ("users", "items")
        },
        "ratings": hashed(total.indptr.astype(np.int64), total.indices.astype(np.int32), total.data),
    }


def contest_table(runs: list[Run]) -> str:
    """Return the contestants as Markdown; a ratio is the median of the rounds' own ratios."""

    def of(name: str, key: str) -> list[float]:
        return [run[key] for run in runs if run["contestant"] == name]

    def ratio(name: str, key: str) -> str:
        pairs = zip(of("walslab", key), of(name, key), strict=True)
        return "" if name == "walslab" else f"{statistics.median(one / other for one, other in pairs):.2f}"

    lines = [
        "| contestant | wall s, min | median | walslab ÷ it | CPU s | peak MiB | of all | walslab ÷ it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(run["contestant"] for run in runs):
        line = (
            f"| {name} | {min(of(name, 'wall')):.2f} | {statistics.median(of(name, 'wall')):.2f} "
            f"| {ratio(name, 'wall')} | {statistics.median(of(name, 'cpu')):.2f} "
            f"| {statistics.median(of(name, 'peak')):.0f} | {statistics.median(of(name, 'peak_tree')):.0f} "
            f"| {ratio(name, 'peak_tree')} |"
        )
        lines.append(line)
    return "\n".join(lines) + "\n"


def growth_table(grown: list[Run]) -> str:
    """Return walslab's figures by size as Markdown, peaks relative to 20M or else to the first."""

    def of(size: str, key: str) -> list[float]:
        return [run[key] for run in grown if run["size"] == size]

    sizes = list(dict.fromkeys(run["size"] for run in grown))
    base = "20M" if "20M" in sizes else sizes[0]
    lines = [
        f"| ratings | wall s, min | median | CPU s | peak MiB | of all | peak ÷ {Path(base).name}'s |",
        "|---|---|---|---|---|---|---|",
    ]
    whole = statistics.median(of(base, "peak_tree"))
    for size in sizes:
        peak = statistics.median(of(size, "peak_tree"))
        lines.append(
            f"| {Path(size).name} | {min(of(size, 'wall')):.2f} | {statistics.median(of(size, 'wall')):.2f} "
            f"| {statistics.median(of(size, 'cpu')):.2f} | {statistics.median(of(size, 'peak')):.0f} "
            f"| {peak:.0f} | {peak / whole:.2f} |"
        )
    return "\n".join(lines) + "\n"


def progress(run: Run) -> None:
    """Tell one run to who is waiting, outside the tables."""
    name = run.get("contestant") or f"walslab {run['size']}"
    figures = f"{run['wall']:.2f} s, {run['cpu']:.2f} s CPU, {run['peak_tree']:.0f} MiB"
    print(f"round {run['round']}: {name} {figures}", file=sys.stderr, flush=True)


def heading() -> str:
    """Return date, machine and commit."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = next(
        (line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")), "CPU"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return (
        f"{time.strftime('%Y-%m-%d')}, {model}, {cores} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, commit {commit()}"
    )


def given() -> str:
    """Return the command line as it may be shown elsewhere: of paths, the names."""
    return " ".join(",".join(Path(part).name for part in word.split(",")) for word in sys.argv[1:])


def commit() -> str:
    """Return the commit that this file lies in, and whether there is more than it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    described = subprocess.run(
        [git, "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def versions() -> dict[str, str]:
    """Return the versions of walslab and of what the contestants use."""
    return {
        name: importlib.metadata.version(name)
        for name in LIBRARIES
        if importlib.util.find_spec(name) or name == "walslab"
    }


if __name__ == "__main__":
    main()
