"""Speaks with a model through the chat template in its file."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentkit.models.local.dialect import CALL_ID_LENGTH, Answer, OfferedTool, ToolChoice, Turn
from agentkit.models.local.engine import LlamaEngine
from agentkit.models.local.errors import ChatTemplateInvalid, ModelSettingsInvalid
from agentkit.models.local.generation import Generated
from agentkit.models.local.gguf_check import GgufSummary
from agentkit.models.local.json_value import as_list, as_object
from agentkit.models.local.sandbox import ChatTemplate
from agentkit.models.local.tool_format import tool_format

_KEPT_PROMPTS = 16
_BREAK = "\u200b"  # stands inside a control word that a message contains, so that it is only text

_CHATML = """
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
_PLAIN = """
{%- for message in messages %}### {{ message.role | capitalize }}:
{{ message.content }}

{% endfor %}{% if add_generation_prompt %}### Assistant:
{% endif %}"""
_PLAIN_STOP = ("\n### User:", "\n### System:")
_TOOLS_TEXT = """# Tools

You may call these functions, each described by its JSON schema:
{tools}

To call one, answer with its name and arguments as JSON between tags, like this:
<tool_call>
{{"name": "function_name", "arguments": {{"key": "value"}}}}
</tool_call>"""

Entry = dict[str, Any]


class TemplateDialect:
    """Renders messages and tools with the model's own chat template, or a plain one.

    A template without a place for tools gets them as text in the system message; one that refuses
    system messages gets that text at the start of the first request. Control words inside messages
    are broken up: text from a tool or a user cannot open a turn of its own.
    """

    writes_answers = True
    logprob_floor: float | None = None

    def __init__(self, engine: LlamaEngine, summary: GgufSummary) -> None:
        self._engine = engine
        self._stop: tuple[str, ...] = ()
        source = summary.chat_template or self._own_template()
        self._template = ChatTemplate(source)
        self._format = tool_format(source)
        self._takes_tools = "tools" in self._template.variables
        self._control = _control_pattern((*engine.control_texts, *self._format.markers))
        self._prompts: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._lock = threading.Lock()
        self._takes_system = True
        self._takes_system = self._probe_system()

    def prepare(
        self, messages: Sequence[BaseMessage], tools: Sequence[OfferedTool], choice: ToolChoice
    ) -> Turn | Answer:
        """The prompt; tools that may not be called stay in it, so that its prefix stays."""
        prompt = self._tokens(self.render(messages, tools))
        named = [tool for tool in tools if choice.name in (None, tool.name)]
        if choice.name is not None and not named:
            raise ModelSettingsInvalid(
                f"tool_choice names {choice.name!r}, which is not among the offered tools"
            )
        if choice.mode == "none" or not named:
            return Turn(
                prompt=prompt,
                stop=self._stop,
                banned=self._call_openers() if tools else frozenset(),
            )
        required = choice.mode == "required"
        return Turn(
            prompt=prompt,
            constraint=self._format.constraint(named, required=required),
            stop=self._stop,
            tools=tuple(named),
        )

    def read(self, turn: Turn, generated: Generated) -> Answer:
        """Text, then calls in the format of the model."""
        if not generated.constrained_text:
            return Answer(content=generated.text)
        calls, broken = self._format.read(generated.constrained_text)
        return Answer(
            content=generated.text.strip(),
            tool_calls=tuple(calls),
            invalid_tool_calls=tuple(broken),
        )

    def render(self, messages: Sequence[BaseMessage], tools: Sequence[OfferedTool]) -> str:
        """The prompt as text. Raises ChatTemplateInvalid where the template refuses."""
        entries = [self._entry(message) for message in messages]
        if tools and not self._takes_tools:
            entries = _with_system(entries, self._tools_text(tools))
        if not self._takes_system:
            entries = _without_system(entries)
        variables = {
            "messages": entries,
            "tools": [self._plain(_spec(tool)) for tool in tools] or None,
            "add_generation_prompt": True,
            "bos_token": self._engine.bos_text,
            "eos_token": self._engine.eos_text,
        }
        return self._template.render(variables)

    def _entry(self, message: BaseMessage) -> Entry:
        content = self._plain(_text(message))
        if isinstance(message, AIMessage):
            return self._assistant(message, content)
        if isinstance(message, ToolMessage):
            if not self._takes_tools:
                content = f"<tool_response>\n{content}\n</tool_response>"
                return {"role": "user", "content": content}
            return {
                "role": "tool",
                "name": self._plain(message.name or ""),
                "content": content,
                "tool_call_id": _short_id(message.tool_call_id),
            }
        return {
            "role": "system" if isinstance(message, SystemMessage) else "user",
            "content": content,
        }

    def _assistant(self, message: AIMessage, content: str) -> Entry:
        calls = [
            {"name": call["name"], "arguments": self._plain(call["args"])}
            for call in message.tool_calls
        ]
        if not calls:
            return {"role": "assistant", "content": content}
        if not self._takes_tools:
            written = [f"<tool_call>\n{_json(call)}\n</tool_call>" for call in calls]
            return {"role": "assistant", "content": "\n".join(filter(None, [content, *written]))}
        ids = [_short_id(call["id"]) for call in message.tool_calls]
        listed = [
            {"type": "function", "id": call_id, "function": call}
            for call_id, call in zip(ids, calls, strict=True)
        ]
        return {"role": "assistant", "content": content, "tool_calls": listed}

    def _plain(self, value: Any) -> Any:
        """`value` with the control words in its texts broken up."""
        if isinstance(value, str):
            return self._control.sub(lambda word: word[0][0] + _BREAK + word[0][1:], value)
        fields, items = as_object(value), as_list(value)
        if fields is not None:
            return {str(self._plain(key)): self._plain(item) for key, item in fields.items()}
        return value if items is None else [self._plain(item) for item in items]

    def _tools_text(self, tools: Sequence[OfferedTool]) -> str:
        described = "\n".join(_json(self._plain(_spec(tool))) for tool in tools)
        return _TOOLS_TEXT.format(tools=described)

    def _tokens(self, text: str) -> tuple[int, ...]:
        """Tokens of a prompt; the last few are kept, for a call is counted before it is made."""
        with self._lock:
            found = self._prompts.get(text)
            if found is not None:
                self._prompts.move_to_end(text)
                return found
        tokens = self._engine.tokenize(text, special=True)
        first = self._engine.bos_token
        if first is not None and tokens[:1] != [first]:
            tokens.insert(0, first)
        with self._lock:
            self._prompts[text] = tuple(tokens)
            if len(self._prompts) > _KEPT_PROMPTS:
                self._prompts.popitem(last=False)
        return tuple(tokens)

    def _call_openers(self) -> frozenset[int]:
        """Single tokens that begin a call."""
        opened = (self._engine.tokenize(text, special=True) for text in self._format.triggers)
        return frozenset(tokens[0] for tokens in opened if len(tokens) == 1)

    def _own_template(self) -> str:
        if "<|im_start|>" in self._engine.control_texts:
            return _CHATML
        self._stop = _PLAIN_STOP
        return _PLAIN

    def _probe_system(self) -> bool:
        try:
            self.render([SystemMessage("s"), HumanMessage("u")], [])
        except ChatTemplateInvalid:
            return False
        return True


def _with_system(entries: Sequence[Entry], text: str) -> list[Entry]:
    if entries and entries[0]["role"] == "system":
        first = {**entries[0], "content": f"{entries[0]['content']}\n\n{text}"}
        return [first, *entries[1:]]
    return [{"role": "system", "content": text}, *entries]


def _without_system(entries: Sequence[Entry]) -> list[Entry]:
    """System texts in front of the first request, and one entry where two of a role follow."""
    merged: list[Entry] = []
    for entry in entries:
        role = "user" if entry["role"] == "system" else entry["role"]
        last = merged[-1] if merged else None
        if last is not None and last["role"] == role and "tool_calls" not in {**last, **entry}:
            merged[-1] = {**last, "content": f"{last['content']}\n\n{entry['content']}"}
        else:
            merged.append({**entry, "role": role})
    return merged


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, list):
        kinds = {str(b.get("type")) for b in message.content if isinstance(b, dict)}
        foreign = kinds - {"text", "tool_use", "tool_call", "reasoning", "thinking"}
        if foreign:
            raise ModelSettingsInvalid(
                f"a local model takes text, not {', '.join(sorted(foreign))}; "
                "send it to another tier"
            )
    return message.text


def _spec(tool: OfferedTool) -> Mapping[str, Any]:
    if "function" in tool.spec:
        return tool.spec
    return {"type": "function", "function": tool.spec}


def _short_id(call_id: str | None) -> str:
    """Some templates insist on nine letters or digits; the same id always gives the same."""
    given = call_id or ""
    if len(given) == CALL_ID_LENGTH and given.isascii() and given.isalnum():
        return given
    return hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()[:CALL_ID_LENGTH]


def _control_pattern(words: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted({word for word in words if len(word) > 1}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
