"""`agentkit tools list|search|explain`: what there is, what fits, what an agent would offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentkit.cli import options
from agentkit.cli.screen import cell, console, emit, note, one_line, say
from agentkit.cli.settings import Flags, Settings, read_settings
from agentkit.errors import ConfigError, ExtraMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentkit.tools.provision.retrieval import Match
    from agentkit.tools.provision.together import Together
    from agentkit.tools.provision.toolbox import Toolbox

_MOST_TEXT_CHARS = 70
_LIMIT = 10

Limit = Annotated[
    int | None, typer.Option(min=1, max=100, help="How many tools at most. Default: 10.")
]
Budget = Annotated[
    int | None,
    typer.Option(
        "--tool-tokens", min=0, metavar="N", help="Tokens for definitions. Default: 4000."
    ),
]
Scope = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Whose earlier tasks count: those of its first part."),
]
Text = Annotated[str, typer.Argument(metavar="REQUEST", help="What a person would ask.")]


def list_tools(
    tools: options.Tools = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """List the tools with what their definitions take, as they are and compact."""
    toolbox, _ = _toolbox(
        Flags(config=config, trust_config=trust_config, tools=tools or ()), json=json
    )
    found = _facts(toolbox)
    if json:
        emit({"tools": found, "tokens": toolbox.whole_tokens})
        return 0
    _print(
        ("tool", "of", "effect", "tokens", "compact", "what it does"),
        [
            (
                str(each["name"]),
                str(each["group"]),
                str(each["side_effect"]),
                str(each["tokens"]),
                str(each["compact_tokens"] or "-"),
                one_line(str(each["description"]), most_chars=_MOST_TEXT_CHARS),
            )
            for each in found
        ],
    )
    say(f"{len(found)} tools, {toolbox.whole_tokens:,} tokens in every request if all are offered")
    return 0


def search(
    request: Text,
    limit: Limit = None,
    tools: options.Tools = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Show the tools that fit best, however little that is."""
    _require_text(request)
    toolbox, _ = _toolbox(
        Flags(config=config, trust_config=trust_config, tools=tools or ()), json=json
    )
    matches = _matches(toolbox, request, limit or _LIMIT, None)
    if json:
        emit([_match_facts(match) for match in matches])
    else:
        _print_matches(matches, ())
    return 0


def explain(
    request: Text,
    limit: Limit = None,
    tool_tokens: Budget = None,
    tools: options.Tools = None,
    scope: Scope = None,
    ledger: options.LedgerAddress = None,
    config: options.Config = None,
    trust_config: options.Trust = False,
    json: options.Json = False,
) -> int:
    """Show which tools a task with this request would be offered first, why, and at what price.

    What the ledger's earlier tasks used together counts, as it does for an agent.
    """
    from agentkit.tools.provision.toolbox import definition_tokens, fingerprint, name_of

    _require_text(request)
    flags = Flags(
        config=config, trust_config=trust_config, tools=tools or (), scope=scope, ledger=ledger
    )
    toolbox, settings = _toolbox(flags, json=json, limit=limit, tool_tokens=tool_tokens)
    together = None if toolbox.offers_all else _together(toolbox, settings)
    batch = None if toolbox.offers_all else toolbox.begin(request, together=together)
    schemas = toolbox.schemas([] if batch is None else [batch])
    names = list(map(name_of, schemas))
    tokens = sum(map(definition_tokens, schemas))
    shown = toolbox.provisioning.limit
    matches = _matches(toolbox, request, shown, together) if batch is not None else ()
    why = _verdict(toolbox, batch is not None and not batch["names"])
    past = 0 if together is None else together.tasks
    if json:
        emit(
            {
                "offers_all": batch is None,
                "why": why,
                "offered": names,
                "tokens": tokens,
                "tokens_of_all": toolbox.whole_tokens,
                "hash": fingerprint(schemas),
                "past_tasks": past,
                "matches": [_match_facts(match) for match in matches],
            }
        )
        return 0
    say(why)
    if matches:
        _print_matches(matches, names)
    if past:
        say(f"{past} earlier tasks say which tools are used together")
    say(
        f"offered: {len(schemas)} definitions, {tokens:,} of {toolbox.whole_tokens:,} tokens: "
        + ", ".join(names or ["none"])
    )
    return 0


def _toolbox(
    flags: Flags, *, json: bool, limit: int | None = None, tool_tokens: int | None = None
) -> tuple[Toolbox, Settings]:
    """The tools that the flags or the project file name."""
    from agentkit.cli.assembly import provisioning_of
    from agentkit.cli.tool_reference import load_tools
    from agentkit.cli.trust import require_trust
    from agentkit.tools.provision.toolbox import Toolbox

    settings = read_settings(flags)
    if not settings.tools:
        raise ConfigError(
            "no tools are named; add --tools module:name, or tools = [...] under [agent] in "
            "agentkit.toml"
        )
    require_trust(settings, flags, ask=not json)
    catalogue = load_tools(settings.tools, settings.tool_folder)
    provisioning = provisioning_of(settings, limit=limit, limit_tokens=tool_tokens)
    return Toolbox(catalogue, provisioning), settings


def _together(toolbox: Toolbox, settings: Settings) -> Together | None:
    """What earlier tasks used together; None where there is no ledger to say so."""
    from agentkit.cli.assembly import is_absent, open_ledger

    if not toolbox.provisioning.together or is_absent(settings):
        return None
    from agentkit.past_tools import tools_together

    with open_ledger(settings) as ledger:
        return tools_together(ledger, settings.scope)


def _verdict(toolbox: Toolbox, nothing: bool) -> str:
    tool_tokens = toolbox.provisioning.tokens_of_tier(0)
    if toolbox.offers_all:
        return (
            f"all are offered as they are: {toolbox.whole_tokens:,} tokens, and {tool_tokens:,} "
            "may be used"
        )
    if nothing:
        return "no tool is likely enough to fit, so only those that find others are offered"
    return (
        f"all take {toolbox.whole_tokens:,} tokens and {tool_tokens:,} may be used, so the request "
        "gets what it calls for"
    )


def _matches(
    toolbox: Toolbox, request: str, limit: int, together: Together | None
) -> tuple[Match, ...]:
    try:
        return toolbox.matches(request, limit=limit, together=together)
    except ModuleNotFoundError as error:
        raise ExtraMissing(what="searching tools", extra="retrieval") from error


def _facts(toolbox: Toolbox) -> list[dict[str, object]]:
    from agentkit.tools.provision.toolbox import definition_tokens

    compact = _compact_tokens(toolbox)
    return [
        {
            "name": spec.name,
            "group": spec.group,
            "description": spec.description,
            "side_effect": spec.side_effect,
            "tags": list(spec.tags),
            "tokens": definition_tokens(spec.openai_schema),
            "compact_tokens": compact.get(spec.name),
        }
        for spec in toolbox.catalogue
        if spec.name in compact or not compact
    ]


def _compact_tokens(toolbox: Toolbox) -> dict[str, int]:
    """By name; none without the extra `retrieval`."""
    try:
        return toolbox.compact_tokens()
    except ModuleNotFoundError:
        return {}


def _match_facts(match: Match) -> dict[str, object]:
    return {
        "name": match.name,
        "score": round(match.score, 3),
        "semantic": round(match.semantic, 3),
        "lexical": round(match.lexical, 3),
        "chance": None if match.chance is None else round(match.chance, 3),
        "shared_words": list(match.shared_words),
        "used_with": match.used_with or None,
    }


def _print_matches(matches: Sequence[Match], offered: Sequence[str]) -> None:
    if not matches:
        note("no tool was found")
        return
    rows = [
        (
            match.name,
            "yes" if match.name in offered else "",
            f"{match.score:.2f}",
            f"{match.semantic:.2f}",
            f"{match.lexical:.2f}",
            "-" if match.chance is None else f"{match.chance:.2f}",
            one_line(" ".join(match.shared_words), most_chars=_MOST_TEXT_CHARS),
            match.used_with,
        )
        for match in matches
    ]
    headings = ("tool", "offered", "score", "meaning", "words", "chance", "in common", "used with")
    _print(headings, rows)


def _print(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    console().print(table)


def _require_text(request: str) -> None:
    if not request.strip():
        raise ConfigError("the request is empty; say what is to be done")
