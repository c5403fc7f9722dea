"""What the wheel holds, and what no committed file may hold."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("toolkit", "tune", "cluster")

# In brackets and halves, so that this file is no match for itself.
PACKAGE_INDEX = re.compile(r"pypi[.]org|python[h]osted[.]org|registry[.]npm[j]s|conda[.]an[a]conda[.]org")
MACHINE_PATH = re.compile(r"(?<![\w.:/}-])/(?:root|work|home/(?!ray\b)\w|Users/\w|opt/\w)")


def tracked():
    """Return the files under version control."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files are committed is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def found_in(paths, pattern):
    """Return "file:line: text" for every line that matches; files that are not text are passed over."""
    hits = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        hits += [
            f"{path.relative_to(ROOT)}:{n}: {line.strip()}"
            for n, line in enumerate(lines, 1)
            if pattern.search(line)
        ]
    return hits


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.mark.slow
def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    (info,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {*PACKAGES, info}
    assert {Path(name).suffix for name in wheel.namelist() if not name.startswith(info)} == {
        ".cu",
        ".py",
        ".typed",
        ".yaml",
    }
    assert [name for name in wheel.namelist() if "test" in name.lower()] == []


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(wheel):
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in files
        # Manifests are for whoever has the repository.
        if not {"__pycache__", "manifests"} & set(path.parts)
    }
    assert {f"{package}/py.typed" for package in PACKAGES} | {"tune/spec/default.yaml"} <= wanted
    assert wanted - set(wheel.namelist()) == set()


@pytest.mark.slow
def test_the_wheel_declares_the_command_the_licence_and_the_version(wheel):
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert "walslab = cluster.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    metadata = HeaderParser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    version = re.search(r'^__version__ = "(.+)"$', (ROOT / "toolkit/__init__.py").read_text(), re.MULTILINE)
    assert metadata["Version"] == version[1]


def test_constraints_are_bare_pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line)] == []


def test_every_direct_dependency_is_pinned():
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {name: group for name, group in project["dependency-groups"].items() if name != "bench"}
    lists = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *groups.values(),
    ]
    names = {
        re.match(r"[A-Za-z0-9_.-]+", line)[0].lower().replace("_", "-") for list_ in lists for line in list_
    }
    assert names - pinned == set()


def test_no_committed_file_names_a_package_index():
    assert found_in(tracked(), PACKAGE_INDEX) == []


def test_no_committed_file_names_a_path_of_one_machine():
    assert found_in(tracked(), MACHINE_PATH) == []


# In two parts, so that this file is no match for itself.
@pytest.mark.parametrize(
    "parts", [("cd /", "root/x"), ("'/", "home/ann'"), ("--out=/", "work/x"), ("`/", "Users/ann`")]
)
def test_a_path_of_one_machine_is_seen(parts):
    assert MACHINE_PATH.search("".join(parts))


@pytest.mark.parametrize(
    "line", ["/home/ray/data", "s3://bucket/work/x", "data/home/x", "https://x.example/opt/x"]
)
def test_other_paths_are_let_pass(line):
    assert MACHINE_PATH.search(line) is None
