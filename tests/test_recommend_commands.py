"""recommend, similar and explain as commands, and the names that a model is opened by."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from small_models import PLAIN

from cluster.cli import main
from toolkit.config import RunOptions, WALSConfig
from toolkit.engines import WAITS
from toolkit.errors import ModelError
from toolkit.models import WALS
from toolkit.serving import open_model, write_mlflow_model

N_USERS, N_ITEMS = 30, 20
TITLES = [f"Film {n}" for n in range(N_ITEMS)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, an environment that names no store, and a screen that is wide enough."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture(scope="module")
def fitted(made_up_ratings):
    """A model whose items have 1, 2, 3, … training ratings, and whose last user has none."""
    ratings = made_up_ratings(N_USERS, N_ITEMS, density=1.0, whole=True, seed=1).tolil()
    for item in range(N_ITEMS):
        ratings[item + 1 :, item] = 0.0
    config = WALSConfig(factors=3, iterations=4, momentum=0.0)
    options = RunOptions(backend="numpy", threads=1)
    ids = {"user_ids": np.arange(N_USERS) + 100, "item_ids": [f"i{n}" for n in range(N_ITEMS)]}
    return WALS(config, options).fit(ratings.tocsr(), **ids)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    fitted.save(path)
    return path


@pytest.fixture(scope="module")
def titles(tmp_path_factory):
    path = tmp_path_factory.mktemp("titles") / "titles.csv"
    path.write_text("id,title\n" + "".join(f"i{n},{title}\n" for n, title in enumerate(TITLES)))
    return path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def told(*arguments):
    """Return what a command prints with ``--json``."""
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 1
    return json.loads(done.stdout)


def refused(*arguments, code=2):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    return done.stderr


# recommend --user


def test_items_of_a_user_are_shown_with_titles_and_their_ratings(fitted, saved, titles):
    items, scores = fitted.recommend(105, 3)
    done = run("recommend", saved, "--user", 105, "-n", 3, "--titles", titles)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == f"for user 105, who rated {fitted.rated[5].nnz} items in training"
    for item, score in zip(items, scores, strict=True):
        (line,) = [line for line in lines if f" {item} " in line]
        row = int(item[1:])
        assert [cell.strip() for cell in line.strip("│").split("│")] == [
            item,
            TITLES[row],
            f"{score:.2f}",
            str(row + 1),
        ]


def test_items_of_a_user_as_json(fitted, saved, titles):
    items, scores = fitted.recommend(105, 3)
    answer = told("recommend", saved, "--user", 105, "-n", 3)
    assert answer["user"] == 105
    assert [entry["item"] for entry in answer["items"]] == items.tolist()
    assert [entry["score"] for entry in answer["items"]] == pytest.approx(scores.tolist(), rel=1e-6)
    assert set(answer["items"][0]) == {"item", "score", "ratings"}
    answer = told("recommend", saved, "--user", 105, "-n", 3, "--titles", titles, "--explain")
    for entry in answer["items"]:
        assert entry["title"] == TITLES[int(entry["item"][1:])]
        found = fitted.explain(105, entry["item"])
        if found.contributions[0] > 0:
            assert entry["because"]["item"] == found.items[0]
            assert entry["because"]["rating"] == found.ratings[0]
        else:
            assert entry["because"] is None


def test_titles_of_the_model_are_shown(fitted, tmp_path):
    fitted.titles = np.array(TITLES)
    try:
        fitted.save(tmp_path / "model")
    finally:
        fitted.titles = None
    entry = told("recommend", tmp_path / "model", "--user", 105, "-n", 1)["items"][0]
    assert entry["title"] == TITLES[int(entry["item"][1:])]
    assert "Film " in run("similar", tmp_path / "model", "--item", "i3").stdout


def test_reason_of_an_item_is_a_sentence(fitted, saved, titles):
    done = run(
        "recommend", saved, "--user", 105, "-n", N_ITEMS, "--explain", "--include-seen", "--titles", titles
    )
    items, _ = fitted.recommend(105, N_ITEMS, exclude_seen=False)
    found = [fitted.explain(105, item) for item in items]
    because = {
        f"{TITLES[int(f.items[0][1:])]}, rated {f.ratings[0]:g}" for f in found if f.contributions[0] > 0
    }
    assert because
    assert all(text in done.stdout for text in because)
    # Who has rated nothing is told no reason.
    done = run("recommend", saved, "--user", 100 + N_USERS - 1, "--explain")
    assert done.exit_code == 0
    assert "rated 0 items" in done.stdout


def test_items_of_few_ratings_are_pointed_out_and_can_be_left_out(saved):
    everything = ("recommend", saved, "--user", 105, "-n", N_ITEMS, "--include-seen")
    hint = "4 of 20 have less than 5 ratings, which is little to go by: --min-ratings 5 leaves such items out"
    assert hint in run(*everything).stdout
    done = run(*everything, "--min-ratings", 5)
    assert "have less than" not in done.stdout
    entries = told(*everything, "--min-ratings", 5)["items"]
    assert sorted(entry["ratings"] for entry in entries) == list(range(5, N_ITEMS + 1))


def test_ids_that_a_terminal_would_obey_are_shown_as_text(made_up_ratings, tmp_path):
    config, options = WALSConfig(factors=2, iterations=2), RunOptions(backend="numpy", threads=1)
    ids = [f"\x1b[31m{n}" for n in range(5)]
    WALS(config, options).fit(made_up_ratings(4, 5), item_ids=ids).save(tmp_path / "model")
    for arguments in (
        ("recommend", "--user", 0, "--include-seen"),
        ("similar", "--item", ids[0], "--min-ratings", 0),
    ):
        done = run(arguments[0], "model", *arguments[1:])
        assert done.exit_code == 0, done.output
        assert "\x1b" not in done.output
        assert "\\x1b[31m1" in done.output


# recommend --users and --all-users


def test_many_users_go_to_a_file(fitted, saved, titles, folder):
    (folder / "users.csv").write_text("user\n120\n105\n120\n9\n")
    answer = told(
        *("recommend", saved, "--users", "users.csv", "--out", "recs.parquet", "-n", 4),
        *("--titles", titles, "--unknown", "drop", "--backend", "numpy", "--threads", 1),
    )
    table = pq.read_table(folder / "recs.parquet")
    assert table["user"].to_pylist() == [120] * 4 + [105] * 4
    assert table["item"].to_pylist() == [*fitted.recommend(120, 4)[0], *fitted.recommend(105, 4)[0]]
    assert set(table["title"].to_pylist()) <= set(TITLES)
    assert answer.pop("seconds") > 0
    assert answer.pop("few_ratings") >= 0
    assert answer == {
        "out": "recs.parquet",
        "users": 2,
        "rows": 8,
        "items": len(set(table["item"].to_pylist())),
        "unknown": 1,
        "repeated": 1,
        "n": 4,
        "min_ratings": 0,
        "backend": "numpy",
    }


def test_what_was_written_is_told(saved, folder):
    (folder / "u.txt").write_text("105\n1\n105\n")
    done = run(
        "recommend", saved, "--users", "u.txt", "--out", "r.csv", "--unknown", "drop", "--include-seen"
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("10 rows for 1 user, of 10 different items (50.0% of all)")
    assert "users left out, whom the model has never seen: 1" in lines
    assert "users named again, each counted once: 1" in lines
    assert lines[-1].startswith("r.csv, in ")
    assert lines[-1].endswith((" s on numba", " s on numpy", " s on cupy"))
    done = run("recommend", saved, "--all-users", "--out", "r.csv", "--overwrite", "--min-ratings", 5)
    assert f"for {N_USERS} users" in done.stdout
    assert "little to go by" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Name one of --user ID, --users FILE and --all-users."),
        (("--user", "105", "--all-users"), "Name one of --user ID, --users FILE and --all-users."),
        (("--all-users",), "Missing option '--out'"),
        (("--user", "105", "--out", "r.csv"), "leave --out away, or take --users FILE"),
        (("--all-users", "--out", "r.csv", "--explain"), "--explain goes with --user"),
        (("--all-users", "--out", "r.txt"), "must end in .parquet or .csv, but is 'r.txt'"),
        (("--all-users", "--out", "there.csv"), "there.csv exists already: choose another path"),
        (("--users", "gone.txt", "--out", "r.csv"), "gone.txt cannot be read: No such file or directory"),
        (
            ("--users", "bad.txt", "--out", "r.csv"),
            "bad.txt names 1 of 2 users whom the model has never seen: 7",
        ),
        (("--user", "7"), "the model has never seen user 7"),
        (("--user", "105", "--titles", "gone.csv"), "gone.csv cannot be read"),
        (("--all-users", "--out", "r.csv", "--dask-scheduler", "tcp://127.0.0.1:1"), "does not answer"),
    ],
)
def test_what_does_not_go_together_is_refused(saved, folder, arguments, text, monkeypatch):
    monkeypatch.setattr(WAITS, "connection", 0.5)
    (folder / "there.csv").write_text("mine")
    (folder / "bad.txt").write_text("105\n7\n")
    code = 1 if "--dask-scheduler" in arguments else 2
    assert text in refused("recommend", saved, *arguments, code=code)
    assert sorted(path.name for path in folder.iterdir()) == ["bad.txt", "there.csv"]


# similar


def test_similar_items_have_five_ratings_unless_told(fitted, saved, titles):
    answer = told("similar", saved, "--item", "i10", "-n", 100)
    ids, cosines = fitted.similar_items("i10", N_ITEMS)
    often = fitted.item_counts[fitted.items.rows(ids)] >= 5
    assert (answer["item"], answer["ratings"], answer["min_ratings"]) == ("i10", 11, 5)
    assert [entry["item"] for entry in answer["items"]] == ids[often].tolist()
    assert [entry["cosine"] for entry in answer["items"]] == pytest.approx(cosines[often].tolist())
    answer = told("similar", saved, "--item", "i10", "-n", 3, "--min-ratings", 0, "--titles", titles)
    assert [entry["item"] for entry in answer["items"]] == ids[:3].tolist()
    assert (answer["title"], answer["items"][0]["title"]) == ("Film 10", TITLES[int(ids[0][1:])])


def test_similar_items_as_a_table(fitted, saved, titles):
    done = run("similar", saved, "--item", "i1", "--titles", titles, "-n", 100)
    assert done.exit_code == 0
    assert done.stdout.startswith("like Film 1 (i1), 2 ratings\n")
    assert "it has 2 ratings itself, which is little to go by" in done.stdout
    assert (
        "3 of 19 other items have less than 5 ratings and are left out: --min-ratings 0 lists them, too"
        in done.stdout
    )
    assert "the model has never seen item nothing" in refused("similar", saved, "--item", "nothing")


# explain


def test_an_explanation_adds_up(fitted, saved, titles):
    answer = told("explain", saved, "--user", 103, "--item", "i2", "-n", 4, "--titles", titles)
    found = fitted.explain(103, "i2")
    total = answer["base"] + sum(driver["contribution"] for driver in answer["drivers"]) + answer["rest"]
    assert total == pytest.approx(answer["score"]) == pytest.approx(found.score)
    assert answer["predicted"] == pytest.approx(float(fitted.predict(103, "i2", clip=False)[0]))
    assert answer["rated"] == len(found.items)
    moved = [driver["contribution"] for driver in answer["drivers"]]
    assert moved == sorted(moved, reverse=True)
    assert sorted(map(abs, moved)) == pytest.approx(sorted(np.abs(found.contributions))[-4:])
    assert answer["drivers"][0]["title"].startswith("Film ")


def test_an_explanation_as_a_table(fitted, saved, titles):
    done = run("explain", saved, "--user", 103, "--item", "i2", "-n", 2, "--titles", titles)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "user 103, Film 2 (i2)"
    others = len(fitted.explain(103, "i2").items) - 2
    assert f"{others} other ratings" in done.stdout
    figures = [cells[-1] for line in lines if len(cells := line.strip("│ ").split("│")) == 3]
    *parts, score = [float(figure) for figure in figures]
    assert len(parts) == 4
    assert sum(parts) == pytest.approx(score, abs=0.03)
    assert f"{score:.2f}" == f"{fitted.explain(103, 'i2').score:.2f}"


def test_an_explanation_says_what_it_does_not_explain(made_up_ratings, tmp_path):
    ratings = made_up_ratings(20, 12, density=0.5, whole=True)
    options = RunOptions(backend="numpy", threads=1)
    model = WALS(PLAIN.replace(factors=6, iterations=3, regularization=0.0003), options).fit(ratings)
    model.save(tmp_path / "wild")
    texts = [run("explain", "wild", "--user", u, "--item", i).stdout for u in range(8) for i in (0, 1)]
    assert any("clipped to the rating scale: " in text for text in texts)
    assert not any("the model itself says " in text for text in texts)
    # The users' factors stay as they were.
    model.partial_fit_items(ratings.T.tocsr()[:1] * 0.2, item_ids=[0])
    model.save(tmp_path / "changed")
    texts = (run("explain", "changed", "--user", u, "--item", 1).stdout for u in range(20))
    assert any("the model itself says " in text for text in texts)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("explain", ("--user", "7", "--item", "i1"), "the model has never seen user 7"),
        ("explain", ("--user", "103", "--item", "x"), "the model has never seen item x"),
        ("explain", ("--user", "103"), "Missing option '--item'"),
        ("similar", (), "Missing option '--item'"),
    ],
)
def test_what_cannot_be_explained_is_refused(saved, name, arguments, text):
    assert text in refused(name, saved, *arguments)


# The names of a model


@pytest.fixture(scope="module")
def registry(saved, tmp_path_factory, empty_store):
    """A store with the model as version 1 of films, which is the champion."""
    from mlflow import MlflowClient

    root = tmp_path_factory.mktemp("registry")
    write_mlflow_model(saved, root / "packed", example=False)
    uri = f"sqlite:///{shutil.copyfile(empty_store, root / 'mlflow.db')}"
    client = MlflowClient(tracking_uri=uri)
    client.create_registered_model("films")
    client.create_model_version("films", (root / "packed").as_uri())
    client.set_registered_model_alias("films", "champion", "1")
    return uri


def scratch():
    return sorted(Path(tempfile.gettempdir()).glob("walslab-model-*"))


@pytest.mark.integration
def test_a_registered_model_is_opened_by_its_names(fitted, registry, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    before = scratch()
    for name in ("models:/films/1", "models:/films@champion"):
        model = open_model(name)
        assert scratch() == before
        assert model.recommend(105)[0].tolist() == fitted.recommend(105)[0].tolist()
    assert told("recommend", name, "--user", 105)["items"][0]["item"] == fitted.recommend(105)[0][0]
    assert told("recommend", name, "--all-users", "--out", "r.parquet")["users"] == N_USERS
    assert told("similar", name, "--item", "i10")["items"]
    assert told("explain", name, "--user", 105, "--item", "i3")["drivers"]
    assert told("export", name, "--out", "exported")["shapes"]["user"] == [N_USERS]


@pytest.mark.integration
@pytest.mark.parametrize(
    "name", ["models:/films@loser", "models:/films/7", "models:/songs/1", "models:/films"]
)
def test_a_version_that_is_not_there_is_told_with_the_store(registry, monkeypatch, name):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    error = refused("recommend", name, "--user", 105)
    assert error.startswith(f"walslab: error: {name} cannot be had from the MLflow store {registry}: ")
    assert "set MLFLOW_TRACKING_URI to the store that has it" in error
    assert error.count("\n") == 1


def test_a_store_that_is_not_there_is_told_and_not_made(folder):
    error = refused("similar", "models:/films@champion", "--item", 1)
    assert (
        "from the MLflow store sqlite:///mlflow.db: there is no such file; set MLFLOW_TRACKING_URI" in error
    )
    assert list(folder.iterdir()) == []


def test_a_server_that_does_not_answer_is_told_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:s3cret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    error = refused("recommend", "models:/films@champion", "--user", 105)
    assert "cannot be had from the MLflow store http://ann:***@127.0.0.1:1: " in error
    assert "s3cret" not in error


def test_a_directory_of_mlflow_is_opened_too(fitted, saved, tmp_path):
    write_mlflow_model(saved, tmp_path / "packed", example=False)
    assert open_model(tmp_path / "packed").recommend(105)[0].tolist() == fitted.recommend(105)[0].tolist()


def test_what_is_no_model_is_told(tmp_path):
    with pytest.raises(ModelError, match="walslab-model"):
        open_model(tmp_path)
