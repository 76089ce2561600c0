"""Texts that go in circles are noticed early, and others never."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from agentkit.cascade.review import review
from agentkit.models.babble import Babble
from agentkit.models.local import local_model
from agentkit.tools.catalogue import ToolCatalogue
from agentkit.tools.provision.toolbox import Toolbox
from tests.gguf_factory import scripted_model

ROOT = Path(__file__).parents[2]


def noticed_at(text: str, *, piece: int = 3) -> int | None:
    """After how many characters a text that comes in pieces is cut."""
    babble = Babble()
    for at in range(0, len(text), piece):
        if babble.feed(text[at : at + piece]):
            return at + piece
    return None


@pytest.mark.parametrize(
    "circle",
    [
        "a", "ha", "I am sorry. ", "\n", "| | ",
        "The answer is that the answer is what the answer was before. ",
        "Let us think about this once more, step by step, and look at all that is known so far: "
        "the train left at nine, the car at ten, and both came to the town at noon. ",
    ],
)  # fmt: skip
def test_a_text_in_circles_is_cut(circle: str) -> None:
    start = "The question is how far it is from here to the town. "
    found = noticed_at(start + circle * (6_000 // len(circle)))
    assert found is not None
    assert found < len(start) + max(300, 8 * len(circle))


def test_steps_that_count_up_are_left_alone() -> None:
    """They look like the rows of a list, which a right answer may be."""
    text = " ".join(f"Order {n}: delivered to the shop in the old town." for n in range(200))
    assert noticed_at(text) is None


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/*.md")), ids=lambda path: path.name)
def test_pages_of_prose_tables_and_code_are_left_alone(path: Path) -> None:
    assert noticed_at(path.read_text("utf-8"), piece=7) is None


def test_rows_that_differ_in_their_values_are_left_alone() -> None:
    rows = [{"id": n, "name": f"customer {n}", "total": n * 17 % 101} for n in range(200)]
    assert noticed_at(json.dumps(rows)) is None
    assert noticed_at("\n".join(f"| {n} | {n * n} | {n % 7} |" for n in range(300))) is None


@settings(max_examples=50)
@given(st.text(max_size=239), st.integers(1, 9))
def test_a_short_text_is_never_cut(text: str, piece: int) -> None:
    assert noticed_at(text, piece=piece) is None


def test_an_answer_that_went_in_circles_gives_way() -> None:
    told = AIMessage("ha ha", response_metadata={"babbled": True})
    found = review(told, Toolbox(ToolCatalogue([])))
    assert (found.accepted, found.reason) == (False, "the answer went in circles and was cut")


def test_a_local_model_is_cut_while_it_rambles(tmp_path: Path) -> None:
    """What was said until then is the same."""
    path = scripted_model(tmp_path / "m.gguf", ["It", " is", " as", " it", " was."], endless=True)
    model = local_model(str(path), max_tokens=900, n_ctx=1_024)
    cut = model.invoke("tell me")
    whole = model.invoke("tell me", cut_babble=False)
    assert cut.response_metadata["babbled"] is True
    assert "babbled" not in whole.response_metadata
    assert whole.text.startswith(cut.text)
    assert cut.usage_metadata is not None
    assert whole.usage_metadata is not None
    assert cut.usage_metadata["output_tokens"] < whole.usage_metadata["output_tokens"]
