"""HTML: the text of the main content, with headings, links, tables and forms; the rest is chrome.

libxml2 parses (through lxml), in linear time and with a bound on depth that HTML5 parsers lack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol, cast

from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.salience import is_trouble, salience

_HIDDEN = ["script", "style", "noscript", "template", "svg", "iframe", "link", "meta", "canvas"]
_CHROME = frozenset({"nav", "footer", "aside", "header"})
_BLOCKS = frozenset(
    "address article aside blockquote body br dd div dl dt fieldset figcaption footer form h1 h2 "
    "h3 h4 h5 h6 header hr li main nav ol option p pre section select summary table tbody tfoot "
    "thead title tr ul".split()
)
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "title"})
_CELLS = frozenset({"td", "th"})
_FIELDS = frozenset({"input", "select", "textarea", "button", "form"})
_FIELD_NAMES = ("name", "type", "value", "placeholder", "action", "method")
_MAX_EVENTS = 800_000
_MAX_HREF_CHARS = 200
_MAX_PIECE_CHARS = 600
_CHECK_EVERY = 512


def html_outline(text: str, ask: Ask) -> Outline:
    """Blocks of text in the order of the page; links as `text <address>`."""
    walk = _Walk()
    for count, (event, element) in enumerate(_events(text)):
        if count % _CHECK_EVERY == 0:
            ask.deadline.check()
        if count >= _MAX_EVENTS:
            break
        if event == "start":
            walk.enter(element)
        else:
            walk.leave(element)
    walk.flush()
    return _outline(walk.blocks, ask)


def _events(text: str) -> Iterator[tuple[str, _Element]]:
    """Starts and ends of elements; libxml2 stops at a depth of 256 and fetches nothing."""
    etree = import_module("lxml.etree")
    parser = etree.HTMLParser(
        encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True
    )
    root = etree.fromstring(text.encode(), parser)
    if root is None:
        return iter(())
    etree.strip_elements(root, *_HIDDEN, with_tail=False)
    return cast("Iterator[tuple[str, _Element]]", etree.iterwalk(root, events=("start", "end")))


class _Element(Protocol):
    """What is used of lxml's element, which has no types of its own."""

    @property
    def tag(self) -> str: ...
    @property
    def text(self) -> str | None: ...
    @property
    def tail(self) -> str | None: ...
    @property
    def attrib(self) -> Mapping[str, str]: ...


@dataclass(kw_only=True)
class _Block:
    text: str
    heading: bool
    chrome: bool
    linked_chars: int


@dataclass(kw_only=True)
class _Walk:
    """Gathers text until a block begins or ends."""

    blocks: list[_Block] = field(default_factory=list[_Block])
    _parts: list[str] = field(default_factory=list[str])
    _heading: bool = False
    _linked_chars: int = 0
    _chrome_depth: int = 0

    def enter(self, element: _Element) -> None:
        tag = element.tag
        if tag in _BLOCKS:
            self.flush()
            self._heading = tag in _HEADINGS
            self._chrome_depth += tag in _CHROME
        elif tag in _CELLS:
            self._parts.append("|" if self._parts else "")
        elif tag == "a":
            self._take_link(element)
        if tag in _FIELDS:
            self._take_field(element, tag)
        elif tag == "img":
            if alt := element.attrib.get("alt"):
                self._parts.append(f"[image: {alt[:_MAX_HREF_CHARS]}]")
        if element.text:
            self._parts.append(element.text)

    def leave(self, element: _Element) -> None:
        tag = element.tag
        if tag in _BLOCKS:
            self.flush()
            self._chrome_depth -= tag in _CHROME
        if element.tail:
            self._parts.append(element.tail)

    def _take_link(self, element: _Element) -> None:
        address = element.attrib.get("href", "")
        if address and not address.startswith(("#", "javascript:", "data:")):
            self._parts.append(f"<{address[:_MAX_HREF_CHARS]}>")
            self._linked_chars += 40

    def _take_field(self, element: _Element, tag: str) -> None:
        attributes = element.attrib
        if attributes.get("type") == "hidden":
            return
        said = " ".join(
            f"{name}={attributes[name][:100]}" for name in _FIELD_NAMES if attributes.get(name)
        )
        if said:
            self._parts.append(f"[{tag} {said}]")

    def flush(self) -> None:
        """Ends the current block."""
        if self._parts:
            text = " ".join(" ".join(self._parts).split()).strip(" |")
            self._parts.clear()
            if text:
                self.blocks.append(
                    _Block(
                        text=text,
                        heading=self._heading,
                        chrome=self._chrome_depth > 0,
                        linked_chars=self._linked_chars,
                    )
                )
        self._linked_chars = 0
        self._heading = False


def _outline(blocks: list[_Block], ask: Ask) -> Outline:
    outline = Outline(unit="blocks", legend="markup left out")
    asked = ask.terms.hits([block.text for block in blocks])
    heading = -1
    seen: set[str] = set()
    for number, block in enumerate(blocks):
        if number % _CHECK_EVERY == 0:
            ask.deadline.check()
        if block.text in seen:
            continue
        seen.add(block.text)
        score = _score(block) + 30.0 * asked.get(number, 0.0)
        if block.heading:
            heading = outline.add(f"# {block.text[:_MAX_PIECE_CHARS]}", score + 8.0)
            continue
        parent = heading
        for start in range(0, min(len(block.text), 100 * _MAX_PIECE_CHARS), _MAX_PIECE_CHARS):
            outline.add(block.text[start : start + _MAX_PIECE_CHARS], score, parent)
    return outline


def _score(block: _Block) -> float:
    text = block.text
    words = text.count(" ") + 1
    score = 8.0 * min(1.0, salience(text)) + min(8.0, words / 4) + 8.0 * is_trouble(text)
    score -= 8.0 * block.chrome + 6.0 * (block.linked_chars > len(text) / 2)
    return score / (1.0 + len(text) / 800)
