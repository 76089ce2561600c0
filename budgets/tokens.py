"""Token counting with OpenAI's encodings, offline from the first second.

The rank tables ship packed inside the package; `packaging/build_rank_tables.py` made them and
proved them by the sha256 that tiktoken expects. Nothing is downloaded, and tiktoken is not imported
before the first count.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import re
import threading
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tiktoken import Encoding

EncodingName = Literal["o200k_base", "cl100k_base"]

_OLD_MODELS = re.compile(
    r"(?:openai[:/])?(?:ft:)?(?:(?:gpt-4|gpt-3\.5|gpt-35)(?![o.\d])|text-embedding-)"
)

_THEIRS = re.compile(r"(?:openai[:/])?(?:ft:)?(?:gpt|chatgpt|codex|computer-use|o\d)(?![a-z])")
"""Names of OpenAI's models: others answer at addresses of the same protocol, too."""

_CHUNK_CHARS = 65_536
_LONGEST_STRETCH_CHARS = 131_072
"""tiktoken's regex overflows its stack on runs of white space of several hundred thousand."""
_SURE_BOUNDARY = re.compile(
    r"\S(?=[ \t])"
    r"|[A-Za-z0-9\u0400-\u0481\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5\uac00-\ud7a3]"
    r"(?=[\s,.;:!?()\[\]{}\"<>=/\uff0c\u3002\uff1b\uff1a\uff01\uff1f\u3001])"
    r"|[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])"
)
"""Between these two characters both encodings always cut before they merge anything: no
alternative of their patterns matches across. Text may be cut here without changing its count."""

_RARER = (
    (0.5, re.compile(r"[\u0400-\u052f\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]+")),
    (1.0, re.compile(r"[\u0080-\u03ff\u0530-\u07ff\u1100-\u11ff\u1e00-\u2bff\uac00-\ud7ff]+")),
    (1.5, re.compile(r"[\u0800-\u10ff\u1200-\u1dff\ua000-\uabff\ud800-\uf8ff\ufb00-\ufeff]+")),
    (1.5, re.compile("[\U00010000-\U0010ffff]+")),
)
"""Tokens for each character that an encoding with fewer of its script may need beyond o200k's: of
Cyrillic, Chinese and Japanese; of other alphabets, Korean and signs; of Indic and South-East Asian
scripts, Georgian, Ethiopic, emoji."""

_MEMO_SIZE = 16_384
_SHORT_CHARS = 64

_lock = threading.Lock()
_loaded: dict[str, Encoding] = {}
_memo: dict[tuple[str, int, bytes], int] = {}


def encoding_for_model(model: str) -> EncodingName:
    """The encoding of an OpenAI model: cl100k for gpt-4 and 3.5, o200k for all later and others.

    For a model of another provider o200k is an approximation; see `count_foreign`.
    """
    return "cl100k_base" if _OLD_MODELS.match(model) else "o200k_base"


def has_encoding(model: str, provider: str) -> bool:
    """Whether a model's encoding is one of these, so that text counts as the model reads it."""
    return provider in ("openai", "azure") and _THEIRS.match(model) is not None


def text_counter(model: str, provider: str) -> Callable[[str], int]:
    """What counts text for a model: in its own encoding where that is at hand, else by
    `count_foreign`. The encoding is loaded at the first count."""
    if not has_encoding(model, provider):
        return count_foreign
    encoding = encoding_for_model(model)
    return lambda text: count_text(text, encoding)


def count_text(text: str, encoding: EncodingName = "o200k_base") -> int:
    """Tokens of `text`; the spelling of special tokens counts as plain text.

    Equal to tiktoken's own count, in time linear in the length, but for one case: a stretch of over
    131,072 characters without a place where the encoding always cuts (no space after a character,
    no punctuation after a letter, no digit beside a letter) counts one token per UTF-8 byte, which
    no encoding exceeds. Lone surrogates count as U+FFFD, as in tiktoken.
    """
    if len(text) <= _SHORT_CHARS:
        return _count_chunk(text, encoding)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    key = (encoding, len(text), digest)
    known = _memo.get(key)
    if known is None:
        known = sum(_parts(text, encoding))
        if len(_memo) >= _MEMO_SIZE:
            _forget_oldest_half()
        _memo[key] = known
    return known


def count_foreign(text: str) -> int:
    """Tokens of `text` for an encoding that is not at hand: o200k's, and more beyond ASCII.

    o200k has many words of the world's scripts. Beside Claude 2's encoding, the last that Anthropic
    published (65,000 tokens), its count alone is too low by factors of 1.2 (Chinese) to 6.7
    (Tamil); this one by 1.7 at most, in each of 27 languages (`benchmarks/foreign_tokens.py`).
    """
    counted = count_text(text)
    if text.isascii():
        return counted
    more = (weight * sum(map(len, found.findall(text))) for weight, found in _RARER)
    return counted + math.ceil(sum(more))


def load_encoding(name: EncodingName) -> Encoding:
    """The tiktoken encoding, built from the packed table at its first use."""
    found = _loaded.get(name)
    if found is None:
        with _lock:
            found = _loaded.get(name) or _build(name)
            _loaded[name] = found
    return found


def _build(name: EncodingName) -> Encoding:
    from tiktoken import Encoding

    packed = files("agentkit.budgets").joinpath("rank_tables", f"{name}.xz").read_bytes()
    head, _, body = lzma.decompress(packed).partition(b"\n")
    header = json.loads(head)
    ranks: dict[bytes, int] = {}
    position = rank = 0
    while position < len(body):
        start = position + 1
        position = start + body[position]
        ranks[body[start:position]] = rank
        rank += 1
    return Encoding(
        name,
        pat_str=header["pat_str"],
        mergeable_ranks=ranks,
        special_tokens=header["special_tokens"],
    )


def _parts(text: str, encoding: EncodingName) -> Iterator[int]:
    """The counts of parts of `text` whose sum is never below the count of the whole."""
    start = 0
    while len(text) - start > _CHUNK_CHARS:
        cut = _SURE_BOUNDARY.search(text, start + _CHUNK_CHARS - 1, start + _LONGEST_STRETCH_CHARS)
        if cut is not None:
            yield _count_chunk(text[start : cut.end()], encoding)
        else:
            cut = _SURE_BOUNDARY.search(text, start + _LONGEST_STRETCH_CHARS - 1)
            yield len(text[start : cut.end() if cut else None].encode("utf-8", "surrogatepass"))
        if cut is None:
            return
        start = cut.end()
    yield _count_chunk(text[start:], encoding)


def _count_chunk(text: str, encoding: EncodingName) -> int:
    return len(load_encoding(encoding).encode_ordinary(text))


def _forget_oldest_half() -> None:
    with _lock:
        for key in list(_memo)[: _MEMO_SIZE // 2]:
            _memo.pop(key, None)
