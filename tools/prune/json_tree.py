"""JSON: its shape, keys and values line by line; arrays of alike records as tables."""

from __future__ import annotations

import json
import re
from typing import cast

from agentkit.tools.prune.alike import keyed_table, table_of
from agentkit.tools.prune.cut_json import CUT_MARK, closed
from agentkit.tools.prune.escapes import unescaped, unmarked
from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.prose import add_prose
from agentkit.tools.prune.records import add_table, cell_text
from agentkit.tools.prune.salience import is_trouble, names_something, salience

_NEXT_ITEM = re.compile(r"[\s,]*+(?=[^\s,\]])")
_MAX_DEPTH = 40
_MAX_LAYERS = 4
_MAX_LINES = 20_000
_MAX_ITEMS = 400
_INLINE_CHARS = 160
_MAX_INLINE_FIELDS = 12
_LEAD_CHARS = 120
_MAX_NAME_CHARS = 120
_ITEM_SCORE = 14.0
_KEY_HINTS = frozenset(
    "id ids name title key code error errors message status state type total count number date "
    "time created updated url uri link href path file email address phone price amount cost value "
    "currency result results answer summary version user user_id order_id".split()
)


def parsed(text: str) -> object:
    """The value of JSON or of JSON Lines; where it was cut off, what is whole of it.

    Raises ValueError or RecursionError where it is none of these.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        items = _items_of_lines(text) or _items_of_array(text)
        if items:
            return items
        whole = closed(text)
        if whole is None:
            raise error from None
        return json.loads(whole)


def _items_of_lines(text: str) -> list[object]:
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) < 2 or lines[0].lstrip()[:1] not in ("{", "["):
        return []
    items: list[object] = []
    broken = 0
    for line in lines:
        try:
            items.append(json.loads(line))
        except ValueError:
            broken += 1
            if broken > 2:  # the line that a cut left, and what says so
                return []
    return items


def _items_of_array(text: str) -> list[object]:
    if not text.startswith("["):
        return []
    decoder = json.JSONDecoder()
    items: list[object] = []
    position = 1
    while match := _NEXT_ITEM.match(text, position):
        try:
            item, position = decoder.raw_decode(text, match.end())
        except ValueError:
            break
        items.append(item)
    return items


def json_outline(text: str, ask: Ask) -> Outline:
    """The outline of a JSON text; text inside its strings that is JSON again is read as such."""
    return value_outline(parsed(text), ask)


def value_outline(value: object, ask: Ask) -> Outline:
    """The outline of a value made of JSON's types."""
    outline = Outline(unit="values", joins=True)
    if ask.earlier is not None:
        value = ask.earlier.fold_values(_all_opened(value, 0))
    _add(outline, ask, "", value, parent=-1, depth=0)
    return outline


def enveloped(value: object) -> str | None:
    """The text of MCP's `{"content": [{"type": "text", "text": …}]}` with nothing else in there."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, object]", value)
    blocks = fields.get("content")
    rest = [key for key, item in fields.items() if key != "content" and item]
    if rest or not isinstance(blocks, list) or not blocks:
        return None
    texts: list[str] = []
    for block in cast("list[object]", blocks):
        inner = cast("dict[str, object]", block) if isinstance(block, dict) else {}
        text = inner.get("text")
        if inner.get("type") != "text" or not isinstance(text, str):
            return None
        texts.append(text)
    return "\n".join(texts)


def _opened(text: str) -> object:
    """What a string holds: JSON that was made text once or twice, else the text."""
    value: object = text
    for _ in range(_MAX_LAYERS):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
            break
        inner: str = value
        try:
            value = json.loads(inner)
        except (ValueError, RecursionError):
            whole = closed(inner.removesuffix(CUT_MARK)) if inner.endswith(CUT_MARK) else None
            if whole is None:
                break
            value = json.loads(whole)
    return value


def _all_opened(value: object, depth: int) -> object:
    """The value with the JSON in its strings read, at any depth."""
    if isinstance(value, str):
        opened = _opened(value)
        return (
            opened
            if isinstance(opened, str) or depth > _MAX_DEPTH
            else _all_opened(opened, depth + 1)
        )
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {k: _all_opened(v, depth + 1) for k, v in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_all_opened(v, depth + 1) for v in cast("list[object]", value)]
    return value


def _add(outline: Outline, ask: Ask, key: str, value: object, *, parent: int, depth: int) -> None:
    ask.deadline.check()
    if len(outline.texts) >= _MAX_LINES:
        outline.unseen += 1
        return
    indent = " " * (depth - 1 if depth else 0)
    label = f"{indent}{key}"
    if isinstance(value, str):
        value = _opened(value)
        value = unmarked(value) if isinstance(value, str) else value
    if depth > _MAX_DEPTH and isinstance(value, (dict, list)):
        outline.clipped += 1
        value = _too_deep(cast("dict[str, object] | list[object]", value))
    match value:
        case dict() if value:
            _add_dict(outline, ask, label, cast("dict[str, object]", value), parent, depth)
        case list() if value:
            _add_list(outline, ask, label, cast("list[object]", value), parent, depth)
        case str() if len(value) > _INLINE_CHARS or "\n" in value:
            head = outline.add(f"{label}:", _score(key, "", ask, depth), parent) if key else parent
            inner = indent + " " if key else ""
            add_prose(outline, unescaped(value), ask, indent=inner, parent=head)
        case _:
            text = _scalar(value)
            separator = ": " if key else ""
            added = outline.add(f"{label}{separator}{text}", _score(key, text, ask, depth), parent)
            outline.names[added] = _names({key: value})


def _too_deep(value: dict[str, object] | list[object]) -> str:
    """What is said of a value nested too deep to be shown."""
    return f"({'object' if isinstance(value, dict) else 'array'} of {len(value)}, too deep)"


def _add_dict(
    outline: Outline, ask: Ask, label: str, value: dict[str, object], parent: int, depth: int
) -> None:
    key = label.strip()
    head = parent
    table = keyed_table(value)
    if table is not None:
        add_table(outline, table, ask, title=label, parent=parent)
        return
    inline = _inline(value)
    if key and inline is not None:
        added = outline.add(f"{label} {{{inline}}}", _score(key, inline, ask, depth), parent)
        outline.names[added] = _names(value)
        return
    if key:
        head = outline.add(f"{label}:", _score(key, "", ask, depth), parent)
    _add_fields(outline, ask, value, head, depth)


def _add_fields(
    outline: Outline, ask: Ask, value: dict[str, object], head: int, depth: int
) -> None:
    hollow: list[str] = []
    for position, (name, item) in enumerate(value.items()):
        if position >= _MAX_ITEMS * 5:
            outline.unseen += len(value) - position
            break
        if item is None or item in ("", [], {}):
            hollow.append(str(name))
        else:
            _add(outline, ask, str(name), item, parent=head, depth=depth + 1)
    if hollow:
        outline.add(f"{' ' * depth}null or empty: {', '.join(hollow)}", 0.0, head)


def _inline(value: object) -> str | None:
    """A small object of plain values on one line; None for any other."""
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, object]", value)
    if not 0 < len(fields) <= _MAX_INLINE_FIELDS:
        return None
    parts: list[str] = []
    for name, item in fields.items():
        if item and isinstance(item, (dict, list)):
            return None
        text = _scalar(item)
        if "\n" in text or text[:1] in ("{", "["):
            return None
        parts.append(f"{name}: {text}")
    joined = "; ".join(parts)
    return joined if len(joined) <= _INLINE_CHARS else None


def _add_list(
    outline: Outline, ask: Ask, label: str, items: list[object], parent: int, depth: int
) -> None:
    table = table_of(items)
    if table is not None:
        add_table(outline, table, ask, title=label, parent=parent)
        return
    if not any(isinstance(item, (dict, list)) for item in items):
        _add_scalars(outline, ask, label, items, parent)
        return
    only = _inline(items[0]) if len(items) == 1 and label.strip() else None
    if only is not None:
        added = outline.add(f"{label} [{{{only}}}]", _score(label, only, ask, depth), parent)
        outline.names[added] = _names(items[0])
        return
    head = outline.add(f"{label}[{len(items)}]:", 6.0, parent)
    shown = items if len(items) <= _MAX_ITEMS else items[: _MAX_ITEMS - 20] + items[-20:]
    outline.unseen += len(items) - len(shown)
    for item in shown:
        inline = _inline(item)
        if inline is not None:
            added = outline.add(f"{' ' * depth}- {inline}", _score("", inline, ask, depth), head)
            outline.names[added] = _names(item)
        elif isinstance(item, dict):
            _add_item(outline, ask, cast("dict[str, object]", item), head, depth)
        else:
            _add(outline, ask, "-", item, parent=head, depth=depth + 1)


def _add_item(outline: Outline, ask: Ask, item: dict[str, object], parent: int, depth: int) -> None:
    """An object of an array: the plain fields that it begins with stand on its own line."""
    ask.deadline.check()
    lead: dict[str, object] = {}
    for name, value in item.items():
        grown = {**lead, name: value}
        if _inline(grown) is None or len(_inline(grown) or "") > _LEAD_CHARS:
            break
        lead = grown
    if not lead or len(outline.texts) >= _MAX_LINES or depth >= _MAX_DEPTH:
        _add(outline, ask, "-", item, parent=parent, depth=depth + 1)
        return
    text = _inline(lead) or ""
    score = _ITEM_SCORE + _score(next(iter(lead)), text, ask, depth)
    head = outline.add(f"{' ' * depth}- {text}", score, parent)
    outline.names[head] = _names(lead)
    rest = {name: value for name, value in item.items() if name not in lead}
    _add_fields(outline, ask, rest, head, depth + 1)


def _add_scalars(outline: Outline, ask: Ask, label: str, items: list[object], parent: int) -> None:
    """An array of plain values, some to a line; of a long one the ends and what is asked for."""
    texts = [cell_text(item) for item in items]
    asked = ask.terms.hits(texts)
    if len(texts) > _MAX_ITEMS:
        step = len(texts) // (_MAX_ITEMS // 2)
        kept = set(range(50)) | set(range(len(texts) - 10, len(texts)))
        kept |= set(range(0, len(texts), step)) | asked.keys()
        outline.unseen += len(texts) - len(kept)
        numbers = sorted(kept)
    else:
        numbers = list(range(len(texts)))
    total = sum(len(texts[number]) + 2 for number in numbers)
    if total <= _INLINE_CHARS:
        joined = ", ".join(texts)
        name = f"{label}[{len(items)}]: " if label.strip() else ""
        outline.add(f"{name}{joined}", 6.0 + _score(label, joined, ask, 0), parent)
        return
    indent = " " * (len(label) - len(label.lstrip()) + 1)
    head = outline.add(f"{label}[{len(items)}]:", 8.0, parent)
    for number in numbers:
        score = 40.0 * asked.get(number, 0.0) + 8.0 / (1 + number / 4) + 6 * salience(texts[number])
        outline.add(f"{indent}{texts[number]}", score, head)


def _names(value: object) -> tuple[str, ...]:
    """The values of the fields that name, number or locate something."""
    if not isinstance(value, dict):
        return ()
    fields = cast("dict[str, object]", value)
    return tuple(
        _scalar(item)
        for name, item in fields.items()
        if item not in (None, "", [], {}) and not isinstance(item, bool) and names_something(name)
        if len(str(item)) <= _MAX_NAME_CHARS
    )


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return value.strip() or '""'
    return json.dumps(value, ensure_ascii=False)


def _score(key: str, text: str, ask: Ask, depth: int) -> float:
    name = key.strip()
    score = 8.0 + 10.0 * min(1.0, salience(text)) - min(depth, 8) * 0.5
    score += 16.0 * (names_something(name)) + 6.0 * (name.lower() in _KEY_HINTS)
    score += 10.0 * min(2.5, ask.terms.weight(f"{name} {text[:400]}"))
    score += 8.0 * is_trouble(text) if text else 0.0
    return score / (1.0 + len(text) / 160)
