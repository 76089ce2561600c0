"""The process that isolated tools run in: one JSON line in, one out, until its input ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import cast

from langchain_core.tools import BaseTool

from agentkit.tools.catalogue import ToolSource, ToolSpec
from agentkit.tools.isolation import Reference, tool_at
from agentkit.tools.observation import cut
from agentkit.tools.result import Rendered, render, render_error


def main() -> None:
    """Serves calls; what a tool prints goes to standard error, and it reads nothing."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    for line in requests:
        request = cast("dict[str, object]", json.loads(line))
        replies.write(json.dumps(answer(request)).encode() + b"\n")
        replies.flush()


def answer(request: dict[str, object]) -> dict[str, object]:
    """What a call came to, bounded."""
    sys.path[:] = cast("list[str]", request["path"])
    rendered = _carried_out(request)
    kept = cut(rendered.text, max_bytes=cast("int", request["max_bytes"]))
    return {"text": kept.text, "is_error": rendered.is_error}


def _carried_out(request: dict[str, object]) -> Rendered:
    reference = Reference(module=str(request["module"]), name=str(request["function"]))
    try:
        source = tool_at(reference)
        tool = source
        if not isinstance(source, BaseTool):
            made = ToolSpec.of(
                cast("ToolSource", source), name=str(request["name"]), description="Isolated."
            )
            tool = made.tool
        return render(_run(cast("BaseTool", tool), request["arguments"]), call_id="")
    except BaseException as error:  # noqa: BLE001  whatever a tool raises, exits too, is told
        return Rendered(text=render_error(error), is_error=True)


def _run(tool: BaseTool, arguments: object) -> object:
    given = cast("dict[str, object]", arguments)
    is_async = getattr(tool, "coroutine", None) is not None and getattr(tool, "func", None) is None
    if not is_async:
        return cast("Callable[[dict[str, object]], object]", tool.invoke)(given)
    import asyncio

    async def run() -> object:
        return await tool.ainvoke(given)

    return asyncio.run(run())


if __name__ == "__main__":
    main()
