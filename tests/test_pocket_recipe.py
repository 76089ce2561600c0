"""The recipe in examples/pocket: data generation and export, on tiny sizes and without PyTorch."""

from __future__ import annotations

import gzip
import importlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit.models.local import LocalChatModel, ModelFileInvalid
from agentkit.models.local.gguf_check import check_gguf

RECIPE = Path(__file__).parents[1] / "examples" / "pocket"
SNIPS = [
    ("PlayMusic", "Play Blue Train by John Coltrane", {"track": "Blue Train"}),
    ("GetWeather", "weather in New  York please ", {"city": "New  York"}),
    ("GetWeather", 'is it hot in "Oslo" now', {"city": "Oslo", "timeRange": "now"}),
    ("BookRestaurant", "book a table in Rome", {"city": "Rome"}),
]
SLURP = "wake me at [time : five am] [date : tomorrow]"


@pytest.fixture(scope="module")
def recipe() -> Any:
    """Its modules by name; they are scripts beside each other, no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPE))
        yield importlib.import_module


def test_the_floor_holds_its_share_by_the_lower_bound(recipe: Any) -> None:
    calibrate = recipe("calibrate")

    def scored(total: float, exact: bool) -> Any:
        tool = "a" if exact else "b"
        example = recipe("generate").Example(text="x", offered=(), tool="a", spans=(), tagged=False)
        return calibrate.Scored(example=example, tool=tool, arguments={}, logprobs={"sum": total})

    rows = [scored(-place / 100, place % 10 != 9) for place in range(400)]
    # 14 wrong of 400 hold .95 with 90 %, where 20 are .95 of the rows themselves
    assert calibrate.chosen_floor(rows) == -1.48


def test_rows_least_like_the_training_choose_the_floor(recipe: Any) -> None:
    calibrate, of = recipe("calibrate"), recipe("corpus")

    def asked(text: str) -> Any:
        return of.Request(source="snips", tool="a", pieces=(of.Piece(text=text),))

    train = (asked("play some jazz"), asked("rate this book"))
    held_out = (asked("play some blues"), asked("RATE this book"), asked("is it cold in Oslo"))
    given = of.Corpus(train=train, held_out=held_out, refusals=())
    assert calibrate._least_alike(given) == [held_out[2], held_out[0]]


@pytest.fixture(scope="module")
def corpus(recipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("data")
    snips = [
        {
            "intent": intent,
            "text": f"{text} {number}",
            "slots": [{"name": key, "value": value} for key, value in slots.items()],
        }
        for number in range(20)
        for intent, text, slots in SNIPS
    ]
    taxes = {"intent": "taxes", "text": "how do i file my taxes"}
    slurp = {"scenario": "alarm", "action": "set", "annotation": SLURP}
    for name, rows in [
        ("snips_train", snips),
        ("clinc150_train", [taxes, {"intent": "play_music", "text": "play a song"}]),
        ("clinc150_oos_train", [{"intent": "oos", "text": "why is the sky blue"}]),
        ("clinc150_oos_val", []),
        ("clinc150_val", [taxes]),
        ("slurp_devel", [slurp]),
    ]:
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows)
    return recipe("corpus").read_corpus(folder)


def test_rows_become_pieces_whose_slots_are_the_values(recipe: Any, corpus: Any) -> None:
    example = recipe("generate").plain_example(corpus.held_out[0], ["play_music"])
    assert (example.text, example.arguments) == (
        "Play Blue Train by John Coltrane 0",
        {"track": "Blue Train"},
    )
    (alarm,) = [request for request in corpus.train if request.source == "slurp"]
    assert recipe("generate").plain_example(alarm, ["alarm_set"]).arguments == {
        "time": "five am",
        "date": "tomorrow",
    }


def test_held_out_rows_train_nothing(recipe: Any, corpus: Any) -> None:
    text_of = recipe("corpus").text_of
    assert len(corpus.held_out) == 4
    trained = {text_of(request.pieces) for request in corpus.train}
    assert not trained & {text_of(request.pieces) for request in corpus.held_out}


def test_tools_that_would_fit_as_well_are_never_offered(recipe: Any, corpus: Any) -> None:
    generator = recipe("generate").Generator(corpus.train, seed=3)
    overlap = recipe("overlaps").overlap
    for example in (generator.example() for _ in range(400)):
        others = [tool for tool in example.offered if tool != example.tool]
        assert not any(overlap(example.tool, other) for other in others)
        assert example.tool in (*example.offered, "no_tool")


def test_every_generated_value_stands_in_its_request(recipe: Any, corpus: Any) -> None:
    generator = recipe("generate").Generator(corpus.train, seed=4)
    examples = [generator.example() for _ in range(400)]
    values = [(value, e.text) for e in examples for value in e.arguments.values()]
    assert len(values) > 100
    assert all(value and value == value.strip() and value in text for value, text in values)
    assert {e.tool for e in examples} >= {"no_tool", "play_music", "get_weather", "alarm_set"}
    assert not any('"' in e.text for e in examples)


def test_the_same_seed_draws_the_same_examples(recipe: Any, corpus: Any) -> None:
    first, second = (recipe("generate").Generator(corpus.train, seed=5) for _ in range(2))
    assert [first.example() for _ in range(50)] == [second.example() for _ in range(50)]


@pytest.fixture(scope="module")
def exported(recipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pocket model of random weights in full precision and as q8_0."""
    layout, export = recipe("layout"), recipe("export")
    pieces = [*_byte_characters(), "\u0120w", "ea"]
    added = layout.added_tokens(["get_weather", "no_tool"], ["city"])
    tokens = layout.TokenTable(pieces=pieces, merges=["\u0120 w", "e a"], added=added)
    sizes = {"width": 256, "layers": 1, "heads": 2, "kv_heads": 1, "feed_forward": 96}
    decoder = export.Decoder(**sizes, context=512, rope_base=10_000.0, epsilon=1e-5)
    random = np.random.default_rng(1)
    shapes = {"table": (len(tokens), 256), "norm": (256,)} | {
        f"blocks.0.{name}": shape
        for name, shape in {
            "attention_norm": (256,), "feed_norm": (256,), "qkv": (512, 256), "out": (256, 256),
            "gate_up": (192, 256), "down": (256, 96),
        }.items()
    }  # fmt: skip
    weights = {name: random.normal(0, 0.3, shape) for name, shape in shapes.items()}
    folder = tmp_path_factory.mktemp("models")
    exact = export.write_gguf(folder / "f32.gguf", weights, decoder, tokens, sum_floor=-0.25)
    return Path(export.quantize(exact, folder / "q8_0.gguf", "q8_0"))


def test_an_exported_file_says_what_a_pocket_model_must(exported: Path) -> None:
    for path in (exported, exported.with_name("f32.gguf")):
        summary = check_gguf(str(path))
        assert (summary.is_pocket, summary.readings, summary.sum_floor) == (True, 2, -0.25)
        assert summary.context_tokens == 512


def test_a_floor_that_is_no_log_probability_is_refused(exported: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    key = b"agentkit.pocket.sum_floor" + struct.pack("<I", 6)
    sound, unsound = (key + struct.pack("<f", floor) for floor in (-0.25, 0.25))
    assert sound in exported.read_bytes()
    damaged.write_bytes(exported.read_bytes().replace(sound, unsound))
    with pytest.raises(ModelFileInvalid, match="sum_floor"):
        check_gguf(str(damaged))


def test_an_exported_file_runs_and_reads_the_request_twice(recipe: Any, exported: Path) -> None:
    model = LocalChatModel(model_path=str(exported), max_tokens=96)
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    spec = {"type": "function", "function": {"name": "get_weather", "parameters": schema}}
    message = model.bind_tools([spec]).invoke("we ea")
    assert message.usage_metadata is not None
    # <|tools|> get_weather, twice <|user|> and " we ea" in 4 pieces, <|do|>
    assert message.usage_metadata["input_tokens"] == 2 + 2 * 5 + 1
    assert message.response_metadata["logprobs"]["sum_floor"] == -0.25


def _byte_characters() -> list[str]:
    """GPT-2's printable character for every byte, as byte-level BPE writes them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(other))]
