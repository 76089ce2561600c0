"""The pocket model's own language: requests become calls to tools whose names it was trained on.

It knows no prose. Tool names, argument keys and the JSON between them are single tokens, so a
prompt is put together from tokens, never from text: a request cannot forge them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.models.local.dialect import (
    Answer,
    OfferedTool,
    ToolChoice,
    Turn,
    broken_call,
    new_call,
)
from agentkit.models.local.engine import LlamaEngine
from agentkit.models.local.generation import Constraint, Generated
from agentkit.models.local.json_value import as_list, as_object, property_schemas, required_names

MOST_OUTPUT_TOKENS = 96

DEFAULT_LOGPROB_FLOOR = -0.48
"""For a file that names no floor of its own."""

_TRIES = 3

_REFUSAL = "no_tool"
_OPEN, _MIDDLE, _NEXT, _CLOSE, _CLOSE_EMPTY = '{"name":"', '","arguments":{', '",', '"}}', "}}"
_WORDS = re.compile(r"(\s?)(\w+|[^\w\s])")
_INTEGERS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


class PocketDialect:
    """Speaks with a pocket model about those of the offered tools that it knows."""

    writes_answers = False

    def __init__(
        self,
        engine: LlamaEngine,
        *,
        n_ctx: int,
        readings: int = 1,
        logprob_floor: float | None = None,
    ) -> None:
        """A second of the `readings` of a request sees its end, as a bidirectional model would.

        Answers whose summed log-probability is below `logprob_floor` should go to a better model.
        """
        self.logprob_floor: float | None = (
            DEFAULT_LOGPROB_FLOOR if logprob_floor is None else logprob_floor
        )
        self._engine = engine
        self._n_ctx = n_ctx
        self._readings = readings
        self._tokens: dict[str, int | None] = {}

    def prepare(
        self, messages: Sequence[BaseMessage], tools: Sequence[OfferedTool], choice: ToolChoice
    ) -> Turn | Answer:
        """The prompt for the last request; its tool results are relayed as they are."""
        results = _results_of_last_turn(messages)
        if results:
            return Answer(content="\n".join(results), metadata={"relayed": True})
        request = _clean(_last_request(messages))
        if not request:
            return _abstain("there is no request")
        if choice.mode == "none":
            return _abstain("the pocket model only calls tools, and none may be called")
        known = tuple(
            tool
            for tool in tools
            if self._knows(tool) and (choice.name is None or tool.name == choice.name)
        )
        if not known:
            return _abstain("the pocket model knows none of the offered tools")
        prompt = self._prompt(known, request)
        if len(prompt) + MOST_OUTPUT_TOKENS > self._n_ctx:
            return _abstain(
                f"the request has {len(prompt)} tokens, more than the "
                f"{self._n_ctx - MOST_OUTPUT_TOKENS} that the pocket model takes"
            )
        keys = {self._token(_key(key)) for tool in known for key in self._keys(tool)}
        return Turn(
            prompt=prompt,
            constraint=Constraint(
                grammar=self._grammar(known, request, may_refuse=choice.mode == "auto")
            ),
            once=frozenset(key for key in keys if key is not None),
            tools=known,
            tries=_TRIES,
        )

    def read(self, turn: Turn, generated: Generated) -> Answer:
        """The call that was generated, its values in the types of the tool's schema."""
        text = generated.constrained_text
        try:
            call = json.loads(text)
            name, arguments = str(call["name"]), dict(call["arguments"])
        except (ValueError, KeyError, TypeError):
            broken = broken_call(None, text, "not a JSON call")
            return Answer(invalid_tool_calls=(broken,))
        if name == _REFUSAL:
            return _abstain("no offered tool fits the request")
        called = next((tool for tool in turn.tools if tool.name == name), None)
        properties: Mapping[str, Any] = (
            property_schemas(called.schema) if called is not None else {}
        )
        values = {
            key: coerced(str(value).removeprefix(" "), as_object(properties.get(key)) or {})
            for key, value in arguments.items()
        }
        return Answer(tool_calls=(new_call(name, values),))

    def _knows(self, tool: OfferedTool) -> bool:
        if tool.name == _REFUSAL or self._token(tool.name) is None:
            return False
        return all(self._token(_key(key)) is not None for key in required_names(tool.schema))

    def _keys(self, tool: OfferedTool) -> list[str]:
        properties = property_schemas(tool.schema)
        return [key for key in properties if self._token(_key(key)) is not None]

    def _prompt(self, tools: Sequence[OfferedTool], request: str) -> tuple[int, ...]:
        """Tokens of `<|tools|>` names, `<|user|> ` request as often as it is read, `<|do|>`."""
        names = [self._token(tool.name) for tool in tools]
        read = [self._token("<|user|>"), *self._engine.tokenize(f" {request}", special=False)]
        tokens = [self._token("<|tools|>"), *names, *read * self._readings, self._token("<|do|>")]
        return tuple(token for token in tokens if token is not None)

    def _token(self, text: str) -> int | None:
        """The single token that `text` is, if it is one."""
        if text not in self._tokens:
            found = self._engine.tokenize(text, special=True)
            single = len(found) == 1 and self._engine.piece(found[0]) == text.encode()
            self._tokens[text] = found[0] if single else None
        return self._tokens[text]

    def _grammar(self, tools: Sequence[OfferedTool], request: str, *, may_refuse: bool) -> str:
        """A call to one of `tools`, each value a run of words of the request."""
        heads = [f"call{index}" for index in range(len(tools))]
        rules: list[str] = []
        for head, tool in zip(heads, tools, strict=True):
            rules += _call_rules(head, tool.name, self._keys(tool))
        if may_refuse:
            heads.append("refusal")
            rules.append(f"refusal ::= {_literal(_OPEN + _REFUSAL + _MIDDLE + _CLOSE_EMPTY)}")
        return "\n".join([f"root ::= {' | '.join(heads)}", *rules, *_copy_rules(request)])


def coerced(value: str, schema: Mapping[str, Any]) -> Any:
    """`value` in the type that `schema` asks for where there is no doubt; the text otherwise."""
    for allowed in as_list(schema.get("enum")) or ():
        if isinstance(allowed, str) and allowed.casefold() == value.casefold():
            return allowed
    found = [result for kind in _types(schema) for result in _as_type(value, kind, schema)]
    return found[0] if found else value


def _types(schema: Mapping[str, Any]) -> list[str]:
    """Types that `schema` allows; one that allows text leaves the value as it is."""
    stated = schema.get("type")
    kinds = [str(kind) for kind in as_list(stated) or ([stated] if stated else [])]
    for option in as_list(schema.get("anyOf")) or ():
        kinds += _types(as_object(option) or {})
    return [] if "string" in kinds else kinds


def _as_type(value: str, kind: str, schema: Mapping[str, Any]) -> Iterator[Any]:
    plain = value.strip().casefold()
    if kind in ("integer", "number") and plain in _INTEGERS:
        yield _INTEGERS[plain]
    elif kind in ("integer", "number") and re.fullmatch(r"-?\d{1,15}", plain):
        yield int(plain)
    elif kind == "number" and re.fullmatch(r"-?\d{1,15}\.\d{1,15}", plain):
        yield float(plain)
    elif kind == "boolean" and plain in _BOOLEANS:
        yield _BOOLEANS[plain]
    elif kind == "array":
        yield [coerced(value, as_object(schema.get("items")) or {})]


def _call_rules(head: str, name: str, keys: Sequence[str]) -> list[str]:
    start = _literal(_OPEN + name + _MIDDLE)
    if not keys:
        return [f"{head} ::= {start} {_literal(_CLOSE_EMPTY)}"]
    argument = f"{head}arg"
    some = f"{argument} ( {_literal(_NEXT)} {argument} )* {_literal(_CLOSE)}"
    named = " | ".join(_literal(_key(key)) for key in keys)
    return [
        f"{head} ::= {start} ( {_literal(_CLOSE_EMPTY)} | {some} )",
        f"{argument} ::= ( {named} ) value",
    ]


def _copy_rules(request: str) -> list[str]:
    words = [(match[1], match[2]) for match in _WORDS.finditer(f" {request}")]
    starts = " | ".join(f"word{index}" for index in range(len(words)))
    rules = [f'value ::= " " ( {starts} )']
    for index, (_, word) in enumerate(words):
        rest = ""
        if index + 1 < len(words):
            rest = f" ( {_literal(words[index + 1][0])} word{index + 1} )?"
        rules.append(f"word{index} ::= {_literal(word)}{rest}")
    return rules


def _last_request(messages: Sequence[BaseMessage]) -> str:
    asked = (message for message in reversed(messages) if isinstance(message, HumanMessage))
    request = next(asked, None)
    return request.text if request is not None else ""


def _results_of_last_turn(messages: Sequence[BaseMessage]) -> list[str]:
    """Tool results after the last request, as long as the model has not answered them."""
    results: list[str] = []
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            results.append(message.text)
        elif isinstance(message, HumanMessage) or (
            isinstance(message, AIMessage) and not message.tool_calls
        ):
            break
    return results[::-1]


def _clean(request: str) -> str:
    """The request as the model saw them in training: no quotes, no backslashes, single spaces."""
    plain = request.replace('"', "'").replace("\\", "/").replace("\u2019", "'")
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def _abstain(reason: str) -> Answer:
    return Answer(metadata={"abstained": True, "abstain_reason": reason})


def _key(name: str) -> str:
    return f'"{name}":"'


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
