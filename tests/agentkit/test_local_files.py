"""Model files that are absent, broken or made to harm: refused with what to do, never a crash."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from agentkit.errors import ExtraMissing
from agentkit.models.local import (
    LocalModelError,
    ModelFileInvalid,
    ModelFileMissing,
    ModelSettingsInvalid,
    ModelUnsupported,
    local_model,
)
from agentkit.models.local.gguf_check import _BLOCKS, check_gguf
from tests.gguf_factory import random_model

ROOT = Path(__file__).parents[2]
POCKET = ROOT / "agentkit" / "pocket" / "pocket-q8_0.gguf"

Edit = Callable[[bytearray], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return random_model(tmp_path_factory.mktemp("sound") / "sound.gguf").read_bytes()


def written(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    return str(path)


def value_offset(content: bytes, key: str) -> int:
    """Where the value of `key` begins."""
    name = key.encode()
    return content.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + 4


def with_u32(content: bytes, key: str, value: int) -> bytes:
    at = value_offset(content, key)
    return content[:at] + struct.pack("<I", value) + content[at + 4 :]


def test_a_missing_file_names_the_command_that_gets_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFileMissing, match="agentkit models pull"):
        local_model(str(tmp_path / "none.gguf"))


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        local_model(str(tmp_path / "none.gguf"))


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 a zip file", b"\x00" * 100])
def test_a_file_of_another_kind_is_told_so(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelFileInvalid, match=r"(empty|not a GGUF file); give the path"):
        local_model(written(tmp_path, content))


def test_a_folder_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ModelFileInvalid, match="not a file"):
        local_model(str(tmp_path))


@pytest.mark.parametrize("share", [0.00001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.9999])
def test_a_truncated_file_says_so_and_to_download_again(tmp_path: Path, share: float) -> None:
    content = POCKET.read_bytes()
    with pytest.raises(ModelFileInvalid, match=r"cut short|cannot be in a file.*download it again"):
        local_model(written(tmp_path, content[: max(24, int(len(content) * share))]))


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [
        (4, struct.pack("<I", 99), "version 99"),
        (4, struct.pack(">I", 3), "version"),
        (8, struct.pack("<Q", 2**63), "tensors cannot be"),
        (16, struct.pack("<Q", 2**40), "metadata entries cannot be"),
        (24, struct.pack("<Q", 2**62), "bytes in a text cannot be"),
    ],
)
def test_absurd_counts_are_refused(
    tmp_path: Path, sound: bytes, at: int, value: bytes, problem: str
) -> None:
    with pytest.raises(ModelFileInvalid, match=problem):
        local_model(written(tmp_path, sound[:at] + value + sound[at + len(value) :]))


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("llama.block_count", 0, "block_count"),
        ("llama.block_count", 2**31, "block_count"),
        ("llama.embedding_length", 0, "embedding_length"),
        ("llama.embedding_length", 128, "embeddings of 64"),
        ("llama.attention.head_count", 0, "head_count"),
        ("llama.attention.head_count", 3, "attention heads"),
        ("llama.attention.head_count_kv", 3, "key heads"),
        ("llama.rope.dimension_count", 15, "rotated"),
        ("llama.rope.freq_base", 0x7FC00000, "freq_base"),
        ("llama.attention.layer_norm_rms_epsilon", 0, "epsilon"),
        ("llama.context_length", 0, "context_length"),
        ("tokenizer.ggml.eos_token_id", 2**20, "no token"),
    ],
)
def test_absurd_shapes_are_refused(
    tmp_path: Path, sound: bytes, key: str, value: int, problem: str
) -> None:
    with pytest.raises(ModelFileInvalid, match=problem):
        local_model(written(tmp_path, with_u32(sound, key, value)))


def tensor_line(content: bytes, name: bytes) -> int:
    return content.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)


@pytest.mark.parametrize(
    ("shift", "value", "problem"),
    [
        (0, struct.pack("<I", 9), "9 dimensions"),
        (0, struct.pack("<I", 0), "0 dimensions"),
        (4, struct.pack("<Q", 2**61), "impossible shape"),
        (4, struct.pack("<Q", 0), "impossible shape"),
        (20, struct.pack("<I", 77), "unknown type 77"),
        (24, struct.pack("<Q", 2**60), "not where the one before it ends"),
    ],
)
def test_tensors_that_reach_outside_the_file_are_refused(
    tmp_path: Path, sound: bytes, shift: int, value: bytes, problem: str
) -> None:
    at = tensor_line(sound, b"output.weight") + shift
    with pytest.raises(ModelFileInvalid, match=problem):
        local_model(written(tmp_path, sound[:at] + value + sound[at + len(value) :]))


def test_a_token_that_stands_twice_is_refused(tmp_path: Path, sound: bytes) -> None:
    """llama.cpp would end the process."""
    token = struct.pack("<Q", 1)
    with pytest.raises(ModelFileInvalid, match="stands twice"):
        local_model(written(tmp_path, sound.replace(token + b"A", token + b"B", 1)))


def test_an_unknown_architecture_is_unsupported(tmp_path: Path, sound: bytes) -> None:
    path = written(tmp_path, sound.replace(b"llama", b"lxama"))
    with pytest.raises(ModelUnsupported, match=r"unknown model architecture.*newer"):
        local_model(path).invoke("hi")


def test_a_missing_tensor_is_unsupported(tmp_path: Path, sound: bytes) -> None:
    path = written(tmp_path, sound.replace(b"blk.1.attn_q", b"blk.1.attn_x"))
    with pytest.raises(ModelUnsupported, match=r"attn_q\.weight' not found"):
        local_model(path).invoke("hi")


def test_one_part_of_a_split_model_says_how_to_merge(tmp_path: Path) -> None:
    path = tmp_path / "part.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.count", 3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelFileInvalid, match="llama-gguf-split"):
        check_gguf(str(path))


@pytest.mark.parametrize(
    ("n_ctx", "told"), [(1, "at least 64"), (63, "at least 64"), (9999, "512")]
)
def test_a_window_that_cannot_work_is_refused(n_ctx: int, told: str) -> None:
    with pytest.raises(ModelSettingsInvalid, match=told):
        local_model("pocket", n_ctx=n_ctx)


def test_without_llama_cpp_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['llama_cpp'] = None\n"
        "from agentkit.models.local import local_model\n"
        "local_model('pocket').get_num_tokens('hi')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ExtraMissing.__name__ in done.stderr
    assert 'pip install "agentkit[local]"' in done.stderr


def test_the_block_sizes_are_those_of_ggml() -> None:
    known = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert {kind: known[kind] for kind in _BLOCKS} == _BLOCKS


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path, sound: bytes) -> None:
    path = written(tmp_path, sound)
    assert check_gguf(path).architecture == "llama"
    Path(path).write_bytes(b"gone")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelFileInvalid):
        check_gguf(path)


_RUNNER = """
import sys
from agentkit.models.local import LocalChatModel, LocalModelError
from agentkit.models.local.loaded import close_engines
tool = {"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}
for path in sys.stdin.read().split():
    print("begin", path, flush=True)
    try:
        model = LocalChatModel(model_path=path, max_tokens=6, sequences=1)
        model.bind_tools([tool]).invoke("Weather in P\\u00e9kin \\U0001F600?")
    except LocalModelError:
        pass
    close_engines()
print("end", flush=True)
"""


@pytest.mark.parametrize(("source", "mutants"), [("pocket", 340), ("random", 100)])
def test_damaged_files_never_end_the_interpreter(
    tmp_path: Path, sound: bytes, source: str, mutants: int
) -> None:
    """Bit flips, extreme numbers and cuts, most of them in the header; those that pass our check
    are loaded and run in one process, which has to come to its end."""
    content = POCKET.read_bytes() if source == "pocket" else sound
    rng = random.Random(source)
    passed: list[str] = []
    for index in range(mutants):
        path = tmp_path / f"{index}.gguf"
        path.write_bytes(mutant(content, rng))
        try:
            check_gguf(str(path))
        except LocalModelError:
            path.unlink()
        else:
            passed.append(str(path))
    assert 10 < len(passed) < mutants
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER],
        input="\n".join(passed), cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.rstrip().endswith("end"), done.stdout[-200:] + done.stderr[-2000:]
    assert done.returncode == 0


def mutant(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    if rng.random() < 0.1:
        return bytes(damaged[: rng.randrange(len(damaged))])
    zone = rng.choice([1200, 1200, 90_000, len(damaged)])
    for _ in range(rng.choice([1, 1, 1, 3])):
        at = rng.randrange(min(zone, len(damaged) - 4))
        if rng.random() < 0.5:
            damaged[at] ^= 1 << rng.randrange(8)
        else:
            damaged[at : at + 4] = rng.choice([b"\xff" * 4, b"\x00" * 4, b"\x00\x00\x00\x80"])
    return bytes(damaged)
