"""A sampler that a specification names by its import path: another one of Optuna's, or one's own."""

from __future__ import annotations

import importlib
import inspect
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from toolkit.config import Choice
from toolkit.errors import did_you_mean
from tune.spec.checks import MistakesError, key_text, problem_of

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

SAMPLERS = ("tpe", "gp", "random")
_EXAMPLE = "{class: optuna.samplers.CmaEsSampler, n_startup_trials: 5}"


@dataclass(frozen=True)
class OwnSampler:
    """A class and its arguments.

    Attributes
    ----------
    path : str
        Import path of a subclass of ``optuna.samplers.BaseSampler``.
    arguments : dict
        Plain values by the names of the constructor's parameters.
    """

    path: str
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the class, by which trials say what proposed them."""
        return self.path.rpartition(".")[2]

    def to_dict(self) -> dict[str, Any]:
        """Return the form that the sampler has in a specification."""
        return {"class": self.path, **self.arguments}

    def make(self, seed: int) -> BaseSampler:
        """Return a new sampler; it gets the seed where its constructor takes one.

        Raises
        ------
        MistakesError
            When it cannot be imported, is no sampler, or does not take the arguments.
        """
        made = self._class()
        parameters = inspect.signature(made).parameters
        self._check(parameters)
        seeded = {"seed": seed} if "seed" in parameters else {}
        try:
            with warnings.catch_warnings():
                # Optuna's about samplers that are experimental.
                warnings.simplefilter("ignore")
                return made(**self.arguments, **seeded)
        except Exception as error:
            raise MistakesError([f" {self.name} refuses its arguments: {_text(error)}"]) from error

    def problems(self) -> Iterator[str]:
        """Yield why no such sampler can be made here."""
        try:
            self.make(0)
        except MistakesError as mistakes:
            yield from mistakes.lines

    def _class(self) -> type[BaseSampler]:
        from optuna.samplers import BaseSampler

        module_name, _, name = self.path.rpartition(".")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # whatever the module raises while it is imported
            problem = f".class {self.path} cannot be imported ({_text(error)}): install its package, or put "
            problem += "the folder of its module into PYTHONPATH"
            raise MistakesError([problem]) from error
        found = getattr(module, name, None)
        if not (inspect.isclass(found) and issubclass(found, BaseSampler)):
            hint = did_you_mean(name, [key for key in vars(module) if key.endswith("Sampler")])
            problem = f".class must be a subclass of optuna.samplers.BaseSampler, but {module_name} has "
            problem += f"{'no' if found is None else 'another kind of'} {name}{hint}"
            raise MistakesError([problem])
        return found

    def _check(self, parameters: Mapping[str, inspect.Parameter]) -> None:
        kinds = {parameter.kind for parameter in parameters.values()}
        known = [name for name in parameters if name != "seed"]
        lines = []
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            lines += [
                f".{key_text(name)}: {self.name} has no such argument{did_you_mean(name, known)}"
                for name in self.arguments
                if name not in known
            ]
        lines += [
            f".{name} is missing: {self.name} needs it"
            for name in known
            if parameters[name].default is inspect.Parameter.empty
            and parameters[name].kind not in {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
            and name not in self.arguments
        ]
        if lines:
            raise MistakesError(lines)


def read_sampler(value: object) -> str | OwnSampler:
    """Return the sampler that a specification states, its class not yet imported.

    Raises
    ------
    MistakesError
        Listing every mistake.
    """
    if not isinstance(value, Mapping):
        if problem := problem_of(value, Choice(SAMPLERS)):
            raise MistakesError([f"{problem}; a sampler of Optuna's or your own is written {_EXAMPLE}"])
        return str(value)
    path = value.get("class")
    lines = []
    if not isinstance(path, str) or not all(map(str.isidentifier, path.split("."))) or "." not in path:
        lines.append(f".class must be an import path, as in {_EXAMPLE}, but got {path!r:.80}")
    arguments = {key: argument for key, argument in value.items() if key != "class"}
    if "seed" in arguments:
        lines.append(".seed must be left out: the key `seed` of the specification gives it")
    for key, argument in arguments.items():
        try:
            json.dumps(argument, allow_nan=False)
        except (TypeError, ValueError):
            lines.append(
                f".{key_text(key)} must be a plain value, which JSON can hold, but got {argument!r:.80}"
            )
    if lines:
        raise MistakesError(lines)
    return OwnSampler(str(path), {str(key): argument for key, argument in arguments.items()})


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
