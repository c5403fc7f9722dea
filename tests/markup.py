"""HTML and SVG as tests read them."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Notes which elements open, with their attributes, and the text outside of them."""

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
