"""A stand-in for paid providers, for examples that run without a key.

It is the scripted server of this repository's tests, on loopback: the clients, the wire protocols,
the token counts and the prices are real, but there is no model behind it. What it says is written
in the example.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from langchain_core.language_models import BaseChatModel

from agentkit import chat_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.wire import Reply, ScriptedProvider, WireRequest

KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}

__all__ = ["Reply", "WireRequest", "frontier_models"]


@contextmanager
def frontier_models(
    *names: str, script: Callable[[WireRequest], Reply]
) -> Iterator[list[BaseChatModel]]:
    """The models in `names`: the real ones where all keys are there, else scripted ones."""
    missing = [KEYS[name.partition(":")[0]] for name in names]
    missing = sorted({key for key in missing if not os.environ.get(key)})
    if not missing:
        yield [chat_model(name) for name in names]
        return
    print(f"({' and '.join(missing)} not set: a SCRIPTED server answers, no real model)\n")
    with ScriptedProvider(script) as server:
        urls = {"openai": server.openai_url, "anthropic": server.anthropic_url}
        yield [
            chat_model(name, base_url=urls[name.partition(":")[0]], api_key="scripted")
            for name in names
        ]
