"""What of one step's calls may run: the user's permissions, and what a person said to each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentkit.tools.arguments import Arguments, parse_arguments
from agentkit.tools.permissions import Permissions

if TYPE_CHECKING:
    from agentkit.tools.call import Call
    from agentkit.tools.catalogue import ToolCatalogue, ToolSpec

_NOBODY_ASKED = "it needs a person's consent, and nobody could be asked"


@dataclass(frozen=True, kw_only=True)
class AskedCall:
    """A call that waits for a person; `arguments` are those that it would run with.

    No two of a step have one `call_id`, whatever the model sent: an approval means one call.
    """

    index: int
    call_id: str
    spec: ToolSpec
    arguments: Arguments


@dataclass(frozen=True, kw_only=True)
class Consent:
    """`approved` and `refused` are the places of calls in the step; refused ones have a reason."""

    permissions: Permissions
    approved: frozenset[int] = frozenset()
    refused: Mapping[int, str] = field(default_factory=dict[int, str])

    def refusal(self, spec: ToolSpec, index: int) -> str:
        """What the model is told where the call may not run; empty where it may."""
        match self.permissions.of(spec):
            case "allow":
                return ""
            case "ask":
                if index in self.approved:
                    return ""
                reason = self.refused.get(index, _NOBODY_ASKED)
            case "deny":
                reason = f"no permission for it was granted (it is a {spec.side_effect!r} tool)"
        return (
            f"{spec.name} was not run: {reason}. Do not try it again; go on without it, or say "
            "what is missing"
        )


def calls_to_ask(
    calls: Sequence[Call], catalogue: ToolCatalogue, permissions: Permissions
) -> list[AskedCall]:
    """The calls of a step that would run if a person agreed: those that are valid."""
    asked: list[AskedCall] = []
    ids = [call["id"] for call in calls]
    for index, call in enumerate(calls):
        spec = catalogue.get(call["name"] or "")
        if spec is None or permissions.of(spec) != "ask":
            continue
        parsed = parse_arguments(call["args"])
        if isinstance(parsed, str):
            continue
        offered = {k: v for k, v in parsed.items() if k not in spec.injected.names}
        checked = spec.arguments.check(offered)
        if not checked.problems:
            call_id = call["id"] or f"call_{index}"
            if ids.count(call["id"]) > 1:
                call_id = f"{call_id}#{index}"
            asked.append(
                AskedCall(index=index, call_id=call_id, spec=spec, arguments=checked.arguments)
            )
    return asked
