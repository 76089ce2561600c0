"""The cache for any LangChain model: `ChatOpenAI(..., cache=LangChainCache(cache, tenant="acme"))`.

LangChain hands over the serialized request, so only the very same one hits.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.messages import AIMessage, messages_from_dict, messages_to_dict
from langchain_core.outputs import ChatGeneration, Generation

from agentkit.memory.cache.admission import is_personal
from agentkit.memory.cache.entry import CacheRequest, digest
from agentkit.memory.cache.response_cache import ResponseCache
from agentkit.memory.cache.store import CacheError

_log = logging.getLogger("agentkit.memory")

_CUT = ("length", "max_tokens")


class LangChainCache(BaseCache):
    """Implements LangChain's BaseCache over a ResponseCache, for one tenant and maybe one user.

    Answers that were cut off, that call tools or, without `user`, that belong to personal requests
    are not kept. A store that fails costs the saving, not the call.
    """

    def __init__(self, cache: ResponseCache, *, tenant: str, user: str | None = None) -> None:
        self._cache = cache
        self._tenant = tenant
        self._user = user

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The kept generations of a request, or None."""
        try:
            hit = self._cache.look_up(self._request(prompt, llm_string))
        except CacheError as error:
            _log.warning("the cache is not asked, the model is: %s", error)
            return None
        return None if hit is None else _loaded(hit.answer)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep the generations of a request where that is safe."""
        if self._user is None and is_personal(_human_text(prompt)):
            return
        text = _dumped(return_val)
        if text is None:
            return
        try:
            self._cache.keep(self._request(prompt, llm_string), text, cost_nusd=0)
        except CacheError as error:
            _log.warning("an answer could not be kept: %s", error)

    def clear(self, **kwargs: Any) -> None:
        """Forget the tenant's answers, those of agents included."""
        self._cache.forget(tenant=self._tenant)

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """As `lookup`, off the event loop."""
        return await asyncio.to_thread(self.lookup, prompt, llm_string)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """As `update`, off the event loop."""
        await asyncio.to_thread(self.update, prompt, llm_string, return_val)

    async def aclear(self, **kwargs: Any) -> None:
        """As `clear`, off the event loop."""
        await asyncio.to_thread(self.clear)

    def _request(self, prompt: str, llm_string: str) -> CacheRequest:
        return CacheRequest(
            tenant=self._tenant,
            user=self._user,
            family=digest(llm_string),
            exact=digest("langchain", prompt),
        )


def _dumped(generations: Sequence[Generation]) -> str | None:
    """The generations as JSON; None where one must not be kept."""
    rows: list[dict[str, Any]] = []
    for generation in generations:
        info = generation.generation_info or {}
        if info.get("finish_reason") in _CUT or not generation.text.strip():
            return None
        if isinstance(generation, ChatGeneration):
            message = generation.message
            told = {**info, **message.response_metadata}
            if not isinstance(message, AIMessage) or message.tool_calls:
                return None
            if told.get("finish_reason") in _CUT or told.get("stop_reason") in _CUT:
                return None
            rows.append({"message": messages_to_dict([message])[0]})
        else:
            rows.append({"text": generation.text})
    return json.dumps(rows)


def _loaded(text: str) -> list[Generation] | None:
    """The generations, or None where the entry is not one of ours. Nothing but messages is made."""
    try:
        rows = cast("list[Mapping[str, Any]]", json.loads(text))
        return [_generation(row) for row in rows] or None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _generation(row: Mapping[str, Any]) -> Generation:
    if "text" in row:
        return Generation(text=str(row["text"]))
    message = messages_from_dict([dict(row["message"])])[0]
    if not isinstance(message, AIMessage):
        raise TypeError("not an answer")
    return ChatGeneration(message=message.model_copy(update={"usage_metadata": None}))


def _human_text(prompt: str) -> str:
    """The persons' words in a serialized prompt; all of it where it is not a list of messages."""
    try:
        rows = json.loads(prompt)
    except ValueError:
        return prompt
    if not isinstance(rows, list):
        return prompt
    asked: list[str] = []
    for row in cast("list[dict[str, Any]]", rows):
        kwargs: dict[str, Any] = row.get("kwargs") or {}
        if kwargs.get("type") == "human":
            asked.append(str(kwargs.get("content", "")))
    return "\n".join(asked)
