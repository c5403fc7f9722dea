"""The README and the pages agree with the commands and with the files."""

from __future__ import annotations

import pkgutil
import re
import shlex
from pathlib import Path

import click
import forks
import pytest
from command_lines import parameters

from cluster.cli import main
from toolkit.config import WALSConfig
from toolkit.datasets import RatingsDataset
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings, sample_users
from tune.spec import SearchSpec

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def walslab_lines():
    shell = "\n".join(blocks(README, "sh")) + (ROOT / "examples/demo.sh").read_text(encoding="utf-8")
    lines = re.findall(r"(?m)^(?: *step )?\s*walslab (.*?)(?: +#.*)?$", shell)
    return [line for line in lines if not line.startswith("--")]


def test_home_page_lists_every_command_and_no_other():
    context = click.Context(main)
    page = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    listed = re.findall(r"\| `walslab (\w+)", page)
    assert sorted(listed) == sorted(main.list_commands(context))


def test_names_of_the_reference_are_there():
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/reference").glob("*.md"))
    names = re.findall(r"(?m)^::: (\S+)$", pages)
    assert len(names) > 20
    for name in names:
        pkgutil.resolve_name(name)


@pytest.mark.parametrize("line", walslab_lines())
def test_command_lines_of_the_readme_and_the_demo_are_accepted(line):
    parameters(shlex.split(line.replace(" > search.yaml", "")))


def test_there_are_command_lines_to_check():
    assert len(walslab_lines()) >= 12


def test_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_specification_of_the_page_on_the_search_is_valid(tmp_path):
    (block,) = blocks((ROOT / "docs/search.md").read_text(encoding="utf-8"), "yaml")
    path = tmp_path / "search.yaml"
    path.write_text(block, encoding="utf-8")
    assert SearchSpec.load(path).trials == 100


def test_objective_explains_every_hyperparameter():
    text = (ROOT / "docs/objective.md").read_text(encoding="utf-8")
    assert [name for name in WALSConfig.valid() if f"`{name}`" not in text] == []


def test_example_of_the_dataset_format_runs_without_walslab(tmp_path):
    (tmp_path / "ratings.csv").write_text("user,item,rating\n5,x,1\n5,y,2\n7,x,3\n9,y,4\n", encoding="utf-8")
    source = RatingsSource.detect([tmp_path / "ratings.csv"])
    ingest_ratings(source, tmp_path / "dataset", split=SplitRule(valid=0, test=0))
    chosen, example = blocks((ROOT / "docs/dataset-format.md").read_text(encoding="utf-8"), "python")
    names = {}
    exec(chosen.rpartition("print(")[0], names)
    rows = RatingsDataset.open(tmp_path / "dataset").user_ids.tolist()
    sample = sample_users(tmp_path / "dataset", 0.7, tmp_path / "sample", seed=1)
    assert sample.user_ids.tolist() == [user for user in rows if names["is_chosen"](user, 0.7, seed=1)]
    assert "walslab" not in example
    assert "toolkit" not in example
    done = forks.run(example, cwd=tmp_path)
    assert done.stdout == "(3, 2) first rating: 5 x 1.0\n"
