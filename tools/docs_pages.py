"""Put files from outside of docs/ on the site, and change the links that lead to them.

In the repository, a page of docs/ links to ``../benchmarks/RESULTS.md``. On the site, that file is the page
``project/benchmarks/RESULTS.md``. The site has every file that a page links to; a file that is not Markdown
is copied as it is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = "project/"
# The menu links to these pages, so no other page has to.
_ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md", "cluster/manifests/README.md")
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that pages link to, and the files that these link to in turn."""
    waiting = [*_ALWAYS, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        if not name.startswith("docs/"):
            files.append(File.generated(config, site_of(name), abs_src_path=str(ROOT / name)))
        if name.endswith(".md") and (ROOT / name).is_file():
            for target in linked(name):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Return a page whose links lead to their targets on the site."""
    source = repository_of(page.file.src_uri)
    start = posixpath.dirname(page.file.src_uri)

    def replace(link: re.Match[str]) -> str:
        target = target_of(source, link[2])
        if target is None:
            return link[0]
        return link[1] + posixpath.relpath(site_of(target), start or ".") + (link[3] or "")

    return outside_of_code(markdown, lambda text: _LINK.sub(replace, text))


def site_of(name: str) -> str:
    """Return the address on the site of a file of the repository."""
    return name.removeprefix("docs/") if name.startswith("docs/") else OUTSIDE + name


def repository_of(uri: str) -> str:
    """Return the file of the repository that a page of the site shows."""
    return uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else f"docs/{uri}"


def target_of(source: str, link: str) -> str | None:
    """Return the file of the repository that a link in `source` leads to; None where there is none."""
    if re.match(r"[a-z]+:|/", link):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    if (ROOT / target).is_dir():
        target += "/README.md"
    return target if not target.startswith("..") and (ROOT / target).is_file() else None


def linked(name: str) -> list[str]:
    """Return the files of the repository that a page links to, inside and outside of docs/."""
    targets: list[str] = []

    def collect(text: str) -> str:
        targets.extend(t for link in _LINK.finditer(text) if (t := target_of(name, link[2])))
        return text

    outside_of_code((ROOT / name).read_text(encoding="utf-8"), collect)
    return targets


def outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    """Return Markdown in which `change` was applied to everything but the fenced blocks."""
    parts, at = [], 0
    for block in _FENCED.finditer(markdown):
        parts += [change(markdown[at : block.start()]), block[0]]
        at = block.end()
    return "".join([*parts, change(markdown[at:])])
