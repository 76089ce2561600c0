"""How models write tool calls, told from their chat template."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import InvalidToolCall, ToolCall

from agentkit.models.local.dialect import OfferedTool, broken_call, new_call
from agentkit.models.local.generation import Constraint
from agentkit.models.local.grammar import CallGrammar
from agentkit.models.local.json_value import as_list, as_object

ArgumentsKey = Literal["arguments", "parameters"]
_HERMES_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolFormat:
    """One way to write calls. `root` is the GBNF around `call`; `split` finds the calls' JSON."""

    name: str
    triggers: tuple[str, ...]
    markers: tuple[str, ...]
    root: str
    split: Callable[[str], Iterator[str]]
    arguments_key: ArgumentsKey = "arguments"
    at_start: bool = False

    def constraint(self, tools: Sequence[OfferedTool], *, required: bool) -> Constraint:
        """The grammar of calls to `tools`, from the first token where a call is `required`."""
        grammar = CallGrammar(tools, arguments_key=self.arguments_key).source(self.root)
        if required:
            return Constraint(grammar=grammar)
        return Constraint(grammar=grammar, triggers=self.triggers, at_start=self.at_start)

    def read(self, text: str) -> tuple[list[ToolCall], list[InvalidToolCall]]:
        """The calls in `text`, sound ones and broken ones."""
        sound: list[ToolCall] = []
        broken: list[InvalidToolCall] = []
        for source in self.split(text):
            try:
                sound.append(_call(json.loads(source)))
            except (ValueError, RecursionError) as error:
                name = re.search(r'"name"\s*:\s*"([^"\\]{1,128})"', source)
                broken.append(broken_call(name[1] if name else None, source, str(error)))
        return sound, broken


def tool_format(template: str) -> ToolFormat:
    """The format that `template` teaches; the most widespread one where it teaches none."""
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    if "<tool_call>" in template:
        return HERMES
    if "<|python_tag|>" in template or '"parameters"' in template:
        return BARE_JSON
    return HERMES


def _call(value: Any) -> ToolCall:
    call = as_object(value) or {}
    if not isinstance(call.get("name"), str):
        raise ValueError("a call needs a name")
    stated = call.get("arguments", call.get("parameters", {}))
    arguments = as_object(json.loads(stated) if isinstance(stated, str) else stated)
    if arguments is None:
        raise ValueError("arguments must be an object")
    return new_call(call["name"], dict(arguments))


def _hermes(text: str) -> Iterator[str]:
    for match in _HERMES_CALL.finditer(text):
        yield match[1].strip()


def _bare(text: str) -> Iterator[str]:
    yield text.strip()


def _mistral(text: str) -> Iterator[str]:
    listed = text.partition("[TOOL_CALLS]")[2].strip()
    try:
        calls = json.loads(listed)
    except (ValueError, RecursionError):
        yield listed
        return
    for call in as_list(calls) or [calls]:
        yield json.dumps(call)


HERMES = ToolFormat(
    name="hermes",
    triggers=("<tool_call>",),
    markers=("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    root='( "<tool_call>" ws call ws "</tool_call>" ws ){1,16}',
    split=_hermes,
)
BARE_JSON = ToolFormat(
    name="bare JSON",
    triggers=('{"name"', '{ "name"'),
    markers=("<|python_tag|>",),
    root="call",
    split=_bare,
    arguments_key="parameters",
    at_start=True,
)
MISTRAL = ToolFormat(
    name="mistral",
    triggers=("[TOOL_CALLS]",),
    markers=(
        "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]",
        "[/AVAILABLE_TOOLS]", "[INST]", "[/INST]",
    ),
    root='"[TOOL_CALLS]" ws "[" ws call ( "," ws call ){0,15} ws "]"',
    split=_mistral,
)  # fmt: skip
