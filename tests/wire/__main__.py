"""The scripted provider as a process: `python -m tests.wire --openai --anthropic --json`."""

from __future__ import annotations

import argparse
import json
import signal
import threading

from tests.wire.fault import EVERY_KIND, QUICK_KINDS, Faults
from tests.wire.script import Protocol, Script, always_tool, answer, echo
from tests.wire.server import ScriptedProvider
from tests.wire.tokens import Count, quarter_count


def main() -> None:
    """Serves until it is interrupted; prints its addresses first."""
    options = _options()
    chosen: list[tuple[Protocol, bool]] = [
        ("openai", options.openai),
        ("anthropic", options.anthropic),
    ]
    every: list[Protocol] = [name for name, _ in chosen]
    asked: list[Protocol] = [name for name, wanted in chosen if wanted]
    provider = ScriptedProvider(
        _script(options.script),
        count=_count(options.count),
        token_factor=options.token_factor,
        faults=Faults(
            rate=options.fault_rate, kinds=options.fault or QUICK_KINDS, seed=options.seed
        ),
        protocols=asked or every,
        port=options.port,
    )
    ended = threading.Event()

    def end(*_: object) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with provider:
        bill_url = f"{provider.anthropic_url}/__bill"
        urls = {
            "openai_url": provider.openai_url,
            "anthropic_url": provider.anthropic_url,
            "bill_url": bill_url,
        }
        lines = [f"{name}: {url}" for name, url in urls.items()]
        print(json.dumps(urls) if options.json else "\n".join(lines), flush=True)
        ended.wait()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.wire", description=__doc__)
    parser.add_argument("--openai", action="store_true", help="serve OpenAI's protocol")
    parser.add_argument("--anthropic", action="store_true", help="serve Anthropic's protocol")
    parser.add_argument("--port", type=int, default=0, help="port, 0 for any free one")
    parser.add_argument("--script", default="echo", help="echo, answer:TEXT or tool:NAME[:JSON]")
    parser.add_argument("--count", choices=("quarter", "o200k"), default="quarter")
    parser.add_argument(
        "--token-factor", default="1.2", help="counted tokens times this are billed"
    )
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--fault", action="append", choices=sorted(EVERY_KIND), help="repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the addresses as JSON")
    return parser.parse_args()


def _script(text: str) -> Script:
    kind, _, rest = text.partition(":")
    if kind == "answer":
        return answer(rest)
    if kind == "tool":
        name, _, arguments = rest.partition(":")
        return always_tool(name, json.loads(arguments or "{}"))
    if text != "echo":
        raise SystemExit(f"--script cannot be {text!r}; use echo, answer:TEXT or tool:NAME[:JSON]")
    return echo


def _count(name: str) -> Count:
    if name == "quarter":
        return quarter_count
    from agentkit.budgets.tokens import count_text

    return count_text


if __name__ == "__main__":
    main()
