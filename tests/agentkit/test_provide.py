"""What an agent of many tools offers at each step, and how tools come later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import StructuredTool

from agentkit import Agent
from agentkit.errors import ConfigError
from agentkit.tools import InvalidTool, ToolSpec
from agentkit.tools.provision import Provisioning
from tests.scripted import ScriptedModel, call, in_turn

SUBJECTS = (
    "weather forecast",
    "train timetable",
    "currency exchange rate",
    "dinner recipe",
    "football score",
    "translation",
    "calendar appointment",
    "customer invoice",
    "parcel delivery",
    "music playlist",
)
VERBS = ("find", "create", "delete", "update", "export", "share")


def many_tools() -> list[ToolSpec]:
    """Sixty tools: every verb with every subject."""

    def tool(verb: str, subject: str) -> ToolSpec:
        def run(**arguments: Any) -> str:
            return f"{verb} {subject}: {arguments['item']}"

        schema = {
            "type": "object",
            "properties": {
                "item": {"type": "string", "description": f"The {subject} to {verb}."},
                "count": {"type": "integer", "description": "How many at most, 1 to 50."},
            },
            "required": ["item"],
        }
        return ToolSpec.of(
            StructuredTool(
                name=f"{verb}_{subject.replace(' ', '_')}",
                description=f"{verb.capitalize()} a {subject}.",
                args_schema=schema,
                func=run,
            )
        )

    return [tool(verb, subject) for verb in VERBS for subject in SUBJECTS]


def offered(model: ScriptedModel) -> list[list[str]]:
    """The names of the definitions sent, call by call."""
    return [
        [tool["function"]["name"] for tool in kwargs.get("tools", [])]
        for kwargs in model.kwargs_seen
    ]


def agent_of(model: ScriptedModel, **kwargs: Any) -> Agent:
    provisioning = kwargs.pop("provisioning", Provisioning(limit_tokens=800))
    return Agent([model], many_tools(), provisioning=provisioning, **kwargs)


def test_few_tools_are_all_offered_as_they_are() -> None:
    model = ScriptedModel(script=in_turn("done"))
    Agent([model], many_tools()[:5]).run("what will the weather be?")
    assert [tool["function"]["name"] for tool in model.kwargs_seen[0]["tools"]] == [
        tool.name for tool in many_tools()[:5]
    ]
    assert model.kwargs_seen[0]["tools"][0] == many_tools()[0].openai_schema


def test_of_many_tools_the_request_gets_those_it_calls_for() -> None:
    model = ScriptedModel(script=in_turn("done"))
    agent_of(model).run("find the weather forecast for Oslo")
    (names,) = offered(model)
    assert names[:2] == ["find_tools", "call_tool"]
    assert "find_weather_forecast" in names
    assert len(names) <= 12


def test_the_definitions_stay_the_same_over_the_steps_of_a_task() -> None:
    model = ScriptedModel(
        script=in_turn(
            call("find_weather_forecast", item="Oslo"),
            AIMessage(
                "Now I need the currency exchange rate.",
                tool_calls=[{"name": "find_tools", "args": {"need": "rate"}, "id": "a"}],
            ),
            "done",
        )
    )
    agent_of(model, provisioning=Provisioning(limit_tokens=800, later="transcript")).run(
        "find the weather forecast for Oslo"
    )
    first, *rest = [kwargs["tools"] for kwargs in model.kwargs_seen]
    assert len(rest) == 2
    assert all(tools == first for tools in rest)


def test_what_the_model_says_it_needs_is_described_in_the_transcript_and_can_be_called() -> None:
    says = AIMessage(
        "Then I need the football score.",
        tool_calls=[{"name": "find_weather_forecast", "args": {"item": "Oslo"}, "id": "a"}],
    )
    through = call("call_tool", name="find_football_score", arguments={"item": "Brann"})
    model = ScriptedModel(script=in_turn(says, through, "done"))
    result = agent_of(model, provisioning=Provisioning(limit_tokens=800, later="transcript")).run(
        "find the weather forecast for Oslo"
    )
    assert "find_football_score" not in offered(model)[0]
    note = model.seen[1][-1]
    assert note.type == "human"
    assert "find_football_score" in note.text
    assert model.seen[2][-1].text == "find football score: Brann"
    assert [record.tools_called for record in result.records] == [
        ("find_weather_forecast",),
        ("find_football_score",),
        (),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "find_football_score", "arguments": {"item": "Brann"}},
        {"name": "find_football_score", "arguments": '{"item": "Brann"}'},
        {"name": "find_football_score", "item": "Brann"},
    ],
    ids=["object", "text", "flat"],
)
def test_a_dispatched_call_takes_its_arguments_in_any_clear_form(arguments: dict[str, Any]) -> None:
    model = ScriptedModel(script=in_turn(call("call_tool", **arguments), "done"))
    agent_of(model).run("find the weather forecast for Oslo")
    assert model.seen[1][-1].text == "find football score: Brann"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "find_football_score", "arguments": {}}, "item"),
        ({"name": "find_football_score", "arguments": "{"}, "find_football_score"),
        ({"name": "find_football_sore", "arguments": {}}, "find_football_score"),
        ({"name": "call_tool", "arguments": {"name": "x"}}, "call_tool"),
        ({"arguments": {"item": "Brann"}}, "name"),
    ],
    ids=["missing argument", "broken JSON", "unknown tool", "itself", "no name"],
)
def test_a_dispatched_call_is_checked_against_the_real_schema(
    arguments: dict[str, Any], told: str
) -> None:
    model = ScriptedModel(script=in_turn(call("call_tool", **arguments), "done"))
    agent_of(model).run("find the weather forecast for Oslo")
    (observation,) = [message for message in model.seen[1] if isinstance(message, ToolMessage)]
    assert observation.status == "error"
    assert told in observation.text


def test_find_tools_describes_tools_that_call_tool_takes() -> None:
    model = ScriptedModel(script=in_turn(call("find_tools", need="share a playlist"), "done"))
    agent_of(model).run("find the weather forecast for Oslo")
    assert '"name":"share_music_playlist"' in model.seen[1][-1].text


def test_the_offer_outlives_a_checkpoint(tmp_path: Path) -> None:
    """A thread's second task adds to what the first was offered, and changes nothing before it."""
    place = f"sqlite:///{tmp_path / 'checkpoints.db'}"
    first = ScriptedModel(script=in_turn("done"))
    agent_of(first, checkpoint=place).run("find the weather forecast for Oslo", thread_id="t")
    second = ScriptedModel(script=in_turn("done"))
    agent_of(
        second,
        checkpoint=place,
        provisioning=Provisioning(limit_tokens=800, later="transcript"),
    ).run("share a music playlist", thread_id="t")
    assert second.kwargs_seen[0]["tools"] == first.kwargs_seen[0]["tools"]
    assert "share_music_playlist" in second.seen[0][-1].text
    assert second.seen[0][-2].text == "share a music playlist"


def test_tools_in_a_checkpoint_that_are_no_more_are_left_out() -> None:
    agent = agent_of(ScriptedModel(script=in_turn("done")))
    made = agent.toolbox.schemas([{"names": ["gone", "find_translation"], "place": "definitions"}])
    names = [schema["function"]["name"] for schema in made]  # type: ignore[index]
    assert names == ["find_tools", "call_tool", "find_translation"]


def test_each_tier_keeps_to_its_own_tokens() -> None:
    agent = agent_of(
        ScriptedModel(script=in_turn("done")),
        provisioning=Provisioning(limit_tokens=(900, 300), later="never"),
    )
    batch = agent.toolbox.begin("find, create and share the weather forecast for Oslo")
    cheap, dear = (agent.toolbox.schemas([batch], tier=tier) for tier in (0, 1))
    assert 0 < len(dear) < len(cheap)
    best = batch["names"][0]
    assert best in [schema["function"]["name"] for schema in dear]  # type: ignore[index]
    again = agent.toolbox.schemas([batch], tier=1)
    assert again is dear


def test_a_request_that_no_tool_fits_gets_the_core_alone() -> None:
    model = ScriptedModel(script=in_turn("done"))
    agent_of(
        model,
        provisioning=Provisioning(limit_tokens=800, later="never", core=["find_translation"]),
    ).run("why is the sky blue?")
    assert offered(model) == [["find_translation"]]


def test_a_core_that_the_catalogue_has_not_is_refused() -> None:
    with pytest.raises(InvalidTool, match="sing_a_song"):
        agent_of(
            ScriptedModel(script=in_turn("x")), provisioning=Provisioning(core=["sing_a_song"])
        )


def test_a_catalogue_may_use_the_names_of_the_dispatcher() -> None:
    taken = ToolSpec.of(many_tools()[0], name="find_tools")
    model = ScriptedModel(script=in_turn("done"))
    agent = Agent([model], [*many_tools(), taken], provisioning=Provisioning(limit_tokens=800))
    agent.run("find the weather forecast for Oslo")
    assert offered(model)[0][:2] == ["find_tools_", "call_tool"]


def test_only_requests_of_people_count_as_requests() -> None:
    from agentkit.state import is_request, note_of

    assert not is_request(note_of("more tools"))
    with pytest.raises(ConfigError):
        from agentkit.nodes.prepare import begin

        begin({"messages": [note_of("more tools")]})
