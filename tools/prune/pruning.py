"""The one entry: an observation of any kind and size becomes text within a bound.

Bytes are capped before they are decoded, the pruner of the kind works against a clock, and where it
fails the text is cut and the failure said: nothing is lost, for the keeper has the whole.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from agentkit.tools.errors import InvalidLimits
from agentkit.tools.prune.cut_json import closed
from agentkit.tools.prune.decoding import MAX_INPUT_BYTES, binary_text, decoded
from agentkit.tools.prune.detect import kind_of
from agentkit.tools.prune.earlier import Earlier
from agentkit.tools.prune.escapes import unescaped, unwrapped, without_blobs, without_repeats
from agentkit.tools.prune.html_page import html_outline
from agentkit.tools.prune.json_tree import enveloped, json_outline, parsed
from agentkit.tools.prune.listing import listing_outline, search_outline, table_outline
from agentkit.tools.prune.log_lines import log_outline
from agentkit.tools.prune.mentions import mentions
from agentkit.tools.prune.outline import Ask, Fit, Outline, fit, whole
from agentkit.tools.prune.prose import prose_outline
from agentkit.tools.prune.pruned import Deadline, Kind, Pruned
from agentkit.tools.prune.room import Room
from agentkit.tools.prune.source import code_outline, diff_outline, trace_outline
from agentkit.tools.prune.terms import Terms
from agentkit.tools.prune.yaml_tree import yaml_outline

Keep = Callable[[str], str]
"""Keeps a whole observation and returns the handle that brings it back."""

DEFAULT_MAX_TOKENS = 1_000
DEFAULT_TIME_BUDGET_SECONDS = 2.0
_OUTLINES: dict[Kind, Callable[[str, Ask], Outline]] = {
    "code": code_outline,
    "diff": diff_outline,
    "html": html_outline,
    "json": json_outline,
    "listing": listing_outline,
    "log": log_outline,
    "search": search_outline,
    "table": table_outline,
    "text": prose_outline,
    "trace": trace_outline,
    "yaml": yaml_outline,
}
_TREES: frozenset[Kind] = frozenset({"json", "yaml"})
_MAYBE_YAML: frozenset[Kind] = frozenset({"code", "listing", "search", "table", "text"})
_FOOTER_TOKENS = 32
_RECALL_EMPHASIS = 20.0
_MAX_ENVELOPES = 4
_ENVELOPE_PROBE_CHARS = 2_000

_log = logging.getLogger(__name__)


def prune(
    text: str | bytes,
    *,
    query: str = "",
    max_tokens: int | None = None,
    max_bytes: int | None = None,
    kind: Kind | None = None,
    time_budget_seconds: float = DEFAULT_TIME_BUDGET_SECONDS,
    keep: Keep | None = None,
    earlier: Earlier | None = None,
    allowance: Callable[[int], int] | None = None,
) -> Pruned:
    """The part of an observation that a later step most likely needs, within a bound.

    `query` is what the task, the last user turn and the call's arguments ask for. The bound is in
    tokens of o200k (1,000 by default) or in bytes. `kind` is detected unless given. `keep` is
    called once with the whole text where something had to go; the handle that it returns is named
    in the text. Nothing about `text` itself makes this raise: a pruner that fails or runs out of
    time leaves a cut text, and `failure` says so. Raises InvalidLimits for two bounds or a bound
    that is not above 0.

    >>> found = prune('[{"id": 7, "state": "open"}]')
    >>> found.kind, found.was_pruned
    ('json', False)
    """
    room = _room(max_tokens, max_bytes)
    if not time_budget_seconds > 0:
        raise InvalidLimits(f"time_budget_seconds is {time_budget_seconds!r}; give more than 0")
    room.cost("")  # loads the encoding, outside the time budget
    found = _found(text, Terms.of(query), room, kind, Deadline(time_budget_seconds), earlier, allowance)
    if found.pruned and keep is not None:
        _keep(found, text, keep)
    return found.pruned_within(room)


def about(text: str, query: str, room: Room) -> str:
    """What a kept observation says about a query, which counts for more than all else here."""
    terms = Terms.of(query, emphasis=_RECALL_EMPHASIS)
    return (
        _found(text, terms, room, None, Deadline(DEFAULT_TIME_BUDGET_SECONDS))
        .pruned_within(room)
        .text
    )


def readable(text: str) -> str:
    """A kept observation with its escapes undone and JSON on many lines, for a range of them."""
    essence = _essence(text)
    if essence.lstrip()[:1] in ("{", "["):
        try:
            return json.dumps(parsed(essence), ensure_ascii=False, indent=1)
        except (ValueError, RecursionError):
            pass
    return unescaped(essence)


@dataclass(frozen=True, kw_only=True)
class _Observation:
    text: str
    is_capped: bool
    kind: Kind | None
    earlier: Earlier | None = None
    allowance: Callable[[int], int] | None = None


@dataclass(kw_only=True)
class _Found:
    """What a pruner came to, before the line that says what was left out."""

    text: str
    kind: Kind
    pruned: bool
    kept_lines: int
    original_lines: int
    unit: str = "lines"
    note: str = ""
    handle: str | None = None
    failure: str | None = None
    original_bytes: int = 0

    def pruned_within(self, room: Room) -> Pruned:
        """The text with its last line, in any case within the bound."""
        left_out = self._left_out() if self.pruned else ""
        text = f"{self.text}\n{left_out}" if left_out and self.text else self.text or left_out
        if not room.holds(text):
            text = room.cut(text)
        return Pruned(
            text=text,
            kind=self.kind,
            original_bytes=self.original_bytes,
            kept_bytes=len(text.encode()),
            original_lines=self.original_lines,
            kept_lines=self.kept_lines,
            left_out=left_out,
            handle=self.handle,
            failure=self.failure,
        )

    def _left_out(self) -> str:
        said = f"{self.kept_lines:,} of {self.original_lines:,} {self.unit} shown{self.note}"
        if self.handle:
            said += f"; the rest: recall {self.handle}"
        return f"[{said}]"


def _room(max_tokens: int | None, max_bytes: int | None) -> Room:
    if max_tokens is not None and max_bytes is not None:
        raise InvalidLimits("give max_tokens or max_bytes, not both")
    limit = DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens
    unit = "tokens"
    if max_bytes is not None:
        limit, unit = max_bytes, "bytes"
    if limit < 1:
        raise InvalidLimits(f"max_{unit} is {limit}; give 1 or more")
    return Room(limit=limit, unit=unit)


def _inner(room: Room) -> Room:
    """The room less the line that says what was left out."""
    footer = _FOOTER_TOKENS if room.unit == "tokens" else _FOOTER_TOKENS * 4
    return Room(limit=max(1, room.limit - min(footer, room.limit // 2)), unit=room.unit)


def _found(
    text: str | bytes, terms: Terms, room: Room, kind: Kind | None, deadline: Deadline, earlier: Earlier | None = None, allowance: Callable[[int], int] | None = None
) -> _Found:
    described = binary_text(text) if isinstance(text, bytes) else None
    if described is not None:
        return _Found(
            text=described,
            kind="binary",
            pruned=False,
            kept_lines=1,
            original_lines=1,
            original_bytes=len(text),
        )
    capped, original_bytes = decoded(text)
    observation = _Observation(text=capped, is_capped=original_bytes > MAX_INPUT_BYTES, kind=kind, earlier=earlier, allowance=allowance)
    fold = None if earlier is None else earlier.fold_values
    ask = Ask(terms=terms, room=_inner(room), deadline=deadline, fold=fold)
    try:
        found = _shown(observation, ask, room)
    except Exception as error:  # noqa: BLE001  a pruner must never cost the observation
        _log.warning(
            "pruning an observation of %d bytes failed (%s); it was cut instead",
            original_bytes,
            type(error).__name__,
        )
        found = _cut_down(observation, ask.room, type(error).__name__)
    found.original_bytes = original_bytes
    return found


def _keep(found: _Found, text: str | bytes, keep: Keep) -> None:
    """Gives the whole to the keeper; where that fails, the pruned text must do."""
    try:
        found.handle = keep(text if isinstance(text, str) else text.decode(errors="replace"))
    except Exception as error:  # noqa: BLE001  a full disk must not cost the observation
        _log.warning("an observation could not be kept (%s)", type(error).__name__)
        found.failure = found.failure or f"not kept: {type(error).__name__}"


def _shown(observation: _Observation, ask: Ask, room: Room) -> _Found:
    essence = _essence(observation.text)
    kind = observation.kind or kind_of(essence)
    if kind == "json":
        try:
            return _outlined(observation, essence, json_outline(essence, ask), "json", ask, room)
        except (ValueError, RecursionError):
            if observation.kind is not None:
                raise
            kind = kind_of(essence.lstrip("{[ \n"))  # it began like JSON and is none
            kind = "text" if kind == "json" else kind
    if kind == "yaml" or (observation.kind is None and kind in _MAYBE_YAML):
        with suppress(ValueError, RecursionError):
            outline = yaml_outline(essence, ask)
            return _outlined(observation, essence, outline, "yaml", ask, room)
    plain = without_blobs(unescaped(essence))
    if observation.kind is None and kind == "text" and plain is not essence:
        kind = kind_of(plain)
    if kind in _TREES or kind not in _OUTLINES:
        kind = "text"
    if kind == "html":
        return _outlined(observation, plain, html_outline(plain, ask), kind, ask, room)
    folded = "\n".join(without_repeats(plain.split("\n")))
    if observation.earlier is None and not observation.is_capped and room.holds(folded):
        return _all_of(folded, kind)
    try:
        outline = _OUTLINES[kind](plain, ask)
    except ValueError:
        if observation.kind is not None:
            raise
        kind, outline = "text", prose_outline(plain, ask)
    return _outlined(observation, plain, outline, kind, ask, room)


def _essence(text: str) -> str:
    """The text inside the envelopes of tool protocols, as deep as four."""
    for _ in range(_MAX_ENVELOPES):
        inner = unwrapped(text)
        start = inner[:_ENVELOPE_PROBE_CHARS].lstrip()
        if start.startswith('"') or (start.startswith("{") and '"content"' in start):
            try:
                inner = enveloped(_loaded(inner)) or inner
            except (ValueError, RecursionError):
                return inner
        if inner == text:
            return text
        text = inner
    return text


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        whole_text = closed(text)
        if whole_text is None:
            raise
        return json.loads(whole_text)


def _outlined(
    observation: _Observation, text: str, outline: Outline, kind: Kind, ask: Ask, room: Room
) -> _Found:
    """All of the outline, or of the text where that is shorter, if either fits; else the best."""
    told = 0
    if observation.earlier is not None:
        told = observation.earlier.fold(outline) + observation.earlier.folded
        observation.earlier.folded = 0
    complete = not (outline.unseen or outline.clipped or observation.is_capped or told)
    everything = whole(outline)
    if observation.allowance is not None:
        size = room.cost(everything) if len(everything) < 100_000 else len(everything) // 4
        room = Room(limit=min(room.limit, observation.allowance(size)), unit=room.unit)
        ask = replace(ask, room=_inner(room))
    if kind in _TREES:
        if complete and len(everything) < len(text) and room.holds(everything):
            return _all_of(everything, kind)
    if not told and not observation.is_capped and room.holds(text):
        return _all_of(text, kind)
    if not outline.texts:
        found = Fit(text="", kept_lines=0)
    elif ask.room.holds(everything):
        found = Fit(text=everything, kept_lines=len(outline.texts))
    else:
        found = _best(outline, ask)
    shown = found.text or ask.room.cut(text)
    shortened = found.clipped + outline.clipped
    note = f", {shortened:,} shortened" if shortened else ""
    note += f", {outline.legend}" if outline.legend else ""
    if observation.is_capped:
        note += f" of the {MAX_INPUT_BYTES >> 20} MB looked at"
    return _Found(
        text=shown,
        kind=kind,
        pruned=True,
        kept_lines=found.kept_lines,
        original_lines=outline.total,
        unit=outline.unit,
        note=note,
    )


def _best(outline: Outline, ask: Ask) -> Fit:
    """The best lines, and one with the names in the others."""
    reserved = ask.room.limit * SHARE_PERCENT // 100
    found = fit(outline, ask.room.less(reserved), ask.deadline)
    if not outline.gaps:
        return found
    room = ask.room.less(ask.room.cost(found.text) + _ALSO_TOKENS)
    room = Room(limit=min(room.limit, reserved * 2), unit=room.unit)
    gone = [number for number in range(len(outline.texts)) if number not in found.numbers]
    names = (name for number in gone for name in outline.names.get(number, ()))
    also = mentions((outline.texts[n] for n in gone), names, found.text, ask.terms, room)
    if not also:
        return found
    return replace(found, text=f"{found.text}\n{_ALSO}{also}")


SHARE_PERCENT = 40
_ALSO = "also: "
_ALSO_TOKENS = 4


def _all_of(text: str, kind: Kind) -> _Found:
    lines = text.count("\n") + 1
    return _Found(text=text, kind=kind, pruned=False, kept_lines=lines, original_lines=lines)


def _cut_down(observation: _Observation, room: Room, failure: str) -> _Found:
    lines = observation.text.count("\n") + 1
    shown = room.cut(observation.text)
    return _Found(
        text=shown,
        kind=observation.kind or "text",
        pruned=True,
        kept_lines=shown.count("\n") + 1,
        original_lines=lines,
        note=", cut",
        failure=failure,
    )
