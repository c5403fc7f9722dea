"""The beginning of a text file: its first lines, and what the file has to be translated from."""

from __future__ import annotations

import dataclasses
from codecs import BOM_UTF8
from dataclasses import dataclass

from toolkit.errors import RatingsError
from toolkit.ingest.reading.quotes import sample_on_one_line
from toolkit.ingest.reading.ratings_file import RatingsFile, first_bytes, read_errors
from toolkit.ingest.reading.translation import DELIMITERS, forms_of, json_fields, json_keys, separator_of
from toolkit.tables import lines_of, split_line

_SAMPLE_LINES = 1000
# So many of them must be UTF-8.
_TEXT_LINES = 50


@dataclass(frozen=True)
class Beginning:
    """The beginning of a text file.

    Attributes
    ----------
    file : RatingsFile
        The file, with the translations that it needs.
    lines : list of str
        The first lines that are not blank, translated. Those of JSON lines are as they are.
    delimiter : str or None
        What separates fields, where the form of the file says it.
    folded : bool
        Whether a quoted field goes over several lines. They are one line of `lines`.
    """

    file: RatingsFile
    lines: list[str]
    delimiter: str | None
    folded: bool

    @property
    def form(self) -> str:
        """The last translation that the file needs, or an empty text."""
        return self.file.forms[-1] if self.file.forms else ""

    def json_rows(self, keys: list[str]) -> list[list[str]]:
        """Return the values of some keys of the JSON lines that are objects."""
        rows = [
            split_line(
                json_fields(line.encode("utf-8", "surrogateescape"), keys).decode("utf-8", "surrogateescape"),
                ",",
            )
            for line in self.lines
        ]
        return [row for row in rows if len(row) == len(keys)]

    def json_keys(self) -> list[str]:
        """Return the keys of JSON lines.

        Raises
        ------
        RatingsError
            When the lines are no JSON objects.
        """
        try:
            return json_keys(self.lines)
        except ValueError as error:
            raise RatingsError(f"{self.file} {error}") from error


def beginning_of(file: RatingsFile, *, quotes: bool = True, first: bool = True) -> Beginning:
    """Return the beginning of a text file.

    Parameters
    ----------
    file : RatingsFile
        The file.
    quotes : bool
        Whether a field in quotes may go over several lines.
    first : bool
        Whether it is the first of several files. Another may be empty, and its bad lines are found later.

    Raises
    ------
    RatingsError
        When the file is empty, no text, or of a form that cannot be read.
    """
    with read_errors(file, "to its end"):
        raw = first_bytes(file, _SAMPLE_LINES)
    try:
        forms = forms_of(raw)
    except ValueError as error:
        raise RatingsError(f"{file} {error}") from error
    separator = None
    if forms:
        # The keys of JSON lines are chosen from these lines.
        before = tuple(form for form in forms if form not in {"json", "sep"})
        with read_errors(file, "to its end"):
            raw = first_bytes(dataclasses.replace(file, forms=before), _SAMPLE_LINES)
        file = dataclasses.replace(file, forms=forms)
        separator = DELIMITERS.get(forms[-1])
    folded = False
    if quotes and not separator:
        whole = sample_on_one_line(raw)
        raw, folded = whole, not raw.startswith(whole)
    try:
        b"".join(raw.splitlines(keepends=True)[:_TEXT_LINES]).decode("utf-8" if first else "latin-1")
    except UnicodeDecodeError as error:
        raise RatingsError(
            f"{file} is not UTF-8 text: byte {error.start} is {raw[error.start]:#04x}; convert it, or "
            "decompress it first"
        ) from error
    # Further down there may be bytes of another encoding in a column that is not read.
    text = raw.removeprefix(BOM_UTF8).decode("utf-8", "surrogateescape")
    lines = [line for line in lines_of(text) if line.strip()]
    if "sep" in forms and lines:
        separator = separator_of(lines[0])
        lines = lines[1:]
    if not lines and first:
        raise RatingsError(f"{file} is empty: a ratings file has one user, item and rating a line")
    return Beginning(file, lines, separator, folded)
