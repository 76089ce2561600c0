"""YAML is shown as its values; what could blow up or is none stays text."""

import pytest

from agentkit.tools.prune import prune
from agentkit.tools.prune.yaml_tree import yaml_value

TOOLS = "ok: true\ntools:\n" + "".join(
    f"- server: s{n}\n  tool: read_{n}\n"
    f"  about: 'Reads things.\n\n    {'Much more is said. ' * 20}'\n"
    f"  inputs:\n    path_{n}: '(string) '\n    limit: '(number) '\n"
    for n in range(6)
)


def test_items_keep_their_names_and_fields_before_long_texts() -> None:
    found = prune(TOOLS, max_tokens=150)
    assert found.kind == "yaml"
    for n in range(6):
        assert f"read_{n}" in found.text


def test_yaml_cut_off_in_an_item_is_shown_without_it() -> None:
    cut = TOOLS[: TOOLS.index("read_5") - 8] + '  "'
    assert yaml_value(cut) == yaml_value(TOOLS[: TOOLS.index("- server: s5")])


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1, 2]\nb: *x\nc: 1\nd:\n - 2\n",
        "a: !!python/object/apply:os.system [ls]\nb: 1\nc: 2\nd: 3\n",
        "just: text",
        "x" * 500_000,
    ],
)
def test_anchors_tags_and_other_texts_are_no_yaml(text: str) -> None:
    if text != "just: text":
        with pytest.raises(ValueError, match="YAML"):
            yaml_value(text)
    assert prune(text, max_tokens=30).kind != "yaml"


def test_values_stay_as_they_are_written() -> None:
    assert yaml_value("a: 0010\nb: yes\nc:\n  - 1e3\n") == {"a": "0010", "b": "yes", "c": ["1e3"]}
