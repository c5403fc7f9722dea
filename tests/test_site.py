"""The documentation builds without a warning, and its commands, links and plots are right."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest
from command_lines import parameters

from cluster.cli import main
from toolkit.config import WALSConfig
from tune.spec import SearchSpec

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("docs/**/*.md"), *ROOT.glob("cluster/manifests/**/*.md"), ROOT / "CONTRIBUTING.md"]
)


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def command_lines():
    """Return every `walslab` command in a shell block of a page, as a parameter that names the page."""
    lines = []
    for page in PAGES:
        shell = "\n".join(blocks(page.read_text(encoding="utf-8"), "sh")).replace("\\\n", " ")
        for line in re.findall(r"(?m)^\s*walslab (?!-)(.*?)(?: +#.*)?$", shell):
            # The shell reads what follows: the next command, a pipe, a file.
            own = re.split(r" (?:&&|\||>|;) ", line)[0].replace(" …", "")
            lines.append(pytest.param(own, id=f"{page.stem}: {own}"))
    return lines


@pytest.mark.parametrize("line", command_lines())
def test_command_lines_of_the_pages_are_accepted(line):
    parameters(shlex.split(line))


def test_there_are_command_lines_to_check():
    assert len(command_lines()) >= 40


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page.read_text(encoding="utf-8"), "python")], ids=str
)
def test_python_of_the_pages_compiles(page):
    for block in blocks(page.read_text(encoding="utf-8"), "python"):
        compile(block, str(page), "exec")


def test_specification_of_interrupted_is_valid(tmp_path):
    (block,) = blocks((ROOT / "docs/how-to/interrupted.md").read_text(encoding="utf-8"), "yaml")
    path = tmp_path / "search.yaml"
    path.write_text(block, encoding="utf-8")
    assert SearchSpec.load(path).max_seconds == 3600


def module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def test_plots_are_those_of_the_results():
    drawn = module("docs_plots").drawn()
    assert drawn == {name: (ROOT / "docs/assets" / name).read_text(encoding="utf-8") for name in drawn}


@pytest.mark.parametrize("name", ["README.md", "docs/benchmarks.md"])
def test_figures_and_commands_of_benchmarks_stand_in_the_results(name):
    results = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    page = (ROOT / name).read_text(encoding="utf-8").replace("(3.11 to 3.13)", "")
    number = r"(?<![\w.])\d+\.\d+(?![\w.])"
    figures, commands = re.findall(number, page), re.findall(r"(?m)^    (python .*)$", page)
    assert len(figures) + len(commands) >= 12
    assert sorted(set(figures) - set(re.findall(number, results))) == []
    assert [command for command in commands if command not in results] == []


def test_scripts_that_print_the_figures_of_the_readme_have_commands_in_the_results():
    results = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    scripts = re.findall(r"(?m)^\|.* `(\w+\.py)` \|$", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(scripts) >= 4
    assert [script for script in scripts if f"python benchmarks/{script} " not in results] == []


class Site(HTMLParser):
    """Collects the links of a page, its anchors, its elements, and the files that it loads."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.loads, self.tags = [], set(), [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.add(tag)
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in {"script", "img", "iframe"} and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") in {"stylesheet", "preconnect", "icon"}:
            self.loads.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the group docs is not installed")
    pytest.importorskip("latex2mathml", reason="the group docs is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.relative_to(out).as_posix(): Site(path) for path in out.rglob("*.html")}, out


@pytest.mark.slow
def test_site_builds_strictly_and_has_every_page(site):
    pages, _ = site
    wanted = {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in ROOT.glob("docs/**/*.md")
    }
    outside = {
        "project/CHANGELOG.html",
        "project/benchmarks/RESULTS.html",
        "project/cluster/manifests/index.html",
    }
    assert wanted | outside | {"reference/commands.html"} <= set(pages)


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere(site):
    pages, out = site
    lost = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or name == "404.html":
                continue
            target = ((out / name).parent / unquote(parts.path)).resolve() if parts.path else out / name
            if target.is_dir():
                target /= "index.html"
            known = (
                pages.get(target.relative_to(out.resolve()).as_posix()) if target.suffix == ".html" else None
            )
            if not target.is_file() or (
                parts.fragment and known and unquote(parts.fragment) not in known.ids
            ):
                lost.append((name, link))
    assert lost == []


@pytest.mark.slow
def test_site_loads_nothing_from_elsewhere(site):
    pages, _ = site
    assert [(name, load) for name, page in pages.items() for load in page.loads if "//" in load] == []


@pytest.mark.slow
def test_formulas_are_mathml(site):
    pages, out = site
    assert "math" in pages["objective.html"].tags
    text = (out / "objective.html").read_text(encoding="utf-8")
    assert [left for left in ("arithmatex", "\\(", "\\[", "$$", "<mi>&</mi>", "merror") if left in text] == []
    assert text.count("<math") > 60
    # The converter writes a command that it does not know as text.
    assert re.findall(r"<m[ion][^>]*>\\[a-z]+", text) == []


@pytest.mark.slow
def test_every_command_and_option_is_in_the_reference(site):
    _, out = site
    text = (out / "reference/commands.html").read_text(encoding="utf-8")
    parent = click.Context(main, info_name="walslab", **main.context_settings)
    for name in main.list_commands(parent):
        assert f'id="{name}"' in text
        for parameter in main.get_command(parent, name).params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[0] in text, (name, parameter.opts)


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site):
    import toolkit
    import tune

    pages, out = site
    anchors = pages["reference/toolkit.html"].ids | pages["reference/tune.html"].ids
    known = {anchor.rpartition(".")[2] for anchor in anchors}
    public = {*toolkit.__all__, *tune.__all__} - {"__version__", "PRESETS", "WalslabError"}
    assert public - known == set()
    text = (out / "reference/toolkit.html").read_text(encoding="utf-8")
    assert [name for name in WALSConfig.valid() if name not in text] == []


@pytest.mark.slow
def test_search_index_knows_the_pages(site):
    _, out = site
    index = json.loads((out / "search/search_index.json").read_text(encoding="utf-8"))
    assert {"tutorial.html", "migration.html", "reference/commands.html"} <= {
        entry["location"] for entry in index["docs"]
    }
