"""The example of web views, as it is run: what is made up, what becomes of it, and what is recommended."""

from __future__ import annotations

import csv
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from toolkit.datasets import RatingsDataset
from toolkit.models import Model
from tune.spec import SearchSpec

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def make(folder, *words):
    folder.mkdir()
    script = str(EXAMPLES / "web_views.py")
    subprocess.run([sys.executable, script, *words], check=True, cwd=folder, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_views_are_the_same_for_a_seed_and_like_real_ones(tmp_path):
    made = make(tmp_path / "a", "--clients", "200", "--contents", "80")
    assert made == make(tmp_path / "b", "--clients", "200", "--contents", "80")
    assert made != make(tmp_path / "c", "--clients", "200", "--contents", "80", "--seed", "1")
    views, contents, clients = (
        rows(tmp_path / "a" / f"{name}.csv") for name in ("views", "contents", "clients")
    )
    assert {view[0] for view in views} == {client[0] for client in clients}
    assert {view[1] for view in views} <= {content[0] for content in contents}
    assert len({tuple(view[:2]) for view in views}) < 0.8 * len(views)
    seconds = [int(view[2]) for view in views]
    assert min(seconds) >= 0
    assert max(seconds) > 20 * statistics.median(seconds)
    liked, topics = {key: topics for key, *topics in clients}, {key: topic for key, _, topic in contents}
    share = np.mean([topics[content] in liked[client] for client, content, _ in views])
    assert 0.6 < share < 0.95


def test_specification_is_valid():
    spec = SearchSpec.load(EXAMPLES / "web-views.yaml")
    assert str(spec.metric) == "ndcg@10"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder and the output of the example, at a small size."""
    folder = tmp_path_factory.mktemp("views")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "WALSLAB_", "RAY_"))}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    done = subprocess.run(
        ["sh", str(EXAMPLES / "web-views.sh"), "400", "4"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.integration
@pytest.mark.slow
def test_ratings_are_logarithms_of_summed_seconds(run):
    folder, _ = run
    total = defaultdict(int)
    for client, content, seconds in rows(folder / "views.csv"):
        total[client, content] += int(seconds)
    data = RatingsDataset.open(folder / "views")
    held = {}
    for part in (data.train.tocoo(), data.valid.tocoo(), data.test.tocoo()):
        users, items = data.user_ids[part.row].tolist(), data.item_ids[part.col].tolist()
        held |= dict(zip(zip(users, items, strict=True), part.data.tolist(), strict=True))
    assert held == {pair: float(np.float32(np.log1p(seconds))) for pair, seconds in total.items()}


@pytest.mark.integration
@pytest.mark.slow
def test_recommended_contents_are_of_the_topics_that_clients_like(run):
    folder, printed = run
    liked = {key: topics for key, *topics in rows(folder / "clients.csv")}
    topics = {key: topic for key, _, topic in rows(folder / "contents.csv")}
    (path,) = (folder / "studies").glob("*/model")
    model = Model.load(path)
    shares = []
    for client, own in liked.items():
        contents, _ = model.recommend(client, 5)
        assert set(contents) <= set(topics)
        shares.append(np.mean([topics[content] in own for content in contents]))
    # Two topics of eight are liked: by chance it were a quarter.
    assert np.mean(shares) > 0.7
    first = next(iter(liked))
    assert f"for user {first}" in printed
    assert f"planted in this client: {','.join(liked[first])}" in printed
    assert any(f"{topic.title()}: " in printed for topic in liked[first])
