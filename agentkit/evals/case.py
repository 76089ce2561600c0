"""Cases to try models on, read from JSON lines; every line that cannot be used is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, convert_to_messages
from pydantic import BaseModel, ConfigDict, ValidationError

from agentkit.errors import ConfigError
from agentkit.evals.json_value import Json

_LONGEST_LINE_BYTES = 4 << 20
_LONGEST_ID = 200
_MOST_TOLD = 20
_MESSAGE_KEYS = frozenset(("role", "content", "name", "tool_calls", "tool_call_id"))


class CasesInvalid(ConfigError):
    """Lines of a file of cases that cannot be used; `problems` are (line number, what is wrong)."""

    def __init__(self, source: str, problems: Sequence[tuple[int, str]]) -> None:
        self.problems = tuple(problems)
        shown = "".join(f"\n  line {line}: {text}" for line, text in problems[:_MOST_TOLD])
        more = len(problems) - _MOST_TOLD
        rest = f"\n  and {more} more" if more > 0 else ""
        count = "1 line" if len(problems) == 1 else f"{len(problems)} lines"
        super().__init__(f"{source}: {count} cannot be used{shown}{rest}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One request with what should come of it.

    `history` are the messages before the request, `system` the case's own system text. `tools` are
    definitions in OpenAI's shape, which are offered and never run. `grader` is a name, a name with
    options, or None for the run's own. `has_expected` is False where nothing was said of it.
    """

    id: str
    request: str
    expected: Json = None
    has_expected: bool = True
    history: tuple[BaseMessage, ...] = ()
    system: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    grader: str | Mapping[str, Json] | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    line: int = 0

    @property
    def digest(self) -> str:
        """Names what a model is asked: the same for the same request, history and tools."""
        asked = [self.request, self.system, [*map(_facts, self.history)], list(self.tools)]
        text = json.dumps(asked, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def read_cases(path: Path) -> tuple[Case, ...]:
    """The cases in the file, in its order; blank lines count for nothing.

    A line is an object with `id`, `request` or `messages`, `expected`, and perhaps `tools`,
    `grader`, `tags`. Raises CasesInvalid, or ConfigError where there is no such file or no case.
    """
    cases: list[Case] = []
    problems: list[tuple[int, str]] = []
    lines: dict[str, int] = {}
    for number, raw in _lines(path):
        try:
            case = _case(raw, number)
        except (ValueError, RecursionError) as error:
            problems.append((number, _told(error)))
            continue
        if case.id in lines:
            problems.append((number, f"id {case.id[:60]!r} stands on line {lines[case.id]} too"))
            continue
        lines[case.id] = number
        cases.append(case)
    if problems:
        raise CasesInvalid(str(path), problems)
    if not cases:
        raise ConfigError(f"{path} holds no cases; write one JSON object a line (docs/evals.md)")
    return tuple(cases)


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str | int | None = None
    request: str | None = None
    messages: list[dict[str, Any]] | None = None
    expected: Any = None
    tools: list[dict[str, Any]] = []
    grader: str | dict[str, Any] | None = None
    tags: dict[str, str] = {}


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(_LONGEST_LINE_BYTES + 1):
                number += 1
                if len(raw) > _LONGEST_LINE_BYTES:
                    raise CasesInvalid(
                        str(path), [(number, "longer than 4 MB; is it the right file?")]
                    )
                if raw.strip():
                    yield number, raw
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror or error})") from error


def _case(raw: bytes, number: int) -> Case:
    data = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant)
    if not isinstance(data, dict):
        raise ValueError("not a JSON object; write {...}")
    line = _Line.model_validate(data)
    system, history, request = _asked(line)
    if not request.strip():
        raise ValueError("the request is empty")
    case_id = str(number) if line.id is None else str(line.id)
    if not 0 < len(case_id) <= _LONGEST_ID or not case_id.isprintable():
        raise ValueError(f"id: write 1 to {_LONGEST_ID} printable characters")
    return Case(
        id=case_id,
        request=request,
        expected=cast("Json", line.expected),
        has_expected="expected" in data,
        history=history,
        system=system,
        tools=tuple(_tool(tool, place) for place, tool in enumerate(line.tools)),
        grader=line.grader,
        tags=line.tags,
        line=number,
    )


def _asked(line: _Line) -> tuple[str | None, tuple[BaseMessage, ...], str]:
    """System text, earlier messages and the request."""
    if (line.request is None) == (line.messages is None):
        raise ValueError("give either request or messages")
    if line.request is not None:
        return None, (), line.request
    given = line.messages or []
    for place, message in enumerate(given):
        if strange := set(message) - _MESSAGE_KEYS:
            raise ValueError(f"messages[{place}] has {min(strange)[:40]!r}, no key of one")
    try:
        messages = convert_to_messages([dict(message) for message in given])
    except (ValueError, NotImplementedError, KeyError, TypeError) as error:
        raise ValueError(f"messages: {(str(error).splitlines() or [''])[0][:160]}") from error
    if not messages or not isinstance(messages[-1], HumanMessage):
        raise ValueError("messages: the last one must be the user's")
    last = messages[-1].content
    if not isinstance(last, str):
        raise ValueError("messages: the content of the last one must be text")
    systems = [message.text for message in messages if isinstance(message, SystemMessage)]
    history = tuple(m for m in messages[:-1] if not isinstance(m, SystemMessage))
    return "\n\n".join(systems) or None, history, last


def _tool(tool: Mapping[str, Any], place: int) -> Mapping[str, Any]:
    """A definition in OpenAI's shape, or its inner part alone."""
    inner: Any = tool.get("function", tool)
    if not isinstance(inner, dict) or not isinstance(cast("Any", inner).get("name"), str):
        raise ValueError(f"tools[{place}] has no name; write OpenAI's shape of a function")
    found = cast("dict[str, Any]", inner)
    parameters: Any = found.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise ValueError(f"tools[{place}]: parameters is no JSON schema")
    return {
        "name": found["name"],
        "description": str(found.get("description") or found["name"]),
        "parameters": cast("dict[str, Any]", parameters),
    }


def _facts(message: BaseMessage) -> dict[str, Any]:
    return message.model_dump(include={"type", "content", "name", "tool_calls", "tool_call_id"})


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _told(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(_Line.model_fields)
            return f"there is no {where[:40]!r}; a case has {known}"
        return f"{where}: {first['msg']}"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at character {error.pos + 1}"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return (str(error).splitlines() or [""])[0][:200]
