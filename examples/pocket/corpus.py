"""Requests of SNIPS, CLINC150 and SLURP in one shape: pieces of text, some filling a slot."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Source = Literal["snips", "clinc", "slurp"]

NO_TOOL = "no_tool"
SNIPS_TOOLS = (
    "add_to_playlist",
    "book_restaurant",
    "get_weather",
    "play_music",
    "rate_book",
    "search_creative_work",
    "search_screening_event",
)
HELD_OUT_EVERY = 20
_RENAMED = {("clinc", "play_music"): "do_play_music", ("slurp", "play_music"): "play_song"}
_SLURP_SLOT = re.compile(r"\[(\S+) : ([^\]]*)\]")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a request; `slot` names the argument that it fills."""

    text: str
    slot: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody asked, and the tool that it is for (`no_tool` where none is)."""

    source: Source
    tool: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Rows to learn from, and rows kept out of training to watch it and to calibrate."""

    train: tuple[Request, ...]
    held_out: tuple[Request, ...]
    refusals: tuple[Request, ...]
    """Requests out of reach of the SNIPS tools, from parts of CLINC150 that train nothing."""


def read_corpus(folder: Path | None = None) -> Corpus:
    """The training parts of the three data sets, below AGENTKIT_DATA unless `folder` is given.

    One SNIPS row in twenty is held out. Neither `snips_validate` nor any test file is opened.
    """
    folder = folder or Path(os.environ.get("AGENTKIT_DATA", "../shared/data")) / "local"
    snips = _unique([_snips(row) for row in read_rows(folder, "snips_train")])
    train = [request for index, request in enumerate(snips) if index % HELD_OUT_EVERY]
    held_out = snips[::HELD_OUT_EVERY]
    for name in ("clinc150_train", "clinc150_oos_train"):
        train += [_clinc(row) for row in read_rows(folder, name)]
    train += [_slurp(row) for row in read_rows(folder, "slurp_devel")]
    refusals = [
        _clinc(row)
        for name in ("clinc150_oos_val", "clinc150_val")
        for row in read_rows(folder, name)
    ]
    return Corpus(train=tuple(train), held_out=tuple(held_out), refusals=tuple(refusals))


def read_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of one file, as they are."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def clean(text: str) -> str:
    """Text as the model reads it: no double quotes, no backslashes, single spaces."""
    plain = text.replace('"', "'").replace("\\", "/").replace("\u2019", "'")
    return " ".join(plain.split())


def text_of(pieces: Sequence[Piece]) -> str:
    """The pieces as one clean text."""
    return clean("".join(piece.text for piece in pieces))


def snake(name: str) -> str:
    """`PlayMusic` as `play_music`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _unique(requests: Sequence[Request]) -> list[Request]:
    """One of each text: what is held out must not stand in training as well."""
    return list({text_of(request.pieces).lower(): request for request in requests}.values())


def _snips(row: dict[str, Any]) -> Request:
    text = str(row["text"]).replace('"', "'").replace("\\", "/")
    pieces: list[Piece] = []
    at = 0
    for slot in row["slots"]:
        value = str(slot["value"]).replace('"', "'").replace("\\", "/")
        start = text.index(value, at)
        if start > at:
            pieces.append(Piece(text=text[at:start]))
        pieces.append(Piece(text=value, slot=snake(slot["name"])))
        at = start + len(value)
    if at < len(text):
        pieces.append(Piece(text=text[at:]))
    return Request(source="snips", tool=snake(row["intent"]), pieces=tuple(pieces))


def _clinc(row: dict[str, Any]) -> Request:
    return Request(
        source="clinc",
        tool=_tool_name("clinc", str(row["intent"])),
        pieces=(Piece(text=str(row["text"])),),
    )


def _slurp(row: dict[str, Any]) -> Request:
    annotated = str(row["annotation"])
    pieces: list[Piece] = []
    at = 0
    for found in _SLURP_SLOT.finditer(annotated):
        if found.start() > at:
            pieces.append(Piece(text=annotated[at : found.start()]))
        pieces.append(Piece(text=found[2].strip(), slot=found[1]))
        at = found.end()
    if at < len(annotated):
        pieces.append(Piece(text=annotated[at:]))
    tool = _tool_name("slurp", f"{row['scenario']}_{row['action']}")
    return Request(source="slurp", tool=tool, pieces=tuple(pieces))


def _tool_name(source: Source, intent: str) -> str:
    """The intent as a tool's name: at least two words, so that a request rarely contains it."""
    if intent == "oos":
        return NO_TOOL
    renamed = _RENAMED.get((source, intent))
    if renamed is not None:
        return renamed
    return intent if "_" in intent else f"do_{intent}"
