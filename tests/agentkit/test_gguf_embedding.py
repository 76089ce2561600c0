"""A GGUF embedding model through llama.cpp serves wherever an embedding does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentkit.models.local.embedding import GgufEmbedding
from agentkit.models.local.errors import ModelFileInvalid, ModelFileMissing, ModelUnsupported
from agentkit.tools.provision import Embedder, ToolCard, ToolIndex, search
from tests.gguf_factory import random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("gguf") / "embedding.gguf", pools=True)


def test_a_gguf_embedding_gives_one_vector_a_text(model: Path) -> None:
    embedder = GgufEmbedding(f"local:{model}")
    rows = embedder.embed(["ab", "ba", "ab", "", "\ud800\0", "x" * 5_000])
    assert rows.shape == (6, 64)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(6), abs=1e-4)
    assert rows[0] == pytest.approx(rows[2], abs=1e-4)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_an_index_is_made_with_it_and_kept_for_this_file_alone(model: Path, tmp_path: Path) -> None:
    embedder: Embedder = GgufEmbedding(model)
    cards = [ToolCard(name=name, description=name, schema={}) for name in ("ab", "ba", "cd")]
    index = ToolIndex(cards, embedder=embedder, cache_folder=tmp_path / "cache")
    assert search(index, "cd", limit=1)[0].name == "cd"
    other = random_model(tmp_path / "other.gguf", pools=True, context=1024)
    assert GgufEmbedding(other).fingerprint != embedder.fingerprint
    assert GgufEmbedding(model).fingerprint == embedder.fingerprint


def test_what_is_no_embedding_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileMissing, match="nowhere"):
        GgufEmbedding(tmp_path / "nowhere.gguf")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelFileInvalid):
        GgufEmbedding(broken)
    chat = random_model(tmp_path / "chat.gguf")
    with pytest.raises(ModelUnsupported, match="embedding model"):
        GgufEmbedding(chat).embed(["a"])
