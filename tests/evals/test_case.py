"""Cases read from JSON lines: what is taken, and what is told of each line that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.messages import AIMessage

from agentkit.errors import ConfigError
from agentkit.evals import CasesInvalid, read_cases

TOOL = '{"name": "play", "description": "", "parameters": {"type": "object"}}'


def written(folder: Path, *lines: str) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_a_line_is_a_case_with_a_default_id(tmp_path: Path) -> None:
    path = written(tmp_path, '{"request": "hi", "expected": 1}', "", '{"request": "yo", "id": 7}')
    first, second = read_cases(path)
    assert (first.id, first.request, first.expected, first.has_expected) == ("1", "hi", 1, True)
    assert (second.id, second.line, second.has_expected) == ("7", 3, False)


def test_messages_become_history_system_and_request(tmp_path: Path) -> None:
    messages = (
        '[{"role": "system", "content": "be brief"}, {"role": "user", "content": "one"},'
        ' {"role": "assistant", "content": "1"}, {"role": "user", "content": "two"}]'
    )
    (case,) = read_cases(written(tmp_path, f'{{"messages": {messages}, "expected": "2"}}'))
    assert (case.system, case.request) == ("be brief", "two")
    assert [message.text for message in case.history] == ["one", "1"]
    assert isinstance(case.history[1], AIMessage)


def test_a_tool_may_come_in_either_of_openais_shapes(tmp_path: Path) -> None:
    lines = [
        f'{{"request": "a", "expected": null, "tools": [{tool}]}}'
        for tool in (TOOL, f'{{"type": "function", "function": {TOOL}}}')
    ]
    first, second = read_cases(written(tmp_path, *lines))
    assert first.tools == second.tools
    assert first.tools[0]["description"] == "play"  # no model takes a tool without one


def test_the_digest_names_what_is_asked_and_not_what_is_expected(tmp_path: Path) -> None:
    lines = [
        '{"request": "a", "expected": 1}',
        '{"request": "a", "expected": 2}',
        '{"request": "b"}',
    ]
    one, same, other = read_cases(written(tmp_path, *lines))
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"expected": 1}', "either request or messages"),
        ('{"request": " "}', "the request is empty"),
        ('{"request": "a", "expect": 1}', "there is no 'expect'"),
        ('{"request": 4}', "request: "),
        ('{"request": "a", "expected": NaN}', "NaN is no JSON"),
        ('{"request": "a", "tools": [{}]}', "tools[0] has no name"),
        ('{"request": "a", "id": "x\\ny"}', "printable"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "must be the user's"),
        ('{"messages": [{"role": "user", "content": "a", "run": 1}]}', "'run', no key of one"),
        ('{"messages": [{"role": "nobody", "content": "a"}]}', "messages: "),
        ('{"request": ' + "[" * 200_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_told_with_its_number(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(CasesInvalid) as raised:
        read_cases(written(tmp_path, '{"request": "fine"}', line))
    ((number, text),) = raised.value.problems
    assert number == 2
    assert told in text
    assert "line 2" in str(raised.value)


def test_every_bad_line_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "x", '{"request": "a", "id": "1"}', '{"request": "b", "id": "1"}', "y")
    with pytest.raises(CasesInvalid) as raised:
        read_cases(path)
    assert [line for line, _ in raised.value.problems] == [1, 3, 4]
    assert "stands on line 2 too" in raised.value.problems[1][1]


def test_a_file_that_is_not_there_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_cases(tmp_path / "nothing.jsonl")
    with pytest.raises(ConfigError, match="holds no cases"):
        read_cases(written(tmp_path, "", ""))


def test_a_file_that_is_not_text_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_bytes(b'{"request": "\xff"}\n')
    with pytest.raises(CasesInvalid, match="line 1: not UTF-8"):
        read_cases(path)
