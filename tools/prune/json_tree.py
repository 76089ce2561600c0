"""JSON: its shape, keys and values line by line; arrays of alike records as tables."""

from __future__ import annotations

import json
import re
from typing import cast

from agentkit.tools.prune.escapes import unescaped
from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.prose import add_prose
from agentkit.tools.prune.records import Table, add_table, cell_text
from agentkit.tools.prune.salience import is_trouble, salience

_NEXT_ITEM = re.compile(r"[\s,]*+(?=[^\s,\]])")
_MAX_DEPTH = 40
_MAX_LAYERS = 4
_MAX_LINES = 20_000
_MAX_ITEMS = 400
_INLINE_CHARS = 160
_MIN_RECORDS = 3
_MAX_RECORD_CHARS = 600
_KEY_HINTS = frozenset(
    "id ids name title key code error errors message status state type total count number date "
    "time created updated url uri link href path file email address phone price amount cost value "
    "currency result results answer summary version user user_id order_id".split()
)

_KEY_ENDINGS = ("id", "_url", "_at")


def parsed(text: str) -> object:
    """The value of JSON or of JSON Lines; of a cut array or cut lines, the items that are whole.

    Raises ValueError or RecursionError where it is none of these.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        items = _items_of_lines(text) or _items_of_array(text)
        if not items:
            raise error from None
        return items


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
    outline = Outline(unit="values")
    _add(outline, ask, "", parsed(text), parent=-1, depth=0)
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
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            break
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
            outline.add(f"{label}{separator}{text}", _score(key, text, ask, depth), parent)


def _too_deep(value: dict[str, object] | list[object]) -> str:
    """What is said of a value nested too deep to be shown."""
    return f"({'object' if isinstance(value, dict) else 'array'} of {len(value)}, too deep)"


def _add_dict(
    outline: Outline, ask: Ask, label: str, value: dict[str, object], parent: int, depth: int
) -> None:
    key = label.strip()
    head = parent
    if key:
        head = outline.add(f"{label}:", _score(key, "", ask, depth), parent)
    for position, (name, item) in enumerate(value.items()):
        if position >= _MAX_ITEMS * 5:
            outline.unseen += len(value) - position
            return
        _add(outline, ask, str(name), item, parent=head, depth=depth + 1)


def _add_list(
    outline: Outline, ask: Ask, label: str, items: list[object], parent: int, depth: int
) -> None:
    table = _table_of(items)
    if table is not None:
        add_table(outline, table, ask, title=label, parent=parent)
        return
    if not any(isinstance(item, (dict, list)) for item in items):
        _add_scalars(outline, ask, label, items, parent)
        return
    head = outline.add(f"{label}[{len(items)}]:", 6.0, parent)
    shown = items if len(items) <= _MAX_ITEMS else items[: _MAX_ITEMS - 20] + items[-20:]
    outline.unseen += len(items) - len(shown)
    for position, item in enumerate(shown):
        _add(outline, ask, f"-{position}", item, parent=head, depth=depth + 1)


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


def _table_of(items: list[object]) -> Table | None:
    """The items as a table where they are records with much the same, mostly plain fields."""
    if len(items) < _MIN_RECORDS or not all(isinstance(item, dict) for item in items):
        return None
    records = cast("list[dict[str, object]]", items)
    names: dict[str, None] = {}
    sample = records[:: max(1, len(records) // 100)]
    for record in sample:
        names.update(dict.fromkeys(record))
    filled = sum(len(record) for record in sample)
    if not names or filled < 0.6 * len(names) * len(sample):
        return None
    columns = [[record.get(name) for record in records] for name in names]
    width = sum(len(str(value)[:1000]) for record in sample for value in record.values())
    if width > _MAX_RECORD_CHARS * len(sample):
        return None
    for record in records:  # keys that the sample lacked must not get lost
        if not record.keys() <= names.keys():
            others = [{k: r[k] for k in r.keys() - names.keys()} or None for r in records]
            columns.append(cast("list[object]", others))
            return Table(names=[*names, "…"], columns=columns)
    return Table(names=list(names), columns=columns)


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value, ensure_ascii=False)


def _score(key: str, text: str, ask: Ask, depth: int) -> float:
    name = key.strip().lower()
    score = 8.0 + 10.0 * min(1.0, salience(text)) - min(depth, 8) * 0.5
    score += 6.0 * (
        name in _KEY_HINTS or name.endswith(("_id", "_url", "_at")) or name[-2:] == "id"
    )
    score += 12.0 * ask.terms.weight(f"{name} {text[:400]}")
    score += 8.0 * is_trouble(text) if text else 0.0
    return score / (1.0 + len(text) / 400)
