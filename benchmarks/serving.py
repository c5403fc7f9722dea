"""A served model under load: how soon it answers at a given rate of requests, and in how much memory.

    python benchmarks/serving.py                              # of MovieLens-1M size
    python benchmarks/serving.py --users 1M --items 1M --ratings 20
    python benchmarks/serving.py --parts                      # what a request costs, without a server

The factors are made up, as what they hold costs nothing. `mlflow models serve` runs with one worker. Requests
are sent when their time has come, whether or not those before are answered (an open loop), and each answer is
timed from then: a server that stops for a second is charged for all who wait meanwhile. The client takes its
share of the same cores.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from toolkit.config import PRESETS
from toolkit.models import WALS
from toolkit.predictor import Side
from toolkit.processors import usable_processors
from toolkit.serving import write_mlflow_model
from toolkit.solver import Factors

# Kinds of requests, and how many of a hundred.
MIX = {"recommend, known user": 65, "predict, known user": 15, "recommend, new user": 15, "unknown user": 5}
NEW_RATINGS = 20
CONNECTIONS = 64
WARM_UP = 50
# Seconds that a connection is used again: after 5, the server closes it.
KEPT = 3


def made_up(users: int, items: int, per_user: int, rank: int, preset: str) -> WALS:
    """Return a model of random numbers."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) * np.float32(0.1)

    config = PRESETS[preset].replace(factors=rank)
    sides = [Side(draw(n, rank), draw(n)) for n in (users, items)]
    pattern = draw(items, rank) if config.pattern_weight else None
    factors = Factors(*sides, 3.5, config, 10, pattern, scale=(1.0, 5.0))
    # Each user's items, ascending and different: one of each of as many equal parts.
    part = items // per_user
    columns = (np.arange(per_user) * part + rng.integers(0, part, (users, per_user))).astype(np.int32)
    values = rng.integers(1, 6, columns.size).astype(np.float32)
    ends = np.arange(users + 1, dtype=np.int32) * per_user
    rated = sp.csr_matrix((values, columns.ravel(), ends), shape=(users, items))
    model = WALS.from_factors(factors, rated)
    model.titles = np.array([f"Title of item {n}" for n in range(items)])
    return model


def request(rng: np.random.Generator, kind: str, users: int, items: int) -> bytes:
    """Return a request of a kind."""
    row: dict[str, object] = {"user": int(rng.integers(users))}
    if kind.startswith("predict"):
        row["item"] = int(rng.integers(items))
    elif kind.endswith("new user"):
        rated = rng.choice(items, NEW_RATINGS, replace=False).tolist()
        row = {"ratings": [{"item": i, "rating": int(rng.integers(1, 6))} for i in rated]}
    elif kind.startswith("unknown"):
        row = {"user": users + int(rng.integers(users))}
    return json.dumps({"dataframe_records": [row], "params": {"n": 10}}).encode()


class Load:
    """Requests at a rate, and when each was answered."""

    def __init__(self, port: int, rate: float, seconds: float, *, users: int, items: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.port, self.rate = port, rate
        n = max(1, int(rate * seconds))
        # Independent users: exponential gaps.
        self.due = np.cumsum(rng.exponential(1 / rate, n))
        self.kinds = rng.choice(list(MIX), n, p=np.array(list(MIX.values())) / 100).tolist()
        self.bodies = [request(rng, kind, users, items) for kind in self.kinds]
        self.took = np.full(n, np.nan)
        self.errors: Counter[str] = Counter()
        self._next, self._lock = 0, threading.Lock()

    def run(self) -> float:
        """Send all, and return how many were answered in a second."""
        began = time.perf_counter()
        threads = [threading.Thread(target=self._work, args=(began,)) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return float(np.isfinite(self.took).sum() / (time.perf_counter() - began))

    def _work(self, began: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        used = 0.0
        while True:
            with self._lock:
                at = self._next
                self._next += 1
            if at >= len(self.due):
                return
            time.sleep(max(0.0, began + self.due[at] - time.perf_counter()))
            if time.perf_counter() - used > KEPT:
                connection.close()
            used = time.perf_counter()
            try:
                connection.request("POST", "/invocations", self.bodies[at], headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.took[at] = time.perf_counter() - began - self.due[at]
                else:
                    self.errors[str(answer.status)] += 1
            except OSError as error:
                self.errors[type(error).__name__] += 1
                connection.close()

    def row(self, reached: float, processor: float, memory: tuple[int, int]) -> list[str]:
        """Return the figures, in milliseconds and MiB."""
        done = self.took[np.isfinite(self.took)] * 1000
        cells = [f"{np.percentile(done, q):,.0f}" if len(done) else "–" for q in (50, 99, 100)]
        new = self.took[np.array([kind.endswith("new user") for kind in self.kinds])] * 1000
        cells.append(f"{np.nanpercentile(new, 50):,.0f}" if np.isfinite(new).any() else "–")
        cells.append(f"{1000 * processor / len(self.due):.1f}")
        failed = ", ".join(f"{n} × {what}" for what, n in self.errors.items()) or "0"
        return [f"{self.rate:g}", f"{reached:.0f}", *cells, failed, *(f"{m / 2**20:,.0f}" for m in memory)]


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    pids = [pid]
    for one in pids:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            pids.extend(map(int, children.read_text().split()))
    return pids


def memory_of(pid: int) -> tuple[int, int]:
    """Return resident and proportional bytes of a process and its children."""
    found = {"Rss": 0, "Pss": 0}
    for one in family(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] += 1024 * int(value.split()[0])
    return found["Rss"], found["Pss"]


def processor_seconds(pid: int) -> float:
    """Return what a process and its children have used."""
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def serve(directory: Path, folder: Path, workers: int) -> tuple[subprocess.Popen[bytes], int, float]:
    """Return a server's process and port, and the seconds until it answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bin_ = Path(sys.executable).parent
    command = [str(bin_ / "mlflow"), "models", "serve", "-m", str(directory), "-p", str(port)]
    command += ["--env-manager", "local", "--workers", str(workers)]
    environment = os.environ | {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    began = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
    while time.perf_counter() - began < 600:
        if process.poll() is not None:
            break
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return process, port, time.perf_counter() - began
        except OSError:
            time.sleep(0.1)
    process.terminate()
    raise SystemExit((folder / "log").read_text())


def parts(directory: Path, users: int, items: int, n: int = 400) -> None:
    """Print the processor time of a request in this process, without HTTP, for each kind of request.

    MLflow's own function makes a table of pandas of each request, checks it, and asks the model; the model's
    function reads the JSON and asks the model; the last column is the model's alone.
    """
    os.environ["__pyfunc_model_path__"] = str(directory)  # noqa: SIM112 - MLflow's
    import mlflow.pyfunc
    from mlflow.pyfunc import scoring_server

    by_table = scoring_server.invocations
    model = mlflow.pyfunc.load_model(str(directory))
    schema, kind = model.metadata.get_input_schema(), "application/json"
    answers = model.unwrap_python_model().answers
    rng = np.random.default_rng(3)
    print("| request | MLflow's table, ms | as served, ms | the model alone, ms |\n|---|---|---|---|")
    for name in MIX:
        bodies = [request(rng, name, users, items) for _ in range(n)]
        asked = [json.loads(body) for body in bodies]
        rows = [({key: [cell] for key, cell in one["dataframe_records"][0].items()}, {}) for one in asked]
        ways = (
            lambda at, bodies=bodies: by_table(bodies[at], kind, model, schema),
            lambda at, bodies=bodies: scoring_server.invocations(bodies[at], kind, model, schema),
            lambda at, rows=rows: answers(*rows[at]),
        )
        spent = np.zeros(len(ways))
        for at in range(n):
            for way, ask in enumerate(ways):  # in turn, so that other work of the machine meets all alike
                began = time.process_time()
                ask(at)
                spent[way] += time.process_time() - began
        print(f"| {name} | {' | '.join(f'{1000 * one / n:.2f}' for one in spent)} |", flush=True)


def count(text: str) -> int:
    """Return 1M as 1000000."""
    for suffix, factor in {"n": 1000, "M": 1_000_000}.items():
        if text.endswith(suffix):
            return int(float(text.removesuffix(suffix)) * factor)
    return int(text)


def main() -> None:
    """Serve a made-up model, load it at each rate in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=count, default=6040)
    parser.add_argument("--items", type=count, default=3706)
    parser.add_argument("--ratings", type=count, default=166, help="of each user")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--preset", choices=list(PRESETS), default="ml-1m")
    parser.add_argument("--rates", default="50,100,200", help="requests a second")
    parser.add_argument("--seconds", type=float, default=30, help="for each rate")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--parts", action="store_true", help="what a request costs, without a server")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="walslab-serving-"))
    process = None
    try:
        made_up(args.users, args.items, args.ratings, args.rank, args.preset).save(folder / "model")
        write_mlflow_model(folder / "model", folder / "mlflow", example=False)
        if args.parts:
            parts(folder / "mlflow", args.users, args.items)
            return
        held = sum(file.stat().st_size for file in (folder / "mlflow" / "artifacts").rglob("*.npy"))
        load_before = os.getloadavg()[0]
        process, port, started = serve(folder / "mlflow", folder, args.workers)
        print(f"{args.users:,} users × {args.items:,} items, rank {args.rank}, {args.preset},")
        print(f"{held / 2**20:,.0f} MiB of arrays; answers {started:.1f} s after the start;")
        print(f"{usable_processors()} cores, shared: load average {load_before:.1f} before the start\n")
        names = [
            "requests/s",
            "reached",
            "p50 ms",
            "p99 ms",
            "max ms",
            "new user, p50 ms",
            "CPU ms",
            "errors",
        ]
        names += ["RSS MiB", "PSS MiB"]
        print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
        Load(port, 10, WARM_UP / 10, users=args.users, items=args.items, seed=1).run()
        for rate in map(float, args.rates.split(",")):
            load = Load(port, rate, args.seconds, users=args.users, items=args.items, seed=2)
            used = processor_seconds(process.pid)
            reached = load.run()
            used = processor_seconds(process.pid) - used
            print(f"| {' | '.join(load.row(reached, used, memory_of(process.pid)))} |", flush=True)
    finally:
        if process:
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
