"""YAML as the values it holds. libyaml parses; anchors, tags and what is none stay text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import cast

from agentkit.tools.prune.json_tree import value_outline
from agentkit.tools.prune.outline import Ask, Outline

_LINE = re.compile(
    r"\s*(?:- )*(?:[\w./$@-]+(?: [\w./-]+){0,3}|'[^'\n]+'|\"[^\"\n]+\"):(?:\s|$)|\s*- \S"
)
_TEXT_START = re.compile(r"[ \t]*(?:- )*[\w./-]+:(?: |$)")
_REFUSED = re.compile(r"(?:^|[\s\[{,])[&*!][\w!<]")
_MAX_CHARS = 400_000
_MAX_SAMPLE_LINES = 200
_LEAST_SHARE = 0.2
_PROBE_CHARS = 20_000
_LEAST_LINES = 4


def yaml_outline(text: str, ask: Ask) -> Outline:
    """The outline of a YAML text. Raises ValueError where it is none, or none that is safe."""
    if not looks_like_yaml(text[:_PROBE_CHARS].split("\n")):
        raise ValueError("no YAML")
    return value_outline(yaml_value(text), ask)


def looks_like_yaml(lines: Sequence[str]) -> bool:
    """Whether the text begins with a field or an item, and enough of its lines are such."""
    sample = [line for line in lines[:_MAX_SAMPLE_LINES] if line.strip()]
    if len(sample) < _LEAST_LINES or not _TEXT_START.match(sample[0][:200]):
        return False
    nested = any(line[:1] in " -" for line in sample)
    fields = sum(_LINE.match(line[:200]) is not None for line in sample)
    return nested and fields >= _LEAST_SHARE * len(sample)


def yaml_value(text: str) -> object:
    """The value of a YAML text; where its end was cut off, of the lines before the last item.

    Raises ValueError for what is no nested YAML, is longer than 400,000 characters, or has anchors
    or tags, with which a short text could become a huge value.
    """
    if len(text) > _MAX_CHARS or _REFUSED.search(text):
        raise ValueError("no plain YAML")
    yaml = import_module("yaml")
    # The base loader makes nothing but strings, lists and dicts.
    loader = getattr(yaml, "CBaseLoader", None) or yaml.BaseLoader
    try:
        value: object = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0)
        value = _before(text, int(line), loader)
    if not isinstance(value, (dict, list)) or not value:
        raise ValueError("no nested YAML")
    return cast("object", value)


def _before(text: str, line: int, loader: object) -> object:
    """The value of the whole items before the line that libyaml stumbled over."""
    lines = text.split("\n")
    if line < len(lines) * 3 // 4:
        raise ValueError("no YAML")
    starts = [at for at, each in enumerate(lines[: line + 1]) if each.startswith(("- ", "  - "))]
    if not starts:
        raise ValueError("no YAML")
    yaml = import_module("yaml")
    try:
        return cast("object", yaml.load("\n".join(lines[: starts[-1]]), Loader=loader))
    except yaml.YAMLError:
        raise ValueError("no YAML") from None
