"""A request taken apart into the several things it asks for, files to be written among them."""

from __future__ import annotations

import re

from agentkit.tools.provision.words import BINARY_FILES

MAX_INTENTS = 8
MAX_REQUEST_CHARS = 4_000
_LEAST_WORDS = 2
_LEAST_CHARS = 8
_BOUNDARY = re.compile(
    r"(?<=[.!?;。！？；])\s*(?=[^\d\s])|\n+"
    r"|,?\s+(?:and then|and also|then|also|and|plus|as well as)\s+"
    r"|,\s+",
    re.IGNORECASE,
)

_FILE = r"(?:[~.]{0,2}/)[\w./-]*[\w-]\.(?P<ending>\w{1,5})\b"
_WRITTEN = re.compile(
    r"\b(?:sav|stor|writ|export|output|put|generat|creat|mak|produc|giv|prepar)\w*\b"
    rf"[^!?\n]*?\b(?:to|in|into|at|as|under)\s+[`'\"(]?{_FILE}",
    re.IGNORECASE,
)
_WRITE_TEXT = "create a new file and write content to it"
_MAX_FILES = 2


def intents(request: str) -> tuple[str, ...]:
    """The parts of a request that may each need a tool of its own; none where it is one thing.

    Cut at the ends of sentences, commas and conjunctions; at most MAX_INTENTS, the first ones.
    """
    parts = [part.strip(" ,.;:") for part in _BOUNDARY.split(request[:MAX_REQUEST_CHARS])]
    worth = [part for part in parts if _is_worth(part)]
    distinct = tuple(dict.fromkeys(worth))
    return distinct[:MAX_INTENTS] if len(distinct) > 1 else ()


def deliverables(request: str) -> tuple[str, ...]:
    """What takes the files that a request names as the place of its result: "save it to ./a.md".

    Nothing else of such a request says so, for all of it is about what the file will hold.
    """
    found = [
        f"save {kind} file" if (kind := BINARY_FILES.get(match["ending"].lower())) else _WRITE_TEXT
        for match in _WRITTEN.finditer(request[:MAX_REQUEST_CHARS])
    ]
    return tuple(dict.fromkeys(found))[:_MAX_FILES]


def _is_worth(part: str) -> bool:
    return len(part) >= _LEAST_CHARS and (len(part.split()) >= _LEAST_WORDS or not part.isascii())
