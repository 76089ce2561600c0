"""Scripted providers on loopback that speak the OpenAI and the Anthropic wire protocol."""

from tests.wire.batch_rules import BatchRules
from tests.wire.bill import Bill, BilledRequest, Total, WireUsage
from tests.wire.fault import EVERY_KIND, QUICK_KINDS, UNBILLED_KINDS, Fault, FaultKind, Faults
from tests.wire.model import DEFAULT_MODELS, WireModel
from tests.wire.script import (
    Reply,
    Script,
    WireMessage,
    WireRequest,
    WireTool,
    WireToolCall,
    always_tool,
    answer,
    echo,
    steps,
)
from tests.wire.server import RawRequest, ScriptedProvider
from tests.wire.tokens import quarter_count

__all__ = [
    "DEFAULT_MODELS",
    "EVERY_KIND",
    "QUICK_KINDS",
    "UNBILLED_KINDS",
    "BatchRules",
    "Bill",
    "BilledRequest",
    "Fault",
    "FaultKind",
    "Faults",
    "RawRequest",
    "Reply",
    "Script",
    "ScriptedProvider",
    "Total",
    "WireMessage",
    "WireModel",
    "WireRequest",
    "WireTool",
    "WireToolCall",
    "WireUsage",
    "always_tool",
    "answer",
    "echo",
    "quarter_count",
    "steps",
]
