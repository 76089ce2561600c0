"""Which pruner an observation gets, and what of its outline is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agentkit.tools.prune.decoding import MAX_INPUT_BYTES
from agentkit.tools.prune.detect import kind_of
from agentkit.tools.prune.escapes import unescaped, without_blobs, without_repeats
from agentkit.tools.prune.essence import essence
from agentkit.tools.prune.found import Found, Observation, all_of
from agentkit.tools.prune.html_page import html_outline
from agentkit.tools.prune.json_tree import json_outline
from agentkit.tools.prune.listing import listing_outline, search_outline, table_outline
from agentkit.tools.prune.log_lines import log_outline
from agentkit.tools.prune.mentions import mentions
from agentkit.tools.prune.outline import Ask, Fit, Outline, fit, whole
from agentkit.tools.prune.prose import prose_outline
from agentkit.tools.prune.pruned import Kind
from agentkit.tools.prune.room import Room
from agentkit.tools.prune.source import code_outline, diff_outline, trace_outline
from agentkit.tools.prune.yaml_tree import yaml_outline

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


_LINES_ALONE: frozenset[Kind] = frozenset({"code", "diff", "log", "trace"})
_ALSO = "also: "
_ALSO_TOKENS = 4


def shown(observation: Observation, ask: Ask, room: Room) -> Found:
    """The observation as its kind is shown. Raises what a given kind's pruner raises."""
    inner = essence(observation.text)
    kind = observation.kind or kind_of(inner)
    if kind == "json":
        try:
            return _outlined(observation, inner, json_outline(inner, ask), "json", ask, room)
        except (ValueError, RecursionError):
            if observation.kind is not None:
                raise
            kind = kind_of(inner.lstrip("{[ \n"))  # it began like JSON and is none
            kind = "text" if kind == "json" else kind
    if kind == "yaml" or (observation.kind is None and kind in _MAYBE_YAML):
        try:
            return _outlined(observation, inner, yaml_outline(inner, ask), "yaml", ask, room)
        except (ValueError, RecursionError):
            if observation.kind is not None:
                raise
    return _shown_as_text(observation, inner, kind, ask, room)


def in_full(text: str, ask: Ask) -> str | None:
    """JSON as an outline that has all of it; None for what is no JSON or too much for an outline.

    Raises OutOfTime where the time is up.
    """
    inner = essence(text)
    if inner.lstrip()[:1] not in ("{", "["):
        return None
    try:
        outline = json_outline(inner, ask)
    except (ValueError, RecursionError):
        return None
    return None if outline.unseen or outline.clipped else whole(outline)


def _shown_as_text(observation: Observation, inner: str, kind: Kind, ask: Ask, room: Room) -> Found:
    plain = without_blobs(unescaped(inner))
    if observation.kind is None and kind == "text" and plain is not inner:
        kind = kind_of(plain)
    if kind in _TREES or kind not in _OUTLINES:
        kind = "text"
    if kind == "html":
        return _outlined(observation, plain, html_outline(plain, ask), kind, ask, room)
    folded = "\n".join(without_repeats(plain.split("\n")))
    if ask.earlier is None and not observation.is_capped and room.holds(folded):
        return all_of(folded, kind)
    try:
        outline = _OUTLINES[kind](plain, ask)
    except ValueError:
        if observation.kind is not None:
            raise
        kind, outline = "text", prose_outline(plain, ask)
    return _outlined(observation, folded, outline, kind, ask, room)


def _outlined(
    observation: Observation, text: str, outline: Outline, kind: Kind, ask: Ask, room: Room
) -> Found:
    """All of the outline, or of the text where that is shorter, if either fits; else the best."""
    told = ask.earlier.fold(outline) if ask.earlier is not None else 0
    complete = not (outline.unseen or outline.clipped or observation.is_capped)
    everything = whole(outline)
    if complete and (told or kind in _TREES) and room.holds(everything):
        if len(everything) < len(text):
            return all_of(everything, kind, folded=told)
    if not (told or observation.is_capped or kind == "html") and room.holds(text):
        return all_of(text, kind)
    if not outline.texts:
        found = Fit(text="", kept_lines=0)
    elif ask.room.holds(everything):
        found = Fit(text=everything, kept_lines=len(outline.texts))
    else:
        found = _best(outline, ask, kind)
    return Found(
        text=found.text or ask.room.cut(text),
        kind=kind,
        pruned=True,
        kept_lines=found.kept_lines,
        original_lines=outline.total,
        unit=outline.unit,
        note=_note(outline, found, observation),
    )


def _note(outline: Outline, found: Fit, observation: Observation) -> str:
    shortened = found.clipped + outline.clipped
    note = f", {shortened:,} shortened" if shortened else ""
    note += f", {outline.legend}" if outline.legend else ""
    if observation.is_capped:
        note += f" of the {MAX_INPUT_BYTES >> 20} MB looked at"
    return note


def _best(outline: Outline, ask: Ask, kind: Kind) -> Fit:
    """The best lines, and one with the names in the others where those are what is copied."""
    if kind in _LINES_ALONE:
        return fit(outline, ask.room, ask.deadline)
    reserved = ask.room.limit * ask.names_percent // 100
    found = fit(outline, ask.room.less(reserved), ask.deadline)
    left = ask.room.limit - ask.room.cost(found.text) - _ALSO_TOKENS
    if left <= 0:
        return found
    room = Room(limit=min(left, reserved * 2), unit=ask.room.unit)
    gone = [number for number in range(len(outline.texts)) if number not in found.numbers]
    names = (name for number in gone for name in outline.names.get(number, ()))
    also = mentions((outline.texts[n] for n in gone), names, found.text, ask.terms, room)
    return replace(found, text=f"{found.text}\n{_ALSO}{also}") if also else found
