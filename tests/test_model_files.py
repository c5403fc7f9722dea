"""What survives of a model on disk: all of it, nothing pickled, and an error that names what is damaged."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import warnings

import numpy as np
import pytest
from small_models import CONFIG, ITEM_IDS, N_ITEMS, N_USERS, OPTIONS, USER_IDS, dense, named

from toolkit.datasets import LONGEST_ID
from toolkit.errors import ModelError
from toolkit.models import WALS


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings()


@pytest.fixture(scope="module")
def model(ratings):
    return named(ratings)


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "model", test_rmse=0.5)
    return tmp_path / "model"


def test_loaded_model_answers_as_the_saved_one(model, saved, ratings):
    loaded = WALS.load(saved)
    assert loaded.config == model.config
    assert loaded.options == model.options
    assert loaded.history == model.history
    assert loaded.dataset_digest is None
    np.testing.assert_array_equal(dense(loaded), dense(model))
    assert loaded.rmse(ratings) == model.rmse(ratings)
    for ask in (
        lambda m: m.recommend("user 4", 5),
        lambda m: m.recommend("user 4", 5, exclude_seen=False),
        lambda m: m.similar_items("114"),
    ):
        for mine, theirs in zip(ask(loaded), ask(model), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_loaded_model_saves_again(saved, tmp_path):
    WALS.load(saved).save(tmp_path / "again")
    for file in saved.glob("*.npy"):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("ids", [USER_IDS, np.array(USER_IDS, dtype=object), np.arange(N_USERS)])
def test_no_file_is_a_pickle(ratings, tmp_path, ids):
    WALS(CONFIG, OPTIONS).fit(ratings, user_ids=ids).save(tmp_path / "model")
    for file in (tmp_path / "model").iterdir():
        if file.suffix == ".npy":
            np.load(file, allow_pickle=False)
        else:
            json.loads(file.read_text(encoding="utf-8"))
    assert {file.suffix for file in (tmp_path / "model").iterdir()} == {".npy", ".json"}


def test_header_says_what_the_model_is(model, saved):
    meta = json.loads((saved / "model.json").read_text(encoding="utf-8"))
    assert meta["config"] == CONFIG.to_dict()
    assert (meta["n_users"], meta["n_items"], meta["test_rmse"]) == (N_USERS, N_ITEMS, 0.5)


def test_existing_model_is_replaced_only_on_request(model, saved):
    before = (saved / "model.json").read_bytes()
    with pytest.raises(ModelError, match="exists already"):
        model.save(saved)
    assert (saved / "model.json").read_bytes() == before
    model.save(saved, overwrite=True, test_rmse=0.25)
    assert json.loads((saved / "model.json").read_text(encoding="utf-8"))["test_rmse"] == 0.25
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_directory_that_is_no_model_is_not_overwritten(model, saved):
    with pytest.raises(ModelError, match=r"holds other things \(it has no model.json\)"):
        model.save(saved.parent, overwrite=True)
    WALS.load(saved)


def test_save_that_fails_leaves_the_old_model(model, saved, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("toolkit.solver.factors.save_array", full)
    with pytest.raises(OSError, match="No space left"):
        model.save(saved, overwrite=True)
    WALS.load(saved)
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"titles": "movies.csv"}, "but got titles: choose another name; titles are kept"),
        ({"options": {}, "format": "mine", "rmse": 1}, "but got format, options"),
        ({"rmse": object()}, "the fact rmse must be a JSON value"),
        ({"rmse": np.float32(1)}, "the fact rmse must be a JSON value"),
    ],
)
def test_facts_that_the_format_cannot_keep_are_refused_before_anything_is_written(
    model, tmp_path, facts, text
):
    with pytest.raises(ModelError, match=text):
        model.save(tmp_path / "model", **facts)
    assert list(tmp_path.iterdir()) == []


def test_every_word_of_the_header_is_reserved(saved, model, tmp_path):
    own = {"test_rmse"}
    for word in json.loads((saved / "model.json").read_text(encoding="utf-8")).keys() - own:
        with pytest.raises(ModelError, match="a name that the model format does not use"):
            model.save(tmp_path / "again", **{word: 1})


@pytest.mark.parametrize("titles", ["movies.csv", ["a"], [None] * N_ITEMS, [1] * N_ITEMS, np.zeros((2, 2))])
def test_titles_that_are_not_one_text_for_each_item_are_refused(model, titles):
    with pytest.raises(ModelError, match="titles must be 11 texts, one for each item"):
        copy.copy(model).titles = titles


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("rated_items", lambda a: a + 10**6, r"rated_items.*must have columns from 0 to 10, but has 10000"),
        ("rated_items", lambda a: -a - 1, "rated_items.*must have columns from 0 to 10"),
        ("rated_items", lambda a: a * 0, "rated_items.*must hold items that rise within each user"),
        ("rated_items", lambda a: a[::-1], "rated_items.*must hold items that rise within each user"),
        ("rated_items", lambda a: a.astype(float), "rated_items.*must have whole numbers"),
        ("rated_indptr", lambda a: a[[0, *range(len(a) - 1, 1, -1), len(a) - 1]], "row limits that rise"),
        ("rated_indptr", lambda a: a + 1, "rated_items.npy must have shape"),
        ("ratings", lambda a: a * np.nan, "ratings.npy must hold finite numbers"),
    ],
)
def test_ratings_that_no_model_wrote_are_refused_when_it_is_loaded(saved, name, change, text):
    file = saved / f"{name}.npy"
    np.save(file, change(np.load(file)))
    with pytest.raises(ModelError, match=text):
        WALS.load(saved)


FILES = (
    *("model.json", "factors.json", "user_factors.npy", "item_factors.npy", "user_bias.npy"),
    *("item_bias.npy", "user_ids.npy", "item_ids.npy", "item_counts.npy", "rated_indptr.npy"),
    *("rated_items.npy", "ratings.npy", "user_ids_ends.npy"),
)


def test_the_list_of_files_is_complete(saved):
    assert sorted(FILES) == sorted(path.name for path in saved.iterdir())


def delete(path):
    path.unlink()


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-9])


def empty(path):
    path.write_bytes(b"")


def scramble(path):
    path.write_bytes(b"PK\x03\x04" + os.urandom(100))


def replace_by_a_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [delete, cut_short, empty, scramble, replace_by_a_directory])
@pytest.mark.parametrize("name", FILES)
def test_damaged_model_is_refused_with_the_file_named(saved, name, damage):
    damage(saved / name)
    with warnings.catch_warnings():
        # A header of NumPy's that was scrambled may look like one of Python 2.
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError, match=name.partition(".")[0]):
            WALS.load(saved)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".npy")])
def test_array_of_another_shape_is_refused_with_the_file_named(saved, name):
    array = np.load(saved / name)
    np.save(saved / name, array[:-1])
    with pytest.raises(ModelError, match=name.partition("_")[0]):
        WALS.load(saved)
    np.save(saved / name, array[0])
    with pytest.raises(ModelError, match=name.partition("_")[0]):
        WALS.load(saved)


class Unpickled:
    def __reduce__(self):
        return pytest.fail, ("a file was unpickled",)


def test_nothing_is_unpickled(saved):
    with (saved / "user_ids.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": (N_USERS,)}
        )
        pickle.dump(Unpickled(), file)
    with pytest.raises(ModelError, match="user_ids"):
        WALS.load(saved)


@pytest.mark.parametrize("name", ["model.json", "factors.json"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format_version": 99}, r"version \d, but states 'walslab-[a-z]+' version 99"),
        ({"format_version": 1}, "states 'walslab-[a-z]+' version 1: train the model again"),
        ({"format": "other"}, "but states 'other'"),
    ],
)
def test_model_of_another_format_is_refused(saved, name, change, text):
    meta = json.loads((saved / name).read_text(encoding="utf-8"))
    (saved / name).write_text(json.dumps({**meta, **change}), encoding="utf-8")
    with pytest.raises(ModelError, match=text):
        WALS.load(saved)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.json", "[]"),
        ("model.json", '{"format": "walslab-model", "format_version": 4}'),
        ("model.json", '{"format": "walslab-model", "format_version": 4, "options": {"color": "red"}}'),
        ("factors.json", '{"format": "walslab-factors", "format_version": 3}'),
        ("factors.json", '{"format": "walslab-factors", "format_version": 3, "config": {"factors": -3}}'),
        ("factors.json", '{"format": "walslab-factors", "format_version": 3, "config": 3}'),
    ],
)
def test_header_without_what_belongs_there_is_refused(saved, name, text):
    (saved / name).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=name):
        WALS.load(saved)


def test_a_mean_of_trainings_of_before_is_refused_with_what_took_its_place(saved):
    header = json.loads((saved / "model.json").read_text(encoding="utf-8"))
    for word in ("config", "options", "history"):
        del header[word]
    header |= {"members": 2, "weights": [0.5, 0.5], "trainings": [{}, {}]}
    (saved / "model.json").write_text(json.dumps(header), encoding="utf-8")
    with pytest.raises(ModelError, match=r"a mean of several trainings.*`walslab refit STUDY --posterior`"):
        WALS.load(saved)


def test_what_is_no_model_directory_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(ModelError, match=f"{path.name} is not a walslab-model directory"):
            WALS.load(path)


def test_model_directory_can_be_moved_and_be_read_only(model, saved, tmp_path):
    moved = shutil.move(saved, tmp_path / "moved here")
    for file in (tmp_path / "moved here").iterdir():
        file.chmod(0o444)
    np.testing.assert_array_equal(dense(WALS.load(moved)), dense(model))


def test_saved_model_has_its_ratings_and_titles(model, ratings, tmp_path):
    titled = copy.copy(model)
    titled.titles = np.array([f"Title {i}" for i in range(N_ITEMS)])
    titled.save(tmp_path / "model")
    loaded = WALS.load(tmp_path / "model")
    assert (loaded.rated != ratings).nnz == 0
    assert loaded.titles.tolist() == titled.titles.tolist()
    assert loaded.explain(USER_IDS[0], ITEM_IDS[1]).score == model.explain(USER_IDS[0], ITEM_IDS[1]).score
    (tmp_path / "model/item_titles.npy").unlink()
    with pytest.raises(ModelError, match=r"item_titles.npy is missing"):
        WALS.load(tmp_path / "model")


def test_one_long_id_does_not_widen_the_others(ratings, tmp_path):
    users = [f"user {n}" for n in range(N_USERS)]
    users[1] = "x" * LONGEST_ID
    model = WALS(CONFIG, OPTIONS).fit(ratings, user_ids=users)
    model.titles = ["a title"] * (N_ITEMS - 1) + ["y" * 9000]
    model.save(tmp_path / "model")
    texts = sum((tmp_path / "model" / f"{name}.npy").stat().st_size for name in ("user_ids", "item_titles"))
    assert texts < LONGEST_ID + 9000 + 8 * (N_USERS + N_ITEMS) + 2 * 128
    loaded = WALS.load(tmp_path / "model")
    assert loaded.users.ids.tolist() == users
    assert loaded.titles.tolist() == model.titles.tolist()
    assert loaded.users.row(users[1]) == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda data, ends: (data, ends[::-1]), "must have ends that rise to the number of bytes"),
        (lambda data, ends: (data, ends + 1), "must have ends that rise to the number of bytes"),
        (lambda data, ends: (data | 0x80, ends), "must hold UTF-8"),
        (lambda data, ends: (data, ends.astype(float)), "must hold bytes and the ends of texts among them"),
    ],
)
def test_texts_that_no_model_wrote_are_refused(saved, change, text):
    files = [saved / f"{name}.npy" for name in ("user_ids", "user_ids_ends")]
    for file, array in zip(files, change(*map(np.load, files)), strict=True):
        np.save(file, array)
    with pytest.raises(ModelError, match=rf"user_ids.npy with user_ids_ends.npy {text}"):
        WALS.load(saved)
