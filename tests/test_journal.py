"""The page about the files of a study and the schema of the journal say the same."""

from __future__ import annotations

import re

import pytest

from tune.study.events import EVENTS, MEANINGS, VERSION, decoded, encoded


@pytest.fixture(scope="module")
def page(repo_root):
    return (repo_root / "docs" / "journal.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def examples(page):
    """The lines of the page's examples."""
    blocks = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("event", EVENTS)
def test_page_has_the_keys_of_every_event(page, event):
    section = page.partition(f"\n## {event}\n")[2].partition("\n## ")[0]
    assert MEANINGS[event] in section
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", section, re.MULTILINE)
    assert rows == [
        (name, key.kind + ("" if key.required else ", may be missing"), key.meaning)
        for name, key in EVENTS[event].items()
    ]


def test_page_has_no_other_event(page):
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert sections == list(EVENTS)
    assert f"This page is about version {VERSION}." in page


def test_examples_are_lines_of_a_journal_of_every_event(examples):
    events = [decoded(line.encode(), "docs/journal.md") for line in examples]
    assert sorted(event["event"] for event in events) == sorted(EVENTS)
    for event, line in zip(events, examples, strict=True):
        facts = {key: value for key, value in event.items() if key not in {"event", "version"}}
        assert encoded(event["event"], facts).decode() == f"{line}\n"
