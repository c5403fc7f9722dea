"""Reads a YAML or JSON file into plain values: strictly, by the rules of YAML 1.2, and within limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scanner import Scanner

from toolkit.errors import SpecError

if TYPE_CHECKING:
    from ruamel.yaml.nodes import MappingNode, Node

# What a specification never comes near to, and what is read in a second.
_BYTES = 1 << 16
_LEVELS = 20
_VALUES = 10_000
# Python writes no whole number of more than 4300 digits, so no message could show it.
_BITS = 10_000


def read_document(path: str | Path) -> object:
    """Return what a YAML or JSON file holds.

    Raises
    ------
    SpecError
        When the file cannot be read, is too large, is neither YAML nor JSON, or has a key twice.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_BYTES + 1)
    except OSError as error:
        raise SpecError(f"cannot read the specification {path}: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise SpecError(f"cannot read the specification {str(path)!r}: {error}") from error
    if len(content) > _BYTES:
        raise SpecError(f"{path} is no specification: it has more than {_BYTES // 1024} KiB")
    try:
        return parse(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is neither YAML nor JSON: it is not text in UTF-8 ({error})") from error


def parse(text: str, source: str) -> object:
    """Return what a YAML or JSON text holds.

    Parameters
    ----------
    text : str
    source : str
        The file's name, for messages.

    Raises
    ------
    SpecError
        When the text is neither YAML nor JSON, is nested too deeply, or has a key twice.
    """
    if not text.strip():
        raise SpecError(
            f"{source} is empty: `walslab tune --print-spec` prints a specification to begin with"
        )
    try:
        # JSON by its own rules: YAML refuses tabs, and reads an escaped emoji as two characters.
        return json.loads(text, object_pairs_hook=_unique)
    except _DuplicateKeyError:
        text = text.replace("\t", " ")  # which is valid YAML, and YAML's reader knows the lines
    except ValueError:
        pass
    except RecursionError:
        raise _too_deep(source) from None
    reader = YAML(typ="safe", pure=True)
    reader.Constructor, reader.Scanner = _Constructor, _Scanner
    try:
        return reader.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        if isinstance(error, _DuplicateKeyOfYAMLError):
            raise SpecError(f"{source} has {error.problem}: keep one of them") from None
        reason = f"{error.problem or error.context}{where}"
    except RecursionError:
        raise _too_deep(source) from None
    except YAMLError as error:  # a character that YAML forbids
        reason = str(error).partition("\n")[0]
    except (ValueError, LookupError, TypeError, AttributeError):  # as `!!int x` and 5,000 digits
        reason = "a value does not fit its tag, or has thousands of digits"
    raise SpecError(f"{source} is neither YAML nor JSON: {reason}")


def require_small(document: object, source: str) -> None:
    """Refuse what no message could show: a document that is too deep or too large.

    Raises
    ------
    SpecError
        When there are too many levels, values or digits. A value that is shared, as an alias in YAML is,
        counts at every place.
    """
    level, n_values = [document], 0
    for _ in range(_LEVELS):
        below: list[object] = []
        for value in level:
            if isinstance(value, int) and value.bit_length() > _BITS:
                raise SpecError(f"{source} holds a whole number of thousands of digits")
            items = (*value, *value.values()) if isinstance(value, Mapping) else value
            if isinstance(items, list | tuple | set | frozenset):
                n_values += len(items)
                if n_values > _VALUES:
                    raise SpecError(f"{source} is no specification: it holds more than {_VALUES} values")
                below += items
        if not below:
            return
        level = below
    raise _too_deep(source)


def _too_deep(source: str) -> SpecError:
    return SpecError(f"{source} is no specification: it is nested more than {_LEVELS} levels deep")


class _DuplicateKeyError(ValueError):
    """A JSON object has a key twice."""


class _DuplicateKeyOfYAMLError(ConstructorError):
    """A YAML mapping has a key twice; the problem names the key and both lines."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object that JSON's pairs make."""
    if len(dict(pairs)) < len(pairs):
        raise _DuplicateKeyError
    return dict(pairs)


class _Scanner(Scanner):
    """Reads the words of YAML, and stops where they nest too deeply.

    The reader's time grows with the square of the depth: hundreds of open brackets would take it seconds.
    """

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803 - ruamel's name
        """Take a ``[`` or ``{``."""
        super().fetch_flow_collection_start(TokenClass, to_push)
        self._require_shallow()

    def add_indent(self, column: int) -> bool:
        """Take a deeper indentation."""
        added: bool = super().add_indent(column)
        self._require_shallow()
        return added

    def _require_shallow(self) -> None:
        if len(self.flow_context) + len(self.indents) > _LEVELS:
            raise RecursionError


class _Constructor(SafeConstructor):
    """Makes plain values of YAML."""

    def flatten_mapping(self, node: MappingNode) -> None:
        """Leave the key ``<<`` as it is: YAML 1.2 merges nothing."""

    def check_mapping_key(
        self, node: MappingNode, key_node: Node, mapping: Mapping[Any, Any], key: Any, value: Any
    ) -> bool:
        """Refuse a key that the mapping has already."""
        if key in mapping:
            keys = [each for each, _ in node.value]
            first = next(each for each in keys if self.construct_object(each, deep=True) == key)
            lines = f"lines {first.start_mark.line + 1} and {key_node.start_mark.line + 1}"
            raise _DuplicateKeyOfYAMLError(
                None, None, f"the key {key!r} twice, on {lines}", key_node.start_mark
            )
        return True


# Dates, `<<` and `=` are text in YAML 1.2.
for _tag in ("timestamp", "merge", "value"):
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_tag}", SafeConstructor.construct_yaml_str)
