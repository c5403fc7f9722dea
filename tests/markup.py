"""A parser with which tests look into HTML and SVG."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Collects the elements of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.shown, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown.append(data)

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]
