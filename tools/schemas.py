"""Schemas of strangers (MCP servers, OpenAPI documents): made usable, or refused with a reason."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import cast

from agentkit.tools.errors import InvalidTool
from agentkit.tools.functions import Schema

_MOST_SCHEMA_BYTES = 262_144
_MOST_DEPTH = 64
_MOST_DESCRIPTION_CHARS = 8_192
# A group that repeats, or many repetitions in a row, can take for ever on a made-up argument, and
# a call is checked before its time begins to run.
_RISKY_PATTERN = re.compile(r"\)[*+{?]|\\[1-9]")
_REPEAT = re.compile(r"(?<!\\)[*+]|\{\d+,\d*\}")
_MOST_REPEATS = 2
_MOST_PATTERN_CHARS = 256
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
# Keywords whose members are schemas by name, so that the names are no keywords themselves.
_NAMED = frozenset({"properties", "$defs", "definitions", "dependentSchemas", "patternProperties"})


def stranger_schema(schema: object, *, tool: str) -> Schema:
    """A copy that validators and providers take: an object's schema, with references inside it.

    Older keywords (`nullable`, tuples in `items`, boolean `exclusiveMinimum`) become those of draft
    2020-12; patterns that could take for ever are dropped. Raises InvalidTool where the schema is
    too large or too deep, is no object's, or points outside itself.
    """
    if schema is None or schema == {} or schema is True:
        return {"type": "object", "properties": {}}
    if not isinstance(schema, Mapping):
        raise _refused(tool, f"it is {type(schema).__name__}, not an object")
    _require_small(cast("Mapping[str, object]", schema), tool)
    made = cast("Schema", _normal(cast("object", schema)))
    made = _without_root_ref(made, tool)
    for reference in _references(made):
        if not resolves(made, reference):
            raise _refused(tool, f"its $ref {reference[:80]!r} leads nowhere inside it")
    kind = made.get("type", "object")
    if kind != "object" and kind != ["object"]:
        raise _refused(tool, f"it is of type {str(kind)[:40]!r}; a model can only send an object")
    made["type"] = "object"
    made.setdefault("properties", {})
    return made


def shown_text(text: object, *, otherwise: str) -> str:
    """A description without characters that nobody sees, and of a bounded length."""
    kept = "".join(
        char
        for char in str(text or "")[: 2 * _MOST_DESCRIPTION_CHARS]
        if char in "\n\t" or unicodedata.category(char) not in _INVISIBLE
    ).strip()
    if len(kept) > _MOST_DESCRIPTION_CHARS:
        kept = kept[: _MOST_DESCRIPTION_CHARS - 1] + "…"
    return kept or otherwise


def resolves(document: Mapping[str, object], reference: str) -> bool:
    """Whether a `$ref` leads to a place inside the document."""
    return target_of(document, reference) is not None


def target_of(document: Mapping[str, object], reference: str) -> object:
    """What a local `$ref` points to; None where it points nowhere or elsewhere."""
    if reference == "#":
        return document
    if not reference.startswith("#/"):
        return None
    place = cast("object", document)
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~").replace("%25", "%").replace("%20", " ")
        if isinstance(place, Mapping):
            place = cast("Mapping[str, object]", place).get(key)
        elif isinstance(place, list) and key.isdigit():
            place = dict(enumerate(cast("list[object]", place))).get(int(key))
        else:
            return None
    return place


def _require_small(schema: Mapping[str, object], tool: str) -> None:
    level: list[object] = [schema]
    for _ in range(_MOST_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            break
        if len(level) > _MOST_SCHEMA_BYTES:
            raise _refused(tool, f"it has more than {_MOST_SCHEMA_BYTES:,} parts")
    else:
        raise _refused(tool, f"it is nested more than {_MOST_DEPTH} levels deep")
    try:
        size = len(json.dumps(schema))
    except (TypeError, ValueError) as error:
        raise _refused(tool, f"it is no JSON ({error})") from error
    if size > _MOST_SCHEMA_BYTES:
        raise _refused(tool, f"it takes {size:,} bytes of at most {_MOST_SCHEMA_BYTES:,}")


def _children(item: object) -> Iterator[object]:
    if isinstance(item, Mapping):
        yield from cast("Mapping[str, object]", item).values()
    elif isinstance(item, list):
        yield from cast("list[object]", item)


def _normal(schema: object) -> object:
    if isinstance(schema, list):
        return [_normal(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, object] = {}
    for key, value in cast("Mapping[str, object]", schema).items():
        if key in _NAMED and isinstance(value, Mapping):
            members = cast("Mapping[str, object]", value)
            found[key] = {name: _normal(member) for name, member in members.items()}
        elif key in ("enum", "const", "default", "example", "examples"):
            found[key] = value
        elif key == "description" and isinstance(value, str):
            found[key] = shown_text(value, otherwise="")
        else:
            found[key] = _normal(value)
    return _modern(found)


def _modern(schema: dict[str, object]) -> dict[str, object]:
    """One level in the words of draft 2020-12."""
    schema.pop("$schema", None)
    schema.pop("$id", None)  # would change what "#" means
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema.pop("additionalItems")
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool):
            if schema.pop(exclusive) and bound in schema:
                schema[exclusive] = schema.pop(bound)
    if isinstance(schema.get("required"), bool):  # draft 3, and many servers
        del schema["required"]
    if schema.get("type") == "any":
        del schema["type"]
    nullable = schema.pop("nullable", None) is True
    kind = schema.get("type")
    if nullable and isinstance(kind, str):
        schema["type"] = [kind, "null"]
        if isinstance(schema.get("enum"), list):
            schema["enum"] = [*cast("list[object]", schema["enum"]), None]
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not _is_harmless(pattern):
        del schema["pattern"]
    named = schema.get("patternProperties")
    if isinstance(named, dict) and not all(map(_is_harmless, cast("dict[str, object]", named))):
        del schema["patternProperties"]
    return schema


def _is_harmless(pattern: str) -> bool:
    """Whether a pattern means something in Python and ends soon on any text."""
    if len(pattern) > _MOST_PATTERN_CHARS or _RISKY_PATTERN.search(pattern):
        return False
    if len(_REPEAT.findall(pattern)) > _MOST_REPEATS:
        return False
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _without_root_ref(schema: Schema, tool: str) -> Schema:
    """A root that is only a reference, followed: providers want an object there."""
    for _ in range(_MOST_DEPTH):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        target = target_of(schema, reference)
        if not isinstance(target, dict) or target is schema:
            break
        kept: Schema = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        schema = {**cast("Schema", target), **kept}
    raise _refused(tool, "its $ref at the top leads nowhere or to itself")


def _references(schema: object) -> Iterator[str]:
    level: list[object] = [schema]
    while level:
        item = level.pop()
        level.extend(_children(item))
        if not isinstance(item, Mapping):
            continue
        reference = cast("Mapping[str, object]", item).get("$ref")
        if isinstance(reference, str):
            yield reference


def _refused(tool: str, why: str) -> InvalidTool:
    return InvalidTool(
        f"tool {tool!r}: the schema of its arguments cannot be used: {why}", tool=tool
    )
