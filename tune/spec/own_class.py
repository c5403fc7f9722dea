"""A class that a specification names by its import path, with the arguments to make one of it."""

from __future__ import annotations

import importlib
import inspect
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from toolkit.errors import did_you_mean
from tune.spec.checks import MistakesError, key_text

T = TypeVar("T")


@dataclass(frozen=True)
class OwnClass(Generic[T]):
    """A class and its arguments; a subclass of this one says what kind of class it must be.

    Attributes
    ----------
    path : str
        Import path of the class.
    arguments : dict
        Plain values by the names of the constructor's parameters.
    """

    path: str
    arguments: dict[str, Any]

    # Import path of the class that it must be derived from.
    base: ClassVar[str]
    # How one is written.
    example: ClassVar[str]
    # Arguments that we give, and what to do instead of giving them.
    given: ClassVar[Mapping[str, str]]

    @classmethod
    def read(cls, document: Mapping[Any, Any]) -> Self:
        """Return what a mapping with the key ``class`` states; the class is not imported.

        Raises
        ------
        MistakesError
            Listing every mistake.
        """
        path = document.get("class")
        lines = []
        if not isinstance(path, str) or not all(map(str.isidentifier, path.split("."))) or "." not in path:
            lines.append(f".class must be an import path, as in {cls.example}, but got {path!r:.80}")
        arguments = {str(key): argument for key, argument in document.items() if key != "class"}
        lines += [f".{name} must be left out: {cls.given[name]}" for name in cls.given if name in arguments]
        for key, argument in arguments.items():
            try:
                json.dumps(argument, allow_nan=False)
            except (TypeError, ValueError):
                lines.append(
                    f".{key_text(key)} must be a plain value, which JSON can hold, but got {argument!r:.80}"
                )
        if lines:
            raise MistakesError(lines)
        return cls(str(path), arguments)

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.path.rpartition(".")[2]

    def to_dict(self) -> dict[str, Any]:
        """Return the form that the class has in a specification."""
        return {"class": self.path, **self.arguments}

    def make(self, *of: Any, **named: Any) -> T:
        """Return a new object of the class; the subclass says of what.

        Raises
        ------
        MistakesError
            When it cannot be made here.
        """
        raise NotImplementedError

    def problems(self, *of: Any, **named: Any) -> Iterator[str]:
        """Yield why `make`, which takes the same arguments, cannot make one here."""
        try:
            self.make(*of, **named)
        except MistakesError as mistakes:
            yield from mistakes.lines

    def _made(self, **ours: Any) -> T:
        """Return a new object; an argument of ours is dropped where the constructor has none of its name."""
        made = self.imported()
        parameters = inspect.signature(made).parameters
        self._check(parameters)
        ours = {name: value for name, value in ours.items() if name in parameters}
        try:
            with warnings.catch_warnings():
                # Of classes that are experimental.
                warnings.simplefilter("ignore")
                return made(**{**ours, **self.arguments})
        except Exception as error:
            raise MistakesError([f" {self.name} refuses its arguments: {_text(error)}"]) from error

    def imported(self) -> type[T]:
        """Return the class.

        Raises
        ------
        MistakesError
            When it cannot be imported, or is of another kind.
        """
        module_name, _, name = self.path.rpartition(".")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # whatever the module raises while it is imported
            problem = f".class {self.path} cannot be imported ({_text(error)}): install its package, or "
            problem += "put the folder of its module into PYTHONPATH"
            raise MistakesError([problem]) from error
        base_module, _, base_name = self.base.rpartition(".")
        base: type[T] = getattr(importlib.import_module(base_module), base_name)
        known = [key for key, value in vars(module).items() if _derived(value, base)]
        found = getattr(module, name, None)
        if not _derived(found, base):
            problem = f".class must be a subclass of {self.base}, but {module_name} has "
            problem += f"{'no' if found is None else 'another kind of'} {name}{did_you_mean(name, known)}"
            raise MistakesError([problem])
        return found  # type: ignore[return-value]

    def _check(self, parameters: Mapping[str, inspect.Parameter]) -> None:
        kinds = {parameter.kind for parameter in parameters.values()}
        known = [name for name in parameters if name not in self.given]
        lines = []
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            lines += [
                f".{key_text(name)}: {self.name} has no such argument{did_you_mean(name, known)}"
                for name in self.arguments
                if name not in known
            ]
        lines += [
            f".{name} is missing: {self.name} needs it"
            for name in _needed(parameters, known)
            if name not in self.arguments
        ]
        if lines:
            raise MistakesError(lines)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _derived(value: object, base: type) -> bool:
    return inspect.isclass(value) and issubclass(value, base)


def _needed(parameters: Mapping[str, inspect.Parameter], names: Iterable[str]) -> Iterator[str]:
    """Yield the parameters without a default."""
    variable = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    for name in names:
        if parameters[name].default is inspect.Parameter.empty and parameters[name].kind not in variable:
            yield name
