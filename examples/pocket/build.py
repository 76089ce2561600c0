"""From data to GGUF files: trains, exports, finds the floor of confidence, quantizes.

    python examples/pocket/build.py --folder build/pocket --minutes 60

Run again it goes on where it ended. The held-out rows that choose the floor train nothing, and they
come from the training files alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from calibrate import chosen_floor, score
from corpus import read_corpus
from export import QUANTIZATIONS, Decoder, Weights, quantize, write_gguf
from model import PocketNet, Shape
from train import past_weights, word_vectors
from vocabulary import Vocabulary

SHIPPED = "q8_0"
AVERAGED = 4
"""Weights two and a half minutes apart whose mean is exported: righter than the last alone."""


def main() -> None:
    """Train, then write every quantization into the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/pocket"))
    parser.add_argument("--minutes", type=float, default=60, help="of training, restarts included")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    trainer = Path(__file__).with_name("train.py")
    asked = ["--folder", str(folder), "--minutes", str(arguments.minutes)]
    subprocess.run([sys.executable, str(trainer), *asked], check=True)  # noqa: S603 - our own file
    weights, decoder = trained(folder)
    tokens = Vocabulary.load(folder / "vocabulary.json").table()
    exact = write_gguf(folder / "pocket-f32.gguf", weights, decoder, tokens)
    trial = quantize(exact, folder / f"pocket-{SHIPPED}.gguf", SHIPPED)
    print("scoring the held-out rows for the floor of confidence", flush=True)
    scored = score(trial, read_corpus())
    floor = chosen_floor(scored)
    print(json.dumps({"held_out": len(scored), "sum_floor": floor}), flush=True)
    write_gguf(exact, weights, decoder, tokens, sum_floor=floor)
    for kind in QUANTIZATIONS:
        path = quantize(exact, folder / f"pocket-{kind}.gguf", kind)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB", flush=True)


def trained(folder: Path) -> tuple[Weights, Decoder]:
    """The mean of the last weights in `folder`, the parts of the embedding added up."""
    state = torch.load(folder / "checkpoint.pt", map_location="cpu")
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    shape = Shape(**state["shape"])
    net = PocketNet(shape, *word_vectors(vocabulary))
    last = [torch.load(path, map_location="cpu") for path in past_weights(folder)[-AVERAGED:]]
    net.load_state_dict({name: sum(each[name] for each in last) / len(last) for name in last[0]})
    weights = {name: value.detach().numpy() for name, value in net.named_parameters()}
    weights["table"] = net.embedding.table().detach().numpy()
    decoder = Decoder(
        width=shape.width,
        layers=shape.layers,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        feed_forward=shape.feed_forward,
        context=shape.context,
        rope_base=shape.rope_base,
        epsilon=shape.epsilon,
    )
    return weights, decoder


if __name__ == "__main__":
    main()
