"""The page as one file that opens from disk: figures and page together, compressed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from agentkit.private_file import write_private
from agentkit.view.book import CostBook
from agentkit.view.markup import page_file
from agentkit.view.story import TaskStories


def write_report(book: CostBook, stories: TaskStories, path: Path, *, most_calls: int) -> int:
    """Write the page to `path` and return its size in bytes.

    All tasks are in its sums and in its list; the latest tasks, up to `most_calls` calls, can be
    opened. The file appears whole or not at all, readable by its owner alone.
    """
    figures = book.packed() or b""
    tasks = {task_id: stories.of(task_id) for task_id in book.task_ids(most_calls)}
    detail = json.dumps(tasks, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    blocks = {
        "book-data": gzip.compress(figures, mtime=0),
        "task-data": gzip.compress(detail, mtime=0),
    }
    text = page_file(blocks).encode()
    write_private(path, text)
    return len(text)
