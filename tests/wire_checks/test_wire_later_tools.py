"""Tools in the middle of a conversation: what is refused, what is billed and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.wire import DEFAULT_MODELS, ScriptedProvider, echo
from tests.wire_checks.test_wire_refusals import RESULT, TOOL, USE, USER, Body, message, post

CHANGING = tuple(replace(model, changes_tools=True) for model in DEFAULT_MODELS)
LONG: Body = {
    "name": "send",
    "description": "Sends. " * 200,
    "input_schema": {"type": "object"},
    "defer_loading": True,
}
REFERENCE: Body = {"type": "tool_reference", "tool_name": "send"}
DEFINED: Body = {"type": "tool_definition", "definition": {**LONG, "defer_loading": False}}
ADDITION: Body = {"role": "system", "content": [{"type": "tool_addition", "tool": DEFINED}]}


def referring(*content: Body) -> Body:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": list(content)}
    return {"role": "user", "content": [result]}


def billed(body: Body) -> int:
    """Input tokens of a request that is taken."""
    with ScriptedProvider(echo, models=CHANGING) as provider:
        response = post(provider, "messages", body)
        assert response.status_code == 200, response.text
        return int(response.json()["usage"]["input_tokens"])


def test_a_deferred_definition_is_billed_where_it_is_loaded_only() -> None:
    bare = billed(message(messages=[USER, USE, RESULT], tools=[TOOL]))
    assert billed(message(messages=[USER, USE, RESULT], tools=[TOOL, LONG])) == bare
    loaded = billed(message(messages=[USER, USE, referring(REFERENCE)], tools=[TOOL, LONG]))
    assert loaded > bare + 300
    added = billed(message(messages=[USER, USE, RESULT, ADDITION], tools=[TOOL]))
    assert added > bare + 300


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (message(tools=[LONG]), "At least one tool"),
        (message(tools=[TOOL, {**LONG, "cache_control": {"type": "ephemeral"}}]), "cache_control"),
        (message(messages=[USER, USE, referring(REFERENCE)], tools=[TOOL]), "not found"),
        (
            message(
                messages=[USER, USE, referring(REFERENCE, {"type": "text", "text": "x"})],
                tools=[TOOL, LONG],
            ),
            "beside other content",
        ),
        (message(messages=[ADDITION, USER], tools=[TOOL]), "must follow a user turn"),
        (message(messages=[USER, ADDITION, USER], tools=[TOOL]), "must follow a user turn"),
    ],
    ids=["all deferred", "cached", "unknown", "mixed", "first", "before a user"],
)
def test_what_is_no_valid_change_is_refused(body: Body, said: str) -> None:
    with ScriptedProvider(echo, models=CHANGING) as provider:
        response = post(provider, "messages", body)
        assert response.status_code == 400
        assert said in response.json()["error"]["message"]


def test_a_model_that_changes_no_tools_takes_no_system_message() -> None:
    with ScriptedProvider(echo) as provider:
        body = message(messages=[USER, ADDITION], tools=[TOOL])
        assert post(provider, "messages", body).status_code == 400
