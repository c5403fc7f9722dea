"""A small data set on a server of the test's own, for tests of downloads."""

from __future__ import annotations

import hashlib
import http.server
import io
import zipfile

import pytest
from click.testing import CliRunner
from http_servers import serving

from toolkit.commands import main
from toolkit.fetching import CATALOG, DownloadProgress, PublishedSet

ROWS = 20_000
RATINGS = "".join(f"{n % 97 + 1}\t{n * 7919 % 1009 + 1}\t{n % 5 + 1}\t{n}\n" for n in range(ROWS)).encode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def make_zip(members):
    buffer = io.BytesIO()
    # stored, so that the zip is large enough to be cut in the middle
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as zipped:
        for name, data in members.items():
            zipped.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


TITLES = b"item_id:token\tmovie_title:token_seq\n1\tToy Story\n"
ZIP = make_zip({"tiny/u.item": b"1|Toy Story\n", "tiny/u.data": RATINGS, "tiny/large.bin": bytes(100_000)})


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `body`; `cuts`: after how many bytes the next answers break off; `statuses`: their errors."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body[: server.cuts.pop(0)] if server.cuts else server.body)

    def log_message(self, format, *args):  # noqa: A002  the library's name
        pass


@pytest.fixture(name="server")
def server_fixture():
    with serving(Handler) as server:
        server.body, server.cuts, server.statuses = ZIP, [], []
        server.url = f"{server.address}/tiny.zip"
        yield server


@pytest.fixture(name="quick", autouse=True)
def quick_fixture(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(name="tiny")
def tiny_fixture(server, monkeypatch):
    """A data set of the catalog, on the test's own server."""
    published = PublishedSet(
        name="tiny",
        url=server.url,
        zip_bytes=len(ZIP),
        zip_sha256=sha256(ZIP),
        ratings="tiny/u.data",
        companions=("tiny/u.item", "tiny/README"),
        rows=ROWS,
        licence="none",
        terms_url="http://127.0.0.1/README",
        ratings_sha256=sha256(RATINGS),
    )
    monkeypatch.setitem(CATALOG, "tiny", published)
    return published


class Notes(DownloadProgress):
    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def run(*arguments):
    return CliRunner().invoke(main, ["fetch", *map(str, arguments)])
