"""Models that are in memory: one engine per file and settings, shared by the whole process."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from dataclasses import replace

from agentkit.models.local.dialect import Dialect
from agentkit.models.local.engine import EngineSettings, LlamaEngine
from agentkit.models.local.gguf_check import GgufSummary
from agentkit.models.local.pocket import PocketDialect
from agentkit.models.local.template import TemplateDialect

_log = logging.getLogger("agentkit")
_ONE_THREAD = (
    "%s works with one thread here: this process was forked from one in which a local model had "
    "worked with several; ask local models in the forked processes only, or spawn these"
)
_lock = threading.RLock()
_engines: dict[EngineSettings, LlamaEngine] = {}
_dialects: dict[tuple[EngineSettings, int], Dialect] = {}
_parallel = False
_alone = False
"""In the child of a process that let llama.cpp compute in several threads: OpenMP's do not come
over a fork, and a second one would be waited for without end."""


def engine_for(settings: EngineSettings) -> LlamaEngine:
    """The engine with these settings, loaded at the first call and kept until the process ends."""
    global _parallel
    with _lock:
        engine = _engines.get(settings)
        if engine is None:
            own = replace(settings, threads=1) if _alone else settings
            if own != settings:
                _log.warning(_ONE_THREAD, settings.path)
            engine = _engines[settings] = LlamaEngine(own)
            _parallel = _parallel or own.threads > 1
        return engine


def dialect_for(settings: EngineSettings, summary: GgufSummary, *, n_ctx: int) -> Dialect:
    """How the model with these settings is spoken to; loads it if it was not."""
    with _lock:
        dialect = _dialects.get((settings, n_ctx))
        if dialect is None:
            engine = engine_for(settings)
            dialect = (
                PocketDialect(
                    engine,
                    n_ctx=n_ctx,
                    readings=summary.readings,
                    logprob_floor=summary.sum_floor,
                )
                if summary.is_pocket
                else TemplateDialect(engine, summary)
            )
            _dialects[settings, n_ctx] = dialect
        return dialect


def close_engines() -> None:
    """Free every model that this process loaded; the next use loads it again."""
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
        _dialects.clear()
    for engine in engines:
        engine.close()


def _forget_in_child() -> None:
    """A forked child has the memory but not the threads of its parent: it loads its own."""
    global _lock, _alone
    _lock = threading.RLock()
    _alone = _alone or _parallel
    _engines.clear()
    _dialects.clear()


atexit.register(close_engines)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
