"""What `walslab ingest` says of each kind of bad input, what it drops, and what it takes as it is."""

from __future__ import annotations

import gzip
import json
import random
import re

import pytest
from click.testing import CliRunner

from cluster.cli import main
from toolkit.datasets import LONGEST_ID, RatingsDataset
from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest import RatingsSource, ingest_ratings, parse_size
from toolkit.ingest.reading import diagnosis

GOOD = b"1,2,3\n4,5,6\n"
# More lines than the form is found from.
MANY = b"".join(b"%d,%d,3\n" % (n, n % 7) for n in range(60))
ALL = ("--valid", "0", "--test", "0")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, so that paths in messages are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def walslab(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def ingested(folder):
    """Return a function that ingests bytes, and returns the dataset and what was printed."""

    def ingested(data, *options, name="r.csv", out="out"):
        (folder / name).write_bytes(data)
        done = walslab("ingest", name, "--out", out, *options)
        assert done.exit_code == 0, done.output
        return RatingsDataset.open(folder / out, verify=True), done.stdout

    return ingested


@pytest.fixture
def refused(folder):
    """Return a function that ingests files, which must fail, and returns what was said; nothing is left."""

    def refused(files, *options, paths=None):
        files = {"r.csv": files} if isinstance(files, bytes) else files
        for name, data in files.items():
            (folder / name).write_bytes(data)
        done = walslab("ingest", *(paths or files), "--out", "out", *options)
        assert done.exit_code == 2, done.output
        assert isinstance(done.exception, SystemExit)
        assert done.stderr.startswith("walslab: error: ")
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 600
        assert sorted(path.name for path in folder.iterdir()) == sorted(files)
        return done.stderr.removeprefix("walslab: error: ").rstrip()

    return refused


def ratings_of(data):
    return {
        (data.users.id(u), data.items.id(i)): float(value)
        for part in (data.train.tocoo(), data.valid, data.test)
        for u, i, value in zip(part.row, part.col, part.data, strict=True)
    }


# Reason, the line and the beginning of what is said of it; the way out follows.
BAD = [
    ("user missing", b",5,3", ": the user is missing; mend or remove the line"),
    ("item missing", b"4, ,3", ": the item is missing; mend or remove the line"),
    ("rating missing", b"4,5,", ": the rating must be a finite float32 number, but is ''"),
    ("rating not a number", b"4,5,good", ": the rating must be a finite float32 number, but is 'good'"),
    ("rating not finite", b"4,5,NaN", ": the rating must be a finite float32 number, but is 'NaN'"),
    ("rating not finite", b"4,5,-Infinity", ": .* but is '-Infinity'"),
    ("rating not finite", b"4,5,3.5e38", ": .* but is '3.5e38'"),
    ("field count", b"4,5", " has 2 field.s. where line 1 has 3 .delimiter ','.: '4,5'; mend the line, or"),
    ("field count", b"4,5,3,881250949", " has 4 field.s. where line 1 has 3 "),
    ("field count", b"4;5;3", " has 1 field.s. .*: '4;5;3'; mend the line, or give --delimiter"),
    ("zero byte", b"4,5,3\0", " holds a zero byte, so it is not text: mend or remove the line"),
    ("not UTF-8", b"caf\xe9,5,3", r" is not UTF-8 text: b'caf\\xe9,5,3'; convert the file, .* iconv"),
]


@pytest.mark.parametrize(
    ("reason", "line", "said", "windows"),
    [
        pytest.param(
            *bad, windows, id=f"{n} {bad[0]}", marks=pytest.mark.slow if windows and n % 5 != 4 else []
        )
        for windows in (False, True)
        for n, bad in enumerate(BAD)
    ],
)
def test_a_bad_row_is_named_by_file_line_field_and_value(refused, reason, line, said, windows):
    data = MANY + line + b"\n" + GOOD
    if windows:
        data = b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")
    message = refused({"a.csv": MANY, "b.csv": data})
    assert re.match(rf"b\.csv, line 61{said}", message)
    assert message.endswith("(or have bad rows left out, counted, with --bad-rows drop)")


def test_an_id_that_is_too_long_is_named_by_file_and_line(refused):
    message = refused({"a.csv": MANY, "b.csv": MANY + b"4," + b"x" * (LONGEST_ID + 1) + b",3\n" + GOOD})
    assert message.startswith(
        "b.csv, line 61: the item must have at most 8,192 bytes, but has 8,193, and begins"
    )


def test_dropped_rows_are_counted_and_sampled_in_manifest_and_on_the_screen(ingested):
    lines = [line for _, line, _ in BAD] * 7
    random.Random(0).shuffle(lines)
    reasons = {line: reason for reason, line, _ in BAD}
    data, printed = ingested(MANY + b"\n".join(lines), "--bad-rows", "drop", *ALL)
    assert data.counts["ratings"] == 60
    assert data.counts["rejected"] == len(lines) == 7 * 12
    rejections = data.manifest["rejections"]
    counts = {reason: 7 * [bad[0] for bad in BAD].count(reason) for reason in reasons.values()}
    assert rejections["policy"] == "drop"
    assert rejections["reasons"] == counts
    assert "84 bad rows left out:\n" in printed
    for reason, count in counts.items():
        places = [n for n, line in enumerate(lines, 61) if reasons[line] == reason]
        samples = [sample for sample in rejections["samples"] if sample["reason"] == reason]
        texts = [lines[n - 61].decode("utf-8", "backslashreplace") for n in places[:5]]
        assert [(s["file"], s["line"], s["text"]) for s in samples] == [
            ("r.csv", n, text) for n, text in zip(places[:5], texts, strict=True)
        ]
        assert f"  {count} × {reason}, such as r.csv, line {places[0]}: {texts[0]!r}\n" in printed

    shown = walslab("describe", "out").stdout
    assert re.search(r"^rejected +84 rows \(policy: drop\)", shown, re.MULTILINE)
    assert re.search(r"^field count +21 *$", shown, re.MULTILINE)
    first = next(n for n, line in enumerate(lines, 61))
    assert f"  r.csv:{first}: {reasons[lines[0]]}: " in shown


def test_the_count_of_dropped_rows_is_in_the_json(folder):
    (folder / "r.csv").write_bytes(GOOD + b"1,2,x\n7,8\n")
    done = walslab("ingest", "r.csv", "--out", "out", "--bad-rows", "drop", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["rejected"] == 2
    assert "2 bad rows left out" in done.stderr


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (b"", (), "r.csv is empty: a ratings file has one user, item and rating a line"),
        (b"\n  \r\n\n", (), "r.csv is empty"),
        (b"user,item,rating\n", (), "r.csv holds no rating: there is nothing below the header"),
        (
            b"user,item\n1,2\n",
            (),
            "its lines have two fields when cut at ',', .* at least three: user, item and rating",
        ),
        (
            b"user,item\n1,2\n",
            ("--delimiter", ","),
            "'user,item', has 2 .* too few for user, item and rating",
        ),
        (b"user,item,when\n1,2,3\n", (), "none of .* user, item, when is recognised as rating: .* --columns"),
        (b"user,item,score\n1,2,3\n", ("--columns", "user,item,scores"), r"no column 'scores' .did you mean"),
        (b"user,item,rating\n1,2,3\n", ("--no-header",), "line 1: .* 'rating'; if that is a header, say --h"),
        (GOOD, ("--delimiter", ";"), "'1,2,3', has 1 .* cut at ';', .* give another --delimiter"),
        (GOOD, ("--delimiter", "::"), "cut at '::', .* give another --delimiter"),
        (GOOD, ("--delimiter", "ab"), "--delimiter must be one ASCII character, tab, or '::', but got 'ab'"),
        (GOOD, ("--columns", "1,2,4"), "--columns must name columns from 1 to 3, but got 4"),
        (b"1;2;3\n4;5;3,5\n", (), "line 2: .* '3,5'; write it with a point, 3.5"),
        (b"1,2,3\na,2,3\n", ("--ids", "integer"), "line 2: the user must be an integer .* is 'a'"),
        (b"1,2,3\n1,007,3\n", ("--ids", "integer"), "line 2: the item must be an integer .* '007'"),
        (b"1,2,3\n%d,2,3\n" % 2**63, ("--ids", "integer"), f"line 2: the user .* '{2**63}'"),
        (b"1,2,3\n4,5,6\n1,2,4\n", ("--duplicates", "error"), "line 3: user 1 rates item 2 again, after "),
        (b"1,2,3e38\n1,2,3e38\n", ("--aggregate", "sum"), "of item 2 by user 1 add up to more than float32"),
        (b'1,2,3,a\n4,5,6,"b\n', (), "line 2 opens a quote that it does not close: '4,5,6,\"b'; mend"),
        (b"1,2,3\r\r\n\r\r\n4,5,x\r\r\n", (), "line 3: .* is 'x'"),
        (b"1,2,3\r\r4,5,x\r", (), "line 3: .* is 'x'"),
        (b"1,2,x\n4,5\n", ("--bad-rows", "drop", "--delimiter", ","), "no rating: all of its 2 rows are bad"),
        (b"1,2,3,a\n", ("--split", "temporal"), "no column of times .* fourth of --columns, such as 1,2,3,4"),
        (
            b"1,2,3,2015-02-28\n" * 60 + b"1,2,3,2015-02-29\n",
            ("--split", "temporal"),
            "line 61: the timestamp must be a time such as .*, as in the first lines, but is '2015-02-29'",
        ),
        (b"1,2,3,4.5\n" * 60 + b"1,2,3,nan\n", ("--split", "temporal"), "line 61: the timestamp .* 'nan'"),
        (b"1,2,3,train\n1,3,4,tset\n", ("--split-column", "4"), "line 2: .* valid, test, but is 'tset'"),
        (b"1,2,3,test\n", ("--split-column", "4"), "leaves no rating to train on"),
        (b"1,2,3,test\n", ("--split-column", "4", "--valid", "1"), "must leave ratings to train on, but"),
        (GOOD, ("--test", "2", "--valid", "0"), "to train on, but 0 and 2 of 2 ratings are 0 and 2"),
        (GOOD, ("--test", "1234567"), "0.1 and 1234567 of 2 ratings"),
        (GOOD, ("--test", "inf"), "--test must be a share, .* or a whole number of ratings, but got inf"),
        (GOOD, ("--valid", "-1"), "--valid must be a share, .* but got -1"),
        (GOOD, ("--valid", "1.5"), "--valid must be .* but got 1.5"),
        (GOOD, ("--split", "random", "--split-column", "1"), "give one of them"),
        (GOOD, ("--split-file", "train=r.csv"), "must be test=FILE or valid=FILE, but got 'train=r.csv'"),
        (GOOD, ("--split-file", "test=r.csv"), "r.csv is given twice, for training and held out"),
        (GOOD, ("--split-file", "test=none.csv"), "there is no ratings file none.csv"),
        (GOOD, ("--memory", "lots"), "--memory must be a size such as 512MiB or 2GB, but got 'lots'"),
        (GOOD, ("--memory", "64MiB"), "--memory must be at least [0-9]+MiB, .* but got 64 MiB"),
        (b"1,2," + b"9" * 400_000 + b"x\n" + GOOD, (), "line 1: the rating must be .* '9999999"),
        (GOOD + b"x" * 400_000 + b"\n", (), "line 3 has 1 .*: 'xxxxxxxx"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_mistakes_are_told_with_the_way_out(refused, data, options, said):
    assert re.search(said, refused(data, *options))


def test_a_gzip_file_that_is_cut_short(refused):
    rng = random.Random(0)
    whole = gzip.compress(b"".join(b"%d,%d,3\n" % (rng.getrandbits(30), n) for n in range(20_000)))
    for length in (12, 50_000, len(whole) - 4):
        message = refused({"r.csv.gz": whole[:length]})
        assert re.match(r"r\.csv\.gz cannot be read to its end: .* download it again", message)


def test_a_pair_that_is_trained_on_and_tested(refused):
    files = {"base.csv": GOOD, "test.csv": b"7,8,9\n4,5,6\n"}
    message = refused(files, "--split-file", "test=test.csv", paths=["base.csv"])
    assert re.search(r"item 5 by user 4 is in several of train, valid and test: .* keep it in one", message)


def test_a_long_value_is_cut_and_no_character_of_it(ingested):
    line = "é" * 100 + ",1,x"
    data, _ = ingested(GOOD + line.encode(), "--bad-rows", "drop")
    (sample,) = data.manifest["rejections"]["samples"]
    assert sample["text"] == "é" * 80


UNUSUAL = {
    "commas": (b'"Doe, Jane",1,5\n"say ""hi""",1,4\n', {("Doe, Jane", 1): 5, ('say "hi"', 1): 4}),
    "quoted": (b'"1","2","3"\r\n"4","5","6"\r\n', {(1, 2): 3, (4, 5): 6}),
    "long quoted": (
        b'"' + b"a" * LONGEST_ID + b'",2,3\n4,5,6\n',
        {("a" * LONGEST_ID, 2): 3, ("4", 5): 6},
    ),
    "extremes": (
        b"9223372036854775807,-9223372036854775808,1\n0,0,2\n",
        {(2**63 - 1, -(2**63)): 1, (0, 0): 2},
    ),
    "2**63": (b"9223372036854775808,1,1\n7,1,2\n", {("9223372036854775808", 1): 1, ("7", 1): 2}),
    "nfc-nfd": ("é,1,1\ne\u0301,1,2\n".encode(), {("é", 1): 1, ("e\u0301", 1): 2}),
    "look-alikes": (
        "\u212b,1,1\n\u00c5,1,2\nå,1,3\n".encode(),
        {("\u212b", 1): 1, ("\u00c5", 1): 2, ("å", 1): 3},
    ),
    "blanks": ("\u00a0a\u3000,1,1\nb\u200b,1,2\n".encode(), {("a", 1): 1, ("b\u200b", 1): 2}),
    "no-end": (b"\xef\xbb\xbf1,2,3\r\n4,5,6", {(1, 2): 3, (4, 5): 6}),
    "mark-within": (b"1,2,3\n\xef\xbb\xbf4,5,6\n", {("1", 2): 3, ("\ufeff4", 5): 6}),
    "two-returns": (b"1,2,3\r\r\n4,5,6\r\r\n", {(1, 2): 3, (4, 5): 6}),
    "tabs": (b"1\t2\t3\n\t\t\n4\t5\t6\n", {(1, 2): 3, (4, 5): 6}),
    "long": (b"1,2,3,\n4,5,6," + b"x" * 2_000_000 + b"\n", {(1, 2): 3, (4, 5): 6}),
    "control": (b"a::b\x1f:c::3\nd::e::4\n", {("a", "b\x1f:c"): 3, ("d", "e"): 4}),
    "tiny-huge": (b"1,2,3e-50\n4,5,3.4028235e38\n", {(1, 2): 0, (4, 5): 3.4028234663852886e38}),
    "one-rating": (b"1,2,3", {(1, 2): 3}),
    "one-user": (b"5,1,1\n5,2,2\n5,3,3\n", {(5, 1): 1, (5, 2): 2, (5, 3): 3}),
}


@pytest.mark.parametrize(("data", "wanted"), UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_is_taken_as_it_is(ingested, data, wanted):
    assert ratings_of(ingested(data, *ALL)[0]) == wanted


def test_what_is_not_read_need_not_be_text(ingested):
    lines = MANY.replace(b"3\n", b"3,ok\n") + b"70,70,1,caf\xe9\n"
    assert ingested(lines)[0].counts["ratings"] == 61
    data, _ = ingested(lines + b"71,71,x,caf\xe9\n", "--bad-rows", "drop", out="dropped")
    assert data.counts["ratings"] == 61
    assert data.manifest["rejections"]["reasons"] == {"rating not a number": 1}


def test_mixed_ids_are_told_with_an_example_that_is_no_integer(ingested):
    _, printed = ingested(b"1,1,1\n9223372036854775807,1,1\n9223372036854775808,1,1\n", *ALL)
    assert (
        "users are taken as text: 2 ids are integers, but others, such as '9223372036854775808', " in printed
    )
    assert "items are taken" not in printed


@pytest.mark.parametrize("text", ["x,5,3", "4,5,rating"])
def test_a_header_is_guessed_in_line_1_alone(tmp_path, text):
    (tmp_path / "r.csv").write_text(f"1,2,3\n4,5,6\n{text}\n")
    source = RatingsSource.detect(["r.csv"], ids="integer")
    for block_bytes in (6, 1 << 20):
        with pytest.raises(RatingsError, match="line 3: ") as raised:
            ingest_ratings(source, "out", block_bytes=block_bytes)
        assert "--header" not in str(raised.value)


def test_many_bad_rows_cost_no_more_than_a_few_readings(tmp_path, monkeypatch):
    parsed = []
    parse = diagnosis.parse
    monkeypatch.setattr(
        diagnosis, "parse", lambda data, source: parsed.append(len(data)) or parse(data, source)
    )
    lines = [b"%d,%d,3.5" % (n % 991, n) if n < 20_000 or n % 100 else b"4,5" for n in range(40_000)]
    (tmp_path / "r.csv").write_bytes(b"\n".join(lines))
    data = ingest_ratings(RatingsSource.detect(["r.csv"], delimiter=","), "out", bad_rows="drop")
    assert data.manifest["rejections"]["reasons"] == {"field count": 200}
    assert [each["line"] for each in data.manifest["rejections"]["samples"]] == [
        20_001,
        20_101,
        20_201,
        20_301,
        20_401,
    ]
    assert sum(parsed) < 5 * (tmp_path / "r.csv").stat().st_size
    assert len(parsed) < 400


def test_a_published_split_by_file_and_by_column(ingested, folder):
    (folder / "u1.test").write_bytes(b"1,9,1\n2,9,2\n")
    by_file, _ = ingested(MANY, "--split-file", "test=u1.test", "--valid", "0", name="u1.base", out="f")
    rows = MANY.replace(b"3\n", b"3,base\n") + b"1,9,1,test\n2,9,2,TEST\n"
    by_column, _ = ingested(rows, "--split-column", "4", "--valid", "0", out="c")
    assert by_file.digest == by_column.digest
    assert [by_file.counts[name] for name in ("train", "valid", "test")] == [60, 0, 2]
    assert by_file.manifest["split"]["kind"] == "given"
    assert [file.get("split") for file in by_file.manifest["source"]["files"]] == ["train", "test"]
    # Where nothing says which ratings are for validation, they are drawn from those for training.
    drawn, _ = ingested(rows, "--split-column", "4", "--seed", "7", out="d")
    assert [drawn.counts[name] for name in ("train", "valid", "test")] == [54, 6, 2]


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        (("--test", "0.25", "--valid", "3"), [42, 3, 15]),
        (("--split", "per-user", "--test", "1", "--valid", "1"), [20, 20, 20]),
        (("--split", "per-user", "--test", "1e300", "--valid", "0"), [20, 0, 40]),
        (("--split", "temporal", "--test", "7", "--valid", "0.1"), [47, 6, 7]),
        (("--split", "per-user-last", "--test", "0", "--valid", "2"), [20, 40, 0]),
    ],
)
def test_splits_have_exact_counts_and_are_recorded(ingested, options, counts):
    rows = [b"%d,%d,3,%d\n" % (n % 20, n, n * 7 % 60) for n in range(60)]
    data, printed = ingested(b"".join(rows), *options, "--seed", "5")
    assert [data.counts[name] for name in ("train", "valid", "test")] == counts
    assert "train {}   valid {}   test {}   (".format(*counts) in printed
    wanted = {"kind": "random", "seed": 5, "valid": 0.1, "test": 0.1}
    for key, value in zip(options[::2], options[1::2], strict=True):
        wanted[key[2:].replace("split", "kind")] = value if key == "--split" else float(value)
    assert data.manifest["split"].items() >= wanted.items()
    again, _ = ingested(b"".join(rows[::-1]), *options, "--seed", "5", out="again")
    assert again.digest == data.digest
    if wanted["kind"] == "temporal":
        assert data.manifest["split"]["test_from"] == 53
        assert "(temporal, valid from 47, test from 53)" in printed
        assert {int(data.item_ids[i]) * 7 % 60 for i in data.test.col} == set(range(53, 60))


def test_event_logs_are_added_up(folder):
    (folder / "events").mkdir()
    rng = random.Random(3)
    events = [
        (f"c{rng.randrange(9)}", f"https://x.example/{rng.randrange(7)}?a,b", rng.randrange(40) / 4)
        for _ in range(300)
    ]
    total = {}
    for client, content, seconds in events:
        total[client, content] = total.get((client, content), 0) + seconds
    for part in range(3):
        rows = "".join(f'{s},"{i}",{c},x\n' for c, i, s in events[part::3])
        (folder / "events" / f"{part}.csv.gz").write_bytes(
            gzip.compress(f"seconds,contentId,clientId,note\n{rows}".encode())
        )
    asked = ("events", "--columns", "clientId,contentId,seconds", "--aggregate", "sum")
    done = walslab("ingest", *asked, "--out", "set")
    assert done.exit_code == 0, done.output
    assert "3 files: delimiter ',', a header, user, item and rating in columns 3, 2, 1 of 4\n" in done.stdout
    data = RatingsDataset.open("set", verify=True)
    assert ratings_of(data) == total
    assert data.counts["duplicates"] == 300 - len(total)
    assert f" items, {300 - len(total)} duplicates (sum)\n" in done.stdout
    assert data.manifest["duplicates"] == "sum"
    told = json.loads(walslab("describe", "set", "--json").stdout.splitlines()[-1])
    assert told["digest"] == data.digest


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MiB", 512 << 20),
        ("2GB", 2 * 10**9),
        ("1.5g", 1_500_000_000),
        (" 3 kib ", 3072),
        ("7", 7),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes_of_memory(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1GB", "1e9", "5 parsecs", "1,5g", "nan", "inf", "0", "0.4", "1" * 400]
)
def test_what_is_no_size(text):
    with pytest.raises(ConfigError, match="--memory must be a size"):
        parse_size(text)


@pytest.mark.slow
def test_memory_does_not_change_a_byte(folder):
    rng = random.Random(1)
    rows = (
        f"{rng.randrange(5000) * 999983},{rng.randrange(3000)},{rng.randrange(1, 11) / 2}\n"
        for _ in range(150_000)
    )
    (folder / "r.csv").write_text("".join(rows))
    found = []
    for memory in ("230MiB", "4GB"):
        done = walslab("ingest", "r.csv", "--out", memory, "--memory", memory)
        assert done.exit_code == 0, done.output
        paths = [path for path in (folder / memory).rglob("*.*") if path.name != "manifest.json"]
        found.append({path.relative_to(folder / memory): path.read_bytes() for path in paths})
    assert found[0] == found[1]
    assert len(found[0]) == 6


@pytest.mark.parametrize(("factor", "apart"), [(1, False), (2, False), (20, True), (0.01, True)], ids=str)
def test_files_on_different_scales_are_told_apart(folder, factor, apart):
    for name, first, times in (("a.csv", 0, 1), ("b.csv", 50, factor)):
        lines = (f"{first + n},{n % 7},{times * (1 + n % 5)}\n" for n in range(50))
        (folder / name).write_text("".join(lines), encoding="utf-8")
    said = walslab("ingest", "a.csv", "b.csv", "--out", "out").stdout
    assert ("Ratings of " in said and " are around " in said) == apart


def test_files_of_likes_and_of_dislikes_are_on_one_scale(folder):
    for name, first, rating in (("likes.csv", 0, 1), ("dislikes.csv", 50, 0)):
        lines = (f"{first + n},{n % 7},{rating}\n" for n in range(50))
        (folder / name).write_text("".join(lines), encoding="utf-8")
    assert " are around " not in walslab("ingest", "likes.csv", "dislikes.csv", "--out", "out").stdout
