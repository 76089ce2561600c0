"""One operation of an OpenAPI document: the schema of its arguments, and the request they make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import quote

import httpx

from agentkit.tools.errors import InvalidTool
from agentkit.tools.functions import Schema
from agentkit.tools.schemas import target_of

Place = Literal["path", "query", "header", "cookie"]
_PLACES: tuple[Place, ...] = ("path", "query", "header", "cookie")
# OpenAPI says that parameters of these names are ignored; the others are not a model's to set.
_KEPT_HEADERS = frozenset(
    "accept content-type authorization host cookie content-length transfer-encoding connection "
    "proxy-authorization forwarded x-forwarded-for x-forwarded-host".split()
)
_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
_COMPONENT = re.compile(r"#/(?:components/schemas|definitions)/([^/]+)")
_MOST_REFS = 64


class BadArgument(ValueError):
    """An argument that would lead the request elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter: `argument` is its name among the tool's arguments."""

    argument: str
    name: str
    place: Place
    style: str
    explode: bool


@dataclass(frozen=True, kw_only=True)
class Operation:
    """How a tool's arguments become a request."""

    id: str
    method: str
    path: str
    description: str
    schema: Schema
    parameters: tuple[Parameter, ...]
    body_argument: str
    body_type: str

    def request(
        self, client: httpx.AsyncClient, base_url: str, arguments: Mapping[str, object]
    ) -> httpx.Request:
        """The request, without any keys; raises BadArgument."""
        path, query = self.path, list[tuple[str, str]]()
        headers, cookies = {"accept": "application/json, text/*;q=0.9, */*;q=0.1"}, dict[str, str]()
        for parameter in self.parameters:
            if parameter.argument not in arguments:
                continue
            value = arguments[parameter.argument]
            match parameter.place:
                case "path":
                    path = path.replace(f"{{{parameter.name}}}", _segment(parameter.name, value))
                case "query":
                    query += _pairs(parameter, value)
                case "header":
                    headers[parameter.name] = _line(parameter.name, value)
                case "cookie":
                    cookies[parameter.name] = _line(parameter.name, value)
        if "{" in path:
            raise BadArgument(f"a part of the path {path} is missing")
        body = arguments.get(self.body_argument) if self.body_argument else None
        if cookies:
            headers["cookie"] = "; ".join(f"{k}={quote(v, safe='')}" for k, v in cookies.items())
        return client.build_request(
            self.method,
            base_url.rstrip("/") + path,
            params=httpx.QueryParams(tuple(query)) if query else None,
            headers=headers,
            json=body if body is not None and self.body_type == _JSON else None,
            data=_form(body) if body is not None and self.body_type == _FORM else None,
        )


def operation_of(
    document: Mapping[str, object], path: str, method: str, shared: Sequence[object]
) -> Operation:
    """Reads one operation; raises InvalidTool where it cannot be a tool."""
    item = _mapping(_mapping(_mapping(document.get("paths")).get(path)).get(method))
    identity = str(item.get("operationId") or f"{method}_{path.strip('/') or 'root'}")
    parameters: list[Parameter] = []
    properties: dict[str, object] = {}
    required: list[str] = []
    for raw, place, name in _parameters(document, shared, item.get("parameters"), identity):
        argument = name if name not in properties else f"{name}_{place}"
        properties[argument] = _argument_schema(raw)
        if raw.get("required") is True or place == "path":
            required.append(argument)
        style = str(raw.get("style") or ("form" if place in ("query", "cookie") else "simple"))
        explode = raw.get("explode", style in ("form", "deepObject")) is True
        parameters.append(
            Parameter(argument=argument, name=name, place=place, style=style, explode=explode)
        )
    body_argument, body_type = "", ""
    body = resolved(document, item.get("requestBody"), identity)
    if body:
        body_argument = "body" if "body" not in properties else "request_body"
        body_type, schema = _body(body, identity)
        properties[body_argument] = schema
        if body.get("required") is True:
            required.append(body_argument)
    description = "\n".join(str(item[k]) for k in ("summary", "description") if item.get(k))
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        made["required"] = required
    return Operation(
        id=identity,
        method=method.upper(),
        path=path,
        description=description,
        schema=with_definitions(document, made),
        parameters=tuple(parameters),
        body_argument=body_argument,
        body_type=body_type,
    )


def resolved(document: Mapping[str, object], item: object, tool: str) -> Mapping[str, object]:
    """An item of a document with its own `$ref` followed; empty for none."""
    found = _mapping(item)
    for _ in range(_MOST_REFS):
        reference = found.get("$ref")
        if reference is None:
            return found
        target = target_of(document, str(reference))
        if not isinstance(target, Mapping):
            raise InvalidTool(
                f"operation {tool!r}: $ref {str(reference)[:80]!r} leads nowhere in the document",
                tool=tool,
            )
        found = cast("Mapping[str, object]", target)
    raise InvalidTool(f"operation {tool!r}: its references go in circles", tool=tool)


def with_definitions(document: Mapping[str, object], schema: Schema) -> Schema:
    """The schema with the document's components that it needs, under `$defs`."""
    definitions: dict[str, object] = {}

    def moved(item: object) -> object:
        if isinstance(item, list):
            return [moved(one) for one in cast("list[object]", item)]
        if not isinstance(item, Mapping):
            return item
        found = {key: moved(value) for key, value in cast("Mapping[str, object]", item).items()}
        match = _COMPONENT.fullmatch(str(found.get("$ref", "")))
        if match:
            reference, name = str(found["$ref"]), match[1]
            found["$ref"] = f"#/$defs/{name}"
            target = target_of(document, reference)
            if target is not None and name not in definitions:
                definitions[name] = {}  # before its own references, which may lead back here
                definitions[name] = moved(target)
        return found

    made = cast("Schema", moved(schema))
    return {**made, "$defs": definitions} if definitions else made


def _parameters(
    document: Mapping[str, object], shared: Sequence[object], own: object, tool: str
) -> Iterator[tuple[Mapping[str, object], Place, str]]:
    """Those of the operation go before those of its path."""
    found: dict[tuple[str, str], Mapping[str, object]] = {}
    for item in (*shared, *cast("Sequence[object]", own if isinstance(own, list) else ())):
        raw = resolved(document, item, tool)
        found[str(raw.get("name")), str(raw.get("in"))] = raw
    for (name, where), raw in found.items():
        if where not in _PLACES:
            raise InvalidTool(
                f"operation {tool!r}: parameter {name!r} in {where!r} is not supported", tool=tool
            )
        place: Place = where
        if place == "header" and name.lower() in _KEPT_HEADERS:
            continue
        yield raw, place, name


def _argument_schema(raw: Mapping[str, object]) -> object:
    schema = raw.get("schema")
    if schema is None:
        content = _mapping(raw.get("content"))
        schema = _mapping(content.get(_JSON)).get("schema")
    made = dict(_mapping(schema))
    if raw.get("description") and "$ref" not in made:
        made.setdefault("description", raw["description"])
    return made


def _body(body: Mapping[str, object], tool: str) -> tuple[str, object]:
    content = _mapping(body.get("content"))
    for kind, media in content.items():
        plain = kind.partition(";")[0].strip().lower()
        if plain in (_JSON, _FORM) or plain.endswith("+json"):
            schema = _mapping(media).get("schema", {})
            return (_FORM if plain == _FORM else _JSON), schema
    raise InvalidTool(
        f"operation {tool!r}: its body is {', '.join(content) or 'undescribed'}; only JSON and "
        "forms are supported",
        tool=tool,
    )


def _segment(name: str, value: object) -> str:
    text = quote(_text(value), safe="")
    if text in ("", ".", ".."):
        raise BadArgument(f"{name!r} may not be {text!r}: it is a part of the path")
    return text


def _line(name: str, value: object) -> str:
    text = _text(value)
    if not text.isprintable():
        raise BadArgument(f"{name!r} may hold no line breaks or control characters")
    return text


def _pairs(parameter: Parameter, value: object) -> Iterator[tuple[str, str]]:
    name = parameter.name
    if isinstance(value, list):
        items = [_text(item) for item in cast("list[object]", value)]
        mark = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(parameter.style, ",")
        for item in items if parameter.explode else [mark.join(items)]:
            yield name, item
    elif isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, object]", value).items():
            yield (f"{name}[{key}]" if parameter.style == "deepObject" else key), _text(inner)
    else:
        yield name, _text(value)


def _form(body: object) -> dict[str, object]:
    if not isinstance(body, Mapping):
        raise BadArgument("the body must be an object")
    fields = cast("Mapping[str, object]", body)
    return {
        key: [_text(one) for one in cast("list[object]", value)]
        if isinstance(value, list)
        else _text(value)
        for key, value in fields.items()
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
