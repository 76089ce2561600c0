"""The arguments of a call: checked against its schema, repaired where that is unambiguous."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry

from agentkit.tools.errors import InvalidTool
from agentkit.tools.schema_shape import is_plainly_valid

_MAX_PROBLEMS = 5  # one message must stay compact: the model corrects these and calls again
_MAX_ROUNDS = 3  # a repaired object may show problems inside it
_MAX_SHOWN_CHARS = 60
# Empty, so that a schema's $ref is never fetched from the network.
_REGISTRY: Registry[bool | Mapping[str, Any]] = Registry()

Arguments = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Arguments that fit the schema, or the `problems` that the model has to correct."""

    arguments: Arguments
    problems: tuple[str, ...] = ()


class _Validator(Protocol):
    """What is used of jsonschema's validators, whose own types leave out `object`."""

    def is_valid(self, instance: object) -> bool: ...

    def iter_errors(self, instance: object) -> Iterator[ValidationError]: ...

    def evolve(self, *, schema: object) -> _Validator: ...


class ArgumentCheck:
    """Checks arguments against one JSON schema, by draft 2020-12.

    `closed` refuses arguments that the schema does not name even where it would allow them.
    """

    def __init__(self, schema: Mapping[str, object], *, closed: bool) -> None:
        self._schema = schema
        properties = schema.get("properties")
        self._known = tuple(cast("Mapping[str, object]", properties)) if properties else ()
        self._required = frozenset(cast("Iterable[str]", schema.get("required", ())))
        self._closed = closed
        self._validator = cast("_Validator", Draft202012Validator(schema, registry=_REGISTRY))

    def check_schema(self, tool: str) -> None:
        """Raises InvalidTool where the schema itself is not valid."""
        if is_plainly_valid(self._schema):
            return
        try:
            Draft202012Validator.check_schema(self._schema)
        except SchemaError as error:
            raise InvalidTool(
                f"tool {tool!r}: the schema of its arguments is invalid at "
                f"{error.json_path}: {_shortened(error.message)}",
                tool=tool,
            ) from error

    def check(self, arguments: Mapping[str, object]) -> Checked:
        """The arguments to call the tool with; those given are not changed."""
        repaired = dict(arguments)
        try:
            if self._fits(repaired):
                return Checked(arguments=repaired)
            repaired = deepcopy(repaired)
            self._mend(repaired, self._validator)
            problems = tuple(_unique(self._problems(repaired)))
        except Exception as error:  # noqa: BLE001  a hostile schema: endless $ref, no regex, …
            return Checked(
                arguments=repaired,
                problems=(f"they cannot be checked against the schema ({type(error).__name__})",),
            )
        return Checked(arguments=repaired, problems=problems)

    def _fits(self, arguments: Arguments) -> bool:
        if self._closed and not arguments.keys() <= set(self._known):
            return False
        return self._validator.is_valid(arguments)

    def _mend(self, value: object, validator: _Validator) -> None:
        """Repairs what can be repaired inside a container, in place."""
        for _ in range(_MAX_ROUNDS):
            errors = list(validator.iter_errors(value))
            if sum(self._repair(value, error) for error in errors) == 0:
                return

    def _repair(self, root: object, error: ValidationError) -> bool:
        if not error.path:
            return False
        *parents, last = error.path
        holder = root
        for key in parents:
            holder = cast("Mapping[object, object]", holder)[key]
        place = cast("dict[object, object]", holder)  # a list is indexed alike
        if error.instance is None and isinstance(holder, dict) and self._may_miss(last, parents):
            del place[last]  # null for an optional argument: left out
            return True
        fitting = self._fitting(error)
        if len(fitting) != 1:
            return False
        place[last] = fitting[0]
        return True

    def _may_miss(self, name: object, parents: list[str | int]) -> bool:
        return not parents and name not in self._required

    def _fitting(self, error: ValidationError) -> list[object]:
        """What the value can have meant, by the schema that it failed or by a branch of it."""
        schemas: list[object] = [error.schema]
        if error.validator in {"anyOf", "oneOf"}:
            schemas = cast("list[object]", error.validator_value)
        fitting: list[object] = []
        for schema in schemas:
            validator = self._validator.evolve(schema=schema)
            for candidate in _candidates(error):
                if _is_container(candidate) and not validator.is_valid(candidate):
                    self._mend(candidate, validator)
                if candidate not in fitting and validator.is_valid(candidate):
                    fitting.append(candidate)
        return fitting

    def _problems(self, arguments: Arguments) -> Iterator[str]:
        if self._closed:
            for name in arguments.keys() - set(self._known):
                yield self._unknown(name)
        for error in self._validator.iter_errors(arguments):
            yield from self._told(error, arguments)

    def _told(self, error: ValidationError, arguments: Arguments) -> Iterator[str]:
        where = ".".join(str(part) for part in error.absolute_path)
        prefix = f"'{where}' " if where else ""
        expected = _expected(error)
        if expected:
            yield f"{prefix}must be {expected}, not {_shown(error.instance)}"
        elif error.validator == "required":
            required = cast("list[str]", error.validator_value)
            given = cast("dict[str, object]", error.instance)
            missing = [name for name in required if name not in given]
            within = f" in '{where}'" if where else ""
            yield f"missing{within}: {', '.join(repr(name) for name in missing)}"
        elif error.validator == "additionalProperties" and not where:
            for name in arguments.keys() - set(self._known):
                yield self._unknown(name)
        else:
            yield f"{prefix}{_shortened(error.message)}"

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._known, n=1)
        known = ", ".join(self._known[:20]) or "none"
        hint = f"did you mean {close[0]!r}?" if close else f"known: {known}"
        return f"unknown argument {_shortened(name)!r} ({hint})"


def parse_arguments(sent: object) -> Arguments | str:
    """The arguments as an object, or a message for the model that says why they are none.

    `sent` is an object or its JSON text; no text at all means no arguments.
    """
    if sent is None or (isinstance(sent, str) and not sent.strip()):
        return {}
    value = _decoded(sent) if isinstance(sent, str) else sent
    if isinstance(value, _Undecodable):
        return value.message
    if not isinstance(value, dict):
        return f"the arguments are {_shown(value)}; send one JSON object"
    return cast("Arguments", value)


@dataclass(frozen=True)
class _Undecodable:
    message: str


def _decoded(text: str) -> object:
    try:
        value: object = json.loads(text, strict=False)
        return json.loads(value, strict=False) if isinstance(value, str) else value  # twice encoded
    except json.JSONDecodeError as error:
        return _Undecodable(
            f"the arguments are not valid JSON: {error.msg} at character {error.pos} of "
            f"{len(text)}; send one JSON object"
        )
    except (RecursionError, ValueError) as error:
        return _Undecodable(
            f"the arguments cannot be read ({type(error).__name__}); send one small JSON object"
        )


def _candidates(error: ValidationError) -> Iterator[object]:
    """What a wrong value may have meant, each a new object, to be checked against the schema."""
    value = cast("object", error.instance)
    if _is_container(value):
        yield deepcopy(value)
    parsed = _parsed(value) if isinstance(value, str) else value
    if isinstance(value, str) and parsed is not value:
        yield parsed
    if isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
    if isinstance(value, dict) or not _is_container(parsed):
        single: list[object] = [value]
        yield deepcopy(single)
        if parsed is not value:
            yield [parsed]
    if isinstance(value, str) and error.validator == "enum":
        options = cast("list[object]", error.validator_value)
        yield from (o for o in options if isinstance(o, str) and o.casefold() == value.casefold())


def _is_container(value: object) -> bool:
    return isinstance(value, (dict, list))


def _parsed(text: str) -> object:
    lowered = text.strip().casefold()
    if lowered in {"true", "false"}:
        return lowered == "true"
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    return text if value is None or isinstance(value, str) else value


def _expected(error: ValidationError) -> str:
    wanted = cast("object", error.validator_value)
    if error.validator == "type":
        return wanted if isinstance(wanted, str) else " or ".join(cast("list[str]", wanted))
    if error.validator == "enum":
        options = ", ".join(_shown(option) for option in cast("list[object]", wanted))
        return f"one of {_shortened(options, 200)}"
    if error.validator in {"anyOf", "oneOf"}:
        branches = cast("list[object]", wanted)
        return " or ".join(dict.fromkeys(_type_of(branch) for branch in branches))
    return ""


def _type_of(schema: object) -> str:
    if not isinstance(schema, dict):
        return "anything" if schema else "nothing"
    return str(cast("dict[str, object]", schema).get("type", "object"))


def _unique(problems: Iterator[str]) -> list[str]:
    found = list(dict.fromkeys(problems))
    more = len(found) - _MAX_PROBLEMS
    return found[:_MAX_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])


def _shown(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    return _shortened(json.dumps(value, ensure_ascii=False, default=repr))


def _shortened(text: str, max_chars: int = _MAX_SHOWN_CHARS * 2) -> str:
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"
