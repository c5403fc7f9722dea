"""The files of this package that a served model imports, and which therefore lie in it."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import toolkit

_PACKAGE = Path(toolkit.__file__).parent


def copy_served_code(entry: Path, target: Path) -> None:
    """Copy the files of this package that a script imports, directly or through others.

    Imports inside functions do not count: what they load is never needed to answer.

    Parameters
    ----------
    entry : Path
        The script.
    target : Path
        The folder to make, which then is the package.
    """
    for file in sorted(_imported_by(entry)):
        copy = target / file.relative_to(_PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


@cache  # parsing takes half a second, and the files of a process are those that it began with
def _imported_by(script: Path) -> frozenset[Path]:
    files: set[Path] = set()
    waiting = [script]
    while waiting:
        source = ast.parse(waiting.pop().read_text(encoding="utf-8"))
        new = {file for name in _imports(source.body) for file in _files_of(name)} - files
        files |= new
        waiting += new
    return frozenset(files)


def _imports(statements: list[ast.stmt]) -> Iterator[str]:
    """Yield the modules that are imported when a module is, and names within them, which may be modules."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)
        elif isinstance(statement, ast.If | ast.Try) and "TYPE_CHECKING" not in ast.dump(statement):
            yield from _imports([node for node in ast.walk(statement) if isinstance(node, ast.stmt)][1:])


def _files_of(name: str) -> Iterator[Path]:
    """Yield the files that run when a name is imported: those of the packages around it, and its own."""
    first, *parts = name.split(".")
    if first != _PACKAGE.name:
        return
    path = _PACKAGE
    yield path / "__init__.py"
    for part in parts:
        path /= part
        if path.is_dir():
            yield path / "__init__.py"
        elif path.with_suffix(".py").is_file():
            yield path.with_suffix(".py")
