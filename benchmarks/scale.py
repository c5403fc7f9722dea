"""A large run on paper: what 20 million to 10 billion ratings take, by arithmetic and by measured rates.

    python benchmarks/scale.py            # the tables of docs/scale.md, in a second
    python benchmarks/scale.py --check    # the formulas beside this machine, in minutes: 2 million ratings

Every constant names its source; every formula is a function here, once. Memory of a training on a GPU is what
`toolkit.device` asks for before it takes the device. Nothing here was measured on a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.config import WALSConfig
from toolkit.device import RESERVE, device_bytes
from toolkit.ingest.memory import plan
from toolkit.ingest.writing import SHARD_RATINGS
from toolkit.synth.counts import movielens_counts

RATINGS = (20_000_000, 100_000_000, 1_000_000_000, 10_000_000_000)
RANKS = (34, 64, 128)

# Measured, benchmarks/RESULTS.md of 2026-11-24, on 2 cores.
# "Ingest": ratings, with wall (min) and processor seconds, and MiB of the process.
INGESTED = {5e6: (2.50, 3.32, 198), 20e6: (5.80, 9.54, 220), 80e6: (22.97, 37.22, 254)}
# "Solver on a CPU": ratings, users, items and seconds an iteration (min) by rank.
MEASURED: dict[str, tuple[int, int, int, dict[int, float]]] = {
    "MovieLens 1M": (1_000_209, 6_040, 3_706, {16: 0.045, 34: 0.047, 64: 0.100, 128: 0.268}),
    "5M made up": (5_000_000, 34_622, 26_744, {16: 0.169, 34: 0.288, 64: 0.573, 128: 1.481}),
    "20M made up": (20_000_000, 138_491, 26_744, {16: 0.664, 34: 1.053, 64: 2.108}),
}
FITTED = "20M made up"
MEASURED_CORES = 2
# Measured by --check, 2026-11-25, on 1 core beside other work: an iteration with pattern factors and the
# errors of train and valid, by one without (rank 64); scores that `toolkit.ranking.rank` ranks a second; and
# processor time of an ingest for each piece: what a range of users has in a block, or in a range of items.
STUDY_FACTOR, SCORES_A_SECOND, PIECE_SECONDS = 1.55, 6.8e7, 63e-6
# Measured (20M-row CSV of 517 MB, shared facts of the project), and docs/adr/0004.
TEXT_BYTES, SCRATCH_BYTES = 517e6 / 20_000_263, 20
# Of the default search, tune/default.yaml, and of the preset that trains the winner.
STUDY_ITERATIONS, TRAINING_ITERATIONS = 15, 20
TRAIN, VALID, TEST = 0.8, 0.1, 0.1

# Published by the makers of the cards: float32 FLOP/s without tensor cores, bytes/s of memory, bytes that are
# there for a process; and bytes/s one way between the cards of an H100 node, and from the host (PCIe 5, x16).
NVLINK, PCIE = 450e9, 50e9
BATCH = 2 << 30  # of `toolkit.backend`, on a card that has room for it
# Prices an hour: an assumption of 2026-11, on-demand list price, order of magnitude; check yours.
NODE_CORES, NODE_PRICE = 16, 1.6  # 16 cores, 128 GiB
NETWORK = 1.25e9  # bytes/s of a node: an assumption, 10 Gbit/s
# Above the slower of arithmetic and memory: an assumption. Kernels of this project's own are to reach 3.4
# to 4.3 on an H200, by its aims; the best published, on an RTX 3060, are at 1.4 to 2.
ABOVE_LIMIT = 5.0


@dataclass(frozen=True)
class Card:
    """A GPU: published limits, and an assumed price an hour."""

    name: str
    flops: float
    bandwidth: float
    memory: float
    price: float


CARDS = (
    Card("L4", 30e12, 0.30e12, 22.5 * 2**30, 0.8),
    Card("H100", 67e12, 3.35e12, 78 * 2**30, 5.0),
    Card("H200", 67e12, 4.8e12, 139 * 2**30, 5.5),
)
H100 = CARDS[1]


@dataclass(frozen=True)
class Shape:
    """So many ratings, of so many users and items."""

    ratings: float
    users: int
    items: int

    @classmethod
    def of(cls, ratings: float) -> Shape:
        """Return the shape of `walslab synth`: users grow with the ratings, items with their cube root."""
        return cls(ratings, *movielens_counts(int(ratings)))

    @property
    def train(self) -> float:
        """Training ratings of the default split."""
        return TRAIN * self.ratings

    @property
    def index(self) -> int:
        """Bytes of a column number, as scipy chooses them."""
        return 4 if self.train < 2**31 else 8

    @property
    def longest_row(self) -> float:
        """Training ratings of the most popular item: of 67,310 of 138,493 users, as in MovieLens 20M."""
        return TRAIN * self.users * 67_310 / 138_493


# The work


def flops(n: float, rows: float, k: int) -> float:
    """Return the operations of an exact iteration, as benchmarks/solver_cpu.py counts them.

    Each half-step adds n products of k factors with themselves, half of each as it is symmetric, k (k + 1);
    and solves its rows by Cholesky, k³/3 + 2 k² each.
    """
    return 2.0 * n * k * (k + 1) + rows * (k**3 / 3 + 2 * k**2)


def gathered(n: float, k: int) -> float:
    """Return the bytes that both half-steps read: for a rating k factors, a bias, and itself."""
    return 2 * n * (4 * (k + 1) + 8)


def cpu_seconds(n: float, rows: float, k: int, cores: float = MEASURED_CORES) -> float:
    """Return seconds of an iteration: a time for each rating, and a rate of arithmetic; cores add up.

    Both follow from the 20M ratings at ranks 34 and 64. More than two cores were not measured.
    """
    nnz, users, items, took = MEASURED[FITTED]
    work = {rank: flops(nnz, users + items, rank) for rank in (34, 64)}
    rate = (work[64] - work[34]) / (took[64] - took[34])
    each = (took[34] - work[34] / rate) / nnz
    return (n * each + flops(n, rows, k) / rate) * MEASURED_CORES / cores


def pieces(shape: Shape) -> float:
    """Return how many pieces an ingest reads: each range of users in each block and each range of items.

    Ranges have half a million ratings, and blocks 64 MiB at most, so that pieces grow with the square.
    """
    text = int(TEXT_BYTES * shape.ratings)
    block = plan(8 << 30, input_bytes=text, shard_ratings=SHARD_RATINGS, most_workers=2).block_bytes
    return shape.ratings / SHARD_RATINGS * (text / block + shape.train / SHARD_RATINGS)


def ingest_cpu_seconds(shape: Shape) -> float:
    """Return the processor seconds of an ingest: of its start, of each rating, and of each piece.

    The first two follow from 5M and 80M ratings.
    """

    def without_pieces(ratings: float) -> float:
        return INGESTED[ratings][1] - pieces(Shape.of(ratings)) * PIECE_SECONDS

    each = (without_pieces(80e6) - without_pieces(5e6)) / (80e6 - 5e6)
    start = without_pieces(5e6) - 5e6 * each
    return start + shape.ratings * each + pieces(shape) * PIECE_SECONDS


def gpu_limit(n: float, rows: float, k: int, card: Card) -> float:
    """Return seconds below which no iteration in float32 can be on a card: arithmetic, or reading."""
    return max(flops(n, rows, k) / card.flops, gathered(n, k) / card.bandwidth)


# Memory


def disk_bytes(shape: Shape) -> float:
    """Return the bytes of a dataset directory: 8 a stored rating, training ratings twice; rows and ids.

    A row costs 4 bytes in each kind of shard, and 12 in the id table, where it is not compressed further.
    """
    ratings = 8 * shape.ratings * (2 * TRAIN + VALID + TEST)
    return ratings + shape.users * (3 * 4 + 12) + shape.items * (4 + 12)


def host_bytes(shape: Shape) -> float:
    """Return the bytes of a study's ratings in a node's memory: both orientations, and validation pairs."""
    pointers = shape.index * (shape.users + shape.items)
    return shape.train * 2 * (4 + shape.index) + pointers + VALID * shape.ratings * 12


def process_bytes(shape: Shape) -> float:
    """Return what each process of a trial has beside them: the user of each rating, and the batches' rows."""
    return 4 * shape.train + 32 * (shape.users + shape.items)


def model_bytes(shape: Shape, k: int) -> float:
    """Return the bytes of a trial's factors and biases."""
    return 4.0 * (k + 1) * (shape.users + shape.items)


def refit_bytes(shape: Shape) -> float:
    """Return the bytes of `train_and_valid` at its fullest: what is read, as pairs, together, and sorted."""
    read = shape.train * (4 + shape.index) + VALID * shape.ratings * 12
    pairs = shape.train * shape.index + (TRAIN + VALID) * shape.ratings * (4 + 2 * shape.index)
    return read + pairs + (TRAIN + VALID) * shape.ratings * (4 + shape.index)


def training_bytes(shape: Shape, k: int, pattern: float) -> float:
    """Return what a training holds beside the ratings, without its batches; on a CPU about as on a GPU."""
    return device_bytes(WALSConfig(factors=k, pattern_weight=pattern), shape.users, shape.items)


def card_bytes(shape: Shape, k: int, pattern: float = 1.0) -> float:
    """Return the device memory of a trial: ratings, the batch of the longest row, the training, CUDA's own.

    A row is never cut: its gathered factors are there up to four times, beside 40 bytes of numbers and places
    for each rating. Larger batches take what is left.
    """
    row = shape.longest_row * (4 * 4 * (k + 1) + 40)
    ratings = host_bytes(shape) + process_bytes(shape)
    return ratings + row + training_bytes(shape, k, pattern) + RESERVE


def largest(k: int, card: Card, pattern: float) -> float:
    """Return the most ratings of which a trial fits a card."""
    low, high = 1e6, 1e12
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        low, high = (
            (middle, high) if card_bytes(Shape.of(middle), k, pattern) <= card.memory else (low, middle)
        )
    return low


# Tables


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    lines = [list(head)]
    lines += [["---"] + ["---:"] * (len(lines[0]) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines + [list(row) for row in rows])


def number(value: float) -> str:
    """Return a number of things."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def size(value: float) -> str:
    """Return bytes, in powers of ten."""
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= scale:
            return f"{value / scale:.{0 if value >= 100 * scale else 1}f} {unit}"
    return f"{value / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """Return a time, to two digits."""
    for scale, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 2 * scale or scale == 1:
            found = seconds / scale
            return f"{found:.0f} {unit}" if found >= 10 else f"{found:.2g} {unit}"
    raise AssertionError


def money(seconds: float, price: float) -> str:
    """Return what it costs, to two digits."""
    dollars = seconds / 3600 * price
    return "< $0.01" if dollars < 0.01 else f"${dollars:,.2g}" if dollars < 100 else f"${dollars:,.0f}"


def checks() -> str:
    """Return predicted seconds of an iteration beside those measured, on the same two cores."""
    rows = []
    for name, (nnz, users, items, took) in MEASURED.items():
        for k, measured in took.items():
            found = cpu_seconds(nnz, users + items, k)
            fitted = " (fitted)" if name == FITTED and k in (34, 64) else ""
            rows.append([name, str(k), f"{found:.3f}", f"{measured:.3f}", f"{found / measured:.2f}{fitted}"])
    return table(["ratings", "rank", "predicted s", "measured s", "predicted ÷ measured"], rows)


def ingest_checks() -> str:
    """Return predicted processor seconds of an ingest beside those measured."""
    rows = []
    for ratings, (_, measured, _) in INGESTED.items():
        found = ingest_cpu_seconds(Shape.of(ratings))
        fitted = "" if ratings == 20e6 else " (fitted)"
        rows.append([number(ratings), f"{found:.2f}", f"{measured:.2f}", f"{found / measured:.2f}{fitted}"])
    return table(["ratings", "predicted processor s", "measured s", "predicted ÷ measured"], rows)


def shapes() -> str:
    """Return what there is to do."""
    rows = []
    for shape in map(Shape.of, RATINGS):
        both = shape.users + shape.items
        work = [f"{flops(shape.train, both, k) / 1e12:,.3g}" for k in RANKS]
        read = [size(gathered(shape.train, k)) for k in RANKS]
        rows.append([number(shape.ratings), number(shape.users), number(shape.items), *work, *read])
    head = ["ratings", "users", "items"]
    head += [f"TFLOP, k {k}" for k in RANKS] + [f"read, k {k}" for k in RANKS]
    return table(head, rows)


def ingest() -> str:
    """Return what making the dataset takes."""
    rows = []
    wall, processor, mib = INGESTED[80e6]
    # As much of the cores is used as was of two.
    busy = processor / wall / MEASURED_CORES
    for shape in map(Shape.of, RATINGS):
        text, parts = TEXT_BYTES * shape.ratings, shape.ratings / SHARD_RATINGS
        cpu = ingest_cpu_seconds(shape)
        seconds = [cpu / busy / cores for cores in (MEASURED_CORES, NODE_CORES)]
        rows.append(
            [
                number(shape.ratings),
                size(text),
                size(SCRATCH_BYTES * shape.ratings),
                size(disk_bytes(shape)),
                size(mib * 2**20 + 12 * (shape.users + shape.items)),
                number(pieces(shape)),
                size(16 * parts * TRAIN * parts),
                *map(duration, seconds),
                money(seconds[1], NODE_PRICE),
            ]
        )
    head = ["ratings", "text read", "scratch", "dataset", "memory", "pieces", "list of pieces"]
    return table([*head, "2 cores", f"{NODE_CORES} cores", "cost"], rows)


def opening() -> str:
    """Return what a node needs before the first trial."""
    rows = []
    for shape in map(Shape.of, RATINGS):
        host = host_bytes(shape)
        rows.append(
            [
                number(shape.ratings),
                size(host),
                size(2 * host),
                *(size(process_bytes(shape) + training_bytes(shape, 64, pattern)) for pattern in (0, 1)),
                duration(disk_bytes(shape) / NETWORK),
                duration(host / NETWORK),
                size(refit_bytes(shape)),
            ]
        )
    head = ["ratings", "ratings held", "while they are put", "each process more", "with pattern"]
    head += ["read from storage"]
    return table([*head, "sent to a node", "refit, at its fullest"], rows)


def trial() -> str:
    """Return seconds of an iteration and of a training, on a node and on an H100."""
    rows = []
    for shape in map(Shape.of, RATINGS):
        for k in RANKS:
            n, both = shape.train, shape.users + shape.items
            cpu, limit = cpu_seconds(n, both, k, NODE_CORES), gpu_limit(n, both, k, H100)
            whole = [TRAINING_ITERATIONS * s for s in (cpu, ABOVE_LIMIT * limit)]
            rows.append(
                [
                    number(shape.ratings),
                    str(k),
                    duration(cpu_seconds(n, both, k)),
                    duration(cpu),
                    duration(whole[0]),
                    money(whole[0], NODE_PRICE),
                    f"{limit:.2g} s",
                    duration(whole[1]),
                    money(whole[1], H100.price),
                    size(card_bytes(shape, k, 0)),
                    size(card_bytes(shape, k)),
                ]
            )
    head = ["ratings", "rank", "2 cores", f"{NODE_CORES} cores", f"{TRAINING_ITERATIONS} iterations", "cost"]
    head += ["H100, limit", f"× {ABOVE_LIMIT:g}, {TRAINING_ITERATIONS} iterations", "cost", "GPU memory"]
    return table([*head, "with pattern"], rows)


def study() -> str:
    """Return what a search takes, by rank; every trial does all its iterations."""
    rows = []
    for shape in map(Shape.of, RATINGS):
        for k in RANKS[:2]:
            n, both = shape.train, shape.users + shape.items
            each = STUDY_ITERATIONS * STUDY_FACTOR
            cpu = each * cpu_seconds(n, both, k, NODE_CORES)
            gpu = each * ABOVE_LIMIT * gpu_limit(n, both, k, H100)
            cells = []
            for trials in (100, 500):
                cells += [duration(trials * cpu), money(trials * cpu, NODE_PRICE)]
                cells += [duration(trials * gpu), money(trials * gpu, H100.price)]
            rows.append([number(shape.ratings), str(k), *cells, size(500 * model_bytes(shape, k))])
    head = ["ratings", "rank"]
    for trials in (100, 500):
        head += [f"{trials} trials, node-time", "cost", f"{trials} trials, H100-time", "cost"]
    return table([*head, "factors of 500"], rows)


def after() -> str:
    """Return what the winner takes: a training on train and valid, and every user's ten best items."""
    rows = []
    for shape in map(Shape.of, RATINGS):
        k, n, both = 64, (TRAIN + VALID) * shape.ratings, shape.users + shape.items
        cpu = TRAINING_ITERATIONS * cpu_seconds(n, both, k, NODE_CORES)
        gpu = TRAINING_ITERATIONS * ABOVE_LIMIT * gpu_limit(n, both, k, H100)
        scores = float(shape.users) * shape.items
        rank = scores / SCORES_A_SECOND / NODE_CORES
        cells = [duration(cpu), money(cpu, NODE_PRICE), duration(gpu), money(gpu, H100.price)]
        cells += [size(model_bytes(shape, k)), f"{scores:.2g}", duration(rank), money(rank, NODE_PRICE)]
        rows.append([number(shape.ratings), *cells, size(120 * shape.users)])
    head = [
        "ratings",
        f"refit, {NODE_CORES} cores",
        "cost",
        f"H100, limit × {ABOVE_LIMIT:g}",
        "cost",
        "model",
    ]
    return table([*head, "scores", f"all users, {NODE_CORES} cores", "cost", "ten items each"], rows)


def ends() -> str:
    """Return how many ratings fit one card."""
    rows = []
    for card in CARDS:
        for k in RANKS:
            cells = [number(largest(k, card, pattern)) for pattern in (0, 1)]
            rows.append([f"{card.name}, {card.memory / 2**30:g} GiB", str(k), *cells])
    return table(["card", "rank", "ratings that fit", "with pattern factors"], rows)


def beyond() -> str:
    """Return what the ways beyond one card would take, at rank 64 and without pattern factors; not built."""
    rows = []
    k, cards = 64, 8
    for shape in map(Shape.of, RATINGS[1:]):
        n, both = shape.train, shape.users + shape.items
        limit = gpu_limit(n, both, k, H100)
        # Of its own ratings, whose places fit 4 bytes.
        ratings = (20 * n + 12 * VALID * shape.ratings) / cards
        users, items = (4 * (k + 1) * rows for rows in (shape.users, shape.items))
        moved = users + items
        rows.append(
            [
                number(shape.ratings),
                size(card_bytes(shape, k, 0)),
                # Both sides on every card, and what it solves twice more.
                size(ratings + moved + 2 * max(users, items) / cards + BATCH + RESERVE),
                f"{(cards - 1) / cards * moved / NVLINK:.2g} s",
                # Its part of both sides, what it solves twice more, and rows as a batch needs them.
                size(ratings + moved / cards + 2 * max(users, items) / cards + BATCH + RESERVE),
                f"{(cards - 1) / cards * gathered(n, k) / cards / NVLINK:.2g} s",
                f"{ABOVE_LIMIT * limit / cards:.2g} s",
                f"{16 * n / PCIE:.2g} s",
                f"{ABOVE_LIMIT * limit:.2g} s",
            ]
        )
    head = ["ratings", "one card", "8 cards, factors on each", "all-gather", "8 cards, factors in parts"]
    head += [
        "rows by NVLink",
        f"limit × {ABOVE_LIMIT:g} on 8",
        "through PCIe",
        f"limit × {ABOVE_LIMIT:g} on one",
    ]
    return table(head, rows)


def sampled() -> str:
    """Return the cost of 100 trials on some of the users and one training on all; 16 cores, rank 64."""
    rows = []
    k = 64
    for shape in map(Shape.of, RATINGS):

        def cost(part: float, shape: Shape = shape) -> float:
            n, both = part * shape.train, part * shape.users + shape.items
            return 100 * STUDY_ITERATIONS * STUDY_FACTOR * cpu_seconds(n, both, k, NODE_CORES)

        n = (TRAIN + VALID) * shape.ratings
        once = TRAINING_ITERATIONS * cpu_seconds(n, shape.users + shape.items, k, NODE_CORES)
        cells = [money(cost(1) + once, NODE_PRICE)]
        cells += [money(cost(part) + once, NODE_PRICE) for part in (1 / 2, 1 / 8, 1 / 64)]
        rows.append([number(shape.ratings), *cells])
    return table(["ratings", "100 trials on all", "on half of the users", "on an eighth", "on a 64th"], rows)


TABLES: dict[str, Callable[[], str]] = {
    made.__name__: made
    for made in (
        checks,
        ingest_checks,
        shapes,
        ingest,
        opening,
        trial,
        study,
        after,
        ends,
        sampled,
        beyond,
    )
}


# The formulas beside this machine


def check() -> None:
    """Make 2 million ratings, and print what is predicted of them beside what is found."""
    import numpy as np

    from toolkit.backend import Backend
    from toolkit.ingest import RatingsSource, ingest_ratings
    from toolkit.layout import TrainingData
    from toolkit.metrics import pairs_on, rmse
    from toolkit.ranking import rank
    from toolkit.synth import write_ratings
    from toolkit.trainer import Trainer

    k = 64
    with tempfile.TemporaryDirectory() as folder:
        users, items = movielens_counts(2_000_000)
        made = write_ratings(Path(folder, "r.csv"), ratings=2_000_000, users=users, items=items)
        source = RatingsSource.detect([made.path])
        data = ingest_ratings(source, Path(folder, "data"))
        shape = Shape(data.counts["ratings"], data.n_users, data.n_items)
        found = {
            "text": (TEXT_BYTES * shape.ratings, Path(made.path).stat().st_size),
            "dataset": (disk_bytes(shape), sum(entry["bytes"] for entry in data.manifest["files"])),
            "ratings held": (
                host_bytes(shape),
                sum(map(_bytes_of, (data.train, data.train_by_item, data.valid))),
            ),
        }
        rows = [[name, size(a), size(b), f"{a / b:.3f}"] for name, (a, b) in found.items()]
        print(table(["2M ratings", "predicted", "found", "predicted ÷ found"], rows), "\n")

        backend = Backend.require("numba")
        training = TrainingData(data.train, data.train_by_item, backend=backend)
        pairs = pairs_on(backend, data.valid)
        took: dict[str, list[float]] = {"an iteration": [], "with pattern factors": [], "and errors": []}
        trainers = [Trainer(training, WALSConfig(factors=k, pattern_weight=w)) for w in (0, 1)]
        for _ in range(6):
            for name, trainer in zip(took, trainers, strict=False):
                took[name].append(_seconds(trainer.step))

            def errors() -> None:
                trainers[1].train_rmse()
                rmse(trainers[1].factors, *pairs, backend)

            took["and errors"].append(took["with pattern factors"][-1] + _seconds(errors))
        best = {name: min(times[2:]) for name, times in took.items()}
        predicted = cpu_seconds(training.nnz, users + items, k, backend.threads)
        rows = [[name, f"{s:.3f}", f"{s / best['an iteration']:.2f}"] for name, s in best.items()]
        rows.insert(0, ["predicted", f"{predicted:.3f}", f"{predicted / best['an iteration']:.2f}"])
        print(table([f"rank {k}, {backend.threads} threads", "s", "÷ an iteration"], rows), "\n")

        ranked = int(np.count_nonzero(np.diff(data.valid.tocsr().indptr)))
        factors = trainers[1].host_factors()
        seconds = _seconds(lambda: rank(factors, data.valid, seen=[data.train], backend=backend))
        print(f"{ranked * shape.items / seconds:.3g} scores a second ranked\n")

        rows = []
        for shard in (SHARD_RATINGS, 8192, 4096, 2048):
            began = time.process_time()
            ingest_ratings(source, Path(folder, f"data-{shard}"), shard_ratings=shard)
            rows.append([f"{shard:,}", f"{time.process_time() - began:.2f}", *_pieces(shape, source, shard)])
        print(table(["ratings a shard", "processor s", "pieces"], rows))


def _pieces(shape: Shape, source: Any, shard: int) -> list[str]:
    runs = sum(file.expanded_size() for file in source.files) / (4 << 20)
    parts = shape.ratings / shard
    return [number(parts * (runs + shape.train / shard))]


def _bytes_of(matrix: Any) -> int:
    names = ("data", "indices", "indptr", "row", "col")
    return sum(getattr(matrix, name).nbytes for name in names if hasattr(matrix, name))


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    """Print the tables, or the checks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare the formulas with this machine")
    if parser.parse_args().check:
        check()
        return
    for name, made in TABLES.items():
        print(f"<!-- {name} -->\n{made()}\n")


if __name__ == "__main__":
    main()
