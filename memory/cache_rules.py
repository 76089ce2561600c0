"""How providers cache prompts, as dated data: what a prefix costs to write, to read and to lose.

Collected November 2026 from the providers' documentation. Prices are not here: they come from the
price book. Where sources disagree, the larger minimum length stands, so that no saving is expected
that may not come; what is reported afterwards tells the truth (`agentkit.memory.misses`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Ttl = Literal["5m", "1h"]
TTL_SECONDS: dict[Ttl, float] = {"5m": 300.0, "1h": 3600.0}
Mark = Literal["cache_control", "prompt_cache_breakpoint"]
"""What a breakpoint is called in a content block: by Anthropic, by OpenAI from GPT-5.6 on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheRules:
    """One model's prompt cache.

    `how`: `breakpoints` are set in the request, `automatic` needs nothing, `prefill` is a local
    model that keeps what it has computed, `none` caches nothing. A prefix under `least_tokens` is
    silently not cached, and read in steps of `step_tokens`. An unused entry dies after
    `ttl_seconds`, or after the one of `lifetimes` that was asked for.
    """

    how: Literal["breakpoints", "automatic", "prefill", "none"]
    least_tokens: int = 0
    step_tokens: int = 1
    ttl_seconds: float = 300.0
    most_breakpoints: int = 0
    lifetimes: tuple[Ttl, ...] = ()
    takes_key: bool = False
    mark: Mark = "cache_control"
    source: str = ""


_ANTHROPIC = "https://docs.claude.com/en/docs/build-with-claude/prompt-caching"
_OPENAI = "https://platform.openai.com/docs/guides/prompt-caching"

_NONE = CacheRules(how="none")
_LOCAL = CacheRules(how="prefill", ttl_seconds=float("inf"), source="llama.cpp: KV prefix kept")


def _anthropic(least_tokens: int) -> CacheRules:
    return CacheRules(
        how="breakpoints",
        least_tokens=least_tokens,
        most_breakpoints=4,
        lifetimes=("5m", "1h"),
        source=_ANTHROPIC,
    )


_OPENAI_AUTOMATIC = CacheRules(
    how="automatic", least_tokens=1024, step_tokens=128, takes_key=True, source=_OPENAI
)
_OPENAI_MARKED = CacheRules(
    how="breakpoints",
    least_tokens=1024,
    ttl_seconds=1800.0,
    most_breakpoints=4,
    takes_key=True,
    mark="prompt_cache_breakpoint",
    source=_OPENAI,
)
_ROWS: tuple[tuple[str, re.Pattern[str], CacheRules], ...] = (
    ("anthropic", re.compile(r"claude-(?:opus-4-[56]|haiku-4-5)"), _anthropic(4096)),
    ("anthropic", re.compile(r"claude-(?:opus-4-[7-9]|3-5-haiku|haiku-3-5)"), _anthropic(2048)),
    (
        "anthropic",
        re.compile(r"claude-(?:sonnet-4|3-7-sonnet|opus-4(?:-[01])?(?:-\d{8})?$)"),
        _anthropic(1024),
    ),
    ("anthropic", re.compile(r"claude-"), _anthropic(4096)),
    ("openai", re.compile(r"(?:ft:)?gpt-(?:5\.(?:[6-9]|\d\d)|[6-9])"), _OPENAI_MARKED),
    ("openai", re.compile(r"(?:ft:)?(?:gpt-4o|gpt-4\.1|gpt-[5-9]|o[134])"), _OPENAI_AUTOMATIC),
    ("local", re.compile(r""), _LOCAL),
    ("llama.cpp", re.compile(r""), _LOCAL),
)


def cache_rules(model: str, provider: str) -> CacheRules:
    """The rules for `model` of `provider`, as the price book names them; none for a stranger."""
    for maker, pattern, rules in _ROWS:
        if maker == provider and pattern.match(model):
            return rules
    return _NONE
