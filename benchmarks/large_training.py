"""What a training larger than its machine costs, out of core and on a Dask cluster.

    python benchmarks/large_training.py --ratings 5000000
    python benchmarks/large_training.py --ratings 200000000 --beside 20000000 --iterations 3 --no-cluster
    python benchmarks/large_training.py --ratings 20000000 --rank 64

Each training is a process of its own, on ratings that `walslab synth` makes once and keeps in --folder. Time
is processor time of an iteration with its errors, without the first, of all processes that take part. The
bytes of a cluster are those that its processes write to each other, beside the arithmetic of docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import scipy.sparse as sp

from toolkit import WALS, RatingsDataset, RunOptions, WALSConfig
from toolkit.files import size_text
from toolkit.sharded import plan_memory

_SAMPLES = 0.1  # seconds from one look at the memory to the next


def main() -> None:
    """Print the table, and draw the picture."""
    asked = arguments()
    if asked.child:
        print(json.dumps(train(asked, asked.child)))
        return
    folder = Path(asked.folder)
    data = {n: dataset_of(folder, n) for n in {asked.ratings, asked.beside or asked.ratings}}
    small = asked.beside or asked.ratings
    found = {
        "in memory": run(asked, "memory", data[small]),
        "out of core": run(asked, "shards", data[asked.ratings]),
    }
    print(f"rank {asked.rank}, {asked.threads} threads, {asked.iterations} iterations, backend numba\n")
    print("| | ratings | peak memory | bytes a rating | processor ns a rating and iteration |")
    print("|---|---:|---:|---:|---:|")
    for name, each in found.items():
        print(
            f"| {name} | {each['ratings']:,} | {size_text(each['peak'])} "
            f"| {each['peak'] / each['ratings']:.1f} | {1e9 * each['seconds'] / each['ratings']:.0f} |"
        )
    inside, outside = found["in memory"], found["out of core"]
    per_rating = outside["seconds"] / outside["ratings"] / (inside["seconds"] / inside["ratings"])
    print(f"\nout of core ÷ in memory: {per_rating:.2f} of the time a rating", end="")
    print(f", {outside['peak'] / inside['peak']:.2f} of the memory")
    if asked.picture:
        draw(found, Path(asked.picture))
    if asked.cluster:
        print()
        print_cluster(asked, data[small])


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=5_000_000, help="of the training out of core")
    parser.add_argument("--beside", type=int, help="of the one in memory, where it has fewer")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--solver", choices=("auto", "exact", "cg"), default="auto")
    parser.add_argument("--folder", default=str(Path(tempfile.gettempdir(), "walslab-large")))
    parser.add_argument("--picture", help="an .svg or .png of the memory over time to write")
    parser.add_argument("--cluster", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--rounds", type=int, default=1, help="trainings of each kind beside the cluster's, in turn"
    )
    parser.add_argument("--child", choices=("memory", "shards"), help=argparse.SUPPRESS)
    parser.add_argument("--dataset", help=argparse.SUPPRESS)
    return parser.parse_args()


def dataset_of(folder: Path, n: int) -> Path:
    """Return a dataset of so many made-up ratings, made where it is not there yet."""
    path = folder / f"dataset-{n}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        csv = folder / f"{n}.csv"
        walslab = [sys.executable, "-m", "toolkit"]
        subprocess.run(
            [*walslab, "synth", "--ratings", str(n), "--out", str(csv)], check=True, stdout=subprocess.DEVNULL
        )
        subprocess.run(
            [*walslab, "ingest", str(csv), "--out", str(path)], check=True, stdout=subprocess.DEVNULL
        )
        csv.unlink()
    return path


def config_of(asked: argparse.Namespace) -> WALSConfig:
    """Return the hyperparameters of all trainings."""
    return WALSConfig(factors=asked.rank, iterations=asked.iterations, pattern_weight=0.0)


def run(asked: argparse.Namespace, kind: str, path: Path) -> dict[str, float]:
    """Return the figures of a training in a process of its own."""
    command = [sys.executable, __file__, "--child", kind, "--dataset", str(path)]
    for name in ("rank", "iterations", "threads", "solver"):
        command += [f"--{name}", str(getattr(asked, name))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "ratings": RatingsDataset.open(path).counts["train"]}


def train(asked: argparse.Namespace, kind: str) -> dict[str, object]:
    """Train in this process; return its processor time an iteration, and its memory over time."""
    data, config = RatingsDataset.open(asked.dataset), config_of(asked)
    plan = plan_memory(data, config, itemsize=4, threads=asked.threads)
    budget = plan.streamed + 1 if kind == "shards" else 1 << 50
    marks, memory, ended = [], [], threading.Event()

    def look() -> None:
        began = time.monotonic()
        while not ended.wait(_SAMPLES):
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            memory.append((time.monotonic() - began, pages * resource.getpagesize()))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    options = RunOptions(backend="numba", threads=asked.threads, solver=asked.solver)
    warm(config, options)
    model = WALS(config, options).fit(
        data,
        memory=budget,
        on_iteration=lambda _: marks.append((processor_time(), time.perf_counter())),
        progress=False,
    )
    with tempfile.TemporaryDirectory(dir=Path(asked.dataset).parent) as folder:
        model.save(Path(folder, "model"))
    ended.set()
    looking.join()
    seconds, wall = (
        (last - first) / (len(marks) - 1) for first, last in zip(marks[0], marks[-1], strict=True)
    )
    return {
        "seconds": seconds,
        "wall": wall,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "memory": memory,
    }


def warm(config: WALSConfig, options: RunOptions) -> None:
    """Load all compiled loops: those of the last iteration would otherwise be compiled in it."""
    WALS(config, options).fit(sp.random_array((60, 40), density=0.4, rng=0, format="csr"), progress=False)


def processor_time() -> float:
    """Return the processor time of this process, in seconds."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def draw(found: dict[str, dict[str, float]], path: Path) -> None:
    """Draw the memory of the trainings over time."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3))
    for name, each in found.items():
        seconds, sizes = zip(*each["memory"], strict=True)
        axes.plot(
            seconds, [size / 2**30 for size in sizes], label=f"{name}, {each['ratings'] / 1e6:.0f}M ratings"
        )
    axes.set(xlabel="seconds", ylabel="resident GiB", ylim=(0, None))
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)


# ------------------------------------------------------------------------------------------ a cluster


def count_written() -> None:
    """Count the bytes that this process of a cluster writes to others."""
    from distributed.comm.tcp import TCP

    if not hasattr(TCP, "walslab_written"):
        TCP.walslab_written = 0
        write = TCP.write

        async def counted(self: TCP, *given: object, **named: object) -> int:
            n = await write(self, *given, **named)
            TCP.walslab_written += n
            return n

        TCP.write = counted


def state() -> tuple[float, int]:
    """Return the processor time and the bytes written of this process of a cluster."""
    from distributed.comm.tcp import TCP

    return processor_time(), TCP.walslab_written


def print_cluster(asked: argparse.Namespace, path: Path) -> None:
    """Print what two workers of one thread take, beside one process of two: the least of some rounds."""
    rounds = [(run(asked, "memory", path), on_cluster(asked, path)) for _ in range(asked.rounds)]
    inside = {name: min(each[name] for each, _ in rounds) for name in ("seconds", "wall")}
    cluster = {name: min(each[name] for _, each in rounds) for name in ("seconds", "wall", "written")}
    stated = exchanged(RatingsDataset.open(path), asked.rank, workers=2)
    print("| two workers of one thread ÷ one process of two threads | |\n|---|---:|")
    print(f"| processor time of an iteration | {cluster['seconds'] / inside['seconds']:.2f} |")
    print(f"| its time | {cluster['wall'] / inside['wall']:.2f} |")
    print(f"| bytes written in an iteration | {size_text(cluster['written'])} |")
    print(f"| by the arithmetic | {size_text(stated)} |")
    print(f"| written ÷ arithmetic | {cluster['written'] / stated:.3f} |")


def on_cluster(asked: argparse.Namespace, path: Path) -> dict[str, float]:
    """Return the figures of a training with two workers of one thread."""
    from distributed import Client, LocalCluster

    data, config, marks = RatingsDataset.open(path), config_of(asked), []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=None) as cluster,
        Client(cluster) as client,
    ):
        count_written()
        client.run(count_written)

        def mark(_: object) -> None:
            # The scheduler is in this process.
            states = [state(), *client.run(state).values()]
            marks.append((sum(s for s, _ in states), sum(n for _, n in states), time.perf_counter()))

        options = RunOptions(backend="numba", threads=asked.threads, solver=asked.solver)
        client.run(warm, config, options)
        WALS(config, options).fit(
            data, dask_scheduler=cluster.scheduler_address, on_iteration=mark, progress=False
        )
    n = len(marks) - 1
    seconds, written, wall = ((last - first) / n for first, last in zip(marks[0], marks[-1], strict=True))
    return {"seconds": seconds, "written": written, "wall": wall}


def exchanged(data: RatingsDataset, k: int, *, workers: int) -> float:
    """Return the bytes that an iteration with its errors takes, without pattern factors and momentum."""
    users, items = data.n_users, data.n_items
    factors, weights = 4 * (users + items) * (k + 1), 4 * items
    # What is shared goes to a worker, and from worker to worker.
    shared = workers * (factors + weights)
    # What a task has for itself goes through the scheduler. Results come from the workers.
    own, results = 16 * (users + items) + weights, factors + 16 * users
    return float(shared + 2 * own + results)


if __name__ == "__main__":
    # BLAS would start threads of its own in each process.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
