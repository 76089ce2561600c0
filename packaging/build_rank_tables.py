"""Packs tiktoken's rank tables for the wheel, so that counting works offline.

    python packaging/build_rank_tables.py WHEEL

WHEEL is any wheel or zip that carries the raw tables under the names by which tiktoken caches them
(the `litellm` wheel does: `pip download --no-deps litellm`). Each table is proved by the sha256
that tiktoken itself expects before it is packed: a JSON header, then every token in rank order with
its length in one byte, all of it xz-compressed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiktoken_ext.openai_public as published

TARGET = Path(__file__).parent.parent / "budgets" / "rank_tables"


def main(wheel: str) -> None:
    """Write one packed file per encoding."""
    with zipfile.ZipFile(wheel) as archive:
        for name in ("o200k_base", "cl100k_base"):
            packed = pack(name, archive)
            (TARGET / f"{name}.xz").write_bytes(packed)
            print(f"{name}: {len(packed):,} bytes")


def pack(name: str, archive: zipfile.ZipFile) -> bytes:
    """The packed table of the encoding `name`; exits where the raw one is not tiktoken's."""
    address, expected, definition = _published(name)
    cached_as = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    member = next((m for m in archive.namelist() if m.endswith(cached_as)), None)
    if member is None:
        sys.exit(f"{archive.filename} does not carry {name} (as {cached_as})")
    raw = archive.read(member)
    if hashlib.sha256(raw).hexdigest() != expected:
        sys.exit(f"{name}: sha256 is not the one that tiktoken expects, {expected}")
    header = {
        "name": name,
        "sha256": expected,
        "pat_str": definition["pat_str"],
        "special_tokens": definition["special_tokens"],
    }
    body = bytearray(json.dumps(header).encode() + b"\n")
    for rank, line in enumerate(raw.splitlines()):
        token, number = line.split()
        if int(number) != rank:
            sys.exit(f"{name}: rank {number.decode()} stands in line {rank}")
        decoded = base64.b64decode(token)
        body += bytes([len(decoded)]) + decoded
    return lzma.compress(bytes(body), preset=9 | lzma.PRESET_EXTREME)


def _published(name: str) -> tuple[str, str, dict[str, Any]]:
    """The address and hash of the raw table, and the definition around it, as tiktoken has them."""
    seen: list[tuple[str, str]] = []

    def note(address: str, expected_hash: str) -> dict[bytes, int]:
        seen.append((address, expected_hash))
        return {}

    loader: Callable[..., Any] = published.load_tiktoken_bpe
    published.load_tiktoken_bpe = note
    try:
        definition = getattr(published, name)()
    finally:
        published.load_tiktoken_bpe = loader
    return (*seen[0], definition)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
