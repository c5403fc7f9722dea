"""What a large run takes, by arithmetic and by measured rates: its work and its memory.

Every constant names its source; every formula is a function here, once. Memory of a training on a GPU is what
`toolkit.backends.gpu_share` asks for before it takes the device. Nothing here was measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.backends.gpu_share import RESERVE
from toolkit.backends.memory_estimate import device_bytes
from toolkit.config import WALSConfig
from toolkit.ingest.memory import PER_SHARD_RATING, capacity
from toolkit.ingest.shards import SHARD_RATINGS, automatic_shard_ratings
from toolkit.synth import movielens_counts

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
# errors of train and valid, by one without (rank 64); scores that `toolkit.evaluation.ranking.rank` ranks a
# second; and processor time of an ingest for each piece: what a range of users has in a block, or in a range
# of items.
STUDY_FACTOR, SCORES_A_SECOND, PIECE_SECONDS = 1.55, 6.8e7, 63e-6
# Measured (20M-row CSV of 517 MB, shared facts of the project), and docs/adr/0004.
TEXT_BYTES, SCRATCH_BYTES = 517e6 / 20_000_263, 20
# Of the default search, tune/spec/default.yaml, and of the preset that trains the winner.
STUDY_ITERATIONS, TRAINING_ITERATIONS = 15, 20
TRAIN, VALID, TEST = 0.8, 0.1, 0.1

# Published by the makers of the cards: float32 FLOP/s without tensor cores, bytes/s of memory, bytes that are
# there for a process; and bytes/s one way between the cards of an H100 node, and from the host (PCIe 5, x16).
NVLINK, PCIE = 450e9, 50e9
BATCH = 2 << 30  # of `toolkit.backends.base`, on a card that has room for it
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
        return index_bytes(self.train)

    @property
    def longest_row(self) -> float:
        """Training ratings of the most popular item: of 67,310 of 138,493 users, as in MovieLens 20M."""
        return TRAIN * self.users * 67_310 / 138_493


def index_bytes(n: float) -> int:
    """Return the bytes of a row or column number in a matrix of n ratings, as scipy chooses them."""
    return 4 if n < 2**31 else 8


# The work


def flops(n: float, rows: float, k: int) -> float:
    """Return the operations of an exact iteration: half of each symmetric product, and Cholesky.

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

    Blocks have 64 MiB at most. Ranges have half a million ratings up to 100 million, and grow with the square
    root above: so pieces grow in proportion to the ratings.
    """
    text, size = int(TEXT_BYTES * shape.ratings), shard_ratings(shape)
    block = capacity(8 << 30, input_bytes=text, shard_ratings=size, most_workers=2).block_bytes
    return shape.ratings / size * (text / block + shape.train / size)


def shard_ratings(shape: Shape) -> int:
    """Return the ratings of a range, as an ingest chooses them."""
    return automatic_shard_ratings(int(shape.ratings))


def list_bytes(shape: Shape) -> float:
    """Return the bytes of the list of what each range of users has in each range of items."""
    return 16 * shape.ratings * shape.train / shard_ratings(shape) ** 2


def task_list_bytes(shape: Shape) -> float:
    """Return the bytes of the list that a task of the last stage gets: what its range has in the others."""
    return 32 * shape.ratings / shard_ratings(shape)


def ingest_bytes(shape: Shape) -> float:
    """Return the memory of an ingest in two threads: as measured, and what larger ranges and all ids add."""
    _, _, mib = INGESTED[80e6]
    more = MEASURED_CORES * PER_SHARD_RATING * (shard_ratings(shape) - SHARD_RATINGS)
    return mib * 2**20 + more + 12 * (shape.users + shape.items)


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


def factors_bytes(shape: Shape, k: int) -> float:
    """Return the bytes of a trial's factors and biases, and of what its items' pattern factors explain."""
    return 4.0 * ((k + 1) * (shape.users + shape.items) + k * shape.items)


def model_bytes(shape: Shape, k: int) -> float:
    """Return the bytes of the model that refit saves: factors, ids, counts of items, and all its ratings."""
    n = (TRAIN + VALID) * shape.ratings
    ratings = n * (4 + index_bytes(n)) + shape.users * index_bytes(n)
    return factors_bytes(shape, k) + ratings + shape.users * 8 + shape.items * (8 + 8)


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
