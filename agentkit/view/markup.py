"""The page's own text: one HTML document with style and script inside, nothing from elsewhere.

The script is written as modules. They are joined here, for a module cannot import another from a
file that was opened from disk, and one document needs one request.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_STATIC = Path(__file__).parent / "static"
MODULES = (
    "dom",
    "format",
    "book",
    "charts",
    "overview",
    "tasks",
    "story",
    "task",
    "compare",
    "app",
)
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class) )", re.MULTILINE)
_HOLE = re.compile(r"\{\{(\w+)\}\}")
_NOWHERE = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"


def served_page(nonce: str) -> tuple[str, str]:
    """The document for a server, and the Content-Security-Policy to send with it."""
    policy = (
        f"{_NOWHERE}; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; frame-ancestors 'none'"
    )
    return _filled(source="source_served", nonce=nonce, policy="", data=""), policy


def page_file(blocks: Mapping[str, bytes]) -> str:
    """The document for a file: `blocks` are compressed JSON, in base64, by the id of their element.

    Base64 has no character that HTML knows, so nothing inside can end its element.
    """
    script = script_of("source_file")
    hashes = [f"'sha256-{_digest(text)}'" for text in (script, _text("page.css"))]
    policy = f"{_NOWHERE}; script-src {hashes[0]}; style-src {hashes[1]}"
    data = "".join(
        f'<script type="application/octet-stream" id="{name}">'
        f"{base64.b64encode(block).decode()}</script>\n"
        for name, block in blocks.items()
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    return _filled(source="source_file", nonce="", policy=meta, data=data)


@cache
def script_of(source: str) -> str:
    """All modules in the order in which they need each other, as one."""
    texts = [_text(f"{name}.js") for name in (*MODULES, source)]
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in texts)


def _filled(*, source: str, nonce: str, policy: str, data: str) -> str:
    parts = {
        "style": _text("page.css"),
        "script": script_of(source),
        "nonce": nonce,
        "policy": policy,
        "data": data,
    }
    return _HOLE.sub(lambda hole: parts[hole[1]], _text("page.html"))


@cache
def _text(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
