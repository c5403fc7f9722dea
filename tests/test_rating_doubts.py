"""What is read without an error, and may mean something else, is told or refused."""

from __future__ import annotations

import pytest
from ingesting import walslab
from kinds import detect

from toolkit.errors import RatingsError
from toolkit.ingest import rating_apart
from toolkit.tables import looks_wide

STARS = [(u, i, (u * 7 + i) % 5 + 1) for u in range(30) for i in range(u % 3, 40, 3)]


def stars(form="{0},{1},{2}", rows=STARS):
    return "".join(form.format(*row) + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("value", "every", "said"), [(-1, 5, True), (99, 4, True), (0, 2, False), (6, 3, False), (-2, 5, False)]
)
def test_a_value_that_seems_to_stand_for_no_rating_is_told(tmp_path, value, every, said):
    rows = [(u, i, value if n % every == 0 else r) for n, (u, i, r) in enumerate(STARS)]
    apart = rating_apart(detect(tmp_path, stars(rows=rows)))
    assert (apart is not None) == said
    if apart:
        assert apart == (value, -(-len(STARS) // every), len(STARS), 1.0, 5.0)


@pytest.mark.parametrize("last", [b"Total,77,1190\n", b"30 40 400\n".replace(b" ", b","), b"Total,77,-900\n"])
def test_a_rating_far_from_all_others_is_told(tmp_path, last):
    path = tmp_path / "r.csv"
    path.write_bytes(stars() + last)
    done = walslab("ingest", path, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert f"A rating is {last.decode().split(',')[-1].strip()}, far from nearly all others." in done.output
    path.write_bytes(stars())
    assert "far from" not in walslab("ingest", path, "--out", tmp_path / "out", "--overwrite").output


@pytest.mark.parametrize(("factor", "unit"), [(1000, "milliseconds"), (10**9, "nanoseconds"), (10, "")])
def test_times_in_two_units_within_a_file_are_told(tmp_path, factor, unit):
    path, later = tmp_path / "r.csv", 978300760 * factor
    path.write_bytes(
        stars("{0},{1},{2},978300760", STARS[::2]) + stars(f"{{0}},{{1}},{{2}},{later}", STARS[1::2])
    )
    done = walslab("ingest", path, "--out", tmp_path / "out", "--split", "temporal")
    assert done.exit_code == 0, done.output
    assert ("Some times are in seconds" in done.output) == bool(unit)
    assert (f"some in {unit}, such as {later} of r.csv" in " ".join(done.output.split())) == bool(unit)


@pytest.mark.parametrize("halves", [("0", "5"), ("5",), ("00", "50"), ("25", "75", "00")])
def test_decimal_commas_without_quotes_are_refused_where_they_cut_ratings(tmp_path, halves):
    rows = [(*row, halves[n % len(halves)]) for n, row in enumerate(STARS)]
    data = stars("{0},{1},{2},{3}", rows)
    with pytest.raises(
        RatingsError, match=r"may have a decimal comma that cuts them in two, as in .* --columns"
    ):
        detect(tmp_path, data)
    assert detect(tmp_path, data, columns=["1", "2", "3"]).columns == (0, 1, 2)
    assert detect(tmp_path, stars("{0},{1},{2},0")).columns == (0, 1, 2)


def test_commas_between_thousands_are_told_from_decimal_commas(tmp_path):
    with pytest.raises(
        RatingsError, match=r"--decimal comma where .* or remove them where they part thousands"
    ):
        detect(tmp_path, stars('{0},{1},"{2},400"'))


@pytest.mark.parametrize(
    "line", [b"{}", b'{"user": {"id": 1}, "item": [2]}', b'{"user": [1, 2], "item": [3, 4]}']
)
def test_json_without_text_or_numbers_is_explained(tmp_path, line):
    with pytest.raises(RatingsError, match=r"JSON objects without text or numbers .* one flat object a line"):
        detect(tmp_path, (line + b"\n") * 30)


@pytest.mark.parametrize(("last", "wide"), [("1111", True), ("1114", True), ("11", False)])
def test_few_columns_are_a_table_of_users_by_items_where_most_hold_most_numbers(last, wide):
    behind = ["1324", "2413", "1234" if wide else "11", last.ljust(4, "1")]
    rows = [[f"u{at}", *(column.ljust(4, "1")[at] for column in behind)] for at in range(4)]
    assert looks_wide(rows) == wide
