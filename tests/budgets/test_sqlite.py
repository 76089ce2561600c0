"""The SQLite ledger across processes, crashes and files that are not what they should be."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from agentkit.budgets import Amount, Budget, CallRecord, Ledger, Limits, Scope, StoreError, Usage
from agentkit.budgets.call_plan import CallPlan
from agentkit.budgets.ledger import DEFAULT_SCOPE
from agentkit.budgets.stores.sqlite import SqliteStore
from agentkit.budgets.stores.sqlite_schema import THREAD
from tests.budgets.spender import start_python, start_spender

_FOREVER = """
import itertools, sys
from agentkit.budgets import Amount, Ledger
ledger = Ledger(sys.argv[1])
for number in itertools.count():
    ledger.reserve(f"r{number}", Amount(nusd=10), ["acme"], lease_seconds=0.2)
    print(number, "held", flush=True)
    ledger.settle(f"r{number}", Amount(nusd=7))
    print(number, "settled", flush=True)
"""


def _address(path: Path) -> str:
    return f"sqlite:///{path}?synchronous=normal"


def test_processes_share_a_file_exactly(tmp_path: Path) -> None:
    address = _address(tmp_path / "ledger.db")
    ledger = Ledger(address)
    ledger.set_limits("acme", Limits(nusd=1_000))
    workers = [start_spender(address, f"w{number}") for number in range(3)]
    made = sum(int(worker.communicate(timeout=60)[0]) for worker in workers)
    account = ledger.account("acme")
    assert (account.settled, account.held) == (Amount(nusd=9 * made), Amount())
    assert made in (110, 111)
    ledger.close()


def test_processes_can_create_one_file_at_once(tmp_path: Path) -> None:
    opening = "import sys; from agentkit.budgets import Ledger; Ledger(sys.argv[1]).close()"
    workers = [start_python(opening, _address(tmp_path / "ledger.db")) for _ in range(4)]
    assert [worker.wait(timeout=60) for worker in workers] == [0] * 4
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.close()


def test_killed_process_loses_nothing_and_its_lease_is_forfeited(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with_limits = SqliteStore(path)
    with_limits.put_scope(Scope(path="acme", limits=Limits(nusd=10**9)))
    with_limits.close()
    worker = start_python(_FOREVER, _address(path))
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.startswith("40 settled"):
            break
    os.kill(worker.pid, signal.SIGKILL)
    told = [line for line in worker.stdout.read().splitlines() if line.endswith("settled")]
    worker.stdout.close()
    assert worker.wait(timeout=60) == -signal.SIGKILL
    settled = 41 + len(told)

    store = SqliteStore(path, clock=lambda: 10.0**10)
    before = store.account("acme")
    assert before.settled.nusd in (7 * settled, 7 * (settled + 1))
    ended = store.expire()
    after = store.account("acme")
    assert [settlement.after for settlement in ended] == ["forfeited"] * (before.held.nusd // 10)
    assert after.settled.nusd == before.settled.nusd + before.held.nusd
    assert (after.held, after.unconfirmed_nusd) == (Amount(), before.held.nusd)
    store.close()


def test_reopened_file_holds_tasks_calls_and_sums(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'sub' / 'ledger.db'}"
    ledger = Ledger(address)
    task = ledger.open_task(scope="acme", budget=Budget(tokens=1_000), tags={"k": "v"})
    held = task.hold_call(
        CallPlan(
            price=ledger.prices.price("pocket", "local"),
            counted_input_tokens=100,
            input_tokens=100,
            wanted_output_tokens=10,
        )
    )
    call = task.settle_call(held, Usage(input_tokens=100, output_tokens=3))
    task.note("note", "all is well")
    record = task.close("answered")
    ledger.close()

    store = Ledger(address).store
    assert store.task(task.task_id) == record
    assert store.calls(task.task_id) == [call]
    assert [event.text for event in store.events(task.task_id)] == ["all is well"]
    assert store.account("acme").settled.tokens == 103
    store.close()


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"dear diary, " * 500)
    with pytest.raises(StoreError, match="not a database"):
        SqliteStore(path)
    assert path.read_bytes() == b"dear diary, " * 500


def test_truncated_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = SqliteStore(path)
    for number in range(500):
        store.ensure_scopes([f"scope{number}"])
    store.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StoreError, match=r"ledger\.db"):
        SqliteStore(path).scopes()


def test_file_of_a_later_version(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    SqliteStore(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=r"later agentkit.*schema 99.*upgrade"):
        SqliteStore(path)


def test_file_of_an_unreleased_version(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 1")
    db.close()
    with pytest.raises(StoreError, match="before the first release"):
        SqliteStore(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_file_that_may_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    SqliteStore(path).close()
    path.chmod(0o400)
    with pytest.raises(StoreError, match="permissions"):
        SqliteStore(path)


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path)


def test_file_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "plain" / "ledger.db")


def test_closed_store_fails_closed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.reserve("r", Amount(), [], lease_seconds=1.0)


def test_half_a_verb_is_not_written(tmp_path: Path) -> None:
    """A record that cannot be written takes the whole settlement back."""
    store = SqliteStore(tmp_path / "ledger.db")
    store.ensure_scopes(["acme"])
    store.reserve("r", Amount(nusd=5), ["acme"], lease_seconds=60.0)
    db = sqlite3.connect(store.path)
    db.execute("DROP TABLE call")
    db.close()
    call = CallRecord(call_id="r", task_id="t", scope="acme", step=1, index=1)
    with pytest.raises(StoreError, match="no such table"):
        store.settle("r", Amount(nusd=4), call=call)
    assert store.account("acme").held == Amount(nusd=5)
    store.close()


@pytest.mark.parametrize("synchronous", ["OFF", "off; DROP TABLE scope", ""])
def test_synchronous_is_full_or_normal(tmp_path: Path, synchronous: str) -> None:
    with pytest.raises(StoreError, match="use FULL or NORMAL"):
        SqliteStore(tmp_path / "ledger.db", synchronous=synchronous)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_process_may_not_use_the_connection(tmp_path: Path) -> None:
    code = """
import os, sys
from agentkit.budgets import Ledger, Limits, StoreError
ledger = Ledger(sys.argv[1])
ledger.set_limits("acme", Limits(calls=1))
child = os.fork()
if child == 0:
    try:
        ledger.account("acme")
    except StoreError as error:
        os._exit(7 if "open it anew in each process" in str(error) else 1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ledger.account("acme").limits.calls)
"""
    process = start_python(code, _address(tmp_path / "ledger.db"))
    assert process.communicate(timeout=60)[0] == "7 1\n"


def test_a_file_from_before_calls_had_rows_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(_address(path))
    task = ledger.open_task(scope="acme/web", tags={"feature": "faq"})
    price = ledger.prices.price("gpt-5-mini", "openai")
    plan = CallPlan(
        price=price, counted_input_tokens=90, input_tokens=100, wanted_output_tokens=50
    )  # fmt: skip
    for _ in range(3):
        task.settle_call(task.hold_call(plan), Usage(input_tokens=95, output_tokens=20))
    task.close("resolved")
    by = ("model", "tags", "outcome")
    expected = ledger.store.sum_calls(by)
    assert expected[0].sums.calls == 3
    ledger.close()
    _make_version_2(path)
    again = Ledger(_address(path))
    assert again.store.sum_calls(by) == [
        group._replace(sums=group.sums._replace(**dict.fromkeys(_NEW, 0))) for group in expected
    ]
    again.close()


def test_a_ledger_from_before_threads_were_looked_up_finds_them(tmp_path: Path) -> None:
    """Its first opening makes the index, and the look-up reads no table without it."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(_address(path))
    ledger.open_task(task_id="t", thread_id="chat")
    ledger.close()
    db = sqlite3.connect(path)
    db.execute("DROP INDEX task_thread")
    db.commit()
    db.close()
    again = Ledger(_address(path))
    found = again.store.task_of_thread("chat", scope=DEFAULT_SCOPE)
    assert found is not None and found.task_id == "t"
    again.close()
    db = sqlite3.connect(path)
    query = f"EXPLAIN QUERY PLAN SELECT 1 FROM task WHERE {THREAD} = 'chat'"  # noqa: S608  # a constant
    plan = db.execute(query).fetchall()
    assert "task_thread" in plan[0][-1]
    db.close()


_NEW = ("system", "tools", "summary", "history", "observations", "user")


def _make_version_2(path: Path) -> None:
    """The file as the version before wrote it: without the tables and names added since."""
    db = sqlite3.connect(path)
    db.execute("DROP TABLE fact")
    db.execute("DROP TABLE label")
    for name in ("components", "saved_nusd", "escalation", "cached_by", "prefix"):
        db.execute("UPDATE call SET record = json_remove(record, ?)", (f"$.{name}",))
    db.execute("PRAGMA user_version = 2")
    db.commit()
    db.close()
