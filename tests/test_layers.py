"""Who may import whom, what the solver can do without, and what each package shows."""

from __future__ import annotations

import ast
import gc
import importlib
import json
import subprocess
import sys
import textwrap
from types import ModuleType

import pytest
from import_graph import (
    PACKAGES,
    ROOT,
    circle_in,
    files_of,
    graph_of,
    imported,
    module_exists,
    module_of,
    named,
    tree_of,
    upward_imports,
)

# The rooms of the toolkit, the lowest first: a room imports from those before it, and from no other.
LEVELS = {
    "toolkit": [
        ("errors", "config", "arrays", "predictor", "processors", "figure_text", "job_threads"),
        ("notebook_html", "progress_bars"),
        ("inputs",),
        ("files",),
        ("tables",),
        ("engines",),
        ("datasets",),
        ("ingest",),
        ("backends",),
        ("evaluation",),
        ("solver",),
        ("sharded",),
        ("models",),
        ("serving",),
        ("recommending",),
        ("fetching", "synth"),
        ("commands", "__main__"),
    ],
    "tune": [
        ("spec",),
        ("study",),
        ("search",),
        ("executors",),
        ("report",),
        ("record",),
        ("study_progress", "lifecycle", "study_checks", "plots"),
        ("refit",),
        ("doctor", "conformance"),
        ("commands", "__main__"),
    ],
}

# What `cluster` may know of the other two: commands, checks for `walslab doctor`, the common ground.
KNOWN_TO_CLUSTER = {
    "toolkit",
    "toolkit.commands",
    "toolkit.commands.machine_checks",
    "toolkit.errors",
    "toolkit.files",
    "tune",
    "tune.commands",
    "tune.doctor",
}
# What each package and each room offers to others; its other names are its own.
EXPORTS = json.loads((ROOT / "tests" / "exports.json").read_text(encoding="utf-8"))
SOLVER = ("config", "backend", "normal", "layout", "factors", "trainer", "metrics", "ids", "wals")
GPU_ONLY = ("cupy", "cupyx", "cupy_backends", "dask_cuda")
HEAVY = (
    *("pandas", "dask", "distributed", "pyarrow", "click", "rich"),
    *("ray", "mlflow", "optuna", "yaml", "threadpoolctl"),
)


def top_level(tree):
    """Yield the statements that run on import: everything outside of functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case) and not isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef
        ):
            yield node
            yield from top_level(node)


def layer_mistakes(tree, package):
    for module, node in [*imported(tree), *named(tree)]:
        root = module.partition(".")[0]
        forbidden = {"toolkit": ("tune", "cluster", "ray", "optuna"), "tune": ("cluster",), "cluster": ()}[
            package
        ]
        if root in forbidden:
            yield node, f"{package} must not know {module}"
        if package == "cluster" and root in ("toolkit", "tune") and module not in KNOWN_TO_CLUSTER:
            yield node, f"cluster must not know {module}, only {', '.join(sorted(KNOWN_TO_CLUSTER))}"


def alias_mistakes(tree):
    for node in {node: None for _, node in imported(tree)}:
        for alias in node.names:
            source = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            if source + alias.name == "ray.tune" and (source or alias.asname != "ray_tune"):
                yield node, "write `import ray.tune as ray_tune`: a bare tune is our package"


def gpu_mistakes(tree):
    for node in top_level(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            for name in names:
                if name.partition(".")[0] in GPU_ONLY:
                    yield node, f"{name} must be imported where it is used: most machines have none"


def mistakes_of(source, package):
    """Return what is wrong with the imports of a module of `package`, one line each."""
    return mistakes_in(ast.parse(source), package)


def mistakes_in(tree, package):
    found = [*layer_mistakes(tree, package), *alias_mistakes(tree), *gpu_mistakes(tree)]
    return [f"line {node.lineno}: {why}" for node, why in found]


@pytest.fixture(autouse=True)
def uncollected():
    """Collect no garbage meanwhile.

    The parser of Python 3.11 fails where the collector runs what parses, too, such as the traceback of a task
    that an earlier test left (https://github.com/python/cpython/issues/106905).
    """
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_layers_and_enter_other_rooms_by_the_front(package):
    mistakes = {}
    for path in files_of(package):
        tree = tree_of(path)
        mistakes[path.relative_to(ROOT).as_posix()] = [*mistakes_in(tree, package), *back_doors(path, tree)]
    assert len(mistakes) > 10
    assert {name: found for name, found in mistakes.items() if found} == {}


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("toolkit", "import ray"),
        ("toolkit", "def f():\n    from optuna.samplers import TPESampler"),
        ("toolkit", "from tune import study"),
        ("toolkit", "TABLE = {'tune': 'tune.commands.tune:tune'}"),
        ("tune", "import cluster.cli"),
        ("cluster", "from toolkit.models.wals import WALS"),
        ("cluster", "from tune import study"),
        ("cluster", "SOURCE = 'toolkit.models.wals'"),
        ("tune", "import ray.tune"),
        ("tune", "import ray.tune as t"),
        ("tune", "from ray import tune"),
        ("toolkit", "try:\n    import cupy as cp\nexcept ImportError:\n    cp = None"),
        ("cluster", "from dask_cuda import LocalCUDACluster"),
    ],
)
def test_the_layer_test_sees(package, source):
    assert len(mistakes_of(source, package)) == 1


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("toolkit", "def f():\n    import cupy"),
        ("tune", "import ray.tune as ray_tune\nfrom ray.tune.search.optuna import OptunaSearch"),
        ("tune", "from toolkit import wals"),
        ("cluster", "import toolkit.commands, tune.commands\nfrom toolkit.errors import WalslabError"),
    ],
)
def test_the_layer_test_allows(package, source):
    assert mistakes_of(source, package) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_files_import_each_other_in_a_circle(package):
    assert circle_in(graph_of(package)) is None


@pytest.mark.parametrize("package", LEVELS)
def test_no_import_leads_upwards(package):
    assert sorted(upward_imports(graph_of(package), LEVELS[package])) == []


def back_doors(path, tree):
    """Yield (line, module) where a file imports from inside of another room instead of from its front."""
    own = module_of(path).split(".")[:2]
    for module, node in imported(tree):
        front = ".".join(module.split(".")[:2])
        inside = isinstance(node, ast.ImportFrom) and node.module.count(".") > 1
        if inside and front in EXPORTS and front.split(".") != own:
            yield node.lineno, module


def test_a_back_door_is_seen():
    tree = ast.parse("from toolkit.solver import Trainer\nfrom toolkit.solver.trainer import Trainer\n")
    assert [line for line, _ in back_doors(ROOT / "toolkit" / "models" / "wals.py", tree)] == [2]
    assert list(back_doors(ROOT / "toolkit" / "solver" / "trainer.py", tree)) == []


@pytest.mark.parametrize("package", ["toolkit", "tune"])
def test_dir_lists_what_a_package_has(package):
    assert dir(importlib.import_module(package)) == sorted(EXPORTS[package])


def test_the_graph_shows_circles_and_upward_imports():
    graph = {"p.a": {"p.b"}, "p.b": {"p.c.d"}, "p.c.d": {"p.b"}}
    assert circle_in(graph) == ["p.b", "p.c.d"]
    assert circle_in({"p.a": {"p.b"}, "p.b": set()}) is None
    assert list(upward_imports(graph, [("a",), ("b", "c")])) == [("p.a", "p.b")]


def test_the_solver_needs_numpy_and_scipy_alone():
    present = [f"toolkit.{name}" for name in SOLVER if module_exists(f"toolkit.{name}")]
    program = f"""
        import importlib, importlib.abc, sys

        class Blocked(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {HEAVY!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)

        sys.meta_path.insert(0, Blocked())
        for name in {present!r}:
            importlib.import_module(name)

        import numpy as np
        import scipy.sparse as sp
        from toolkit import WALS, RunOptions, WALSConfig

        ratings = sp.csr_matrix(np.arange(1.0, 13.0).reshape(4, 3))
        model = WALS(WALSConfig(factors=2, iterations=2), RunOptions(backend="numpy")).fit(ratings)
        assert np.isfinite(model.predict([0, 1], [1, 2])).all()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", EXPORTS)
def test_exports_are_pinned_and_exist(package):
    module = importlib.import_module(package)
    assert sorted(getattr(module, "__all__", [])) == sorted(EXPORTS[package])
    assert [name for name in EXPORTS[package] if not hasattr(module, name)] == []


# Modules that a room offers whole.
OFFERED_MODULES = {
    "toolkit.datasets": {"statistics"},
    "toolkit.files": {"atomic"},
    "toolkit.solver": {"stopping"},
    "tune": {"plots"},
}


@pytest.mark.parametrize("package", EXPORTS)
def test_no_export_is_hidden_by_a_module_of_its_name(package):
    module, offered = importlib.import_module(package), OFFERED_MODULES.get(package, set())
    submodules = {path.stem for path in ROOT.joinpath(*package.split(".")).glob("*.py")} | {"commands"}
    assert submodules & set(EXPORTS[package]) == offered
    assert {name for name in EXPORTS[package] if isinstance(getattr(module, name), ModuleType)} == offered


@pytest.mark.parametrize("package", ["toolkit", "tune"])
def test_an_unknown_name_is_an_attribute_error(package):
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018
