"""Makes the embedding in the wheel, tools/provision/static.npz: MiniLM reduced to word pieces.

    python packaging/build_static_embedding.py

Every word piece of MiniLM gets a vector such that the mean over a text's pieces points where MiniLM
puts the text. The start is the best linear map from MiniLM's own input vectors; gradient descent on
the cosine does the rest. It learns from texts without their labels: CLINC150, SNIPS, SLURP and
Banking77 requests, questions of MMLU, and docstrings of Python's standard library and of the
packages in this environment. No row that benchmarks/tools.py scores is among them.

Takes some minutes, nearly all of them MiniLM's, and keeps MiniLM's vectors in the cache folder.
Needs the data folder named by AGENTKIT_DATA (by default ../shared/data).
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import os
import random
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentkit.models.local.embedding import GgufEmbedding
from agentkit.tools.provision.embedding import StaticEmbedding, pack

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
from _minilm import cache_folder, gguf_path, tensors, vocabulary, weights_folder  # noqa: E402

TARGET = ROOT / "tools" / "provision" / "static.npz"
DATA = Path(os.environ.get("AGENTKIT_DATA", "../shared/data"))
DIMENSIONS = 256
_SOURCES = {  # file: (field, rows at most)
    "local/clinc150_train": ("text", 15_000),
    "local/snips_train": ("text", 4_000),
    "local/slurp_devel": ("text", 2_100),
    "cache/banking77": ("text", 3_000),
    "routing/mmlu": ("prompt", 9_200),
}
_DOCSTRINGS = 16_000
_TEXT_CHARS = 300
_EPOCHS, _BATCH, _RATE = 6, 512, 0.02
_SEED = 7

Matrix = NDArray[np.float32]


def main() -> None:
    """Learn, pack, write, and say how close the packed vectors come."""
    folder = weights_folder()
    texts = corpus()
    pieces = vocabulary(folder)
    kept = [n for n, piece in enumerate(pieces) if not (len(piece) > 1 and piece[0] == "[")]
    pieces = [pieces[n] for n in kept]
    inputs = tensors(folder)["embeddings.word_embeddings.weight"][kept]
    goal = reduced(teacher_vectors(texts))
    reader = StaticEmbedding(pieces, inputs, fingerprint="inputs")
    bags = [np.array(reader.piece_ids(text), np.int64) for text in texts]
    usable = [row for row, bag in enumerate(bags) if len(bag)]
    bags, goal = [bags[row] for row in usable], goal[usable]
    table = descend(first_table(inputs, bags, goal), bags, goal)
    packed = pack(pieces, table)
    TARGET.write_bytes(packed)
    print(f"{len(pieces):,} pieces of {DIMENSIONS} numbers: {len(packed):,} bytes")


def corpus() -> list[str]:
    """The texts to learn from, shuffled, each once."""
    rng = random.Random(_SEED)  # noqa: S311  not a secret
    texts: set[str] = set()
    for name, (field, count) in _SOURCES.items():
        with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line)[field].split("\nA.")[0] for line in lines]
        texts.update(rng.sample(rows, min(count, len(rows))))
    docstrings = sorted(set(_docstrings()))
    texts.update(rng.sample(docstrings, min(_DOCSTRINGS, len(docstrings))))
    ordered = sorted({text[:_TEXT_CHARS] for text in texts if len(text) > 8})
    rng.shuffle(ordered)
    return ordered


def _docstrings() -> Iterator[str]:
    """Names with the first paragraph of what is said of them: close to what tools look like."""
    places = sysconfig.get_paths()
    for place in (places["stdlib"], places["purelib"]):
        for path in sorted(Path(place).rglob("*.py")):
            inner = path.relative_to(place).parts
            if "site-packages" in inner or any("test" in part for part in inner):
                continue
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    text = ast.get_docstring(node) or ""
                    if len(text) > 25:
                        first = re.split(r"\n\s*\n", text)[0].replace("\n", " ")
                        yield f"{node.name.replace('_', ' ').strip()}: {first}"


def teacher_vectors(texts: Sequence[str]) -> Matrix:
    """MiniLM's vectors, kept in the cache folder."""
    key = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    path = cache_folder() / f"teacher-{key}.npy"
    if not path.exists():
        np.save(path, GgufEmbedding(gguf_path()).embed(texts).astype(np.float16))
    return np.asarray(np.load(path), np.float32)


def reduced(vectors: Matrix) -> Matrix:
    """The directions in which the vectors differ most, at length 1."""
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    found = centred @ directions[:, ::-1][:, :DIMENSIONS]
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def first_table(inputs: Matrix, bags: Sequence[NDArray[np.int64]], goal: Matrix) -> Matrix:
    """The linear map of MiniLM's input vectors whose means come closest to the goal."""
    means = np.stack([inputs[bag].mean(axis=0) for bag in bags])
    mapping, *_ = np.linalg.lstsq(means, goal, rcond=None)
    return np.asarray(inputs @ mapping, np.float32)


def descend(table: Matrix, bags: Sequence[NDArray[np.int64]], goal: Matrix) -> Matrix:
    """Adam on the rows that a batch touches, one scale a row; the rate falls to 0."""
    rng = np.random.default_rng(_SEED)
    mean, square = np.zeros_like(table), np.zeros(len(table), np.float32)
    order = np.arange(len(bags))
    steps = _EPOCHS * (len(bags) // _BATCH)
    for step in range(steps):
        if step % (len(bags) // _BATCH) == 0:
            rng.shuffle(order)
        at = step % (len(bags) // _BATCH) * _BATCH
        rows = order[at : at + _BATCH]
        touched, slope = _slope(table, [bags[row] for row in rows], goal[rows])
        mean[touched] = 0.9 * mean[touched] + 0.1 * slope
        square[touched] = 0.98 * square[touched] + 0.02 * np.square(slope).mean(axis=1)
        rate = _RATE * (1 - step / steps)
        table[touched] -= rate * mean[touched] / (np.sqrt(square[touched])[:, None] + 1e-4)
    return table


def _slope(
    table: Matrix, bags: Sequence[NDArray[np.int64]], goal: Matrix
) -> tuple[NDArray[np.int64], Matrix]:
    """The rows that the bags touch, and the slope of 1 - cosine along each."""
    counts = np.array([len(bag) for bag in bags])
    flat = np.concatenate(bags)
    sums = np.add.reduceat(table[flat], np.cumsum(counts) - counts, axis=0)
    means = sums / counts[:, None]
    lengths = np.linalg.norm(means, axis=1, keepdims=True) + 1e-6
    units = means / lengths
    along = (goal * units).sum(axis=1, keepdims=True)
    slope = (along * units - goal) / lengths / counts[:, None]
    order = np.argsort(flat, kind="stable")
    touched, starts = np.unique(flat[order], return_index=True)
    rows = np.repeat(np.arange(len(bags)), counts)[order]
    return touched, np.asarray(np.add.reduceat(slope[rows], starts, axis=0), np.float32)


if __name__ == "__main__":
    main()
