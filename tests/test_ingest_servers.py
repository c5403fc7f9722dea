"""Ratings files of a server of HTTP and of an object store, as each of them hands out ranges of a file."""

from __future__ import annotations

import contextlib
import re
from http.server import BaseHTTPRequestHandler

import fsspec
import pytest
from http_servers import serving
from ratings_files import PACKED, PARTS, TEXT, digest_of_all, read, refused, source_of

from toolkit.ingest import RatingsSource
from toolkit.ingest.reading.blocks import pieces, units
from toolkit.ingest.reading.file_listing import find_files
from toolkit.ingest.reading.ratings_file import RatingsFile


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    return digest_of_all(tmp_path_factory.mktemp("plain"))


# A server of HTTP


class Handler(BaseHTTPRequestHandler):
    """Serves one file, with ranges or without, and with its length or without."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, data = self.server, self.server.data
        begin, end = 0, len(data)
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if not self.path.startswith("/r"):
            self.send_error(404)
            return
        if asked and server.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last) + 1 if last else len(data), len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        else:
            self.send_response(200)
        if server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if server.length:
            self.send_header("Content-Length", str(end - begin))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data[begin:end])

    do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with serving(Handler) as http:
        http.data, http.ranges, http.length = TEXT, True, True
        http.address += "/r.csv"
        yield http


@pytest.mark.parametrize("kind", ["plain", "zip", "parquet"])
def test_a_server_of_http(tmp_path, digest, server, kind):
    server.data = PACKED[kind]
    assert read(tmp_path / "out", server.address, block_bytes=2000).digest == digest
    assert any(asked and asked != "bytes=0-" for asked in server.asked)


def test_a_server_that_sends_no_ranges(tmp_path, digest, server, monkeypatch):
    server.ranges = False
    assert read(tmp_path / "out", server.address).digest == digest
    monkeypatch.setattr("toolkit.ingest.reading.blocks._TAIL", 16)
    with refused(r"r\.csv is on a server that sends no parts of files: download it"):
        read(tmp_path / "out", server.address, block_bytes=2000)
    server.data = PACKED["gzip"]
    assert read(tmp_path / "out", server.address, block_bytes=2000).digest == digest
    server.data = PACKED["zip"]
    with refused(r"r\.csv cannot be read as a zip"):
        find_files([server.address])


def test_a_server_that_does_not_know_the_length(tmp_path, server):
    server.ranges = server.length = False
    with refused(r"r\.csv: its server does not say how long it is: download it first"):
        read(tmp_path / "out", server.address)


def test_an_address_that_the_server_does_not_have(server):
    with refused(r"there is no ratings file http://127\.0\.0\.1:\d+/q\.csv"):
        find_files([server.address.replace("/r.", "/q.")])


# An object store


@pytest.mark.integration
def test_files_of_an_object_store(tmp_path, digest, s3):
    s3.pipe({f"bucket/year/{name}": data for name, data in PARTS.items()})
    made = read(tmp_path / "out", "s3://bucket/year/part-*.csv", block_bytes=2000)
    assert made.digest == digest
    facts = made.manifest["source"]["files"]
    names = [f"s3://bucket/year/{name}" for name in PARTS]
    assert [(fact["path"], fact["bytes"], len(fact["etag"])) for fact in facts] == [
        (name, len(data), 32) for name, data in zip(names, PARTS.values(), strict=True)
    ]
    for address in (
        "s3://bucket/",
        "s3://bucket/year",
        "s3://bucket/y*",
        "s3://bucket/year/*",
    ):
        assert [file.path for file in find_files([address])] == names


@pytest.mark.integration
@pytest.mark.parametrize(
    # A store in memory gives them all.
    "kind",
    [kind if kind == "parquet" else pytest.param(kind, marks=pytest.mark.slow) for kind in PACKED],
)
def test_objects_of_every_kind(tmp_path, digest, s3, kind):
    s3.pipe(f"bucket/{kind}", PACKED[kind])
    assert read(tmp_path / "out", f"s3://bucket/{kind}", block_bytes=4000).digest == digest


@pytest.mark.integration
def test_the_configuration_of_fsspec_may_say_where_the_store_is(
    tmp_path, digest, s3, object_store, monkeypatch
):
    s3.pipe("bucket/r.csv", TEXT)
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    said = {"endpoint_url": object_store, "key": "somebody", "secret": "something"}
    monkeypatch.setitem(fsspec.config.conf, "s3", said)
    assert read(tmp_path / "out", "s3://bucket/r.csv").digest == digest


@pytest.mark.integration
@pytest.mark.parametrize("tail", [1, pytest.param(64, marks=pytest.mark.slow)])
def test_ranges_of_an_object_end_where_it_ends(s3, monkeypatch, tail):
    # A line that goes over several requests, and a request that would begin where the object ends.
    data = b"1,2,3\n1,3,4\n" + b"1,%s,5\n" % (b"x" * 40) + b"2,3,4\n" + b"2,%s,4" % (b"y" * (16 * tail + 3))
    monkeypatch.setattr("toolkit.ingest.reading.blocks._TAIL", tail)
    s3.pipe("bucket/r.csv", data)
    source = source_of(RatingsFile("s3://bucket/r.csv"))
    for block_bytes in (len(data) // 4, len(data) - tail):
        found = [pieces(unit, source, block_bytes) for unit in units(source, block_bytes)]
        assert b"".join(piece.data for some in found for piece in some) == data


@pytest.mark.integration
def test_no_more_of_an_object_is_fetched_than_is_needed(s3, monkeypatch):
    big = TEXT * (1 + (4 << 20) // len(TEXT))
    s3.pipe({f"bucket/{k}.csv": big for k in range(2)})
    fetched = []
    call = type(s3)._call_s3

    async def spy(self, method, *args, **options):
        found = await call(self, method, *args, **options)
        if method == "get_object":
            fetched.append(found["ContentLength"])
        return found

    monkeypatch.setattr(type(s3), "_call_s3", spy)
    RatingsSource.detect(["s3://bucket"])
    assert sum(fetched) < 3 << 20


@pytest.mark.integration
def test_an_object_that_was_written_since_it_was_listed(tmp_path, s3, object_store):
    import boto3

    s3.pipe({f"bucket/d/{name}": data for name, data in PARTS.items()})
    somebody_else = boto3.client("s3", endpoint_url=object_store)

    def change(stage, *_):
        if stage == "sorting":
            somebody_else.put_object(Bucket="bucket", Key="d/part-1.csv", Body=TEXT)

    with refused("a file was written"):
        read(tmp_path / "out", "s3://bucket/d", progress=change)
    somebody_else.put_object(Bucket="bucket", Key="d/part-3.csv", Body=TEXT)
    assert len(find_files(["s3://bucket/d"])) == 4
    somebody_else.close()


@pytest.mark.integration
def test_what_an_object_store_does_not_have(s3):
    s3.touch("bucket/r.csv")
    for address in ("s3://bucket/none.csv", "s3://bucket/none-*.csv", "s3://nobody/r.csv"):
        with refused(rf"there is no ratings file {re.escape(address)}$"):
            find_files([address])
    with refused(r"s3://bucket/r\.csv is empty"):
        RatingsSource.detect(["s3://bucket/r.csv"])
    text = r"^s3://me:\*\*\*@bucket/r-\*\.csv cannot be listed: .*me:\*\*\*@bucket"
    with refused(text) as caught:
        find_files(["s3://me:hidden@bucket/r-*.csv"])
    assert "hidden" not in str(caught.value)
