"""Text of a model never steers the terminal."""

from __future__ import annotations

import io
import json

import pytest

from agentkit.cli import screen
from agentkit.cli.screen import emit, note, one_line, printable, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 12 °C in Kyōto 京都 🎵", "plain, 12 °C in Kyōto 京都 🎵"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred"),
        ("bell\x07 back\x08 return\r", "bell\\x07 back\\x08 return\\r"),
        ("c1 \x9b31m", "c1 \\x9b31m"),
        ("title \x1b]0;owned\x07", "title \\x1b]0;owned\\x07"),
        ("reordered \u202egpj.exe", "reordered \\u202egpj.exe"),
        ("half \ud83d a pair", "half \\ud83d a pair"),
        ("[bold red]markup[/]", "[bold red]markup[/]"),
    ],
)
def test_what_moves_the_cursor_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_one_line_is_one_line_and_bounded() -> None:
    assert one_line("a\n b\t\x1b[0m" + "x" * 300, most_chars=20) == "a b \\x1b[0mxxxxxxxx…"


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_answer_is_escaped_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stdout", terminal)

    say("\x1b[31mred [bold]x[/bold]")

    assert terminal.getvalue() == "\\x1b[31mred [bold]x[/bold]\n"


def test_answer_is_exact_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    say("\x1b[31mred")

    assert capsys.readouterr().out == "\x1b[31mred\n"


def test_json_of_any_text_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"answer": "京都 \x1b \ud83d"})

    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"answer": "京都 \x1b \ud83d"}


def test_terminal_that_cannot_show_a_character_gets_its_escape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(raw, encoding="ascii"))

    note("12 °C")

    assert raw.getvalue() == b"12 \\xb0C\n"


def test_tables_take_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    screen.console().print("[bold]x[/bold] :smile: [link=file:///etc]y[/link]")

    assert capsys.readouterr().out == "[bold]x[/bold] :smile: [link=file:///etc]y[/link]\n"
