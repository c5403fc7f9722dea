"""Which file of the packages imports which, read from the sources: imports inside functions count, too."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("toolkit", "tune", "cluster")


def files_of(package):
    """Return the Python files of a package."""
    return sorted((ROOT / package).rglob("*.py"))


def module_of(path):
    """Return the name of the module that a file is."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def module_exists(name):
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@functools.cache
def tree_of(path):
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _telling(tree):
    """Return the imports of a tree and its strings: walking one takes longer than all that is asked of it."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.Constant)]


def imported(tree):
    """Yield (module, statement) for every import; `from a import b` is a.b where that is a module."""
    for node in _telling(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides the layer"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if module_exists(inner) else node.module), node


def named(tree):
    """Yield (module, node) for every string that names a module of ours, as in command tables."""
    for node in _telling(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = re.fullmatch(r"((?:toolkit|tune|cluster)(?:\.\w+)+)(?::\w+)?", node.value)
            if found and module_exists(found[1]):
                yield found[1], node


def targets_of(path):
    """Return the modules of ours that a file imports or names."""
    tree = tree_of(path)
    return {target for target, _ in (*imported(tree), *named(tree))}


@functools.cache
def graph_of(package):
    """Return {module: modules of the same package that it imports or names}, without the package's own front.

    The front of a package names all that it offers, and every file may ask it for the version.
    """
    graph = {}
    for path in files_of(package):
        module = module_of(path)
        graph[module] = {one for one in targets_of(path) if one.startswith(f"{package}.")} - {module}
    del graph[package]
    return graph


def circle_in(graph):
    """Return modules that import each other in a circle, or None."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return None
        path.append(module)
        for target in sorted(graph.get(module, ())):
            if found := visit(target):
                return found
        done.add(path.pop())
        return None

    return next((found for module in sorted(graph) if (found := visit(module))), None)


def upward_imports(graph, levels):
    """Yield (importer, imported) where a module imports one of a later level.

    Parameters
    ----------
    graph : dict
        As `graph_of` returns.
    levels : sequence of tuple of str
        Names below the package, the lowest level first; names of one level may import each other.
    """
    level = {name: at for at, names in enumerate(levels) for name in names}
    for module, targets in graph.items():
        for target in targets:
            own, other = (level[name.split(".")[1]] for name in (module, target))
            if other > own:
                yield module, target
