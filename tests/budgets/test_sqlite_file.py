"""The file behind the stores: whole transactions or none, closed once, not used over a fork."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
import warnings
from pathlib import Path

import pytest

from agentkit.budgets.errors import StoreError
from agentkit.budgets.stores.sqlite_file import IN_MEMORY, SqliteFile


def opened(path: Path | str) -> SqliteFile:
    file = SqliteFile(path, what="the book", error=StoreError)
    with file.write() as db:
        db.execute("CREATE TABLE IF NOT EXISTS note (text TEXT)")
    return file


def opened_again(path: Path) -> SqliteFile:
    return SqliteFile(path, what="the book", error=StoreError)


def notes(file: SqliteFile) -> list[str]:
    with file.read() as db:
        return [row[0] for row in db.execute("SELECT text FROM note")]


def test_transaction_that_raises_leaves_nothing(tmp_path: Path) -> None:
    file = opened(tmp_path / "a" / "book.db")
    with pytest.raises(ZeroDivisionError), file.write() as db:
        db.execute("INSERT INTO note VALUES ('lost')")
        raise ZeroDivisionError
    with file.write() as db:
        db.execute("INSERT INTO note VALUES ('kept')")
    assert notes(file) == ["kept"]


def test_failure_is_the_stores_own_error_and_the_next_transaction_works(tmp_path: Path) -> None:
    file = opened(tmp_path / "book.db")
    with (
        pytest.raises(StoreError, match=r"the book '.*' failed: no such table"),
        file.write() as db,
    ):
        db.execute("INSERT INTO nowhere VALUES (1)")
    with file.write() as db:
        db.execute("INSERT INTO note VALUES ('kept')")
    assert notes(file) == ["kept"]


def test_transaction_inside_another_is_a_part_of_it_and_undone_alone(tmp_path: Path) -> None:
    file = opened(tmp_path / "book.db")
    with file.write() as db:
        db.execute("INSERT INTO note VALUES ('first')")
        with pytest.raises(ZeroDivisionError), file.write():
            db.execute("INSERT INTO note VALUES ('lost')")
            raise ZeroDivisionError
        with file.write():
            db.execute("INSERT INTO note VALUES ('second')")
        with file.snapshot() as same:
            assert same.execute("SELECT count(*) FROM note").fetchone() == (2,)
        assert notes(opened_again(tmp_path / "book.db")) == []
    assert notes(file) == ["first", "second"]
    with pytest.raises(ZeroDivisionError), file.write() as db:
        with file.write():
            db.execute("INSERT INTO note VALUES ('third')")
        raise ZeroDivisionError
    assert notes(file) == ["first", "second"]


def test_threads_take_turns(tmp_path: Path) -> None:
    file = opened(tmp_path / "book.db")

    def write() -> None:
        for _ in range(50):
            with file.write() as db:
                db.execute("INSERT INTO note VALUES ('x')")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(notes(file)) == 200


def test_closed_file_says_so_and_closes_again(tmp_path: Path) -> None:
    file = opened(tmp_path / "book.db")
    file.close()
    file.close()
    with pytest.raises(StoreError, match="is closed"):
        notes(file)


def test_folder_that_cannot_be_made_is_told_with_advice() -> None:
    with pytest.raises(StoreError, match=r"cannot be opened.*check the folder"):
        opened("/dev/null/book.db")


def test_memory_needs_no_folder() -> None:
    file = opened(IN_MEMORY)
    assert file.is_in_memory
    assert notes(file) == []


def test_file_that_is_let_go_of_is_closed_without_a_warning(tmp_path: Path) -> None:
    """Python 3.13 warns of a connection that nobody closed."""
    file = opened(tmp_path / "book.db")
    connection: sqlite3.Connection = file._db
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del file
        gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_child_of_a_fork_is_refused(tmp_path: Path) -> None:
    file = opened(tmp_path / "book.db")
    child = os.fork()
    if child == 0:
        refused = 1
        try:
            notes(file)
        except StoreError as error:
            refused = 0 if "forked" in str(error) else 1
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert notes(file) == []
