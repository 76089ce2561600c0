"""Texts as the words that are compared: names split, common words left out, endings cut."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol, cast

import snowballstemmer  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

_CASE_CHANGE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[_.\-/]+")
_WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u4e00-\u9fff]+")
_COMMON = frozenset(
    "a about all also am an and any are as at be been but by can could did do does for from had "
    "has have he help her his how i if in into is it its just let like may me my need not of on or "
    "our out please she should so some than that the their them then there these they this those "
    "to up us want was we were what when where which who will with would you your".split()
)
_KNOWN_WORDS = 65_536

# What a file of that ending is called in the descriptions of tools that read or write it.
_FILE_WORDS = {
    "csv": "csv file",
    "docx": "word document file",
    "doc": "word document file",
    "html": "html page file",
    "jpg": "image file",
    "json": "json file",
    "md": "markdown file",
    "pdf": "pdf document file",
    "png": "image file",
    "ppt": "powerpoint presentation file",
    "pptx": "powerpoint presentation file",
    "txt": "text file",
    "xls": "excel sheet file",
    "xlsx": "excel sheet file",
    "zip": "archive file",
}
BINARY_FILES = {
    "doc": "word document",
    "docx": "word document",
    "jpg": "image",
    "pdf": "pdf",
    "png": "image",
    "ppt": "powerpoint presentation",
    "pptx": "powerpoint presentation",
    "xls": "excel workbook",
    "xlsx": "excel workbook",
    "zip": "archive",
}
"""Kinds of files that no writer of text can write, by their endings."""
_FILE = re.compile(r"[~\w./\\-]*[\w-]\.(" + "|".join(_FILE_WORDS) + r")\b", re.IGNORECASE)


def spoken(name: str) -> str:
    """A name as words: "getUserInfo", "get_user_info" and "get.user-info" are "get User Info"."""
    return _CASE_CHANGE.sub(" ", _SEPARATORS.sub(" ", name)).strip()


def plain(request: str) -> str:
    """A request with the paths of files replaced by what such files are called."""
    return _FILE.sub(lambda found: _FILE_WORDS[found[1].lower()], request)


def terms(text: str) -> list[str]:
    """The stems of a text's words without the commonest; Chinese and Japanese by the character."""
    words = _WORD.findall(_CASE_CHANGE.sub(" ", text).lower())
    return [_stem(word) for word in words if word not in _COMMON]


def content_words(text: str) -> list[str]:
    """A text's words without the commonest, each once, as they stand."""
    words = _WORD.findall(_CASE_CHANGE.sub(" ", text).lower())
    return [word for word in dict.fromkeys(words) if word not in _COMMON]


class _Stemmer(Protocol):
    """What is used of snowballstemmer, which has no types."""

    def stemWord(self, word: str) -> str: ...  # noqa: N802


_stemmer = cast("_Stemmer", snowballstemmer.EnglishStemmer())


@lru_cache(_KNOWN_WORDS)
def _stem(word: str) -> str:
    return _stemmer.stemWord(word[:64])
