"""Reads an Anthropic request, refusing what the provider refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tests.wire import body as read
from tests.wire.later_tools import check_deferred, check_place, loaded
from tests.wire.messages_prompt import controls, lifetime
from tests.wire.model import WireModel
from tests.wire.refusal import Refusal
from tests.wire.script import Json, Role, WireMessage, WireRequest, WireTool, WireToolCall
from tests.wire.tokens import canonical

MOST_BREAKPOINTS = 4
LEAST_THINKING_TOKENS = 1024
_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "any": "required"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_BLOCK_NAMES = "text image document tool_use tool_result thinking redacted_thinking search_result"
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_SYSTEM_BLOCKS = frozenset({"text", "tool_addition"})
_FIELD_NAMES = (
    "model max_tokens messages system tools tool_choice metadata stop_sequences stream temperature "
    "top_k top_p thinking service_tier container context_management mcp_servers cache_control "
    "output_config inference_geo speed diagnostics"
)
_FIELDS = frozenset(_FIELD_NAMES.split())


def read_model(body: Json) -> str:
    """The model asked for."""
    return read.text(_required(body, "model"), "model")


def read_request(body: Json, model: WireModel, path: str, counting: bool = False) -> WireRequest:
    """The request in normal form; `counting` needs no `max_tokens`."""
    for key in body:
        if key not in _FIELDS:
            raise Refusal(f"{key}: Extra inputs are not permitted")
    limit = None if counting else _read_limit(body, model)
    listed = _read_tools(body)
    deferred = _deferred(body, listed)
    tools = tuple(tool for tool in listed if tool.name not in deferred)
    turns = _read_turns(body, tools, model)
    messages = _normal_messages(body, turns)
    _check_breakpoints(body)
    choice = read.optional_mapping(body, "tool_choice")
    thinking = _read_thinking(body, limit, choice)
    if read.optional_mapping(body, "thinking").get("type") == "enabled":
        _check_thoughts(turns)
    return WireRequest(
        protocol="anthropic",
        path=path,
        model=model.name,
        messages=messages,
        tools=tools,
        later_tools=loaded(turns, deferred),
        tool_choice=_read_choice(choice, tools),
        parallel_tool_calls=not read.flag(choice, "disable_parallel_tool_use"),
        max_tokens=limit,
        stream=read.flag(body, "stream"),
        thinking=thinking,
        task=_task(body),
        body=body,
    )


def _required(body: Json, key: str) -> object:
    if body.get(key) is None:
        raise Refusal(f"{key}: Field required")
    return body[key]


def _task(body: Json) -> str | None:
    user = read.optional_mapping(body, "metadata").get("user_id")
    return user if isinstance(user, str) and user else None


def _read_limit(body: Json, model: WireModel) -> int:
    limit = _required(body, "max_tokens")
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise Refusal("max_tokens: Input should be a valid integer")
    if limit < 1:
        raise Refusal("max_tokens: Input should be greater than or equal to 1")
    if limit > model.most_output_tokens:
        raise Refusal(
            f"max_tokens: {limit} > {model.most_output_tokens}, which is the maximum allowed "
            f"number of output tokens for {model.snapshot}"
        )
    return limit


def _read_thinking(body: Json, limit: int | None, choice: Json) -> bool:
    """Whether the model thinks; what is set apart for it must leave room for the answer."""
    thinking = read.optional_mapping(body, "thinking")
    kind = thinking.get("type", "disabled")
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or budget < LEAST_THINKING_TOKENS:
            raise Refusal(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
        if limit is not None and limit <= budget:
            raise Refusal("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if kind != "disabled" and choice.get("type") in ("any", "tool"):
        raise Refusal("Thinking may not be enabled when tool_choice forces tool use.")
    return kind != "disabled"


def _check_thoughts(turns: Sequence[_Turn]) -> None:
    """What the model thought before its last calls comes back with them."""
    calling = [at for at, (_, blocks) in enumerate(turns) if _leading_results(blocks)]
    if not calling or calling[-1] != len(turns) - 1:
        return
    at = calling[-1] - 1
    kind = turns[at][1][0].get("type")
    if kind not in ("thinking", "redacted_thinking"):
        raise Refusal(
            f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
            f"`{kind}`. When `thinking` is enabled, a final `assistant` message must start with a "
            "thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
        )


def _read_tools(body: Json) -> tuple[WireTool, ...]:
    tools: list[WireTool] = []
    for at, entry in enumerate(read.optional_sequence(body, "tools")):
        raw = read.mapping(entry, f"tools.{at}")
        name = read.text(raw.get("name"), f"tools.{at}.custom.name")
        if not _NAME.fullmatch(name):
            raise Refusal(
                f"tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )
        schema = read.mapping(raw.get("input_schema"), f"tools.{at}.custom.input_schema")
        if schema.get("type") != "object":
            raise Refusal(f"tools.{at}.custom.input_schema.type: Input should be 'object'")
        description = str(raw.get("description") or "")
        tools.append(WireTool(name=name, description=description, schema=schema))
    if len({tool.name for tool in tools}) < len(tools):
        raise Refusal("tools: Tool names must be unique.")
    return tuple(tools)


def _read_choice(choice: Json, tools: Sequence[WireTool]) -> str:
    if not choice:
        return "auto"
    if not tools:
        raise Refusal("tool_choice: tool_choice may only be specified while providing tools.")
    if choice.get("type") != "tool":
        kind = _CHOICES.get(str(choice.get("type")))
        if kind is None:
            raise Refusal("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
        return kind
    name = str(choice.get("name"))
    if name not in {tool.name for tool in tools}:
        raise Refusal(f"Tool '{name}' not found in provided tools")
    return name


def _check_breakpoints(body: Json) -> None:
    found = list(controls(body))
    if len(found) > MOST_BREAKPOINTS:
        raise Refusal(
            f"A maximum of {MOST_BREAKPOINTS} blocks with cache_control may be provided. "
            f"Found {len(found)}."
        )
    short = False
    for where, control in found:
        if short and lifetime(control) == "1h":
            raise Refusal(
                f"{where}.cache_control.ttl: a ttl='1h' cache_control block must not come after a "
                "ttl='5m' cache_control block. Note that blocks are processed in the following "
                "order: `tools`, `system`, `messages`."
            )
        short = lifetime(control) == "5m"


def _deferred(body: Json, listed: Sequence[WireTool]) -> dict[str, WireTool]:
    check_deferred(body)
    entries = read.optional_sequence(body, "tools")
    return {
        tool.name: tool
        for tool, entry in zip(listed, entries, strict=True)
        if read.mapping(entry, "tools").get("defer_loading")
    }


def _read_turns(body: Json, tools: Sequence[WireTool], model: WireModel) -> list[_Turn]:
    listed = read.sequence(_required(body, "messages"), "messages")
    if not listed:
        raise Refusal("messages: at least one message is required")
    roles = [read.mapping(entry, f"messages.{at}").get("role") for at, entry in enumerate(listed)]
    for at, role in enumerate(roles):
        if role == "system":
            check_place(roles, at, model)
    turns = _merged([_read_turn(entry, at, len(listed)) for at, entry in enumerate(listed)])
    if turns[0][0] != "user":
        raise Refusal('messages: first message must use the "user" role')
    _check_tool_pairs(turns)
    used = any(block.get("type") in ("tool_use", "tool_result") for _, bs in turns for block in bs)
    if used and not tools:
        raise Refusal(
            "Requests which include `tool_use` or `tool_result` blocks must define tools."
        )
    return turns


def _normal_messages(body: Json, turns: Sequence[_Turn]) -> tuple[WireMessage, ...]:
    return (*_system_messages(body), *(m for role, blocks in turns for m in _normal(role, blocks)))


_Turn = tuple[Role, list[dict[str, object]]]


def _read_turn(entry: object, at: int, count: int) -> _Turn:
    raw = read.mapping(entry, f"messages.{at}")
    role = raw.get("role")
    if role not in ("user", "assistant", "system"):
        raise Refusal(f"messages.{at}.role: Input should be 'user' or 'assistant'")
    content = raw.get("content")
    last_assistant = role == "assistant" and at == count - 1
    if (content is None or content == "" or content == []) and not last_assistant:
        raise Refusal(
            f"messages.{at}: all messages must have non-empty content except for the optional "
            "final assistant message"
        )
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    where = f"messages.{at}.content"
    blocks = [
        _read_block(block, f"{where}.{place}", is_system=role == "system")
        for place, block in enumerate(read.sequence(content, where))
    ]
    if last_assistant and blocks and str(blocks[-1].get("text", "")).endswith((" ", "\n", "\t")):
        raise Refusal("messages: final assistant content cannot end with trailing whitespace")
    return ("system" if role == "system" else "user" if role == "user" else "assistant", blocks)


def _read_block(entry: object, where: str, *, is_system: bool = False) -> dict[str, object]:
    block = read.mapping(entry, where)
    kind = block.get("type")
    if kind not in (_SYSTEM_BLOCKS if is_system else _BLOCKS):
        raise Refusal(f"{where}: Input tag '{kind}' found using 'type' does not match any expected")
    if kind == "text" and not read.text(block.get("text"), f"{where}.text"):
        raise Refusal("messages: text content blocks must be non-empty")
    if kind == "text" and not str(block["text"]).strip():
        raise Refusal("messages: text content blocks must contain non-whitespace text")
    if kind == "tool_use":
        call_id = read.text(block.get("id"), f"{where}.tool_use.id")
        if not _CALL_ID.fullmatch(call_id):
            raise Refusal(f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        read.text(block.get("name"), f"{where}.tool_use.name")
        read.mapping(block.get("input"), f"{where}.tool_use.input")
    if kind == "tool_result":
        read.text(block.get("tool_use_id"), f"{where}.tool_result.tool_use_id")
    return block


def _merged(turns: Sequence[_Turn]) -> list[_Turn]:
    """Consecutive messages of one role become one."""
    merged: list[_Turn] = []
    for role, blocks in turns:
        if merged and merged[-1][0] == role:
            merged[-1] = (role, [*merged[-1][1], *blocks])
        else:
            merged.append((role, blocks))
    return merged


def _check_tool_pairs(turns: Sequence[_Turn]) -> None:
    """Every `tool_use` is answered at the start of the next user message, and nothing else is."""
    open_ids: list[str] = []
    for at, (role, blocks) in enumerate(turns):
        answered = _leading_results(blocks) if role == "user" else []
        results = [str(b.get("tool_use_id")) for b in blocks if b.get("type") == "tool_result"]
        stray = [each for each in results if each not in open_ids]
        if stray:
            raise Refusal(
                f"messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{stray[0]}. Each `tool_result` block must have a corresponding `tool_use` block "
                "in the previous message."
            )
        _refuse_unanswered([each for each in open_ids if each not in answered], at - 1)
        open_ids = [str(b.get("id")) for b in blocks if b.get("type") == "tool_use"]
        if len(set(open_ids)) < len(open_ids):
            raise Refusal(f"messages.{at}.content: `tool_use` ids must be unique")
    _refuse_unanswered(open_ids, len(turns) - 1)


def _leading_results(blocks: Sequence[Json]) -> list[str]:
    answered: list[str] = []
    for block in blocks:
        if block.get("type") != "tool_result":
            break
        answered.append(str(block.get("tool_use_id")))
    return answered


def _refuse_unanswered(open_ids: Sequence[str], at: int) -> None:
    if open_ids:
        raise Refusal(
            f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately "
            f"after: {', '.join(open_ids)}. Each `tool_use` block must have a corresponding "
            "`tool_result` block in the next message."
        )


def _system_messages(body: Json) -> list[WireMessage]:
    system = body.get("system")
    if system is None:
        return []
    if isinstance(system, str):
        return [WireMessage(role="system", text=system)]
    blocks = [
        read.mapping(b, f"system.{at}") for at, b in enumerate(read.sequence(system, "system"))
    ]
    if any(not b.get("text") for b in blocks):
        raise Refusal("system: text content blocks must be non-empty")
    return [WireMessage(role="system", text="".join(str(b["text"]) for b in blocks))]


def _normal(role: Role, blocks: Sequence[Json]) -> list[WireMessage]:
    """One turn as messages: tool results first, then what else it says."""
    messages = [
        WireMessage(
            role="tool", text=_result_text(block), tool_call_id=str(block.get("tool_use_id"))
        )
        for block in blocks
        if block.get("type") == "tool_result"
    ]
    calls = tuple(
        WireToolCall(
            id=str(block["id"]), name=str(block["name"]), arguments=canonical(block["input"])
        )
        for block in blocks
        if block.get("type") == "tool_use"
    )
    text = "".join(str(block["text"]) for block in blocks if block.get("type") == "text")
    if text or calls or not messages:
        messages.append(WireMessage(role=role, text=text, tool_calls=calls))
    return messages


def _result_text(block: Json) -> str:
    content = block.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    parts = [read.mapping(part, "content") for part in read.sequence(content, "content")]
    return "".join(str(part.get("text", "")) for part in parts)
