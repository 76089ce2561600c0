"""Each kind of observation is known for what it is, and keeps what it is made of."""

import csv
import io
import json
import random

import pytest

from agentkit.tools.prune import Kind, prune
from agentkit.tools.prune.detect import kind_of

SAMPLES: dict[Kind, str] = {
    "json": '{"orders": [{"id": 1}]}',
    "html": "<!doctype html><html><body><p>Hello</p></body></html>",
    "log": "\n".join(f"2026-01-0{n} 10:00:00 INFO started worker {n}" for n in range(1, 6)),
    "table": "id,name,city\n1,Ada,Oslo\n2,Bob,Rome\n3,Eve,Paris",
    "code": "import os\n\ndef main() -> None:\n    x = 1\n    return x\n\nclass A:\n    pass\n",
    "diff": "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-a\n+b",
    "trace": 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyError: 1',
    "search": "\n".join(f"src/a{n}.py:{n}: total = {n}" for n in range(1, 6)),
    "listing": "\n".join(f"./src/module_{n}.py" for n in range(5)),
    "text": "The parcel was sent on Monday.\nIt has not arrived.\nPlease look into it.",
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_kind_is_detected(kind: Kind) -> None:
    assert kind_of(SAMPLES[kind]) == kind
    assert prune(SAMPLES[kind]).kind == kind


def _filler(count: int) -> list[str]:
    rng = random.Random(5)
    words = "order parcel window garden signal letter bridge carrier".split()
    return [" ".join(rng.choice(words) for _ in range(14)).capitalize() + "." for _ in range(count)]


def test_log_shows_each_template_once_with_its_count() -> None:
    lines = [f"2026-01-01 10:00:{n % 60:02d} INFO paid order {n}" for n in range(900)]
    lines[700] = "2026-01-01 10:11:40 ERROR card 4421 declined by bank"
    found = prune("\n".join(lines), max_tokens=120)
    assert "×899 2026-01-01 10:00:00 INFO paid order 0" in found.text.split("\n")
    assert lines[700] in found.text.split("\n")
    assert lines[-1] in found.text.split("\n")


def test_log_lines_that_differ_in_names_count_as_alike() -> None:
    """What happened once is shown although thousands of lines have words of their own."""
    rng = random.Random(5)
    names = ["amara", "bruno", "chidi", "dalia", "edwin", "farah", "goran", "hiroko", "ingrid"]

    def line(number: int) -> str:
        if number == 700:
            return "2026-01-01 00:00:00 INFO certificate of the gateway was replaced"
        who, whom, where = (rng.choice(names) for _ in range(3))
        return f"2026-01-01 00:00:00 INFO session of {who} moved from {whom} to the node {where}"

    found = prune("\n".join(map(line, range(1_000))), max_tokens=120)
    assert found.kind == "log"
    assert "certificate of the gateway was replaced" in found.text


@pytest.mark.parametrize(
    "line",
    [
        "ts=2026-11-25T00:00:07Z level=info msg=started port=80",
        "level=warn caller=main.go:17 msg=slow",
        "host-a 2026-11-25T00:00:07.001Z started",
    ],
)
def test_lines_with_a_level_or_a_time_further_in_are_a_log(line: str) -> None:
    assert kind_of("\n".join([line] * 5)) == "log"


def test_log_with_too_many_templates_keeps_the_rare_trouble() -> None:
    rng = random.Random(2)
    lines = [f"10:00:00 INFO {'ab'[n % 2]}{rng.choice(_filler(50))}" for n in range(400)]
    lines.insert(311, "10:00:00 ERROR disk sdb is failing")
    assert lines[311] in prune("\n".join(lines), kind="log", max_tokens=150).text


def test_json_array_becomes_a_table_with_what_its_columns_hold() -> None:
    rows = [{"id": n, "state": "open" if n % 4 else "shut", "who": {"a": 1}} for n in range(200)]
    found = prune(json.dumps({"next": "c2V", "rows": rows}), max_tokens=200).text
    assert "next: c2V" in found
    assert "rows[200]: id state; each row: who.a 1\n" in found
    assert "state: open 150, shut 50" in found
    assert "\n 0 shut\n" in found


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([{"a": "x", "b": 1}, {"a": "y", "b": None}], "rows[2]: a b\n x 1\n y -"),
        ([{"a": "x y", "b": 1}, {"a": "z", "b": 2}], "rows[2]: a|b\n x y|1\n z|2"),
        ([{"a": "-", "b": 1}, {"a": "z", "b": 2}], "rows[2]: a|b\n -|1\n z|2"),
        ([{"a b": "x", "c": 1}, {"a b": "z", "c": 2}], "rows[2]: a b|c\n x|1\n z|2"),
    ],
)
def test_blanks_part_the_cells_of_a_table_where_they_cannot_be_mistaken(
    rows: list[dict[str, object]], shown: str
) -> None:
    assert prune(json.dumps({"rows": rows}, indent=9), max_tokens=200).text == shown


def test_a_list_of_one_small_record_stands_on_a_line() -> None:
    text = json.dumps({"who": [{"first": "Ada", "born": 1815}], "n": 2}, indent=9)
    assert prune(text, max_tokens=200).text == "who [{first: Ada; born: 1815}]; n: 2"


def test_json_row_that_is_asked_for_is_there() -> None:
    rows = [{"id": f"ORD-{n}", "total": n * 3} for n in range(5000)]
    found = prune(json.dumps(rows), query="how much was ORD-3777?", max_tokens=150)
    assert "ORD-3777 11331" in found.text


def test_json_keys_that_few_records_have_are_not_lost() -> None:
    rows: list[dict[str, object]] = [{"id": n, "name": f"n{n}"} for n in range(500)]
    rows[333]["refund_code"] = "RF-77"
    assert "RF-77" in prune(json.dumps(rows), query="refund_code", max_tokens=200).text


def test_json_lines_are_a_table_too() -> None:
    lines = "\n".join(
        json.dumps({"id": n, "level": "info" if n % 3 else "warn"}) for n in range(600)
    )
    found = prune(lines, max_tokens=150)
    assert found.kind == "json"
    assert "[600]: id level" in found.text


def test_json_inside_strings_is_read() -> None:
    inner = json.dumps({"order_id": "W-1", "state": "lost", "notes": _filler(200)})
    text = json.dumps({"content": [{"type": "text", "text": json.dumps({"body": inner})}]})
    found = prune(text, max_tokens=120)
    assert "order_id: W-1" in found.text
    assert "\\" not in found.text


def test_json_that_fits_is_never_made_longer() -> None:
    text = '{"a":1,"b":[1,2,3]}'
    assert len(prune(text).text) <= len(text)


def test_html_keeps_content_links_and_forms_and_drops_scripts() -> None:
    menu = "".join(f'<li><a href="/c/{n}">Part {n}</a></li>' for n in range(100))
    body = "".join(f"<p>{line}</p>" for line in _filler(150))
    page = (
        f"<html><head><script>var hidden = 1</script></head><body><nav><ul>{menu}</ul></nav>"
        f"<h1>Returns</h1><p>Write to returns@acme.example.</p>{body}"
        '<p>See <a href="https://acme.example/rma.pdf">the form</a>.</p>'
        '<form action="/rma"><input name="order_number"></form></body></html>'
    )
    found = prune(page, query="which form and order number for returns?", max_tokens=300).text
    for part in ("# Returns", "returns@acme.example", "<https://acme.example/rma.pdf>", "/rma"):
        assert part in found
    assert "order_number" in found
    assert "hidden" not in found


def test_html_keeps_the_order_of_inline_text() -> None:
    found = prune("<html><body><p>one <b>two</b> three <i>four</i> five</p></body></html>")
    assert found.text.startswith("one two three four five\n")


def test_table_keeps_header_extremes_and_the_row_asked_for() -> None:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["sku", "note", "price"])
    for n in range(700):
        writer.writerow([f"S{n:04d}", f"a, {n}", 3.5 if n == 444 else 10 + n % 7])
    found = prune(file.getvalue(), query="S0612", max_tokens=200).text
    assert "rows[700]: sku|note|price" in found
    assert "price: 3.5 to 16" in found
    assert "S0444|a, 444|3.5" in found
    assert "S0612|a, 612|" in found


def test_code_keeps_signatures_constants_and_the_body_asked_for() -> None:
    functions = [
        f"def step_{n}(order):\n    total = order * {n}\n    return total" for n in range(40)
    ]
    functions[20] = "def cancel(order, fee_eur):\n    order.charge(fee_eur * 1.19)\n    return None"
    text = "MAX_ORDERS = 17\n\n" + "\n\n".join(functions)
    found = prune(text, query="what does cancel charge", max_tokens=400).text
    assert "1 MAX_ORDERS = 17" in found
    assert "def step_39(order):" in found
    assert "order.charge(fee_eur * 1.19)" in found


def test_diff_keeps_changes_before_context() -> None:
    context = "".join(f" {line}\n" for line in _filler(300))
    text = f"diff --git a/a.py b/a.py\n@@ -1,9 +1,9 @@\n{context}-limit = 3\n+limit = 4\n{context}"
    found = prune(text, max_tokens=150).text
    for line in ("diff --git a/a.py b/a.py", "@@ -1,9 +1,9 @@", "-limit = 3", "+limit = 4"):
        assert line in found.split("\n")


def test_trace_keeps_the_error_and_the_users_frames() -> None:
    library = "".join(
        f'  File "/x/site-packages/lib/m{n}.py", line {n}, in f\n    g({n})\n' for n in range(300)
    )
    text = (
        f"Traceback (most recent call last):\n{library}"
        '  File "/srv/shop/billing.py", line 88, in settle\n    rate = RATES[code]\n'
        "KeyError: 'EUR'"
    )
    found = prune(text, max_tokens=150).text
    for part in ("Traceback", "billing.py", "rate = RATES[code]", "KeyError: 'EUR'"):
        assert part in found


def test_text_keeps_identifiers_by_itself() -> None:
    lines = _filler(300)
    lines[190] = "Code ZX-4471-K was issued on 2026-02-17 to Ms Okafor."
    assert lines[190] in prune("\n\n".join(lines), max_tokens=200).text


def test_text_keeps_the_sentence_asked_for_in_one_endless_line() -> None:
    sentences = _filler(2000)
    sentences[1500] = "The wifi password in the lobby is on the wall."
    found = prune(" ".join(sentences), query="wifi password?", max_tokens=150)
    assert sentences[1500] in found.text


def test_search_hits_are_grouped_by_file() -> None:
    hits = [f"src/{name}.py:{n}: value = {n}" for name in ("a", "b") for n in range(1, 400)]
    hits.append("src/tax.py:77: VAT_RATE = 19")
    found = prune("\n".join(hits), max_tokens=150).text
    for line in ("src/a.py", "src/b.py", "src/tax.py", " 77: VAT_RATE = 19"):
        assert line in found.split("\n")


def test_listing_names_a_folder_once() -> None:
    paths = [f"./src/parts/file_{n}.py" for n in range(600)] + ["./deploy/production.env"]
    found = prune("\n".join(paths), query="production settings", max_tokens=120).text
    assert found.count("./src/parts/") == 1
    assert "./src/parts/ (600):" in found
    assert "./deploy/production.env" in found
