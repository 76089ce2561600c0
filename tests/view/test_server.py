"""The page's server: what it gives, to whom, and that its figures are the ledger's."""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from agentkit.budgets import Ledger
from agentkit.budgets.journal import CallRecord, TaskRecord
from agentkit.budgets.journal_query import JournalFilter
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.budgets.usage import Usage
from agentkit.reports.alert import RULES
from agentkit.view.alarms import alarms
from agentkit.view.book import CostBook
from agentkit.view.report_file import write_report
from agentkit.view.server import PageServer
from agentkit.view.story import TaskStories
from tests.budgets.redis_server import BINARY, RedisServer
from tests.view.ledgers import PLANTED, PLANTED_TASK, company, plant, play, record_call
from tests.view.test_columns import unpack


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    found = company(tmp_path_factory.mktemp("ledger") / "ledger.db", calls=600)
    plant(found)
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(store: SqliteStore) -> Iterator[PageServer]:
    with PageServer(CostBook(store, name="ledger.db"), TaskStories(store)) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


class Got:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


def ask(
    server: PageServer,
    path: str,
    *,
    token: str | None = None,
    method: str = "GET",
    **headers: str,
) -> Got:
    """One request; `token` None is the right one."""
    given = server.token if token is None else token
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    mark = "&" if "?" in path else "?"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"{path}{mark}token={given}", headers=named)
    found = Got(connection.getresponse())
    connection.close()
    return found


def test_it_listens_on_loopback_alone(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 32


def test_the_page_is_sent_with_a_strict_policy(server: PageServer) -> None:
    got = ask(server, "/")
    assert got.status == 200
    policy = got.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert got.headers["Referrer-Policy"] == "no-referrer"
    assert got.headers["Cache-Control"] == "no-store"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in got.headers
    assert ask(server, "/").headers["Content-Security-Policy"] != policy


@pytest.mark.parametrize("path", ["/", "/api/book", "/api/task?id=x"])
@pytest.mark.parametrize("token", ["", "wrong", "ü"])
def test_without_the_token_there_is_nothing(path: str, token: str, server: PageServer) -> None:
    got = ask(server, path, token=quote(token))
    assert got.status == 403
    assert json.loads(got.body) == {"error": "open the address that agentkit view printed"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
    ],
)
def test_another_site_gets_nothing_even_with_the_token(
    headers: dict[str, str], server: PageServer
) -> None:
    got = ask(server, "/api/book", **headers)
    assert got.status == 403
    assert len(got.body) < 100


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_read_only(method: str, server: PageServer) -> None:
    assert ask(server, "/api/book", method=method).status == 501


@pytest.mark.parametrize("path", ["/x", "/api/", "/../etc/passwd", "/static/app.js"])
def test_there_is_nothing_else(path: str, server: PageServer) -> None:
    assert ask(server, path).status == 404


def test_its_sums_are_the_ledgers(server: PageServer, store: SqliteStore) -> None:
    head, columns = unpack(ask(server, "/api/book").body)
    (whole,) = store.sum_calls()
    assert sum(columns["cell.nusd"]) == whole.sums.cost_nusd > 0
    assert sum(columns["cell.calls"]) == whole.sums.calls
    assert sum(columns["cell.input"]) == whole.sums.input_tokens
    assert sum(columns["cell.cached"]) == whole.sums.cache_read_tokens
    assert sum(columns["cell.output"]) == whole.sums.output_tokens
    assert sum(columns["cell.unconfirmed"]) == whole.sums.unconfirmed_nusd
    assert sum(columns["cell.saved_prompt_cache"]) == whole.sums.saved_prompt_cache
    assert sum(columns["cell.observations"]) == whole.sums.observations
    assert len(head["ids"].split("\n")) == len(store.tasks(limit=100_000))
    by_model: dict[str, float] = {}
    for model, nusd in zip(columns["cell.model"], columns["cell.nusd"], strict=True):
        name = head["names"]["model"][int(model)]
        by_model[name] = by_model.get(name, 0) + nusd
    assert by_model == {str(g.key[0]): g.sums.cost_nusd for g in store.sum_calls(("model",))}


def test_every_kind_of_ledger_has_the_same_page(tmp_path: Path) -> None:
    bodies: dict[str, tuple[dict[str, Any], dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        addresses = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/ledger.db"}
        redis = RedisServer(Path(folder)) if BINARY else None
        if redis:
            addresses["redis"] = redis.address
        for kind, address in addresses.items():
            ledger = Ledger(address)
            play(ledger.store, calls=120)
            bodies[kind] = unpack(CostBook(ledger.store, name="x").packed() or b"")
            ledger.close()
        if redis:
            redis.kill()
    first, columns = bodies.pop("memory")
    assert len(columns["cell.nusd"]) > 30
    for head, others in bodies.values():
        assert others == columns
        assert {**head, "made_at": 0} == {**first, "made_at": 0}


def test_a_task_is_told_whole(server: PageServer, store: SqliteStore) -> None:
    got = ask(server, f"/api/task?id={quote(PLANTED_TASK)}")
    told = json.loads(got.body)
    assert told["task"]["tags"]["feature"] == PLANTED
    assert [call["call_id"] for call in told["calls"]] == ["planted.1"]
    assert told["events"][0]["text"] == PLANTED
    assert told["texts"] == {}
    assert got.headers["Content-Type"].startswith("application/json")


def test_an_unknown_task_is_told_as_such(server: PageServer) -> None:
    got = ask(server, "/api/task?id=nowhere")
    assert (got.status, json.loads(got.body)["error"]) == (
        404,
        "there is no task 'nowhere' in this ledger",
    )


def test_what_has_not_changed_is_not_sent_again(server: PageServer) -> None:
    head, _ = unpack(ask(server, "/api/book").body)
    got = ask(server, f"/api/book?since={head['version']}")
    assert (got.status, got.body) == (204, b"")


def test_a_running_task_appears_and_grows(tmp_path: Path) -> None:
    """What is settled while the page is open is on it within a look or two."""
    import time

    store = company(tmp_path / "ledger.db", calls=50)
    book = CostBook(store, name="x")
    first, _ = unpack(book.packed() or b"")
    now = time.time()
    running = TaskRecord(task_id="now", scope="acme", started_at=now, tags={"feature": "live"})
    store.put_task(running)
    for index in (1, 2):
        record_call(
            store,
            CallRecord(
                call_id=f"now.{index}", task_id="now", scope="acme", step=index, index=index,
                model="gpt-5-mini", provider="openai", started_at=now,
                usage=Usage(input_tokens=10), cost_nusd=7, cost_source="table",
            ),
        )  # fmt: skip
        body = _next(book, first["version"])
        first, columns = unpack(body)
        at = first["ids"].split("\n").index("now")
        cells = [n for n, task in enumerate(columns["cell.task"]) if task == at]
        assert sum(columns["cell.nusd"][n] for n in cells) == 7 * index
        assert first["running"] == 1
    store.put_task(TaskRecord(task_id="now", scope="acme", started_at=now, outcome="resolved"))
    head, _ = unpack(_next(book, first["version"]))
    assert head["running"] == 0
    store.close()


def _next(book: CostBook, version: int) -> bytes:
    import time

    for _ in range(60):
        body = book.packed(version)
        if body is not None:
            return body
        time.sleep(0.1)
    raise AssertionError("the page did not change")


def test_tasks_before_a_time_can_be_left_out(store: SqliteStore) -> None:
    middle = sorted(task.started_at for task in store.tasks(limit=100_000))[200]
    head, columns = unpack(CostBook(store, name="x", since=middle).packed() or b"")
    expected = store.tasks(limit=100_000, where=JournalFilter(since=middle))
    assert len(head["ids"].split("\n")) == len(expected)
    assert min(columns["task.at"]) >= middle - 0.1


def test_rules_that_fire_come_with_their_tasks_and_quiet_ones_are_named(
    store: SqliteStore,
) -> None:
    end = max(call.started_at for call in store.scan_calls()) + 1
    rules = [
        replace(rule, threshold=0.0, floor=0.0) if rule.name == "daily_spend" else rule
        for rule in RULES
    ]
    found = alarms(store, rules, now=end)
    (loud,) = [alarm for alarm in found if alarm["rule"] == "daily_spend"]
    assert loud["firing"]
    assert loud["advice"]
    last_day = JournalFilter(since=end - 86_400)
    dearest = max(store.sum_calls(("task",), last_day), key=lambda group: group.sums.cost_nusd)
    assert isinstance(loud["tasks"], list)
    assert loud["tasks"][0] == dearest.key[0]
    assert {alarm["rule"] for alarm in found} == {rule.name for rule in RULES}
    head, _ = unpack(CostBook(store, name="x", alerts=lambda: found).packed() or b"")
    assert head["alerts"] == json.loads(json.dumps(found))


def test_an_alert_that_begins_is_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentkit.view.book._REST", 0)
    store = SqliteStore(tmp_path / "empty.db")
    told: list[dict[str, object]] = [{"rule": "burn_rate", "firing": False}]
    book = CostBook(store, name="x", alerts=lambda: list(told))
    head, _ = unpack(book.packed() or b"")
    told[0] = {"rule": "burn_rate", "firing": True}
    monkeypatch.setattr(book, "_next_full_look", 0.0)
    head, _ = unpack(_next(book, head["version"]))
    assert head["alerts"] == told
    store.close()


def test_a_task_that_began_before_the_cut_is_left_out_whole(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    store.put_task(TaskRecord(task_id="long", scope="acme", started_at=100.0))
    for at in (100.0, 300.0):
        record_call(
            store,
            CallRecord(
                call_id=f"long.{at}", task_id="long", scope="acme", step=1, index=1,
                started_at=at, cost_nusd=7, cost_source="table",
            ),
        )  # fmt: skip
    head, columns = unpack(CostBook(store, name="x", since=200.0).packed() or b"")
    assert (head["ids"], columns["cell.nusd"]) == ("", [])
    store.close()


def test_a_ledger_without_tasks_has_a_page(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "empty.db")
    head, columns = unpack(CostBook(store, name="x").packed() or b"")
    assert head["ids"] == ""
    assert columns["cell.nusd"] == []
    store.close()


def test_a_file_holds_no_markup_of_its_data(store: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    size = write_report(CostBook(store, name="x"), TaskStories(store), path, most_calls=100)
    text = path.read_text()
    assert size == path.stat().st_size
    assert path.stat().st_mode & 0o077 == 0
    assert "planted" not in text
    assert "onerror" not in text
    assert text.count("</script>") == 3
    assert list(tmp_path.iterdir()) == [path]
