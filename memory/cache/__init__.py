"""Answers kept for the same request, and for the same question in other words."""

from agentkit.memory.cache.admission import is_personal, refusal
from agentkit.memory.cache.entry import CacheEntry, CacheHit, CacheRequest, request_digest
from agentkit.memory.cache.langchain import LangChainCache
from agentkit.memory.cache.response_cache import CachePolicy, Claim, ResponseCache
from agentkit.memory.cache.store import CacheError, CacheStore
from agentkit.memory.cache.threshold import Outcome, threshold_for

__all__ = [
    "CacheEntry",
    "CacheError",
    "CacheHit",
    "CachePolicy",
    "CacheRequest",
    "CacheStore",
    "Claim",
    "LangChainCache",
    "Outcome",
    "ResponseCache",
    "is_personal",
    "refusal",
    "request_digest",
    "threshold_for",
]
