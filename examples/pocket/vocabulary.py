"""The model's tokens: byte-level BPE for requests; one token each for JSON, tool names and keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus import NO_TOOL, SNIPS_TOOLS, Request, text_of
from generate import Example
from layout import (
    CLOSE,
    CLOSE_EMPTY,
    DO,
    MIDDLE,
    NEXT,
    OPEN,
    READINGS,
    STOP,
    TOOLS,
    USER,
    TokenTable,
    added_tokens,
    quoted_key,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

PIECES = 5_600
IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Token ids of an example; `targets` for the call's tokens, `tags` for the request's."""

    ids: tuple[int, ...]
    targets: tuple[int, ...]
    tags: tuple[int, ...]
    readable: tuple[bool, ...]
    """True for the request's tokens, which training may blank out."""


class Vocabulary:
    """Encodes examples. Learned from requests with `learn`, kept in a file."""

    def __init__(self, bpe: Tokenizer, tools: Sequence[str], keys: Sequence[str]) -> None:
        self.bpe = bpe
        self.tools = tuple(tools)
        self.keys = tuple(keys)
        self.added = added_tokens(self.tools, self.keys)
        start = bpe.get_vocab_size()
        self._ids = {text: start + index for index, text in enumerate(self.added)}
        self._tags = {key: 1 + 2 * index for index, key in enumerate(self.keys)}

    @classmethod
    def learn(cls, requests: Iterable[Request], *, pieces: int = PIECES) -> Vocabulary:
        """Pieces, tool names and argument keys of `requests`."""
        requests = list(requests)
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=pieces,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
            min_frequency=2,
        )
        bpe.train_from_iterator((f" {text_of(request.pieces)}" for request in requests), trainer)
        named = {request.tool for request in requests} - {NO_TOOL, *SNIPS_TOOLS}
        keys = {piece.slot for request in requests for piece in request.pieces if piece.slot}
        return cls(bpe, [*SNIPS_TOOLS, *sorted(named), NO_TOOL], sorted(keys))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return cls(Tokenizer.from_str(json.dumps(kept["bpe"])), kept["tools"], kept["keys"])

    def save(self, path: Path) -> None:
        kept = {"bpe": json.loads(self.bpe.to_str()), "tools": self.tools, "keys": self.keys}
        path.write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")

    def __len__(self) -> int:
        return self.bpe.get_vocab_size() + len(self.added)

    @property
    def tag_count(self) -> int:
        return 1 + 2 * len(self.keys)

    def id(self, text: str) -> int:
        """The id of a control token, a piece of JSON, a tool's name or a quoted key."""
        return self._ids[text]

    def table(self) -> TokenTable:
        """All tokens and the merges of the BPE, as GGUF files write them."""
        kept = json.loads(self.bpe.to_str())["model"]["merges"]
        ids = self.bpe.get_vocab()
        return TokenTable(
            pieces=sorted(ids, key=ids.__getitem__),
            merges=[merge if isinstance(merge, str) else " ".join(merge) for merge in kept],
            added=self.added,
        )

    def encode(self, example: Example) -> Encoded:
        """The prompt, in which the request stands twice, and the call."""
        read = self.bpe.encode(f" {example.text}")
        request = list(read.ids)
        head = [self.id(TOOLS), *(self.id(tool) for tool in example.offered)]
        reading = [self.id(USER), *request]
        prompt = [*head, *reading * READINGS, self.id(DO)]
        call = self._call(example)
        ids = [*prompt, *call]
        targets = [IGNORED] * (len(prompt) - 1) + call + [IGNORED]
        untagged = [IGNORED] * (len(head) + len(reading) * (READINGS - 1) + 1)
        tags = [*untagged, *self._tagged(example, read.offsets)]
        tags += [IGNORED] * (len(ids) - len(tags))
        readable = [False] * len(head) + ([False] + [True] * len(request)) * READINGS
        readable += [False] * (len(ids) - len(readable))
        return Encoded(
            ids=tuple(ids), targets=tuple(targets), tags=tuple(tags), readable=tuple(readable)
        )

    def _call(self, example: Example) -> list[int]:
        call = [self.id(OPEN), self.id(example.tool), self.id(MIDDLE)]
        for index, (key, value) in enumerate(example.arguments.items()):
            call += [self.id(NEXT)] if index else []
            call += [self.id(quoted_key(key)), *self.bpe.encode(f" {value}").ids]
        call.append(self.id(CLOSE if example.arguments else CLOSE_EMPTY))
        return [*call, self.id(STOP)]

    def _tagged(self, example: Example, offsets: Sequence[tuple[int, int]]) -> list[int]:
        """Per request token: 0 outside, 2i+1 where slot i begins, 2i+2 inside it."""
        if not example.tagged:
            return [IGNORED] * len(offsets)
        tags = [0] * len(offsets)
        for span in example.spans:
            begun = False
            for index, (start, end) in enumerate(offsets):
                # Offsets count the space put before the text; a token may begin with a space.
                if end - 1 > span.start and start < span.end + 1 and end - 1 <= span.end:
                    tags[index] = self._tags[span.slot] + begun
                    begun = True
        return tags
