"""What a model shows of itself in a notebook."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from toolkit.config import WALSConfig
from toolkit.figure_text import shown
from toolkit.models.training import Progress
from toolkit.notebook_html import card, folded, line_chart, table
from toolkit.solver import BaselineErrors

_FIGURES = ("train RMSE", "valid RMSE")


def model_html(
    words: str,
    config: WALSConfig,
    history: Sequence[Progress],
    last: Progress | None,
    baselines: BaselineErrors | None,
) -> str:
    """Return a model of one training as HTML: its RMSE, that of its baselines, and its hyperparameters.

    Parameters
    ----------
    words : str
        The model in one line.
    config : WALSConfig
    history : sequence of Progress
        Figures of the iterations.
    last : Progress or None
        Those of the iteration whose factors the model has; None where they are not known.
    baselines : BaselineErrors or None
        On the validation ratings.
    """
    parts = []
    if last:
        rows = [("this model", *_figures(last))]
        if baselines:
            rows += [
                ("mean and biases alone", "", shown(baselines["bias_rmse"])),
                ("mean rating alone", "", shown(baselines["mean_rmse"])),
            ]
        parts.append(table(("", *_FIGURES), rows))
        if last["valid_rmse"] is None:
            chart = line_chart([each["train_rmse"] for each in history], "train RMSE by iteration")
        else:
            chart = line_chart([each["valid_rmse"] for each in history], "valid RMSE by iteration")
        parts.append(chart)
    fields = dataclasses.fields(config)
    values = [(field.name, repr(getattr(config, field.name)), repr(field.default)) for field in fields]
    parts.append(folded("Hyperparameters", table(("", "value", "default"), values)))
    return card(words, "" if last else "No figures of a training are known.", *parts)


def _figures(last: Progress | None) -> tuple[str, str]:
    if last is None:
        return "", ""
    valid = last["valid_rmse"]
    return shown(last["train_rmse"]), "" if valid is None else shown(valid)
