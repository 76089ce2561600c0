"""GBNF grammars for tool calls, made from the JSON schemas of the offered tools.

llama-cpp-python brings a converter, but it leaves backslashes in enums unescaped, asserts on
schemas that MCP servers really send, and lets white space go on for ever. What is not understood
here becomes "any JSON value": the grammar may be wider than the schema, never narrower than sound.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.models.local.dialect import OfferedTool
from agentkit.models.local.json_value import (
    as_list,
    as_object,
    property_schemas,
    required_names,
)

_DEEPEST = 12
_MOST_RULES = 4_000
_MOST_PROPERTIES = 64
_LARGEST_REPEAT = 32
_LONGEST_LITERAL = 2_000

_TYPES = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "object": "object",
    "array": "array",
}
_BASE = r"""
ws ::= " "? | "\n" [ \t]{0,8}
value ::= object | array | string | number | boolean | null
object ::= "{" ws ( string ":" ws value ( "," ws string ":" ws value )* )? ws "}"
array ::= "[" ws ( value ( "," ws value )* )? ws "]"
string ::= "\"" ( [^"\\\x00-\x1F\x7F] | "\\" ( ["\\/bfnrt] | "u" [0-9a-fA-F]{4} ) )* "\""
number ::= integer ( "." [0-9]{1,16} )? ( [eE] [-+]? [0-9]{1,3} )?
integer ::= "-"? ( "0" | [1-9] [0-9]{0,17} )
boolean ::= "true" | "false"
null ::= "null"
""".strip()


class CallGrammar:
    """The rules for calls to some tools; `arguments_key` is what the model's format says."""

    def __init__(self, tools: Sequence[OfferedTool], *, arguments_key: str) -> None:
        self._rules: list[str] = []
        calls = [self._add(self._call(tool, arguments_key)) for tool in tools]
        self._rules.append(f"call ::= {' | '.join(calls)}")

    def source(self, root: str) -> str:
        """The whole grammar; `root` says what stands around one or more `call`."""
        return "\n".join([f"root ::= {root}", *self._rules, _BASE])

    def _call(self, tool: OfferedTool, arguments_key: str) -> str:
        arguments = _SchemaRules(self._add, tool.schema).arguments()
        name = f'"{{" ws {literal(_quoted("name"))} ":" ws {literal(_quoted(tool.name))}'
        return f'{name} "," ws {literal(_quoted(arguments_key))} ":" ws {arguments} ws "}}"'

    def _add(self, body: str) -> str:
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name} ::= {body}")
        return name


class _TooComplex(Exception):
    pass


class _SchemaRules:
    """Rules for one schema. Shared definitions are followed up to a depth, then any value goes."""

    def __init__(self, add: Any, schema: Mapping[str, Any]) -> None:
        self._add = add
        self._schema = schema
        self._made = 0

    def arguments(self) -> str:
        try:
            rule = self._rule({"type": "object", **self._schema}, 0)
        except (_TooComplex, RecursionError):
            return "object"
        return "object" if rule == "value" else rule

    def _rule(self, value: object, depth: int) -> str:
        """The name of a rule that takes what the schema `value` takes, or more."""
        self._made += 1
        if self._made > _MOST_RULES:
            raise _TooComplex
        schema = as_object(value)
        if schema is None or depth > _DEEPEST:
            return "value"
        if "$ref" in schema:
            return self._rule(self._resolved(schema["$ref"]), depth + 1)
        if "const" in schema:
            return self._enum([schema["const"]])
        values = as_list(schema.get("enum"))
        if values:
            return self._enum(values)
        options = as_list(schema.get("anyOf") or schema.get("oneOf"))
        if options is not None:
            return self._union(options, depth)
        parts = as_list(schema.get("allOf"))
        if parts is not None:
            return self._rule(parts[0], depth + 1) if len(parts) == 1 else "value"
        kind = schema.get("type")
        kinds = as_list(kind)
        if kinds is not None:
            return self._union([{**schema, "type": each} for each in kinds], depth)
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        return _TYPES.get(str(kind), "value")

    def _resolved(self, reference: object) -> object:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        found: object = self._schema
        for part in reference[2:].split("/"):
            inside = as_object(found)
            if inside is None:
                return None
            found = inside.get(part.replace("~1", "/").replace("~0", "~"))
        return found

    def _enum(self, values: Sequence[object]) -> str:
        try:
            texts = [json.dumps(value, ensure_ascii=False) for value in values]
        except (TypeError, ValueError):
            return "value"
        if sum(map(len, texts)) > _LONGEST_LITERAL:
            return "value"
        return str(self._add(" | ".join(map(literal, texts))))

    def _union(self, options: Sequence[object], depth: int) -> str:
        rules = dict.fromkeys(self._rule(option, depth + 1) for option in options)
        return "value" if "value" in rules or not rules else str(self._add(" | ".join(rules)))

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        properties = property_schemas(schema)
        if not properties:
            closed = schema.get("additionalProperties") is False
            return str(self._add('"{" ws "}"')) if closed else self._map(schema, depth)
        if len(properties) > _MOST_PROPERTIES:
            return "object"
        required = set(required_names(schema))
        fields = [
            (self._field(name, value, depth), name in required)
            for name, value in properties.items()
        ]
        return str(self._add(f'"{{" ws {self._fields(fields)} ws "}}"'))

    def _field(self, name: str, schema: object, depth: int) -> str:
        return str(self._add(f'{literal(_quoted(name))} ":" ws {self._rule(schema, depth + 1)}'))

    def _fields(self, fields: Sequence[tuple[str, bool]]) -> str:
        """Fields in the schema's order, the optional ones left out at will.

        `first` rules follow no field, `later` rules follow one; made from the last field backwards.
        """
        first = later = str(self._add('""'))
        for field, is_required in reversed(fields):
            taken_first = f"{field} {later}"
            taken_later = f'"," ws {field} {later}'
            if is_required:
                first, later = str(self._add(taken_first)), str(self._add(taken_later))
            else:
                first = str(self._add(f"{taken_first} | {first}"))
                later = str(self._add(f"{taken_later} | {later}"))
        return first

    def _map(self, schema: Mapping[str, Any], depth: int) -> str:
        values = as_object(schema.get("additionalProperties"))
        if not values:
            return "object"
        entry = self._add(f'string ":" ws {self._rule(values, depth + 1)}')
        return str(self._add(f'"{{" ws ( {entry} ( "," ws {entry} )* )? ws "}}"'))

    def _array(self, schema: Mapping[str, Any], depth: int) -> str:
        items = as_object(schema.get("items"))
        item = self._rule(items, depth + 1) if items else "value"
        least, most = _bound(schema.get("minItems")), _bound(schema.get("maxItems"))
        more = f'( "," ws {item} )'
        if most == 0:
            return str(self._add('"[" ws "]"'))
        top = "" if most is None else str(most - 1)
        some = f"{item} {more}{{{max((least or 0) - 1, 0)},{top}}}"
        inner = some if least else f"( {some} )?"
        return str(self._add(f'"[" ws {inner} ws "]"'))


def literal(text: str) -> str:
    """`text` as a GBNF literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    plain = "".join(c if c.isprintable() else _escape(c) for c in escaped)
    return f'"{plain}"'


def _escape(character: str) -> str:
    code = ord(character)
    return (
        f"\\x{code:02X}" if code < 256 else f"\\u{code:04X}" if code < 65_536 else f"\\U{code:08X}"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _bound(value: object) -> int | None:
    """A repeat count that a grammar can carry; larger ones are left out, which is wider."""
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_REPEAT
    return value if sound and isinstance(value, int) else None
