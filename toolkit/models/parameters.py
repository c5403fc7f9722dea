"""What an estimator is made with: hyperparameters and options by their names, in the form of scikit-learn."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import ConfigError, did_you_mean
from toolkit.inputs import checked_type

if TYPE_CHECKING:
    from sklearn.utils import Tags

_Function = TypeVar("_Function", bound=Callable[..., None])


class Parameters:
    """The hyperparameters and options of an estimator, which scikit-learn's tools read and change.

    Attributes
    ----------
    config : WALSConfig
    options : RunOptions
    """

    config: WALSConfig
    options: RunOptions

    @property
    def parameters(self) -> str:
        """What makes it, without what is as the defaults are, as it would be written in Python."""
        given = [
            f"{field.name}={getattr(of, field.name)!r}"
            for of in (self.config, self.options)
            for field in dataclasses.fields(of)
            if getattr(of, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's
        """Return all hyperparameters and options by name, as scikit-learn's estimators do.

        Parameters
        ----------
        deep : bool, default True
            Is there for scikit-learn. No parameter is an estimator, so it changes nothing.
        """
        return {**vars(self.config), **vars(self.options)}

    def set_params(self, **params: Any) -> Self:
        """Change what the next `fit` runs with.

        Parameters
        ----------
        **params
            What the class takes: hyperparameters and options by name, or ``config`` and ``options``.

        Raises
        ------
        ConfigError
            When a name is unknown, or a value out of range; nothing is changed then.
        """
        config, options = params.pop("config", self.config), params.pop("options", self.options)
        self.config, self.options = merged(config, options, params)
        return self

    def __sklearn_tags__(self) -> Tags:
        """Return what scikit-learn asks of an estimator; only scikit-learn calls this."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            input_tags=InputTags(sparse=True),
        )


def merged(config: object, options: object, changes: Mapping[str, Any]) -> tuple[WALSConfig, RunOptions]:
    """Return a config and options with some of their values changed.

    Parameters
    ----------
    config : WALSConfig
    options : RunOptions
    changes : mapping
        Values by the names of both classes.

    Raises
    ------
    ConfigError
        When an argument is of another class, a name is unknown, or a value is out of range. The text has all
        mistakes in names and values.
    """
    config = checked_type("config", config, WALSConfig, "factors=32 by name, or WALSConfig(factors=32)")
    options = checked_type("options", options, RunOptions, "seed=0 by name, or RunOptions(seed=0)")
    valid = [field.name for of in (config, options) for field in dataclasses.fields(of)]
    unknown = [f"{name!r}{did_you_mean(name, valid)}" for name in changes if name not in valid]
    problems = [f"unknown parameter {', '.join(unknown)}; valid are {', '.join(valid)}"] if unknown else []
    try:
        config = dataclasses.replace(config, **_named(changes, config))
    except ConfigError as error:
        problems.append(str(error))
    try:
        options = dataclasses.replace(options, **_named(changes, options))
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError("; ".join(problems))
    return config, options


def _named(changes: Mapping[str, Any], of: WALSConfig | RunOptions) -> dict[str, Any]:
    return {field.name: changes[field.name] for field in dataclasses.fields(of) if field.name in changes}


def shows_parameters(function: _Function) -> _Function:
    """Make help, notebooks and scikit-learn show each hyperparameter and option in place of ``**parameters``.

    Their names and defaults are those of `WALSConfig` and `RunOptions`, so that they stand nowhere else.
    """
    signature = inspect.signature(function)
    named = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    fields = [field for of in (WALSConfig, RunOptions) for field in dataclasses.fields(of)]
    by_name = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
        )
        for field in fields
    ]
    shown = signature.replace(parameters=[*named, *by_name])
    function.__signature__ = shown  # type: ignore[attr-defined]
    return function
