"""Tool definitions in fewer tokens: what a correct call needs stays, the rest goes.

Compaction only widens what is accepted, but for `null` where leaving an argument out means the
same. Arguments are always checked against the original schema.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from agentkit.tools.provision.words import spoken, terms

if TYPE_CHECKING:
    from agentkit.tools.catalogue import Schema
    from agentkit.tools.provision.index import ToolCard

_TOOL_CHARS = 100
_ARGUMENT_CHARS = 40
_LEAST_NEW_WORDS = 2
_LEAST_SHARED_CHARS = 40
_NAME_CHARS = 64  # what OpenAI and Anthropic both allow
_HASH_CHARS = 6
_MAX_DEPTH = 24
_REMEMBERED = 16_384

# Notes for people and for validators; a model needs none of them to write a correct call.
_DROPPED = frozenset(
    "title default $schema $id $comment examples example additionalProperties deprecated readOnly "
    "writeOnly optional nullable x-order".split()
)
_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+|(?<=[。！？])")
_CLAUSE_END = re.compile(r"(?<=\w\w)[.;](?:\s+|$)|,\s+|\s\(|\)|\s[-\u2013]\s")
_DEFAULT = re.compile(r"(?:default|optional|required|if not (?:provided|specified))", re.IGNORECASE)
_FORM = re.compile(r"[\d'\"`/%]|e\.g|format|ISO|\b[A-Z]{2,}\b")
_SAYS_LITTLE = frozenset(
    terms(
        "name number amount value string list type kind id identifier unique specified specific "
        "given particular parameter argument option optional required provide user tool use used "
        "using include included whether flag true false default set get integer boolean array"
    )
)
_SPACE = re.compile(r"\s+")
_HEADING = re.compile(r"\s(?:Args|Arguments|Parameters|Params|Returns|Raises|Examples?)\s*:.*")
_FILLER = re.compile(
    r"^(?:(?:this|the) (?:tool|function|method|endpoint|api) (?:is used to |allows you to |will )?"
    r"|(?:use this (?:tool )?to |allows you to |used to )"
    r"|(?:the|a|an|optional|required)[.,:]? )",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class CompactTool:
    """A tool as it is sent: `name` is the one on the wire, `original_name` the catalogue's."""

    name: str
    original_name: str
    description: str
    schema: Schema

    @property
    def openai_schema(self) -> Schema:
        """The definition as OpenAI-compatible APIs take it."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.schema,
        }
        return {"type": "function", "function": function}


def compact(
    name: str,
    description: str,
    schema: Mapping[str, object],
    *,
    shared_prefix: str = "",
    wire_name: str | None = None,
) -> CompactTool:
    """The definition in fewer tokens; equal input gives equal output, and is remembered.

    `shared_prefix` is what the descriptions of a server's tools have in common: it is left out.
    `wire_name` is the tool's of `wire_names`, where the catalogue's own will not do.
    """
    kept = description.removeprefix(shared_prefix)
    return _compact(json.dumps([name, wire_name or name, kept, schema], ensure_ascii=False))


def compact_all(cards: Sequence[ToolCard]) -> tuple[CompactTool, ...]:
    """Every card's compact definition, in order; no two have one name on the wire."""
    names = wire_names(card.name for card in cards)
    groups: dict[str, list[str]] = {}
    for card in cards:
        groups.setdefault(card.group, []).append(card.description)
    shared = {group: shared_prefix(texts) if group else "" for group, texts in groups.items()}
    return tuple(
        compact(
            card.name,
            card.description,
            card.schema,
            shared_prefix=shared[card.group],
            wire_name=names[card.name],
        )
        for card in cards
    )


@functools.lru_cache(_REMEMBERED)
def _compact(text: str) -> CompactTool:
    name, wire_name, description, schema = json.loads(text)
    known = frozenset(terms(f"{spoken(name)} {description}")) | _SAYS_LITTLE
    kept = cast("Schema", _schema(schema, known, 0))
    kept.setdefault("type", "object")
    kept.setdefault("properties", {})
    return CompactTool(
        name=wire_name,
        original_name=name,
        description=_cut(description, _TOOL_CHARS) or spoken(name),
        schema=_without_unused_definitions(kept),
    )


def shared_prefix(descriptions: Sequence[str]) -> str:
    """The sentences with which every description begins; "" where they share none worth it."""
    if len(descriptions) < 2:
        return ""
    lowest, highest = min(descriptions), max(descriptions)
    shared = 0
    for first, second in zip(lowest, highest, strict=False):
        if first != second:
            break
        shared += 1
    end = max(lowest.rfind(mark, 0, shared) for mark in (". ", ": ", "\n"))
    prefix = lowest[: end + 2] if end > 0 else ""
    return prefix if len(prefix) >= _LEAST_SHARED_CHARS else ""


def wire_names(names: Iterable[str]) -> dict[str, str]:
    """For each name one that every provider takes, and no other tool has.

    Characters outside A-Z, a-z, 0-9, "_" and "-" become "_"; what is too long, or no longer unlike
    the others, ends in a hash of the original name.
    """
    originals = tuple(dict.fromkeys(names))
    safe = {name: re.sub(r"[^A-Za-z0-9_-]", "_", name) for name in originals}
    uses = Counter(safe.values())
    return {
        name: wire if uses[wire] == 1 and 0 < len(wire) <= _NAME_CHARS else _hashed(name, wire)
        for name, wire in safe.items()
    }


def _hashed(name: str, wire: str) -> str:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{wire[: _NAME_CHARS - _HASH_CHARS - 1]}-{digest[:_HASH_CHARS]}"


def _schema(schema: object, known: frozenset[str], depth: int) -> object:
    """A schema without notes; `known` holds the words that its descriptions need not repeat."""
    keywords = _keywords(schema)
    if keywords is None or depth > _MAX_DEPTH:
        return schema
    found: dict[str, object] = {}
    for key, value in keywords.items():
        if key in _DROPPED:
            continue
        kept = _keyword(key, value, known, depth)
        if kept is not None:
            found[key] = kept
    return _not_null(found)


def _keywords(schema: object) -> Mapping[str, object] | None:
    return cast("Mapping[str, object]", schema) if isinstance(schema, Mapping) else None


def _keyword(key: str, value: object, known: frozenset[str], depth: int) -> object | None:
    match key, value:
        case "description", str():
            return _argument_description(value, known) or None
        case "properties" | "$defs" | "definitions" | "patternProperties", dict():
            members = cast("dict[str, object]", value)
            return {
                inner: _schema(member, known.union(terms(spoken(inner))), depth + 1)
                for inner, member in members.items()
            }
        case "items" | "not" | "if" | "then" | "else", dict():
            return _schema(cast("object", value), known, depth + 1)
        case "anyOf" | "oneOf" | "allOf" | "prefixItems", list():
            return [_schema(one, known, depth + 1) for one in cast("list[object]", value)]
        case "required", []:
            return None
        case _:
            return value


def _not_null(schema: dict[str, object]) -> dict[str, object]:
    """`anyOf` of one schema and null is that schema: who means null leaves the argument out."""
    options = schema.get("anyOf")
    if not isinstance(options, list):
        return schema
    real = [one for one in cast("list[object]", options) if one != {"type": "null"}]
    if len(real) == len(cast("list[object]", options)):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(real) == 1 and isinstance(real[0], dict):
        return {**cast("dict[str, object]", real[0]), **rest}
    return {**rest, "anyOf": real}


def _argument_description(text: str, known: frozenset[str]) -> str:
    """The clauses that say something new, or show the form of a value, up to the limit."""
    kept = ""
    for part in _CLAUSE_END.split(_SPACE.sub(" ", text)):
        clause = _FILLER.sub("", part.strip(" .,;:()"))
        new = set(terms(clause)) - known
        if _DEFAULT.match(clause) or (len(new) < _LEAST_NEW_WORDS and not _FORM.search(clause)):
            continue
        form = _FORM.search(clause)
        start = form.start() if form and len(clause) > _ARGUMENT_CHARS else 0  # the example says it
        longer = f"{kept}; {clause[start:]}" if kept else clause[start:]
        if len(longer) > _ARGUMENT_CHARS:
            continue
        kept, known = longer, known | new
    return kept or _first_words(text, known)


def _first_words(text: str, known: frozenset[str]) -> str:
    """The beginning of a description whose clauses are too long, where it says something."""
    short = _cut(text, _ARGUMENT_CHARS)
    return short if len(set(terms(short)) - known) >= _LEAST_NEW_WORDS else ""


def _cut(text: str, limit_chars: int) -> str:
    """Whole sentences up to the limit, at least one; a longer first one ends at a word."""
    flat = _SPACE.sub(" ", _HEADING.sub("", " " + _SPACE.sub(" ", text))).strip()
    flat = _FILLER.sub("", flat)
    kept = ""
    for sentence in _SENTENCE_END.split(flat):
        longer = f"{kept} {sentence}".strip()
        if kept and len(longer) > limit_chars:
            break
        kept = longer
    if len(kept) > limit_chars:
        kept = kept[:limit_chars].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"
    return kept.rstrip(".")


def _without_unused_definitions(schema: Schema) -> Schema:
    for key in ("$defs", "definitions"):
        definitions = schema.get(key)
        if not isinstance(definitions, dict):
            continue
        text = json.dumps(schema)
        used = {
            name: one
            for name, one in cast("dict[str, object]", definitions).items()
            if f'"#/{key}/{name}"' in text
        }
        schema = {**schema, key: used}
        if not used:
            schema = {other: value for other, value in schema.items() if other != key}
    return schema
