"""Tables of the SQLite ledger, by schema version."""

from __future__ import annotations

from agentkit.budgets.stores.sqlite_facts import FACT_SCHEMA

SCHEMA_VERSION = 3
FIRST_WITHOUT_FACTS = 2
"""The version from before calls had rows of integers; it is brought up to date when opened."""

THREAD = "json_extract(record, '$.thread_id')"
"""Of a row of `task`; written as in its index, or that is not used."""

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS scope (
        path TEXT PRIMARY KEY, window TEXT NOT NULL, timezone TEXT NOT NULL,
        thresholds TEXT NOT NULL, limit_nusd INTEGER, limit_tokens INTEGER,
        limit_fresh_tokens INTEGER, limit_calls INTEGER) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS account (
        id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, window_key TEXT NOT NULL,
        settled_nusd INTEGER NOT NULL, settled_tokens INTEGER NOT NULL,
        settled_fresh_tokens INTEGER NOT NULL, settled_calls INTEGER NOT NULL,
        held_nusd INTEGER NOT NULL, held_tokens INTEGER NOT NULL,
        held_fresh_tokens INTEGER NOT NULL, held_calls INTEGER NOT NULL,
        unconfirmed_nusd INTEGER NOT NULL, UNIQUE (path, window_key))""",
    """CREATE TABLE IF NOT EXISTS reservation (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, fingerprint TEXT NOT NULL,
        accounts TEXT NOT NULL, worst_nusd INTEGER NOT NULL, worst_tokens INTEGER NOT NULL,
        worst_fresh_tokens INTEGER NOT NULL, worst_calls INTEGER NOT NULL,
        charged_nusd INTEGER NOT NULL, charged_tokens INTEGER NOT NULL,
        charged_fresh_tokens INTEGER NOT NULL, charged_calls INTEGER NOT NULL,
        lease_until REAL NOT NULL, dispatched INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE INDEX IF NOT EXISTS reservation_lease
        ON reservation (lease_until) WHERE state = 'held'""",
    """CREATE TABLE IF NOT EXISTS task (
        task_id TEXT PRIMARY KEY, scope TEXT NOT NULL, started_at REAL NOT NULL,
        outcome TEXT, record TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS task_time ON task (started_at)",
    f"CREATE INDEX IF NOT EXISTS task_thread ON task ({THREAD}, started_at)",
    """CREATE TABLE IF NOT EXISTS call (
        id TEXT NOT NULL UNIQUE, task_id TEXT NOT NULL, at REAL NOT NULL, record TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS call_task ON call (task_id)",
    """CREATE TABLE IF NOT EXISTS event (
        task_id TEXT NOT NULL, at REAL NOT NULL, record TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS event_task ON event (task_id)",
    """CREATE TABLE IF NOT EXISTS response (
        task_id TEXT NOT NULL, call_id TEXT NOT NULL, fingerprint TEXT NOT NULL,
        payload BLOB NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS response_task ON response (task_id)",
    *FACT_SCHEMA,
)
