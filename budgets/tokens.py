"""Token counting with OpenAI's encodings, offline from the first second.

The rank tables ship packed inside the package; `packaging/build_rank_tables.py` made them and proved
them by the sha256 that tiktoken expects. Nothing is downloaded, and tiktoken is not imported before
the first count.
"""

from __future__ import annotations

import json
import lzma
import re
import threading
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tiktoken import Encoding

EncodingName = Literal["o200k_base", "cl100k_base"]

_OLD_MODELS = re.compile(r"(?:gpt-4|gpt-3\.5|gpt-35)(?![o.\d])")
_CHUNK_CHARS = 50_000
_LONGEST_MEMO_CHARS = 20_000
_MEMO_SIZE = 16_384
_LONG_RUN = re.compile(r"\s{512}|\S{512}")
_lock = threading.Lock()
_loaded: dict[str, Encoding] = {}


def encoding_for_model(model: str) -> EncodingName:
    """The encoding of an OpenAI model: cl100k for gpt-4 and 3.5, o200k for all later and others.

    For a model of another provider o200k is an approximation; its margin is learned.
    """
    return "cl100k_base" if _OLD_MODELS.match(model) else "o200k_base"


def count_text(text: str, encoding: EncodingName = "o200k_base") -> int:
    """Tokens of `text`; the spelling of special tokens counts as plain text.

    Equal to tiktoken's own count up to 50,000 characters. A longer text, or one with runs of over
    512 characters without a break, is counted in pieces, each cut adding one token: such a count
    may exceed tiktoken's slightly, and its time stays linear.
    """
    if len(text) <= _LONGEST_MEMO_CHARS:
        return _count_memo(text, encoding)
    return _count(text, encoding)


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


@lru_cache(maxsize=_MEMO_SIZE)
def _count_memo(text: str, encoding: EncodingName) -> int:
    return _count(text, encoding)


def _count(text: str, encoding: EncodingName) -> int:
    loaded = load_encoding(encoding)
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    total = 0
    for piece in _pieces(text):
        total += len(loaded.encode_ordinary(piece))
    return total if len(text) <= _CHUNK_CHARS else total + len(text) // _CHUNK_CHARS


def _pieces(text: str) -> list[str]:
    """Pieces of at most 50,000 characters, cut at line ends where there are any."""
    if len(text) <= _CHUNK_CHARS and not _LONG_RUN.search(text):
        return [text]
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = min(start + _CHUNK_CHARS, len(text))
        if end < len(text):
            line = text.rfind("\n", start + _CHUNK_CHARS // 2, end)
            end = line + 1 if line > 0 else end
        pieces += _without_long_runs(text[start:end])
        start = end
    return pieces


def _without_long_runs(text: str) -> list[str]:
    """Encoding one unbroken run takes more than linear time, so runs are cut every 512 characters."""
    pieces: list[str] = []
    start = 0
    for run in _LONG_RUN.finditer(text):
        pieces.append(text[start : run.end()])
        start = run.end()
    pieces.append(text[start:])
    return [piece for piece in pieces if piece]
