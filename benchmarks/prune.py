"""What pruned observations still hold, at what size, how fast, and what hostile ones do.

    python benchmarks/prune.py [--json] [--hostile] [--count N]

Logs: $AGENTKIT_DATA/logs/*.jsonl.gz (default ../shared/data; Loghub's 2,000-line samples with
their event ids, https://github.com/logpai/loghub), pruned to 15 % of their tokens (o200k) without
a query. An event counts as recalled where one of its lines stands whole in the pruned text.
`held_out` has the settings of the merging chosen on seven files and scored on the eighth, and logs
made up here in formats of their own, with drain3 beside them where it is installed.

Questions: observations made here, from a fixed seed, with answers that must survive verbatim, at
400 tokens; with the question as the query, and without one for what must survive by itself.

Throughput: bytes over the CPU time of one core, the best of three runs. With --hostile: N fuzzed
observations (20,000 by default) and observations of 200 MB, with time and memory.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import random
import statistics
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agentkit.budgets.tokens import count_text
from agentkit.tools.prune import prune
from benchmarks._log_merging import held_out, pruned, score

QUESTION_TOKENS = 400
THROUGHPUT_BYTES = 4_000_000
HOSTILE_SECONDS = 0.5
MEGABYTE = 1_000_000
WORDS = (
    "order customer refund shipment parcel invoice account delayed address pending approved "
    "carrier warehouse balance payment window garden signal letter bridge"
).split()


def sentence(rng: random.Random, words: int = 12) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)).capitalize() + "."


def log_files(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The lines of each log file with their event ids."""
    found: dict[str, list[dict[str, str]]] = {}
    for path in sorted((folder / "logs").glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as file:
            found[path.name.split(".")[0]] = [json.loads(line) for line in file]
    return found


@dataclass(frozen=True, kw_only=True)
class Question:
    """An observation, what is asked of it, and what must stand in the pruned text."""

    name: str
    text: str
    query: str
    answer: str
    blind: bool = False


def records(count: int, rng: random.Random) -> list[dict[str, object]]:
    return [
        {
            "id": f"ORD-{100_000 + number}",
            "customer": {"name": sentence(rng, 2), "email": f"user{number}@example.com"},
            "total": round(rng.uniform(5, 900), 2),
            "currency": "EUR",
            "status": rng.choice(["open", "shipped", "closed"]),
            "note": sentence(rng, 8),
        }
        for number in range(count)
    ]


def questions() -> Iterator[Question]:
    rng = random.Random(7)
    yield from json_questions(rng)
    yield from page_questions(rng)
    yield from table_questions(rng)
    yield from code_questions(rng)
    yield from text_questions(rng)


def json_questions(rng: random.Random) -> Iterator[Question]:
    rows = records(400, rng)
    rows[313]["status"] = "disputed"
    rows[250]["note"] = "Carrier says: TRK-99817-XQ lost in Rotterdam"
    text = json.dumps({"page": 1, "next_cursor": "c2VlIHlvdQ==", "orders": rows})
    yield Question(
        name="json: a row by its id",
        text=text,
        query="What did the customer of ORD-100217 pay?",
        answer=str(rows[217]["total"]),
    )
    yield Question(
        name="json: a value in a note",
        text=text,
        query="Which parcel was lost in Rotterdam?",
        answer="TRK-99817-XQ",
    )
    yield Question(name="json: the odd status", text=text, query="", answer="disputed", blind=True)
    yield Question(name="json: the cursor", text=text, query="", answer="c2VlIHlvdQ==", blind=True)
    yield Question(name="json: how many", text=text, query="", answer="400", blind=True)
    deep = {
        "meta": {"request_id": "req_8821aa", "took_ms": 12},
        "data": {f"section_{n}": {"text": sentence(rng, 30)} for n in range(60)},
        "error": {"code": "E_QUOTA", "message": "limit of 500 reached, retry after 2026-03-01"},
    }
    text = json.dumps({"content": [{"type": "text", "text": json.dumps(deep, indent=2)}]})
    yield Question(name="json in MCP: error", text=text, query="", answer="E_QUOTA", blind=True)
    yield Question(
        name="json in MCP: date", text=text, query="", answer="retry after 2026-03-01", blind=True
    )


def page_questions(rng: random.Random) -> Iterator[Question]:
    menu = "".join(f'<li><a href="/c/{n}">{sentence(rng, 2)}</a></li>' for n in range(80))
    body = "".join(f"<h2>{sentence(rng, 3)}</h2><p>{sentence(rng, 40)}</p>" for _ in range(40))
    page = (
        "<!doctype html><html><head><title>Returns at Acme</title><style>p{color:red}</style>"
        f"<script>var x = 1;</script></head><body><nav><ul>{menu}</ul></nav><main>{body}"
        "<h2>Contact</h2><p>Write to returns@acme.example within 30 days.</p>"
        '<p>The form is <a href="https://acme.example/forms/rma-17.pdf">here</a>.</p>'
        '<form action="/rma/submit" method="post"><input name="order_number"></form>'
        f"{body[:9000]}</main><footer>{menu}</footer></body></html>"
    )
    asks = [
        ("html: an address", "Where do I write to for returns?", "returns@acme.example"),
        ("html: a link", "Where is the form?", "https://acme.example/forms/rma-17.pdf"),
        ("html: a form", "Which field does the form want for the order?", "order_number"),
    ]
    for name, query, answer in asks:
        yield Question(name=name, text=page, query=query, answer=answer)
    yield Question(
        name="html: the title", text=page, query="", answer="Returns at Acme", blind=True
    )


def table_questions(rng: random.Random) -> Iterator[Question]:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["sku", "city", "stock", "price"])
    for number in range(600):
        city = rng.choice(["Oslo", "Rome", "Paris"]) if number != 411 else "Reykjavik"
        price = 19.99 if number == 502 else round(rng.uniform(20, 90), 2)
        writer.writerow([f"SKU{number:05d}", city, rng.randint(0, 40), price])
    text = file.getvalue()
    yield Question(name="table: a row", text=text, query="price of SKU00377", answer="SKU00377")
    yield Question(name="table: the only city", text=text, query="", answer="SKU00411", blind=True)
    yield Question(name="table: the cheapest", text=text, query="", answer="SKU00502", blind=True)


def code_questions(rng: random.Random) -> Iterator[Question]:
    parts = ["import os\n\nMAX_RETRIES_PER_ORDER = 17\n"]
    parts += [
        f"def step_{number}(order, carrier):\n"
        f'    """{sentence(rng)}"""\n'
        f"    value = order.total * {rng.randint(2, 99)}\n"
        "    if value > 10:\n        return carrier.send(value)\n    return None\n"
        for number in range(120)
    ]
    parts.insert(70, "def cancel_with_fee(order, fee_eur):\n    order.charge(fee_eur * 1.19)\n")
    text = "\n".join(parts)
    yield Question(
        name="code: a body", text=text, query="how is the fee charged in cancel_with_fee",
        answer="order.charge(fee_eur * 1.19)",
    )  # fmt: skip
    yield Question(
        name="code: a constant", text=text, query="", answer="MAX_RETRIES_PER_ORDER = 17",
        blind=True,
    )  # fmt: skip
    frames = "".join(
        f'  File "/usr/lib/python3.11/asyncio/runners.py", line {n}, in run\n    return go()\n'
        for n in range(200)
    )
    trace = (
        f"Traceback (most recent call last):\n{frames}"
        '  File "/srv/shop/billing.py", line 88, in settle\n    rate = RATES[code]\n'
        "KeyError: 'EUR-2026'\n"
    )
    yield Question(
        name="trace: the error", text=trace, query="", answer="KeyError: 'EUR-2026'", blind=True
    )
    yield Question(name="trace: own frame", text=trace, query="", answer="billing.py", blind=True)
    hunks = "".join(
        f"@@ -{n},7 +{n},7 @@\n" + "".join(f" {sentence(rng)}\n" for _ in range(6))
        for n in range(0, 600, 10)
    )
    diff = f"diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n{hunks}-LIMIT = 3\n+LIMIT = 4\n"
    yield Question(name="diff: the change", text=diff, query="", answer="+LIMIT = 4", blind=True)


def text_questions(rng: random.Random) -> Iterator[Question]:
    lines = [sentence(rng, 30) for _ in range(300)]
    lines[190] = "Confirmation code ZX-4471-K was issued on 2026-02-17 to Ms Okafor."
    text = "\n\n".join(lines)
    yield Question(
        name="text: a code", text=text, query="What is the confirmation code?",
        answer="ZX-4471-K",
    )  # fmt: skip
    yield Question(name="text: by itself", text=text, query="", answer="ZX-4471-K", blind=True)
    paths = "\n".join(f"./src/{rng.choice(WORDS)}/{rng.choice(WORDS)}{n}.py" for n in range(900))
    listing = f"{paths}\n./deploy/production.env\n"
    yield Question(
        name="listing: a file", text=listing, query="find the production environment file",
        answer="production.env",
    )  # fmt: skip
    hits = "\n".join(f"src/{rng.choice(WORDS)}.py:{n}: {sentence(rng)}" for n in range(1, 700))
    hits += "\nsrc/tax.py:77: VAT_RATE = Decimal('0.19')"
    yield Question(
        name="search: a hit", text=hits, query="where is VAT_RATE set", answer="src/tax.py"
    )


def answered() -> dict[str, object]:
    """Which answers survived, and the share of tokens kept in all."""
    lost: list[str] = []
    shares: list[float] = []
    asked = list(questions())
    for question in asked:
        pruned = prune(question.text, query=question.query, max_tokens=QUESTION_TOKENS)
        shares.append(count_text(pruned.text) / count_text(question.text))
        if question.answer not in pruned.text:
            lost.append(question.name)
    return {
        "questions": len(asked),
        "without_query": sum(question.blind for question in asked),
        "answered": len(asked) - len(lost),
        "lost": lost,
        "tokens_ratio": statistics.fmean(shares),
    }


def filled(make: Callable[[int], str], size: int = THROUGHPUT_BYTES) -> str:
    parts: list[str] = []
    total = 0
    while total < size:
        parts.append(make(len(parts)))
        total += len(parts[-1]) + 1
    return "\n".join(parts)


def large_observations() -> dict[str, str]:
    rng = random.Random(11)
    rows = records(18_000, rng)
    return {
        "json": json.dumps({"data": rows}),
        "json tree": json.dumps({f"k{n}": row for n, row in enumerate(rows)}),
        "html": "<!doctype html><body>"
        + filled(
            lambda n: (
                f'<div class="card"><h3>{sentence(rng, 3)}</h3><p>{sentence(rng, 20)}</p>'
                f'<a href="/i/{n}">{sentence(rng, 2)}</a></div>'
            )
        ),
        "log": filled(
            lambda n: (
                f"2026-01-01 00:{n // 60 % 60:02d}:{n % 60:02d},123 "
                f"{rng.choice(['INFO', 'WARN'])} [worker-{rng.randint(1, 50)}] com.acme.Billing: "
                f"{rng.choice(WORDS)} {rng.choice(WORDS)} id {rng.getrandbits(32):x} after {n}ms"
            )
        ),
        "text": filled(lambda _: " ".join(sentence(rng) for _ in range(5))),
        "markdown": filled(lambda n: f"## Part {n}\n\n{sentence(rng, 40)}\n- {sentence(rng, 5)}"),
        "table": "id,name,amount,city\n"
        + filled(lambda n: f"{n},{sentence(rng, 3)},{rng.uniform(1, 99):.2f},Paris"),
        "code": filled(lambda n: f"def f{n}(a, b):\n    x = a + {n}\n    return g(x, b)\n"),
        "diff": "diff --git a/x b/x\n@@ -1,3 +1,4 @@\n"
        + filled(lambda _: rng.choice("+- ") + sentence(rng)),
        "search": filled(lambda n: f"src/{rng.choice(WORDS)}.py:{n}: {sentence(rng, 6)}"),
        "listing": filled(lambda n: f"./src/{rng.choice(WORDS)}/{rng.choice(WORDS)}{n}.py"),
        "trace": "Traceback (most recent call last):\n"
        + filled(lambda n: f'  File "/srv/shop/a{n}.py", line {n}, in run\n    go({n})')
        + "\nValueError: no",
    }


def throughput() -> dict[str, dict[str, float | str]]:
    """Megabytes per second of CPU time, without a query and with one."""
    query = "What is the status of order ORD-100217 of user217@example.com in the warehouse?"
    found: dict[str, dict[str, float | str]] = {}
    for name, text in large_observations().items():
        size = len(text.encode())
        rates: list[float] = []
        kind = ""
        for asked in ("", query):
            runs: list[float] = []
            for _ in range(3):
                began = time.process_time()
                pruned = prune(text, query=asked)
                runs.append(time.process_time() - began)
                kind = pruned.failure or pruned.kind
            rates.append(size / min(runs) / MEGABYTE)
        found[name] = {"kind": kind, "mb_per_s": rates[0], "mb_per_s_with_query": rates[1]}
    return found


BITS = (
    *("[", "{", '{"a":', "}", "]", "<div>", "<a href='", "&#", "<!--", "| ", ",", "\r", "x=", "…"),
    *("\\n", "\\u00", "'", '"', "at ", "- ", "a", "/", "0", "1.", "_", "@", "data:a/b,", "A1b"),
    *("\ud800", "\0", "│ ", "é", "名", "\u2028", "TextContent(type='text', ", "text='"),
)


def hostile_text(rng: random.Random, seeds: list[str]) -> str | bytes:
    """One observation that somebody made to do harm, or that broke on its way."""
    size = int(10 ** rng.uniform(1, 5)) if rng.random() < 0.99 else 1_000_000
    match rng.randrange(7):
        case 0:
            return rng.choice(BITS) * size
        case 1:
            return "".join(rng.choice(BITS) for _ in range(min(size, 20_000)))
        case 2:
            return rng.randbytes(min(size, 50_000))
        case 3:
            return gzip.compress(b"\0" * size * 10)
        case 4:
            text = rng.choice(seeds)
            start = rng.randrange(len(text))
            return text[start : start + size]
        case 5:
            chars = list(rng.choice(seeds)[: min(size, 20_000)])
            for _ in range(rng.randrange(1, 40)):
                chars.insert(rng.randrange(len(chars) + 1), rng.choice(BITS))
            return "".join(chars)
        case _:
            one, two = rng.choice(BITS), rng.choice(BITS)
            return one * (size // 2) + two * (size // 2) + "\n" * rng.randrange(3)


def hostile(count: int) -> dict[str, object]:
    """Crashes, failures, broken bounds, and the time of fuzzed observations."""
    rng = random.Random(13)
    seeds = [text[:60_000] for text in large_observations().values()]
    times: list[float] = []
    failures: Counter[str] = Counter()
    broken = 0
    for _ in range(count):
        text = hostile_text(rng, seeds)
        tokens = rng.choice((20, 200, 1_000))
        began = time.perf_counter()
        pruned = prune(
            text, query=sentence(rng), max_tokens=tokens, time_budget_seconds=HOSTILE_SECONDS
        )
        times.append(time.perf_counter() - began)
        failures[pruned.failure or "none"] += 1
        broken += count_text(pruned.text) > tokens
        pruned.text.encode()  # no surrogate may come through
    times.sort()
    return {
        "observations": count,
        "crashes": 0,
        "bounds_broken": broken,
        "failures": dict(failures),
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
        "max_ms": times[-1] * 1000,
        "time_budget_ms": HOSTILE_SECONDS * 1000,
    }


def huge() -> dict[str, dict[str, float | str]]:
    """Observations of 200 MB: seconds, and the peak of what Python allocates for them (a second,
    slower run; libxml2 allocates by itself, for 8 MB at the most)."""
    size = 200 * MEGABYTE
    line = "2026-01-01 00:00:00 INFO com.acme.Billing: order 17 paid\n"
    row = json.dumps({"id": 1, "name": "Ada", "email": "ada@example.com"}) + ","
    makers: dict[str, Callable[[], str | bytes]] = {
        "one character": lambda: "a" * size,
        "zeros": lambda: b"\0" * size,
        "log": lambda: line * (size // len(line)),
        "json": lambda: f"[{row * (size // len(row))}{{}}]",
        "brackets": lambda: "[" * size,
        "html": lambda: "<!doctype html>" + "<div>" * (size // 5),
        "paragraphs": lambda: "<!doctype html>" + "<p>x" * (size // 4),
        "two-byte letters": lambda: "é" * (size // 2),
    }
    found: dict[str, dict[str, float | str]] = {}
    for name, make in makers.items():
        text = make()
        began = time.perf_counter()
        pruned = prune(text)
        seconds = time.perf_counter() - began
        tracemalloc.start()
        prune(text, time_budget_seconds=60)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        found[name] = {
            "seconds": seconds,
            "python_peak_mb": peak / MEGABYTE,
            "outcome": pruned.failure or pruned.kind,
        }
        del text
    return found


def show(name: str, value: object, depth: int = 0) -> None:
    pad = "  " * depth
    if isinstance(value, dict):
        print(f"{pad}{name}")
        for key, item in value.items():
            show(str(key), item, depth + 1)
        return
    print(f"{pad}{name:24} {f'{value:.3f}' if isinstance(value, float) else value}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--hostile", action="store_true", help="fuzz as well; takes minutes")
    parser.add_argument("--count", type=int, default=20_000, help="fuzzed observations")
    options = parser.parse_args()
    folder = Path(os.environ.get("AGENTKIT_DATA", "../shared/data"))
    if not (folder / "logs").is_dir():
        print(f"no logs in {folder}; set AGENTKIT_DATA (see --help)", file=sys.stderr)
        return 2
    prune("loads the encoding")
    files = log_files(folder)
    found: dict[str, object] = {
        "logs": {name: asdict(score(rows, pruned)) for name, rows in files.items()},
        "held_out": held_out(files),
        "questions": answered(),
        "throughput": throughput(),
    }
    if options.hostile:
        found["hostile"] = hostile(options.count)
        found["huge"] = huge()
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            show(name, value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
