"""Bars that show how far a long call is, in a notebook or on a terminal; nobody else is told anything."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from toolkit.errors import ConfigError

StepProgress = Callable[[str, int, int], None]
"""Takes the name of a stage, how many of its steps have ended, and how many there are."""
ShownSteps = bool | StepProgress | None
"""Whether a bar shows the stages, None for where somebody sees it; or a function to call instead."""


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def bars_are_wanted(progress: object) -> bool:
    """Tell whether bars are shown, by the argument ``progress`` of a public function.

    Parameters
    ----------
    progress : bool or None
        True shows them and False does not. None shows them where somebody sees them: in a notebook, or where
        standard error is a terminal.

    Raises
    ------
    ConfigError
        When it is anything else.
    """
    if progress is None:
        return in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
    if not isinstance(progress, bool):
        raise ConfigError(
            "progress must be True, False, or None for bars where somebody sees them, "
            f"but got {progress!r:.80}"
        )
    return progress


def new_bar(name: str, total: int, **options: Any) -> Any:
    """Return a bar: a widget in a notebook that has ipywidgets, and otherwise a line on standard error.

    Parameters
    ----------
    name : str
        What is under way.
    total : int
        Number of its steps.
    **options
        Further arguments of tqdm.

    Returns
    -------
    tqdm.tqdm
    """
    with warnings.catch_warnings():
        # Without ipywidgets the bar is a line of text, which needs no warning.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from tqdm.auto import tqdm
    if in_notebook():
        return tqdm(total=total, desc=name, **options)
    # tqdm itself shows nothing on a terminal that does not tell its size.
    size = shutil.get_terminal_size()
    return tqdm(total=total, desc=name, ncols=size.columns, nrows=size.lines, **options)


def shown_steps(progress: ShownSteps) -> AbstractContextManager[StepProgress]:
    """Return a context that gives a function, which shows the stages of a job one after the other in one bar.

    Parameters
    ----------
    progress : bool, callable or None
        A function is given as it is; otherwise as `bars_are_wanted` takes it.

    Raises
    ------
    ConfigError
        When it is none of these.
    """
    if callable(progress):
        return nullcontext(progress)
    return _bar_of_stages() if bars_are_wanted(progress) else nullcontext(lambda *_: None)


@contextmanager
def _bar_of_stages() -> Iterator[StepProgress]:
    bar: Any = None
    current = ""

    def move(stage: str, done: int, total: int) -> None:
        nonlocal bar, current
        if bar is None:
            bar = new_bar(stage, total, leave=False)
        elif stage != current:
            bar.set_description(stage, refresh=False)
            bar.reset(total)
        current = stage
        bar.update(done - bar.n)
        if done >= total:
            bar.refresh()

    try:
        yield move
        if bar is not None:
            bar.total = bar.n  # a bar that is not full is marked as that of an error
    finally:
        if bar is not None:
            bar.close()


@contextmanager
def shown_iterations(progress: object, total: int) -> Iterator[Callable[[str], None] | None]:
    """Yield a function that tells the bar of a training that another iteration has ended, with its figures.

    None is yielded where no bar is wanted. The bar appears after a second, as most trainings take less.

    Parameters
    ----------
    progress : bool or None
        As `bars_are_wanted` takes it.
    total : int
        Iterations of the training.

    Raises
    ------
    ConfigError
        When `progress` is anything else.
    """
    if not bars_are_wanted(progress):
        yield None
        return
    bar = new_bar("training", total, leave=False, delay=1)

    def advance(figures: str) -> None:
        bar.set_postfix_str(figures, refresh=False)
        bar.update()

    try:
        yield advance
        bar.total = bar.n  # as above: a training may end before its last iteration
    finally:
        bar.close()
