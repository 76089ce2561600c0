"""What the cache keeps of an answer, and what it takes to look one up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

HitKind = Literal["exact", "meaning"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheRequest:
    """A question with everything that its answer depends on.

    Answers never cross `tenant`, nor `user` where one is given, `family` (the model family), the
    digests of the system prompt and of the tools, or any of `metadata` (product, segment, date,
    locale, …). `text` is what may be compared by meaning: None where only the very same request may
    be answered, as in the middle of a conversation. `exact` is the digest of the whole request.
    """

    tenant: str
    exact: str
    text: str | None = None
    user: str | None = None
    family: str = ""
    system: str = ""
    tools: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def partition(self) -> str:
        """The digest of what must be the same for one answer to serve another request."""
        return name_in(
            self.tenant,
            self.user,
            self.family,
            self.system,
            self.tools,
            sorted(self.metadata.items()),
        )

    @property
    def key(self) -> str:
        """The digest of the request within its partition."""
        return name_in(self.tenant, self.partition, self.exact)


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheEntry:
    """A kept answer. Times are seconds since 1970, `cost_nusd` what the answer cost.

    `vector` is the embedding of the question, float32 in bytes, empty where only the same request
    may hit. `tags` and `sources` are names by which it can be invalidated.
    """

    entry_id: str
    key: str
    tenant: str
    partition: str
    question: str
    answer: str
    kept_at: float
    expires_at: float
    vector: bytes = b""
    cost_nusd: int = 0
    saved_nusd: int = 0
    hits: int = 0
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    seq: int = 0

    @property
    def size_bytes(self) -> int:
        """What the entry takes of the cache's limit."""
        return len(self.question.encode()) + len(self.answer.encode()) + len(self.vector) + 256

    @property
    def answer_digest(self) -> str:
        """Tells one answer from another."""
        return digest(self.answer)


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheHit:
    """An answer from the cache.

    `score` is 1.0 for the same request; by meaning it is the likeness of the two questions. `stale`
    says that the answer is past its time and should be made anew behind the user's back. `hit_id`
    is what `wrong` takes.
    """

    hit_id: str
    entry_id: str
    answer: str
    kind: HitKind
    score: float
    saved_nusd: int
    age_seconds: float
    stale: bool = False


def name_in(tenant: str, *parts: object) -> str:
    """A name for `parts` that begins with its tenant's digest, so that a store finds its place."""
    return f"{tenant_of(tenant, named=True)}:{digest(*parts)}"


def tenant_of(name: str, *, named: bool = False) -> str:
    """The digest of the tenant of a key, partition, entry or hit, or of a `named` one."""
    return digest(name)[:12] if named else name.partition(":")[0]


def digest(*parts: object) -> str:
    """A name for `parts`, the same in every process."""
    text = json.dumps(parts, ensure_ascii=False, default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def request_digest(
    messages: Sequence[BaseMessage],
    *,
    model: str = "",
    parameters: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The digest of a canonical request: model, parameters, tools, messages without their ids."""
    return digest(model, dict(parameters or {}), list(tools), [_canonical(m) for m in messages])


def _canonical(message: BaseMessage) -> list[object]:
    parts: list[object] = [message.type, message.content, message.name]
    if isinstance(message, AIMessage):
        parts.append([(call["name"], call["args"]) for call in message.tool_calls])
    if isinstance(message, ToolMessage):
        parts.append(message.status)
    return parts
