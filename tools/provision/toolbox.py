"""What the tasks of an agent are offered: all tools where they are few, else what each step needs.

What was offered is kept by the caller, in its checkpoints, as batches: each is described at the
place where it came, and no later one changes what an earlier one looks like.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from langchain_core.messages import BaseMessage, ToolMessage
from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from agentkit.budgets.tokens import count_text
from agentkit.tools.errors import InvalidTool
from agentkit.tools.provision.dispatch import AnyCall, Dispatcher, found_in, note
from agentkit.tools.provision.native import Shown, Way, natively
from agentkit.tools.provision.placing import Place

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from agentkit.tools.catalogue import Schema, ToolCatalogue, ToolSpec
    from agentkit.tools.provision.compaction import CompactTool
    from agentkit.tools.provision.embedding import Embedder
    from agentkit.tools.provision.offer import Provisioner
    from agentkit.tools.provision.retrieval import Match
    from agentkit.tools.provision.signals import Calibration
    from agentkit.tools.provision.together import Together

Later = Literal["auto", "definitions", "deferred", "transcript", "never"]

_MOST_IN_A_REQUEST = 128  # OpenAI's limit on tools
_LATER_LIMITS = (5, 2)
_FOUND_LIMIT = 5
_REMEMBERED = 256
_WINDOW_SHARE = 0.25
_WRAPPING_TOKENS = 12
_NEEDS = ("numpy", "bm25s", "snowballstemmer")

_log = logging.getLogger(__name__)


class Batch(TypedDict):
    """Tools that came together, best first, and where they are described."""

    names: list[str]
    place: Place


@dataclass(frozen=True, kw_only=True)
class Provisioning:
    """How an agent offers its tools.

    Where the definitions of all tools take at most `limit_tokens` (one number, or one a tier; o200k
    tokens), all are offered as they are. Else `core` is, then up to `limit` tools that the request
    calls for, then what later steps do. `later` says where those are described: "auto" takes what
    costs less, "deferred" the end of the transcript, in the provider's own way where it has one,
    "transcript" the same in words, "never" leaves them and the two tools of the dispatcher out.
    Without `embedding` the shipped one is used; with another one nothing is ever held back, unless
    it comes with a `calibration` of its own. With `together` an agent's earlier tasks count: tools
    that they used together raise each other.
    """

    core: Sequence[str] = ()
    limit: int = 10
    limit_tokens: int | Sequence[int] = 4_000
    later: Later = "auto"
    embedding: Embedder | Embeddings | None = None
    calibration: Calibration | Literal["fitted"] | None = "fitted"
    together: bool = True
    cache_folder: Path | None = None

    def tokens_of_tier(self, index: int) -> int:
        """The budget of the tier at a place; the last number given stands for those after it."""
        if isinstance(self.limit_tokens, int):
            return self.limit_tokens
        return self.limit_tokens[min(index, len(self.limit_tokens) - 1)]


class Toolbox:
    """The tools of an agent, and what a step is offered of them; holds nothing of a task."""

    def __init__(
        self,
        catalogue: ToolCatalogue,
        provisioning: Provisioning | None = None,
        *,
        withheld: Collection[str] = (),
        recall: ToolSpec | None = None,
        allotted_tokens: int | None = None,
    ) -> None:
        """`withheld` names tools that are known but never offered or found; `recall` can be called
        at any time, and is offered where a step says so. `allotted_tokens` bound the definitions of
        every step, with those of our own tools, but for the core.

        Raises InvalidTool where the core names a tool that cannot be offered.
        """
        from agentkit.tools.catalogue import ToolCatalogue

        self.provisioning = provisioning or Provisioning()
        self._recall = recall
        self.catalogue = catalogue if recall is None else ToolCatalogue([*catalogue, recall])
        if withheld:
            catalogue = ToolCatalogue(spec for spec in catalogue if spec.name not in withheld)
        self._require_known(catalogue)
        self._lock = threading.Lock()
        self._made: OrderedDict[object, tuple[Schema, ...]] = OrderedDict()
        self._provisioner: Provisioner | None = None
        self._real = catalogue
        self._whole = catalogue.openai_schemas()
        self.whole_tokens = sum(map(definition_tokens, self._whole))
        self._allotted = allotted_tokens
        self._allot([] if recall is None else [recall])
        self.offers_all = self._fits() or not _can_search(len(catalogue))
        self._dispatcher = (
            None
            if self.offers_all or self.provisioning.later in ("never", "definitions")
            else Dispatcher.beside(self.catalogue, self._found)
        )
        if self._dispatcher is not None:
            own = (self._dispatcher.find, self._dispatcher.call)
            self.catalogue = ToolCatalogue([*self.catalogue, *own])
            self._allot(own)

    @property
    def can_call_later(self) -> bool:
        """Whether tools described in the transcript can be called."""
        return self._dispatcher is not None

    def begin(
        self, request: str, *, used: Sequence[str] = (), together: Together | None = None
    ) -> Batch:
        """The first batch of a task; `used` are tools that its transcript already calls."""
        standing = [*self.provisioning.core, *(name for name in used if name in self._real)]
        offer = self._ready().offer(request, already=standing, together=together)
        names = [*standing, *(match.name for match in offer.added)]
        return {"names": list(dict.fromkeys(names)), "place": "definitions"}

    def matches(
        self, request: str, *, limit: int, floor: bool = False, together: Together | None = None
    ) -> tuple[Match, ...]:
        """The tools that fit a request best, best first, with why; `floor` holds weak ones back."""
        return self._ready().matches(request, limit=limit, floor=floor, together=together)

    def compact_tokens(self) -> dict[str, int]:
        """What each tool's compact definition takes, by name."""
        ready = self._ready()
        return {name: ready.tokens_of(name) for name in self._real.names}

    def later(
        self, offered: Sequence[Batch], needs: Sequence[str], *, together: Together | None = None
    ) -> list[str]:
        """Tools that a step calls for beyond those offered, best first; few, and often none.

        The first of the `needs` brings the most.
        """
        known = dict.fromkeys(name for batch in offered for name in batch["names"])
        found: list[str] = []
        if self.provisioning.later == "never":
            return found
        for need, limit in zip(needs, _LATER_LIMITS, strict=False):
            if need.strip():
                most = limit + len(known) + len(found)
                matches = self._ready().matches(need, limit=most, together=together)
                new = (match.name for match in matches if match.name not in known)
                found += [name for name in new if name not in found][:limit]
        return found

    def found(self, results: Iterable[BaseMessage]) -> list[str]:
        """The tools that a step's own search found, best first."""
        if self._dispatcher is None:
            return []
        name = self._dispatcher.find.name
        texts = [
            message.text
            for message in results
            if isinstance(message, ToolMessage)
            if message.name == name and message.status != "error"
        ]
        found = dict.fromkeys(each for text in texts for each in found_in(text))
        return [each for each in found if each in self._real]

    def shown(
        self,
        messages: Sequence[BaseMessage],
        way: Way,
        defined: Sequence[Schema],
        is_note: Callable[[BaseMessage], bool],
    ) -> Shown:
        """`messages` with later tools said in a model's own way; `defined` are sent in front."""
        if self._dispatcher is None or self.provisioning.later == "transcript":
            return Shown(messages=list(messages))
        names = list(map(name_of, defined))
        find = self._dispatcher.find.name
        return natively(messages, way, find=find, defined=names, is_note=is_note)

    def note(self, names: Sequence[str]) -> str:
        """What the transcript says of tools that come later."""
        return note(self._compact(names))

    def schemas(
        self,
        offered: Sequence[Batch],
        *,
        tier: int = 0,
        window_tokens: int | None = None,
        is_local: bool = False,
        recalls: bool = False,
    ) -> tuple[Schema, ...]:
        """The definitions for one tier, in the order sent; equal offers give the same object.

        Each batch fills what is left of the tier's tokens, best tools first, and stands in the
        catalogue's order. A local model gets what the transcript describes as definitions too.
        """
        if self.offers_all:
            return self._with_recall(("whole",), self._whole) if recalls else self._whole
        limit = self.provisioning.tokens_of_tier(tier)
        if window_tokens is not None:
            limit = min(limit, int(window_tokens * _WINDOW_SHARE))
        batches = tuple(
            tuple(batch["names"])
            for batch in offered
            if is_local or batch["place"] == "definitions"
        )
        key = (batches, limit)
        made = self._remembered(key, lambda: self._schemas(batches, limit))
        return self._with_recall(key, made) if recalls else made

    def _with_recall(self, key: object, schemas: tuple[Schema, ...]) -> tuple[Schema, ...]:
        recall = self._recall
        if recall is None:
            return schemas
        return self._remembered((key, recall.name), lambda: (*schemas, recall.openai_schema))

    def _remembered(
        self, key: object, make: Callable[[], tuple[Schema, ...]]
    ) -> tuple[Schema, ...]:
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        with self._lock:
            made = self._made.setdefault(key, made)
            while len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        return made

    def resolved(self, call: AnyCall) -> AnyCall:
        """The call that is meant, in the catalogue's name of its tool."""
        return call if self._dispatcher is None else self._dispatcher.resolved(call)

    def _schemas(self, batches: Sequence[Sequence[str]], limit: int) -> tuple[Schema, ...]:
        places = {name: place for place, name in enumerate(self._real.names)}
        dispatcher = self._dispatcher
        kept: dict[str, CompactTool] = {}
        used = 0
        for names in batches:
            added: list[CompactTool] = []
            for tool in self._compact(n for n in dict.fromkeys(names) if n in places):
                tokens = self._ready().tokens_of(tool.original_name)
                is_core = tool.original_name in self.provisioning.core
                if tool.original_name in kept or (used + tokens > limit and not is_core):
                    continue
                so_far = [each.openai_schema for each in (*kept.values(), *added, tool)]
                if not is_core and not self._are_allotted(so_far):
                    continue
                added.append(tool)
                used += tokens
            added.sort(key=lambda tool: places[tool.original_name])
            kept.update((tool.original_name, tool) for tool in added)
        own = () if dispatcher is None else (dispatcher.find, dispatcher.call)
        return (
            *(spec.openai_schema for spec in own),
            *(tool.openai_schema for tool in kept.values()),
        )

    def _compact(self, names: Iterable[str]) -> list[CompactTool]:
        ready = self._ready()
        return [ready.tool(name) for name in names if name in self._real]

    def _found(self, need: str) -> list[CompactTool]:
        """What the model's own search brings: the best, however well they fit."""
        matches = self._ready().matches(need, limit=_FOUND_LIMIT, floor=False)
        return self._compact(match.name for match in matches)

    def _fits(self) -> bool:
        few = len(self._whole) <= _MOST_IN_A_REQUEST
        fits = self.whole_tokens <= self.provisioning.tokens_of_tier(0)
        return few and fits and self._are_allotted(self._whole)

    def _allot(self, own: Sequence[ToolSpec]) -> None:
        """Takes our own tools off what is allotted."""
        if self._allotted is not None:
            self._allotted -= sum(_sent_tokens(spec.openai_schema) for spec in own)

    def _are_allotted(self, schemas: Sequence[Schema]) -> bool:
        """Whether definitions fit what is allotted beside our own tools."""
        if self._allotted is None:
            return True
        return _WRAPPING_TOKENS + sum(map(_sent_tokens, schemas)) <= self._allotted

    def _require_known(self, catalogue: ToolCatalogue) -> None:
        missing = [name for name in self.provisioning.core if name not in catalogue]
        if missing:
            raise InvalidTool(
                f"the core names {missing[0]!r}, which is none of the {len(catalogue)} tools "
                "that may be offered",
                tool=missing[0],
            )

    def _ready(self) -> Provisioner:
        """The index, made at the first need: it takes a second for thousands of tools."""
        with self._lock:
            if self._provisioner is None:
                self._provisioner = self._provision()
            return self._provisioner

    def _provision(self) -> Provisioner:
        from agentkit.tools.provision.index import ToolCard, ToolIndex
        from agentkit.tools.provision.offer import Provisioner

        asked = self.provisioning
        cards = [ToolCard.of(spec) for spec in self._real]
        index = ToolIndex(cards, embedder=asked.embedding, cache_folder=asked.cache_folder)
        return Provisioner(
            index,
            core=asked.core,
            limit=asked.limit,
            calibration=asked.calibration,
        )


def _can_search(tools: int) -> bool:
    """Whether the packages of the extra `retrieval` are here; without them all tools are sent."""
    if all(importlib.util.find_spec(name) for name in _NEEDS):
        return True
    _log.warning(
        'all %d tools are offered at every step; pip install "agentkit[retrieval]" offers only '
        "those that a step needs",
        tools,
    )
    return False


def name_of(schema: Mapping[str, object]) -> str:
    """The name in a definition as OpenAI-compatible APIs take it."""
    return str(cast("Mapping[str, object]", schema["function"])["name"])


def fingerprint(schemas: Sequence[Mapping[str, object]]) -> str:
    """A hash that changes only where what is sent does."""
    sent = json.dumps(list(schemas), ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(sent.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _sent_tokens(schema: Mapping[str, object]) -> int:
    """The most that a definition is counted as in a request."""
    return count_text(json.dumps(schema, ensure_ascii=False)) + 2


def definition_tokens(schema: Mapping[str, object]) -> int:
    """o200k tokens of a definition as compact JSON."""
    return count_text(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))
