"""A large run on paper: what 20 million to 10 billion ratings take, by arithmetic and by measured rates.

    python benchmarks/scale.py            # the tables of docs/scale.md, in a second
    python benchmarks/scale.py --check    # the formulas beside this machine, in minutes: 2 million ratings

The formulas and the sources of their constants are in `scale_model`. Nothing here was measured on a GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from scale_cells import duration, money, number, size, table
from scale_model import (
    ABOVE_LIMIT,
    BATCH,
    CARDS,
    FITTED,
    H100,
    INGESTED,
    MEASURED,
    MEASURED_CORES,
    NETWORK,
    NODE_CORES,
    NODE_PRICE,
    NVLINK,
    PCIE,
    SCORES_A_SECOND,
    SCRATCH_BYTES,
    STUDY_FACTOR,
    STUDY_ITERATIONS,
    TEXT_BYTES,
    TRAIN,
    TRAINING_ITERATIONS,
    VALID,
    Shape,
    card_bytes,
    cpu_seconds,
    disk_bytes,
    factors_bytes,
    flops,
    gathered,
    gpu_limit,
    host_bytes,
    ingest_bytes,
    ingest_cpu_seconds,
    largest,
    list_bytes,
    model_bytes,
    pieces,
    process_bytes,
    refit_bytes,
    shard_ratings,
    task_list_bytes,
    training_bytes,
)

from toolkit.backends.gpu_share import RESERVE

RATINGS = (20_000_000, 100_000_000, 1_000_000_000, 10_000_000_000)
RANKS = (34, 64, 128)


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
    wall, processor, _ = INGESTED[80e6]
    # As much of the cores is used as was of two.
    busy = processor / wall / MEASURED_CORES
    for shape in map(Shape.of, RATINGS):
        text = TEXT_BYTES * shape.ratings
        cpu = ingest_cpu_seconds(shape)
        seconds = [cpu / busy / cores for cores in (MEASURED_CORES, NODE_CORES)]
        rows.append(
            [
                number(shape.ratings),
                size(text),
                size(SCRATCH_BYTES * shape.ratings),
                size(disk_bytes(shape)),
                size(ingest_bytes(shape)),
                number(shard_ratings(shape)),
                number(pieces(shape)),
                size(list_bytes(shape)),
                size(task_list_bytes(shape)),
                *map(duration, seconds),
                money(seconds[1], NODE_PRICE),
            ]
        )
    head = ["ratings", "text read", "scratch", "dataset", "memory", "ratings of a range"]
    head += ["pieces", "list of pieces", "of a task"]
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
            rows.append([number(shape.ratings), str(k), *cells, size(500 * factors_bytes(shape, k))])
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
    for made in (checks, ingest_checks, shapes, ingest, opening, trial, study, after, ends, sampled, beyond)
}


def main() -> None:
    """Print the tables, or the checks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare the formulas with this machine")
    if parser.parse_args().check:
        from scale_check import check

        check()
        return
    for name, made in TABLES.items():
        print(f"<!-- {name} -->\n{made()}\n")


if __name__ == "__main__":
    main()
