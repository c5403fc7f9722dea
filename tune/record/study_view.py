"""The page of MLflow that shows a study: a shared view of its trials, and the links that open it.

MLflow's page keeps what it shows (filter, order, columns, charts) in the browser, unless its address names a
*shared view*: JSON in a tag of the experiment. A link that names one opens the same page everywhere.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from tune.record.store_problems import first_line, is_server
from tune.study import Study

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)
_TAG = "mlflow.sharedViewState."
# Pixels: a column of the table as wide as its name, and charts of which two fit on a screen.
_CHARACTER, _MARGIN, _CHART_HEIGHT = 7, 26, 340


def write_view(client: MlflowClient, study: Study) -> None:
    """Write the shared view of a study into its experiment, and note in the study that it is there.

    Repeating it changes nothing. A store that does not take the view costs the study nothing but the columns
    and charts behind its links.
    """
    facts = study.facts
    key = facts["parent_run_id"]
    # Without a name the view is not in the page's menu, which takes 40 views of an experiment and no more.
    state = json.dumps(view_state(study), separators=(",", ":"))
    try:
        client.set_experiment_tag(facts["experiment_id"], f"{_TAG}{key}", state)
    except Exception as error:  # noqa: BLE001 - whatever the store objects to
        _log.warning("MLflow did not take the columns and charts of the study's page: %s", first_line(error))
    else:
        study.update(view=key)


def view_state(study: Study) -> dict[str, object]:
    """Return what MLflow's page shows of a study, in the form in which the page shares it (MLflow 3.17).

    The table has the trials best first, their figures, and the searched hyperparameters. The charts are
    parallel coordinates of all trials that the page has loaded, and the search's figure and the RMSE by
    iteration of the best twenty.
    """
    metric = study.spec.metric
    searched = [name for name, domain in study.spec.space.items() if domain.searched]
    by_iteration = dict.fromkeys((metric.key, "valid_rmse"))
    figures = [*by_iteration, "train_rmse", "iterations", "train_seconds"]
    columns = {f"metrics.`{name}`": name for name in figures} | {
        f"params.`{name}`": name for name in searched
    }
    in_section = {"metricSectionId": "study", "deleted": False, "isGenerated": False}
    parallel = {
        **in_section,
        "type": "PARALLEL",
        "uuid": "parallel",
        "selectedParams": searched,
        "selectedMetrics": [metric.key],
        "showAllRuns": True,
    }
    lines = [
        {
            **in_section,
            "type": "LINE",
            "uuid": name,
            "metricKey": name,
            "selectedMetricKeys": [name],
            "xAxisKey": "step",
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "lineSmoothness": 0,
            "range": {},
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
        for name in by_iteration
    ]
    section = {"isReordered": False, "deleted": False}
    sections = [
        {
            **section,
            "uuid": "study",
            "name": f"Study {study.name}",
            "display": True,
            "isGenerated": False,
            "columns": 1,
            "cardHeight": _CHART_HEIGHT,
        },
        # The page adds a chart for every other metric to the section of this name: it is closed.
        {**section, "uuid": "others", "name": "Model metrics", "display": False, "isGenerated": True},
    ]
    return {
        **_best_first(study),
        "selectedColumns": [*columns],
        "columnOrder": ["tags.`mlflow.runName`", *columns],
        "columnWidths": {key: _CHARACTER * len(name) + _MARGIN for key, name in columns.items()},
        "compareRunCharts": [parallel, *lines],
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "runsHiddenMode": "FIRST_20_RUNS",
    }


def _best_first(study: Study) -> dict[str, object]:
    """Return the part of what the page shows that its address can name without a shared view."""
    metric = study.spec.metric
    return {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{study.facts['parent_run_id']}'",
        "orderByKey": f"metrics.`{metric.key}`",
        "orderByAsc": metric.mode == "min",
    }


def links_of(study: Study, server: str | None = None) -> dict[str, str]:
    """Return the links to a study's trials, best first, and to their charts; the store is not asked.

    Parameters
    ----------
    study : Study
    server : str, optional
        Address of the server that shows the store; the store itself where not given.

    Returns
    -------
    dict of str to str
        ``trials`` and ``charts``; empty where the store is no server, or the study never began. No link has a
        user or a password.
    """
    server = server or study.facts["tracking_uri"]
    if not is_server(server) or "parent_run_id" not in study.facts:
        return {}
    page = f"{_page(server)}{_route(study)}"
    return {"trials": page, "charts": f"{page}&compareRunsMode=CHART"}


def note_of_links(study: Study) -> str:
    """Return the links in Markdown, for a text on a page of the server that shows the store."""
    route = _route(study)
    return f"[Trials, best first]({route}); [charts]({route}&compareRunsMode=CHART)."


def experiment_link(server: str, experiment_id: str | None) -> str:
    """Return the address of an experiment's runs, or of all experiments where None is given."""
    return _page(server) + ("#/experiments" if experiment_id is None else _runs(experiment_id))


def _page(server: str) -> str:
    """Return the address of a server's page: without user, password and query."""
    parts = urlsplit(server)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/"


def _runs(experiment_id: str) -> str:
    return f"#/experiments/{experiment_id}/runs"


def _route(study: Study) -> str:
    if view := study.facts.get("view"):
        query = {"viewStateShareKey": view}
    else:  # the store did not take the view, or the study began before there were any
        asked = _best_first(study)
        query = {key: each if isinstance(each, str) else json.dumps(each) for key, each in asked.items()}
    return f"{_runs(study.facts['experiment_id'])}?{urlencode(query)}"
