"""Quantizing a model file: what is made, what is refused, what is never written over."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import pytest

from agentkit.errors import ConfigError
from agentkit.evals.quantization import check_files
from agentkit.models.local import ModelFileInvalid, ModelFileMissing, local_model
from agentkit.models.local.gguf_check import check_gguf
from agentkit.models.local.quantize import KINDS, QuantizeFailed, quantize, target_of, tensor_types
from tests.gguf_factory import random_model

POCKET = Path(__file__).parents[2] / "agentkit" / "pocket" / "pocket-q8_0.gguf"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return random_model(tmp_path / "tiny-f16.gguf")


def test_a_quantized_file_is_smaller_sound_and_speaks(source: Path) -> None:
    made = quantize(source, target_of(source, "q8_0"), "q8_0")
    assert made.path.name == "tiny-q8_0.gguf"
    assert made.size_bytes < made.source_bytes
    assert made.tensors["q8_0"] > 0
    assert check_gguf(str(made.path)).architecture == "llama"
    assert local_model(str(made.path), max_tokens=4).invoke("hello").usage_metadata is not None
    assert [each.name for each in source.parent.iterdir() if each.name.startswith(".")] == []


def test_what_is_there_is_not_written_over_unasked(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept.gguf"
    target.write_text("mine")
    with pytest.raises(ConfigError, match="--force"):
        quantize(source, target, "q8_0")
    assert target.read_text() == "mine"
    assert quantize(source, target, "q8_0", force=True).size_bytes == target.stat().st_size
    with pytest.raises(ConfigError, match="is there already"):
        quantize(source, source, "q8_0", force=True)


def test_a_file_that_may_not_reach_llama_cpp_does_not(source: Path, tmp_path: Path) -> None:
    source.write_bytes(source.read_bytes()[:-500])
    target = tmp_path / "out.gguf"
    with pytest.raises(ModelFileInvalid, match="cut short"):
        quantize(source, target, "q8_0")
    with pytest.raises(ModelFileMissing):
        quantize(tmp_path / "nothing.gguf", target, "q8_0")
    assert not target.exists()


def test_a_quantized_source_and_an_unknown_format_are_refused(source: Path, tmp_path: Path) -> None:
    small = quantize(source, tmp_path / "small.gguf", "q8_0").path
    with pytest.raises(ConfigError, match="loses twice"):
        quantize(small, tmp_path / "smaller.gguf", "q4_0")
    made = quantize(small, tmp_path / "smaller.gguf", "q4_0", requantize=True)
    assert "q4_0" in made.tensors
    with pytest.raises(ConfigError, match="is no format"):
        quantize(source, tmp_path / "odd.gguf", "q9_x")


def test_a_failing_quantizer_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    with pytest.raises(QuantizeFailed):
        quantize(source, folder / "out.gguf", "q8_0")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("pocket-f16.gguf", "q4_k_m", "pocket-q4_k_m.gguf"),
        ("Qwen.F16.gguf", "q8_0", "Qwen-q8_0.gguf"),
        ("plain.gguf", "q5_k_m", "plain-q5_k_m.gguf"),
    ],
)
def test_the_target_is_named_by_its_format(name: str, kind: str, target: str) -> None:
    assert target_of(Path(name), kind).name == target


def test_the_numbers_of_the_formats_are_llama_cpps() -> None:
    for kind, number in KINDS.items():
        assert gguf.LlamaFileType[f"MOSTLY_{kind.upper()}"] == number


def test_tensor_types_are_told_by_name() -> None:
    assert tensor_types(POCKET)["q8_0"] > 10


def test_files_are_tried_on_the_same_cases(tmp_path: Path) -> None:
    tool = {"name": "play_music", "parameters": {"type": "object", "properties": {
        "artist": {"type": "string"}}}}  # fmt: skip
    cases = tmp_path / "cases.jsonl"
    right = {"name": "play_music", "arguments": {"artist": "Nina Simone"}}
    cases.write_text(
        "\n".join(
            json.dumps({"request": "play Nina Simone", "tools": [tool], "expected": expected})
            for expected in (right, [])
        )
    )
    first, second = check_files([POCKET, POCKET], cases, grader="call:casefold")
    assert (first.cases, first.passed, first.failures) == (2, 1, {"unneeded call": 1})
    assert first.change is None
    assert second.change is not None
    assert (second.change.newly_wrong, second.change.p_value) == ((), 1.0)
    assert first.file_bytes == POCKET.stat().st_size
    assert first.memory_bytes > 1_000_000
    assert first.tokens_per_second > 0


def test_a_file_that_cannot_be_tried_is_told(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text('{"request": "a", "expected": "b"}')
    with pytest.raises(ConfigError, match="no model file"):
        check_files([tmp_path / "nothing.gguf"], cases)
