"""The folder in which agentkit keeps what can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """`$XDG_CACHE_HOME/agentkit/NAME`, or below `~/.cache`; it need not exist yet.

    Like the home folder, it is a fact of the user's system and no setting of agentkit.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return base / "agentkit" / name
