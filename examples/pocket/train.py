"""Trains the pocket model for a given time; goes on from the last checkpoint.

On a GPU where there is one. On a CPU each worker is a process with one thread and batches of its
own, and gradients are averaged: at this size that keeps cores busier than threads do, which wait
for each other in every small operation.

    python examples/pocket/train.py --folder build/pocket --minutes 65
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing
import torch.nn.functional as functional
from corpus import SNIPS_TOOLS, Corpus, read_corpus
from generate import Generator, plain_example
from layout import PAD
from model import PocketNet, Shape
from optimizer import Optimizer
from torch import Tensor
from vocabulary import IGNORED, Encoded, Vocabulary

from agentkit.tools.provision.embedding import StaticEmbedding

BATCH = 64
KEPT = 8
"""Past weights that stay beside the checkpoint, for their average."""
_CHUNK_BATCHES = 10
_WARM_UP_STEPS = 60
_LEAST_RATE = 0.02
_TAG_WEIGHT = 0.3
_BLANKED = 0.05
_CHECKPOINT_SECONDS = 150
_REPORT_STEPS = 50
_WATCHED_ROWS = 192


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Examples of about the same length, padded."""

    ids: Tensor
    targets: Tensor
    tags: Tensor
    readable: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on `device`."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def main() -> None:
    """Prepare what is missing, then train until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="in all, restarts included")
    parser.add_argument("--seed", type=int, default=1)
    default = 1 if torch.cuda.is_available() else os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=default)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    _vocabulary(arguments.folder, read_corpus())
    (arguments.folder / "meeting").unlink(missing_ok=True)
    multiprocessing.spawn(  # type: ignore[attr-defined, no-untyped-call]  # torch has no types here
        _work,
        (arguments.workers, arguments.folder, arguments.minutes * 60, arguments.seed),
        nprocs=arguments.workers,
    )


def _work(rank: int, workers: int, folder: Path, limit_seconds: float, seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    meeting = f"file://{(folder / 'meeting').resolve()}"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=workers)
    corpus = read_corpus()
    vocabulary = _vocabulary(folder, corpus)
    training = Training(folder, corpus, vocabulary, rank=rank, workers=workers, seed=seed)
    training.run(limit_seconds)
    distributed.destroy_process_group()


class Training:
    """One worker's part of a run whose state lies in `folder`; the first worker keeps it."""

    def __init__(
        self,
        folder: Path,
        corpus: Corpus,
        vocabulary: Vocabulary,
        *,
        rank: int,
        workers: int,
        seed: int,
    ) -> None:
        shape = Shape(vocabulary=len(vocabulary), tags=vocabulary.tag_count)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._net = PocketNet(shape, *word_vectors(vocabulary)).to(self._device)
        self._optimizer = Optimizer(list(self._net.matrices()), list(self._net.others()))
        self._path = folder / "checkpoint.pt"
        self._past = folder / "weights"
        self._log = folder / "log.jsonl"
        self._rank, self._workers = rank, workers
        self._steps, self._seconds, self._examples = 0, 0.0, 0
        if self._path.exists():
            self._load()
        own_seed = 1_000_003 * seed + 1_009 * self._steps + rank
        torch.manual_seed(own_seed)
        self._batches = batches(Generator(corpus.train, seed=own_seed), vocabulary, seed=own_seed)
        examples = [plain_example(request, SNIPS_TOOLS) for request in corpus.held_out]
        encoded = [vocabulary.encode(example) for example in examples[:_WATCHED_ROWS]]
        self._watched = padded(encoded, vocabulary).to(self._device)

    def run(self, limit_seconds: float) -> None:
        """Train until `limit_seconds` are spent by the first worker's clock."""
        began = time.perf_counter() - self._seconds
        saved = self._seconds
        losses: list[tuple[float, float]] = []
        while self._seconds < limit_seconds:
            clock = time.perf_counter() - began
            losses.append(self._step(_rate(self._steps, self._seconds / limit_seconds), clock))
            if self._rank == 0 and self._steps % _REPORT_STEPS == 0:
                self._report(losses)
                losses.clear()
            if self._rank == 0 and self._seconds - saved > _CHECKPOINT_SECONDS:
                self._save()
                saved = self._seconds
        if self._rank == 0:
            self._save()

    def _step(self, rate: float, clock: float) -> tuple[float, float]:
        batch = next(self._batches).to(self._device)
        call, tags = losses_of(self._net, batch, blanked=_BLANKED)
        loss = call + _TAG_WEIGHT * tags
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        self._seconds = self._averaged(clock)
        self._optimizer.step(rate)
        self._steps += 1
        self._examples += len(batch.ids) * self._workers
        return call.item(), tags.item()

    def _averaged(self, clock: float) -> float:
        """Average the gradients of all workers; the first worker's `clock` travels with them."""
        gradients = [
            parameter.grad for parameter in self._net.parameters() if parameter.grad is not None
        ]
        first = clock * self._workers if self._rank == 0 else 0.0
        flat = torch.cat(
            [*(each.flatten() for each in gradients), gradients[0].new_tensor([first])]
        )
        distributed.all_reduce(flat)
        flat /= self._workers
        at = 0
        for gradient in gradients:
            gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()
        return float(flat[-1])

    def _report(self, losses: Sequence[tuple[float, float]]) -> None:
        line = {
            "step": self._steps,
            "seconds": round(self._seconds),
            "examples": self._examples,
            "call_loss": round(sum(call for call, _ in losses) / len(losses), 4),
            "tag_loss": round(sum(tag for _, tag in losses) / len(losses), 4),
            "held_out_forced_exact": round(forced_exact(self._net, self._watched), 4),
        }
        print(json.dumps(line), flush=True)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        state = {
            "net": self._net.state_dict(),
            "shape": asdict(self._net.shape),
            "optimizer": self._optimizer.state_dict(),
            "steps": self._steps,
            "seconds": self._seconds,
            "examples": self._examples,
        }
        partial = self._path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._path)
        self._past.mkdir(exist_ok=True)
        torch.save(state["net"], self._past / f"{self._steps:07d}.pt")
        for old in past_weights(self._past.parent)[:-KEPT]:
            old.unlink()

    def _load(self) -> None:
        state: dict[str, Any] = torch.load(self._path, map_location=self._device)
        self._net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._steps = state["steps"]
        self._seconds = state["seconds"]
        self._examples = state["examples"]


def losses_of(net: PocketNet, batch: Batch, *, blanked: float) -> tuple[Tensor, Tensor]:
    """Losses of the call's tokens and of the request's tags, computed in bfloat16."""
    table = net.embedding.table().bfloat16()
    embedded = functional.embedding(batch.ids, table)
    if blanked:
        kept = ~(batch.readable & (torch.rand_like(embedded[..., 0]) < blanked))
        embedded = embedded * kept.unsqueeze(-1)
    hidden, tagged = net(embedded)
    called, marked = batch.targets != IGNORED, batch.tags != IGNORED
    call = functional.cross_entropy(
        functional.linear(hidden[called], table).float(), batch.targets[called]
    )
    if not marked.any():
        return call, call.new_zeros(())
    scores = functional.linear(tagged[marked], net.tagger.to(tagged)).float()
    return call, functional.cross_entropy(scores, batch.tags[marked])


@torch.no_grad()
def forced_exact(net: PocketNet, batch: Batch) -> float:
    """Share of rows whose every call token is the likeliest after the right ones before it."""
    table = net.embedding.table().bfloat16()
    hidden, _ = net(functional.embedding(batch.ids, table))
    called = batch.targets != IGNORED
    wrong = torch.zeros_like(called)
    wrong[called] = functional.linear(hidden[called], table).argmax(-1) != batch.targets[called]
    return 1 - wrong.any(1).float().mean().item()


def batches(generator: Generator, vocabulary: Vocabulary, *, seed: int) -> Iterator[Batch]:
    """Endless batches; examples are sorted by length within a chunk, so little is padding."""
    draw = random.Random(seed)
    while True:
        chunk = [vocabulary.encode(generator.example()) for _ in range(BATCH * _CHUNK_BATCHES)]
        chunk.sort(key=lambda encoded: len(encoded.ids))
        starts = list(range(0, len(chunk), BATCH))
        draw.shuffle(starts)
        for start in starts:
            yield padded(chunk[start : start + BATCH], vocabulary)


def padded(rows: Sequence[Encoded], vocabulary: Vocabulary) -> Batch:
    """The rows as one batch."""
    length = max(len(row.ids) for row in rows)

    def filled(values: Sequence[Sequence[int]], filler: int) -> Tensor:
        return torch.tensor([[*row, *[filler] * (length - len(row))] for row in values])

    return Batch(
        ids=filled([row.ids for row in rows], vocabulary.id(PAD)),
        targets=filled([row.targets for row in rows], IGNORED),
        tags=filled([row.tags for row in rows], IGNORED),
        readable=filled([row.readable for row in rows], 0).bool(),
    )


def past_weights(folder: Path) -> list[Path]:
    """The files of weights that training left in `folder`, the oldest first."""
    return sorted((folder / "weights").glob("*.pt"))


def word_vectors(vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """For every token a vector of length 1 of what it says, and a number for its letter case."""
    pieces = [vocabulary.bpe.decode([index]) for index in range(vocabulary.bpe.get_vocab_size())]
    said = [added.strip('"<|>:{},').replace("_", " ") for added in vocabulary.added]
    vectors = torch.from_numpy(StaticEmbedding.shipped().embed([*pieces, *said]))
    cases = [_case(piece) for piece in pieces] + [0] * len(said)
    return vectors, torch.tensor(cases)


def _case(piece: str) -> int:
    """Of a piece of text: begins a word or not; lower, capitalised, upper or no letters."""
    word = piece.strip()
    shape = 1 if word.islower() else 2 if word[:1].isupper() and not word[1:].isupper() else 3
    return 1 + 4 * piece[:1].isspace() + (shape if word[:1].isalpha() else 0)


def _rate(step: int, done: float) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return min(1.0, (step + 1) / _WARM_UP_STEPS) * (_LEAST_RATE + (1 - _LEAST_RATE) * cosine)


def _vocabulary(folder: Path, corpus: Corpus) -> Vocabulary:
    path = folder / "vocabulary.json"
    if not path.exists():
        Vocabulary.learn(corpus.train).save(path)
    return Vocabulary.load(path)


if __name__ == "__main__":
    main()
