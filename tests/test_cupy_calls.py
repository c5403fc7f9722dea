"""Every call of CuPy in the packages fits the installed CuPy: names, numbers of arguments, and keywords.

CuPy imports without a GPU. Its functions say what they take; compiled ones say it in the first line of their
docstring. `tox -e cupy` installs CuPy and runs this.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import device_arrays
import numpy as np
import pytest

if importlib.util.find_spec("cupy") is None:
    pytest.skip("cupy is not installed: `tox -e cupy` installs it", allow_module_level=True)
cupy = importlib.import_module("cupy")
if not hasattr(cupy, "cuda"):
    pytest.skip("a stand-in for cupy is in its place", allow_module_level=True)

ROOT = Path(__file__).resolve().parent.parent
# Names that stand for modules and objects of CuPy, as the packages call them.
MEANS = {
    "cupy": "cupy",
    "xp": "cupy",
    "_xp": "cupy",
    "cupyx": "cupyx",
    "_runtime": "cupy.cuda.runtime",
    "_pool": "cupy.cuda.MemoryPool",
}
# Files whose arrays may be on a device: what they call as a method is one of CuPy's arrays.
ON_DEVICE = (
    *("backends/base", "backends/best", "backends/cupy", "backends/device", "backends/equations"),
    *("backends/half_step", "backends/rows", "backends/cuda/arena", "backends/cuda/backend"),
    *("backends/cuda/pairs", "backends/cuda/row_solver", "predictor", "solver/alignment", "solver/normal"),
    *("solver/objective_value", "solver/pattern", "solver/perturbing", "solver/posterior_mean"),
    *("solver/sampler", "solver/trainer", "solver/weights"),
)
# Methods with the name of one of an array's, of other things.
OF_OTHERS = {"copy.copy", "super().__init_subclass__"}


def used_paths(tree):
    """Yield (node, path, call or None) of every use of CuPy in a module."""
    means, called = dict(MEANS), {id(n.func): n for n in ast.walk(tree) if isinstance(n, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (path := path_of(node.value, means)):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            means.update(dict.fromkeys(names, path))
    inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner and (path := path_of(node, means)):
            yield node, path, called.get(id(node))


def path_of(node, means):
    """Return the dotted path of an expression, such as ``cupy.linalg.eigh``, or None."""
    if isinstance(node, ast.Attribute):
        if node.attr in means and node.attr.lstrip("_") in {"xp", "pool", "runtime"}:
            return means[node.attr]
        front = path_of(node.value, means)
        return f"{front}.{node.attr}" if front else None
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        name = node.args[0]
        known = isinstance(name, ast.Constant) and name.value.startswith("cupy")
        return name.value if known else None
    return means.get(node.id) if isinstance(node, ast.Name) else None


def sources():
    """Yield the files of the packages that speak of CuPy, and their text."""
    for name in ("toolkit", "tune", "cluster"):
        for path in sorted((ROOT / name).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if re.search(r"\bxp\b|cupy", text):
                yield path.relative_to(ROOT), text


USES = [
    pytest.param(path, call, id=f"{file}:{node.lineno} {path}")
    for file, text in sources()
    for node, path, call in used_paths(ast.parse(text))
]


def resolved(path):
    """Return what a path stands for; of a module that wants CUDA's libraries, the function's signature."""
    parts = path.split(".")
    found = importlib.import_module(parts[0])
    for n, part in enumerate(parts[1:], 2):
        try:
            found = getattr(found, part)
        except ImportError:
            return from_source(".".join(parts[:n]), parts[-1])
    return found


def from_source(module, name):
    """Return the signature of a function whose module does not import here."""
    # Without running the module, for which the libraries of CUDA are missing.
    text = Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
    (found,) = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name)
    return signature(f"{name}({ast.unparse(found.args)})")


def signature(text):
    """Return the signature that a line such as ``f(x, str y=None, \\\\*, dtype=None)`` states."""
    inside = re.match(r"[\w.]*\((.*?)\)(?: ->.*)?$", text.strip())[1].replace("\\", "")
    # Types stand before the names in what Cython writes, and defaults may be no Python.
    words = [
        re.sub(r"^(\*{0,2}|/)(?:\w+ )*", r"\1", part.strip()) for part in inside.split(",") if part.strip()
    ]
    words = [re.sub(r"=.*", "=None", word) for word in words if word != "self"]
    space = {}
    exec(f"def function({', '.join(words)}): pass", space)
    return inspect.signature(space["function"])


def signature_of(thing):
    """Return what may be passed to a function, method or type of CuPy."""
    if isinstance(thing, inspect.Signature):
        return thing
    # Ufuncs and what Cython compiled say it in words alone.
    line = (thing.__doc__ or "").strip().split("\n")[0]
    if not isinstance(thing, type(lambda: 0)) and re.match(r"[\w.]+\(.*\)", line):
        return signature(line)
    return inspect.signature(thing)


def bind(sig, call, *, what):
    """Make sure that a call has arguments that a signature takes."""
    if any(isinstance(each, ast.Starred) for each in call.args) or any(k.arg is None for k in call.keywords):
        # How many there are is known when it runs; the keywords are known now.
        unknown = {k.arg for k in call.keywords if k.arg} - set(sig.parameters)
        kinds = {p.kind for p in sig.parameters.values()}
        assert not unknown or inspect.Parameter.VAR_KEYWORD in kinds, (what, unknown)
        return
    try:
        sig.bind(*call.args, **{k.arg: k for k in call.keywords})
    except TypeError as error:
        pytest.fail(f"{what}{sig}, but called as {ast.unparse(call)}: {error}")


def test_there_is_something_to_look_at():
    paths = {param.values[0] for param in USES}
    assert {
        "cupy.linalg.cholesky",
        "cupy.RawModule",
        "cupyx.lapack.posv",
        "cupy.cuda.runtime.memGetInfo",
    } <= paths
    assert len(USES) > 100


@pytest.mark.parametrize(("path", "call"), USES)
def test_what_is_used_is_there_and_takes_what_is_passed(path, call):
    thing = resolved(path)
    if call is not None and not (inspect.isclass(thing) and issubclass(thing, np.generic)):
        bind(signature_of(thing), call, what=path)


METHODS = [
    pytest.param(call, id=f"{name}:{call.lineno} {call.func.attr}")
    for name in ON_DEVICE
    for call in ast.walk(ast.parse((ROOT / "toolkit" / f"{name}.py").read_text(encoding="utf-8")))
    if isinstance(call, ast.Call)
    and isinstance(call.func, ast.Attribute)
    and hasattr(np.ndarray, call.func.attr)
    and not path_of(call.func, MEANS)
    and ast.unparse(call.func) not in OF_OTHERS
    and not ast.unparse(call.func).startswith("np.")
]


@pytest.mark.parametrize("call", METHODS)
def test_a_method_of_an_array_takes_what_is_passed(call):
    method = getattr(cupy.ndarray, call.func.attr, None)
    assert method is not None, f"CuPy's arrays have no {call.func.attr}"
    sig = signature_of(method)
    if "self" in sig.parameters:
        sig = sig.replace(parameters=[p for p in sig.parameters.values() if p.name != "self"])
    bind(sig, call, what=call.func.attr)


@pytest.mark.parametrize("name", sorted(device_arrays.METHODS | device_arrays.PROPERTIES))
def test_arrays_of_the_stand_in_have_nothing_that_those_of_cupy_lack(name):
    assert hasattr(cupy.ndarray, name)


@pytest.mark.parametrize("name", ["copyto", "empty_like", "ndarray.get", "cuda.Event", "cuda.set_allocator"])
def test_what_the_benchmarks_use_is_there(name):
    assert resolved(f"cupy.{name}") is not None
