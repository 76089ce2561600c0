"""HTML: the text of the main content, with headings, links, tables and forms; the rest is chrome.

lexbor parses (through selectolax); nothing here interprets markup itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentkit.tools.prune.outline import Ask, Outline
from agentkit.tools.prune.salience import is_trouble, salience

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

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
_MAX_NODES = 400_000
_MAX_HREF_CHARS = 200
_MAX_PIECE_CHARS = 1_500
_CHECK_EVERY = 512


def html_outline(text: str, ask: Ask) -> Outline:
    """Blocks of text in the order of the page; links as `text <address>`."""
    from selectolax.lexbor import LexborHTMLParser

    parser = LexborHTMLParser(text)
    parser.strip_tags(_HIDDEN)
    walk = _Walk()
    root = parser.root
    if root is not None:
        for count, node in enumerate(root.traverse(include_text=True)):
            if count % _CHECK_EVERY == 0:
                ask.deadline.check()
            if count >= _MAX_NODES:
                break
            walk.take(node)
    walk.flush()
    return _outline(walk.blocks, ask)


@dataclass(kw_only=True)
class _Block:
    text: str
    heading: bool
    chrome: bool
    linked_chars: int


@dataclass(kw_only=True)
class _Walk:
    """Gathers text until a block begins; nodes come in the order of the document."""

    blocks: list[_Block] = field(default_factory=list[_Block])
    _parts: list[str] = field(default_factory=list[str])
    _heading: bool = False
    _linked_chars: int = 0
    _chrome_until: int = 0
    _in_chrome: bool = False

    def take(self, node: LexborNode) -> None:
        if node.is_text_node:
            content = node.text_content
            if content and not content.isspace():
                self._parts.append(content)
            return
        tag = node.tag or ""
        if tag in _BLOCKS:
            self.flush()
            self._heading = tag in _HEADINGS
            self._in_chrome = tag in _CHROME or (self._in_chrome and tag in ("ul", "li", "ol", "p"))
        elif tag in _CELLS:
            self._parts.append(" |" if self._parts else "")
        if tag == "a":
            self._take_link(node)
        elif tag in _FIELDS:
            self._take_field(node, tag)
        elif tag == "img":
            alt = node.attrs.get("alt")
            if alt:
                self._parts.append(f"[image: {alt[:_MAX_HREF_CHARS]}]")

    def _take_link(self, node: LexborNode) -> None:
        address = node.attrs.get("href") or ""
        if address and not address.startswith(("#", "javascript:", "data:")):
            self._parts.append(f"<{address[:_MAX_HREF_CHARS]}>")
            self._linked_chars += 40

    def _take_field(self, node: LexborNode, tag: str) -> None:
        attributes = node.attributes
        if attributes.get("type") == "hidden":
            return
        said = " ".join(
            f"{name}={str(attributes[name])[:100]}" for name in _FIELD_NAMES if attributes.get(name)
        )
        if said:
            self._parts.append(f"[{tag} {said}]")

    def flush(self) -> None:
        """Ends the current block."""
        if self._parts:
            text = " ".join(" ".join(self._parts).split()).strip(" |")
            if text:
                self.blocks.append(
                    _Block(
                        text=text,
                        heading=self._heading,
                        chrome=self._in_chrome,
                        linked_chars=self._linked_chars,
                    )
                )
        self._parts.clear()
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
