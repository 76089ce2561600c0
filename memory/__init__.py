"""What is sent of a transcript: it fits, it is valid for every provider, and its cache stays warm.

>>> from langchain_core.messages import AIMessage, HumanMessage
>>> engine = engine_for("claude-sonnet-4-5", "anthropic")
>>> [message.content for message in engine.plan([HumanMessage("hi"), AIMessage("")]).messages]
['hi']
"""

from agentkit.memory.allocation import Allocation, AllotmentExceeded, WindowTooSmall
from agentkit.memory.breakpoints import Breakpoint, Place, Placement, moving_breakpoints
from agentkit.memory.cache_rules import CacheRules, cache_rules
from agentkit.memory.context import Condensed, Context, ContextPlan, LeftOut, Rewrite
from agentkit.memory.engine import ContextEngine, Moment, engine_for
from agentkit.memory.hook import ContextHook, WriteSummary
from agentkit.memory.misses import Miss
from agentkit.memory.request import Frame
from agentkit.memory.rewriting import (
    CallsLeft,
    LearnedCallsLeft,
    RewriteCase,
    RewriteRule,
    Savings,
    as_many_again,
    never,
    pays_without_risk,
)
from agentkit.memory.summary import Summary
from agentkit.memory.tokens import MessageCounter

__all__ = [
    "Allocation",
    "AllotmentExceeded",
    "Breakpoint",
    "CacheRules",
    "CallsLeft",
    "Condensed",
    "Context",
    "ContextEngine",
    "ContextHook",
    "ContextPlan",
    "Frame",
    "LearnedCallsLeft",
    "LeftOut",
    "MessageCounter",
    "Miss",
    "Moment",
    "Place",
    "Placement",
    "Rewrite",
    "RewriteCase",
    "RewriteRule",
    "Savings",
    "Summary",
    "WindowTooSmall",
    "WriteSummary",
    "as_many_again",
    "cache_rules",
    "engine_for",
    "moving_breakpoints",
    "never",
    "pays_without_risk",
]
