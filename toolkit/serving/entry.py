"""The script that MLflow runs when it loads the model: it names the object that answers.

A copy of this file lies in the MLflow model, beside the package. No other file of the package imports it.
"""

from __future__ import annotations

from typing import Any

import pandas as pd  # noqa: TC002 - MLflow looks at the type hints
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from toolkit.errors import WalslabError
from toolkit.models import Model
from toolkit.serving import guard
from toolkit.serving.answers import Answers


class ServedModel(PythonModel):  # type: ignore[misc]
    """A walslab model in the form that MLflow's server and `mlflow.pyfunc.load_model` ask."""

    def load_context(self, context: Any) -> None:
        """Open the model, once for the process."""
        self.answers = Answers(Model.load(context.artifacts["model"]))
        guard.install(self.answers)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return one answer for each row; see `toolkit.serving.answers.Answers`."""
        columns = {str(name): model_input[name].tolist() for name in model_input.columns}
        try:
            return self.answers(columns, params or {})
        except WalslabError as error:
            # The server answers 400 to this exception.
            raise MlflowException.invalid_parameter_value(str(error)) from error


set_model(ServedModel())
