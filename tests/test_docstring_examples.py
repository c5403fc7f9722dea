"""Examples in the docstrings of what `toolkit` exports: each has some, and they run as they stand."""

from __future__ import annotations

import doctest
import inspect

import pytest

import toolkit

EXPORTED = [getattr(toolkit, name) for name in toolkit.__all__]
CLASSES_AND_FUNCTIONS = [
    pytest.param(exported, id=exported.__name__)
    for exported in EXPORTED
    if inspect.isfunction(exported) or (inspect.isclass(exported) and not issubclass(exported, Exception))
]


@pytest.mark.parametrize("exported", CLASSES_AND_FUNCTIONS)
def test_examples_run(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = inspect.getmodule(exported)
    examples = [
        test
        for test in doctest.DocTestFinder().find(
            exported, exported.__name__, module, globs=vars(module).copy()
        )
        if test.examples
    ]
    assert examples, f"{exported.__name__} has no example"
    for example in examples:
        printed = []
        failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=printed.append)
        assert not failed, "".join(printed)
