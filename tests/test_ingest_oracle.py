"""Ingest of dirty files against an oracle of plain Python, however they are cut, packed and ordered."""

from __future__ import annotations

import gzip
import itertools
import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingesting import usual

from toolkit.engines import Threads
from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.ingest.reading.blocks import BOM, Piece
from toolkit.ingest.reading.diagnosis import check_line
from toolkit.ingest.reading.file_listing import find_files
from toolkit.ingest.reading.parsing import parse
from toolkit.ingest.reading.quotes import OpenQuoteError
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.reader import read_piece
from toolkit.ingest.reading.rejections import SAMPLES

SPLITS = ("train", "valid", "test")
NAMES = {"train": ("train", "BASE"), "valid": ("valid", " Val"), "test": ("test", "holdout ")}
RATINGS = ("0", "0.5", " 1 ", "3.5", "5.0", "-2.25", "+4", "1e1")
BLANK = (b"", b"  ", b"\t", b"\t\t\t\t")
# What to write into a field so that the line is bad, and why it is then.
ODD = {
    "user missing": ("user", ("", "  ", "\u3000")),
    "item missing": ("item", ("", " ")),
    "rating missing": ("rating", ("", " ")),
    "rating not a number": ("rating", ("x", "５", "1_0", "0x10", "1e", "3.5.", "--1", "5\u00a0")),  # noqa: RUF001
    "rating not finite": ("rating", ("nan", "-inf", "1e39", "3.4028236e38")),
    "user not an integer": ("user", ("x7", "007", "-0", "1.5", "٣", str(2**63))),
    "item not an integer": ("item", ("7x", str(-(2**63) - 1))),
    "bad timestamp": ("time", ("", "soon", "1.5", str(2**63))),
    "unknown split": ("split", ("", "tset")),
}

integers = st.one_of(st.integers(-9, 30), st.integers(-(2**63), 2**63 - 1)).map(str)
words = st.one_of(
    st.sampled_from(
        ["7", "007", "-0", "NA", "null", "a:b", "a,b", 'q"x', "é", "e\u0301", "\U0001d538", "\ufeff1"]
    ),
    st.text(st.characters(categories=("L", "N")), min_size=1, max_size=4),
)


def mix(x):
    """Return splitmix64, in Python's integers."""
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
    return x ^ (x >> 31)


@st.composite
def forms(draw, kind):
    """Draw how files are written, what is bad in them, and what is asked of the ingest."""
    roles = ["user", "item", "rating"]
    roles += ["time"] * (kind in {"temporal", "per-user-last"}) + ["split"] * (kind == "column")
    ids = draw(st.sampled_from(["auto", "auto", "integer", "text"]))
    pools = [integers if ids == "integer" else draw(st.sampled_from([integers, words])) for _ in "ui"]
    users, items = (draw(st.lists(pool, min_size=3, max_size=8, unique=True)) for pool in pools)
    roles = draw(st.permutations(roles + ["note"] * draw(st.integers(0, 2))))
    delimiter = draw(st.sampled_from([",", "::", "\t", ";", "|"]))
    reasons = [each for each in ODD if ODD[each][0] in roles and (ids == "integer" or "integer" not in each)]
    reasons += ["zero byte", "not UTF-8", "field count"]
    return {
        "kind": kind,
        "roles": roles,
        "ids": ids,
        "delimiter": delimiter,
        # Few of them, so that some come often.
        "reasons": draw(st.lists(st.sampled_from(reasons), min_size=1, max_size=3)),
        "header": draw(st.booleans()),
        "bom": draw(st.booleans()),
        "end": draw(st.sampled_from([b"\n", b"\r\n"])),
        # A pair is in one split, wherever it is repeated.
        "pairs": [(u, i, draw(st.sampled_from(SPLITS))) for u in users for i in items],
        "duplicates": draw(st.sampled_from(["last", "mean", "sum"])),
        "rule": SplitRule(
            kind="given" if kind in {"column", "file"} else kind,
            valid=draw(st.sampled_from([0, 0.1, 0.4, 1])),
            test=draw(st.sampled_from([0.2, 0.5, 2])),
            seed=draw(st.integers(0, 2**64 - 1)),
        ),
        "shard_ratings": draw(st.integers(1, 9)),
    }


@st.composite
def lines_of(draw, form):
    """Draw a line, and the reason why it is bad or, of a good one, what it says; None for a blank one."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(BLANK)), None
    roles, delimiter = form["roles"], form["delimiter"]
    quotes = len(delimiter) == 1
    user, item, split = draw(st.sampled_from(form["pairs"]))
    fields = {"user": user, "item": item, "rating": draw(st.sampled_from(RATINGS))}
    time = draw(st.integers(-1, 3))
    said = (user, item, float(fields["rating"]), time, split)
    fields |= {"time": str(time), "split": draw(st.sampled_from(NAMES[split])), "note": ""}
    reason = draw(st.sampled_from(form["reasons"])) if draw(st.integers(0, 3)) == 0 else None
    if reason in ODD:
        role, values = ODD[reason]
        fields[role] = draw(st.sampled_from(values))
    for role in ("user", "item", "rating"):
        if quotes and (draw(st.integers(0, 4)) == 0 or {'"', delimiter} & {*fields[role]}):
            fields[role] = '"' + fields[role].replace('"', '""') + '"'
    return draw(spoilt([fields[role].encode() for role in roles], roles, delimiter, reason)), reason or said


@st.composite
def spoilt(draw, cells, roles, delimiter, reason):
    """Draw the line of these fields, spoilt in the way of the reason where it is about the whole of it."""
    for at, role in enumerate(roles):
        if role == "note":
            # What is not read need not be text.
            cells[at] = draw(st.sampled_from([b"", b"plain", b"\xff\xfe", b'say "hi"', b"soon"]))
    if reason == "not UTF-8":
        cells[roles.index(draw(st.sampled_from(["user", "item", "rating"])))] = b"\xe9"
    if reason == "field count":
        one = re.sub(rb'[",]', b"", b"/".join(cells))
        cells = draw(st.sampled_from([[*cells[:2], b"x"][: len(cells) - 1], [*cells, b"9"], [one]]))
    return delimiter.encode().join(cells) + b"\0" * (reason == "zero byte")


def write(folder, form, lines, cuts, *, packed, ended):
    """Write lines to files; return how to read them, and file, number, text and verdict of each, in order."""
    roles, delimiter, end = form["roles"], form["delimiter"], form["end"]
    groups = {"train": lines}
    if form["kind"] == "file":
        in_split = [(said[4] if isinstance(said, tuple) else "train", (line, said)) for line, said in lines]
        groups = {name: [line for split, line in in_split if split == name] for name in SPLITS}
    paths, given, where = [], [], []
    for split, group in groups.items():
        edges = [0, *sorted(cut % (len(group) + 1) for cut in cuts), len(group)]
        for a, b in itertools.pairwise(edges):
            path = folder / f"r{len(paths)}"
            head = [delimiter.join(roles).encode()] * form["header"]
            data = b"".join(line + end for line in [*head, *(line for line, _ in group[a:b])])
            data = data if ended else data.removesuffix(end)
            # Only the first mark of a file is no part of its first field.
            data = BOM * (form["bom"] or data.startswith(BOM)) + data
            path.write_bytes(gzip.compress(data, 1) if packed else data)
            where += [(str(path), len(head) + n, *each) for n, each in enumerate(group[a:b], 1)]
            paths.append(path)
            given.append(SPLITS.index(split))
    source = RatingsSource(
        files=find_files(paths),
        delimiter=delimiter,
        header=form["header"],
        columns=tuple(roles.index(role) for role in ("user", "item", "rating")),
        fields=len(roles),
        timestamp=roles.index("time") if "time" in roles else None,
        split_column=roles.index("split") if "split" in roles else None,
        given=tuple(given) if form["kind"] == "file" else (),
        ids=(form["ids"],) * 2,
    )
    return source, where


def oracle(form, rows):
    """Return {(user, item): (rating, time, split)} of good rows, with ids of the kind they are."""
    kinds = [int if form["ids"] != "text" and usual({row[k] for row in rows}) else str for k in (0, 1)]
    pairs = {}
    for user, item, *rest in rows:
        pairs.setdefault((kinds[0](user), kinds[1](item)), []).append(rest)
    if "time" in form["roles"]:
        pairs = {
            pair: sorted(several, key=lambda each: (each[1], each[0])) for pair, several in pairs.items()
        }
    found = {}
    for pair, several in pairs.items():
        values = [value for value, *_ in several]
        value = values[-1] if form["duplicates"] == "last" else sum(values)
        value /= len(values) if form["duplicates"] == "mean" else 1
        found[pair] = (float(np.float32(value)), *several[-1][1:])
    return found


def draws(form, found):
    """Return the pairs that are split together, in the order in which they are held out, and how many.

    The amounts, for test and validation, are sets of what is allowed, before one rating is kept for training.
    """
    users, items = (sorted({pair[k] for pair in found}) for k in (0, 1))
    rows, columns = ({name: at for at, name in enumerate(ids)} for ids in (users, items))
    rule = form["rule"]

    def place(pair):
        number = rows[pair[0]] * len(items) + columns[pair[1]]
        return -found[pair][1] if "time" in form["roles"] else 0, mix(number ^ mix(rule.seed))

    def amount(asked, n):
        if rule.by_user and asked < 1:
            return {int(asked * n), int(asked * n) + 1}
        return {int(asked) if asked >= 1 else round(asked * n)}

    ranked = sorted(found, key=place)
    if rule.by_user:
        groups = [[pair for pair in ranked if pair[0] == user] for user in users]
        return [(group, amount(rule.test, len(group)), amount(rule.valid, len(group))) for group in groups]
    if rule.kind != "given":
        return [(ranked, amount(rule.test, len(ranked)), amount(rule.valid, len(ranked)))]
    if any(split == "valid" for *_, split in found.values()):
        return []
    ranked = [pair for pair in ranked if found[pair][2] == "train"]
    return [(ranked, {0}, amount(rule.valid, len(ranked)))]


def impossible(form, found):
    """Tell whether no rating is left to train on."""
    rule = form["rule"]
    if rule.by_user:
        return False
    if rule.kind == "given" and all(split != "train" for *_, split in found.values()):
        return True
    return any(sum(test) + sum(valid) >= len(ranked) for ranked, test, valid in draws(form, found))


def parts_of(data):
    """Return {(user, item): (rating, split)}."""
    found = []
    for name in SPLITS:
        part = getattr(data, name).tocoo()
        users, items = data.user_ids[part.row].tolist(), data.item_ids[part.col].tolist()
        found += [((u, i), (v, name)) for u, i, v in zip(users, items, part.data.tolist(), strict=True)]
    assert len(dict(found)) == len(found)
    return dict(found)


def check_rejections(data, bad):
    rejections = data.manifest["rejections"]
    assert rejections["reasons"] == Counter(reason for *_, reason in bad)
    assert data.counts["rejected"] == len(bad)
    seen = Counter()
    first = [row for row in bad if not seen.update([row[3]]) and seen[row[3]] <= SAMPLES]
    assert rejections["samples"] == [
        {"file": file, "line": line, "reason": reason, "text": text.decode("utf-8", "backslashreplace")[:80]}
        for file, line, text, reason in first
    ]


def check_split(form, data, found):
    got = {pair: split for pair, (_, split) in parts_of(data).items()}
    groups = draws(form, found)
    drawn = {pair for ranked, *_ in groups for pair in ranked}
    assert all(got[pair] == found[pair][2] for pair in found if pair not in drawn)
    for ranked, test, valid in groups:
        splits = [got[pair] for pair in ranked]
        n_test, n_valid, room = splits.count("test"), splits.count("valid"), len(ranked) - 1
        assert splits == ["test"] * n_test + ["valid"] * n_valid + ["train"] * (room + 1 - n_test - n_valid)
        assert n_test in {min(n, room) for n in test}
        assert n_valid in {min(n, room - n_test) for n in valid}
    assert data.manifest["split"].items() >= form["rule"].record().items()


@pytest.mark.parametrize("kind", ["random", "per-user", "temporal", "per-user-last", "column", "file"])
@settings(
    max_examples=settings.default.max_examples // 5,  # of each kind
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_dirty_files_agree_with_the_oracle(kind, data):
    draw = data.draw
    form = draw(forms(kind))
    size = draw(st.sampled_from([1, 10, 20, 30]))
    lines = draw(st.lists(lines_of(form), min_size=size, max_size=size + 5))

    def prepare(lines, bad_rows, out):
        """Write the files; return their good rows, their bad ones, and what ingests them."""
        cuts, packed = draw(st.lists(st.integers(0, 30), max_size=2)), draw(st.booleans())
        source, where = write(folder, form, lines, cuts, packed=packed, ended=draw(st.booleans()))
        options = {
            "split": form["rule"],
            "duplicates": form["duplicates"],
            "bad_rows": bad_rows,
            "block_bytes": draw(st.integers(1, 200)),
            "shard_ratings": form["shard_ratings"],
            "engine": Threads(draw(st.integers(1, 3))),
        }
        good = [said for *_, said in where if isinstance(said, tuple)]
        return (
            good,
            [row for row in where if isinstance(row[3], str)],
            lambda: ingest_ratings(source, folder / out, **options),
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good, bad, ingest = prepare(lines, "error", "strict")
        if bad:
            with pytest.raises(RatingsError) as raised:
                ingest()
            file, line, *_ = bad[0]
            assert re.match(rf"{re.escape(file)}, line {line}(:| has| holds| opens| is) ", str(raised.value))
            assert not list(folder.glob("*strict*"))

        good, bad, ingest = prepare(lines, "drop", "first")
        if not good:
            with pytest.raises(
                RatingsError, match=f"all of its {len(bad)} rows are bad" if bad else "no rating"
            ):
                ingest()
            return
        found = oracle(form, good)
        if impossible(form, found):
            with pytest.raises(ConfigError, match="to train on"):
                ingest()
            return
        made = ingest()
        assert {pair: value for pair, (value, _) in parts_of(made).items()} == {p: found[p][0] for p in found}
        assert made.user_ids.tolist() == sorted({user for user, _ in found})
        assert made.item_ids.tolist() == sorted({item for _, item in found})
        assert made.counts["duplicates"] == len(good) - len(found)
        check_rejections(made, bad)
        check_split(form, made, found)

        # The last of a pair depends on the order of the input, unless times are read.
        repeated = len({row[:2] for row in good}) < len(good)
        ordered = form["duplicates"] == "last" and repeated and "time" not in form["roles"]
        _, _, ingest = prepare(lines if ordered else draw(st.permutations(lines)), "drop", "second")
        assert ingest().digest == made.digest


@settings(max_examples=settings.default.max_examples // 2)
@given(data=st.data())
def test_the_first_repeat_is_named_with_the_rating_before_it(data):
    draw = data.draw
    pair = st.tuples(st.integers(1, 3), st.sampled_from(["a", "b"]))
    rows = draw(st.lists(st.one_of(st.just(None), pair), max_size=12))
    cut = draw(st.integers(0, len(rows)))
    with tempfile.TemporaryDirectory() as name:
        places, repeats, seen = [], [], {}
        for number, part in enumerate((rows[:cut], rows[cut:])):
            path = Path(name) / f"{number}.csv"
            path.write_text("".join("0,a,x\n" if row is None else "{},{},3\n".format(*row) for row in part))
            places += [f"{path}, line {line}" for line in range(1, len(part) + 1)]
        for row, place in zip(rows, places, strict=True):
            if row in seen:
                repeats.append(f"{place}: user {row[0]} rates item {row[1]} again, after {seen[row]} (")
            if row:
                seen[row] = place
        source = RatingsSource(
            files=find_files([name]), delimiter=",", header=False, columns=(0, 1, 2), fields=3
        )
        options = {"bad_rows": "drop", "block_bytes": draw(st.integers(1, 90)), "shard_ratings": 2}
        options |= {"split": SplitRule(valid=0, test=0), "duplicates": "error"}
        if repeats:
            with pytest.raises(RatingsError) as raised:
                ingest_ratings(source, Path(name) / "out", **options)
            assert str(raised.value).startswith(f"{repeats[0]}{len(repeats)} such lines in all): ")
        elif seen:
            assert ingest_ratings(source, Path(name) / "out", **options).counts["ratings"] == len(seen)


ATOMS = [*"10x\"',.;|:-+ é\t\u00a0\u3000\x1f\x85\u2028\ufeff٣\udce9", "23", "3.5", '""', '"a"', "::", "nan"]
ATOMS += [
    "inf",
    "1e5",
    "1e400",
    "0x1f",
    "1_0",
    "train",
    "TEST",
    "2015-03-31",
    "2015-02-30 01:00",
    "978300760",
]
ATOMS += ["2015-03-31T01:02:03Z", "2015-03-31 23:59:59.1234567", str(2**63), str(2**63 - 1)]
TIMES = {"integer": "5", "number": "5.5", "time": "2015-03-31 23:59:59", "zoned time": "2015-03-31T23:59Z"}


@settings(max_examples=settings.default.max_examples * 2)
@given(data=st.data())
def test_what_the_checker_lets_pass_the_reader_takes_and_nothing_else(data):
    draw = data.draw
    fields = draw(st.integers(3, 5))
    places = draw(st.permutations(range(fields)))
    kind = draw(st.sampled_from([*TIMES]))
    source = RatingsSource(
        files=(RatingsFile("r.csv"),),
        delimiter=draw(st.sampled_from([",", "::", "\t", ";", "|", " ", "x", "'"])),
        header=False,
        columns=tuple(places[:3]),
        fields=fields,
        timestamp=places[3] if fields > 3 else None,
        time_kind=kind,
        split_column=places[4] if fields > 4 and draw(st.booleans()) else None,
        ids=(draw(st.sampled_from(["auto", "integer", "text"])), "auto"),
    )
    lines, verdicts, is_open = [], [], False
    for _ in range(draw(st.integers(1, 5))):
        cells = [""] * fields
        for at, text in zip(places, ["7", "a b", " 3.5 ", TIMES[kind], "test"], strict=False):
            odd = draw(st.integers(0, 3)) == 0
            cells[at] = "".join(draw(st.lists(st.sampled_from(ATOMS), max_size=2))) if odd else text
        line = source.delimiter.join(cells).encode("utf-8", "surrogateescape")
        if line.strip():
            lines.append(line + b"\n")
            try:
                verdicts.append(check_line(line, len(lines), source))
            except OpenQuoteError:
                is_open = True
                verdicts.append("an open quote")
    for line, bad in zip(lines, verdicts, strict=True):
        if bad is None:
            assert len(parse(line, source)) == 1
        else:
            with pytest.raises(ValueError):
                parse(line, source)
    piece = Piece(b"".join(lines), 1, len(lines))
    if is_open:
        with pytest.raises(OpenQuoteError):
            read_piece(piece, source)
        return
    columns, rejections = read_piece(piece, source)
    assert len(columns) == verdicts.count(None)
    assert rejections.reasons == Counter(bad.reason for bad in verdicts if bad)
