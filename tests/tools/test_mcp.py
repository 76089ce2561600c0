"""MCP servers: real ones over stdio and streamable HTTP, with their failures."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolCall

from agentkit import Agent, Permissions
from agentkit.tools import (
    ExecutionLimits,
    InvalidTool,
    Observation,
    ServerUnavailable,
    ToolCatalogue,
    arun_calls,
    run_calls,
)
from agentkit.tools.mcp import HttpServer, McpServers, StdioServer
from tests.scripted import ScriptedModel, call, in_turn

STRANGER = str(Path(__file__).with_name("stranger.py"))
BIN = Path(sys.executable).parent


def _stdio(*flags: str, **fields: Any) -> StdioServer:
    return StdioServer(command=sys.executable, arguments=[STRANGER, *flags], **fields)


class Serving:
    """The stranger over HTTP, in a process that can be ended."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, STRANGER, "--http"], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/mcp"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def over_stdio() -> Iterator[McpServers]:
    with McpServers({"s": _stdio(env={"GIVEN": "given"})}) as servers:
        yield servers


@pytest.fixture(scope="module")
def over_http() -> Iterator[McpServers]:
    serving = Serving()
    with McpServers({"s": HttpServer(url=serving.url, headers={"X-Key": "k"})}) as servers:
        yield servers
    serving.end()


@pytest.fixture(params=["stdio", "http"])
def servers(request: pytest.FixtureRequest) -> McpServers:
    made: McpServers = request.getfixturevalue(f"over_{request.param}")
    return made


def _call(name: str, call_id: str = "c", /, **args: object) -> ToolCall:
    return ToolCall(name=f"s__{name}", args=args, id=call_id, type="tool_call")


def _one(servers: McpServers, name: str, /, **args: object) -> Observation:
    limits = ExecutionLimits(timeout_seconds=20)
    (found,) = run_calls([_call(name, **args)], ToolCatalogue(servers), limits)
    return found


def test_a_call_is_answered(servers: McpServers) -> None:
    assert _one(servers, "add", a=1, b=2).content == "3"


def test_arguments_are_checked_here_and_repaired(servers: McpServers) -> None:
    assert _one(servers, "add", a="1", b=2).content == "3"
    found = _one(servers, "add", a="one", b=2)
    assert (found.status, "'a' must be integer" in found.content) == ("invalid", True)


async def test_a_call_is_answered_on_the_callers_loop(servers: McpServers) -> None:
    calls = [_call("add", f"c{i}", a=i, b=1) for i in range(5)]
    found = await arun_calls(calls, ToolCatalogue(servers))
    assert [o.content for o in found] == ["1", "2", "3", "4", "5"]


def test_failures_are_seen(servers: McpServers) -> None:
    assert _one(servers, "fail", why="x").status == "error"
    refused = _one(servers, "refuse")
    assert (refused.status, refused.content) == ("error", "not today")


def test_what_is_no_text_is_described(servers: McpServers) -> None:
    assert _one(servers, "mixed").content.splitlines() == [
        "a text",
        "<image, image/png, 5 bytes; not shown>",
        "<audio, audio/wav, 6 bytes; not shown>",
        "[resource file:///a.txt]",
        "inside",
        "[resource file:///b.bin] <file, 2 bytes; not shown>",
        "<link to 'more': file:///c.txt>",
    ]


def test_a_long_result_is_bounded(servers: McpServers) -> None:
    found = _one(servers, "huge", kilobytes=300)
    assert found.cut
    assert len(found.content) <= 65_536


def test_a_call_that_hangs_ends_and_the_next_works(servers: McpServers) -> None:
    limits = ExecutionLimits(timeout_seconds=0.3)
    (found,) = run_calls([_call("hang", seconds=600)], ToolCatalogue(servers), limits)
    assert (found.status, "was cancelled" in found.content) == ("timeout", True)
    assert _one(servers, "add", a=1, b=1).content == "2"


def test_side_effects_come_from_the_user_and_hints_only_make_them_stricter(
    over_stdio: McpServers,
) -> None:
    def classes(**rules: Any) -> dict[str, str]:
        wanted = [d for d in over_stdio.definitions("s") if d.name in ("add", "delete", "fail")]
        server = _stdio(**rules)
        return {f"s__{d.name}": server.side_effect_of(d.name, d.hints) for d in wanted}

    assert set(classes().values()) == {"write"}
    assert classes(side_effect="read") == {
        "s__add": "read",
        "s__delete": "write",
        "s__fail": "read",
    }
    assert classes(trust_hints=True) == {
        "s__add": "read",
        "s__delete": "write",
        "s__fail": "write",
    }
    told = classes(side_effects={"del*": "spend", "*": "read"})
    assert told == {"s__add": "read", "s__delete": "spend", "s__fail": "read"}


def test_an_agent_runs_what_is_granted(over_stdio: McpServers) -> None:
    model = ScriptedModel(
        script=in_turn(call("s__add", a=2, b=2), call("s__delete", path="/"), "done")
    )
    agent = Agent([model], [*over_stdio], permissions=Permissions(grant=["s__add"]))
    assert agent.run("go").answer == "done"
    told = [str(m.content) for m in model.seen[-1] if m.type == "tool"]
    assert told[0] == "4"
    assert "no permission" in told[1]
    offered = [tool["function"]["name"] for tool in model.kwargs_seen[-1]["tools"]]
    assert offered == ["s__add"]


def test_a_server_that_dies_is_seen_and_started_again() -> None:
    with McpServers({"s": _stdio()}) as servers:
        before = _one(servers, "process").content
        died = _one(servers, "die")
        assert died.status == "error"
        assert "ended during the call, which may have been carried out" in died.content
        after = _one(servers, "process")
        assert after.status == "ok"
        assert after.content != before
        os.kill(int(after.content.split()[0]), 9)  # idle: nothing was under way
        deadline = time.monotonic() + 10
        while _one(servers, "process").status != "ok":
            assert time.monotonic() < deadline


def test_an_http_server_that_comes_back_is_used_again() -> None:
    first = Serving()
    port = int(first.url.split(":")[2].split("/")[0])
    with McpServers({"s": HttpServer(url=first.url)}) as servers:
        assert _one(servers, "add", a=1, b=1).content == "2"
        first.end()
        gone = _one(servers, "add", a=1, b=1)
        assert gone.status == "error"
        assert "ServerUnavailable" in gone.content
        code = f"import runpy, sys, socket; real = socket.create_server; \
socket.create_server = lambda a, **k: real(('127.0.0.1', {port})); \
sys.argv = ['x', '--http']; runpy.run_path({STRANGER!r}, run_name='__main__')"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as again:
            assert again.stdout is not None
            again.stdout.readline()
            assert _one(servers, "add", a=1, b=2).content == "3"
            again.kill()


def test_a_program_gets_its_own_environment_only(
    over_stdio: McpServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _one(over_stdio, "process").content.split()[2] == "given"
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "secret")
    with McpServers({"s": _stdio()}) as servers:
        assert _one(servers, "process").content.split()[1:] == ["None", "None"]


def test_closing_ends_the_program() -> None:
    servers = McpServers({"s": _stdio()})
    pid = int(_one(servers, "process").content.split()[0])
    catalogue = ToolCatalogue(servers)
    servers.close()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() or _is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (found,) = run_calls([_call("add", a=1, b=1)], catalogue)
    assert "have been closed" in found.content
    assert _one(servers, "add", a=1, b=1).content == "2"  # it starts again
    servers.close()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (StdioServer(command="no-such-program-anywhere"), "cannot be used: FileNotFoundError"),
        (
            StdioServer(command=sys.executable, arguments=["-c", "raise SystemExit('no key')"]),
            "it wrote: no key",
        ),
        (
            StdioServer(
                command=sys.executable,
                arguments=["-c", "import time; time.sleep(60)"],
                connect_timeout_seconds=0.5,
            ),
            "no answer in 0.5 s",
        ),
        (
            StdioServer(
                command=sys.executable,
                arguments=["-c", "while True: print('rubbish')"],
                connect_timeout_seconds=1,
            ),
            "cannot be used",
        ),
        (HttpServer(url="http://127.0.0.1:9/mcp"), "cannot be used"),
    ],
)
def test_a_server_that_cannot_be_used_is_an_error_that_says_why(
    server: StdioServer | HttpServer, message: str
) -> None:
    with pytest.raises(ServerUnavailable, match=message) as caught:
        McpServers({"s": server}).specs()
    assert caught.value.server == "s"
    gc.collect()  # what was left open would warn here, and warnings are errors


def test_or_it_is_left_out_and_said_so(over_stdio: McpServers) -> None:
    bad = StdioServer(command="no-such-program-anywhere")
    with McpServers({"s": _stdio(), "bad": bad}, skip_unavailable=True) as servers:
        assert len(servers) == len(over_stdio)
        (left,) = servers.left_out
        assert (left.server, left.tool) == ("bad", "")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://u:p@host/mcp", "ftp://h", "x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidTool, match="cannot be used"):
        HttpServer(url=url)


def test_keys_are_not_shown() -> None:
    assert "k3y" not in repr(HttpServer(url="http://h/", headers={"Authorization": "k3y"}))
    assert "k3y" not in repr(_stdio(env={"KEY": "k3y"}))


def test_two_servers_with_the_same_tools_stay_apart() -> None:
    both = {"one": _stdio(tools=["add"]), "two": _stdio(tools=["add"])}
    with McpServers(both) as servers:
        assert ToolCatalogue(servers).names == ("one__add", "two__add")


@pytest.mark.parametrize("name", ["", "a__b", "_a", "a_", "a b", "x" * 25, "ä"])
def test_a_server_needs_a_name_that_can_begin_others(name: str) -> None:
    with pytest.raises(InvalidTool, match="cannot begin the names of tools"):
        McpServers({name: _stdio()})


def test_the_reference_server_for_time_works() -> None:
    """A server that we did not write, from the package index."""
    server = StdioServer(command=str(BIN / "mcp-server-time"), side_effect="read")
    with McpServers({"time": server}) as servers:
        catalogue = ToolCatalogue(servers)
        assert catalogue.names == ("time__get_current_time", "time__convert_time")
        args = {"source_timezone": "UTC", "time": "12:30", "target_timezone": "Asia/Tokyo"}
        calls = [
            ToolCall(name="time__convert_time", args=args, id="1", type="tool_call"),
            ToolCall(
                name="time__get_current_time",
                args={"timezone": "Mars/Olympus"},
                id="2",
                type="tool_call",
            ),
        ]
        converted, failed = run_calls(calls, catalogue)
        assert "21:30" in converted.content
        assert failed.status == "error"


def test_the_reference_server_for_everything_works(tmp_path: Path) -> None:
    """The one of npm, where node and a registry are there."""
    npm = shutil.which("npm")
    if npm is None or not os.environ.get("AGENTKIT_NPM"):
        pytest.skip("it installs a package with npm: set AGENTKIT_NPM=1 to let it")
    package = "@modelcontextprotocol/server-everything"
    install = [npm, "install", "--prefix", str(tmp_path), "--no-fund", "--no-audit", package]
    try:
        done = subprocess.run(install, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {package} in a minute")
    if done.returncode:
        pytest.skip(f"npm cannot install {package} here")
    command = str(tmp_path / "node_modules" / ".bin" / "mcp-server-everything")
    with McpServers({"every": StdioServer(command=command, side_effect="read")}) as servers:
        catalogue = ToolCatalogue(servers)
        assert "every__echo" in catalogue
        echo = ToolCall(name="every__echo", args={"message": "hi"}, id="1", type="tool_call")
        (found,) = run_calls([echo], catalogue)
        assert "hi" in found.content


def test_two_hundred_bad_tools_do_not_end_the_run() -> None:
    """They raise, hang, return rubbish, or want to end their server; one in five works."""
    limits = ExecutionLimits(timeout_seconds=12, parallel=64)  # a busy machine is slow to answer
    with McpServers({"s": _stdio("--bad", "200", side_effect="read")}) as servers:
        catalogue = ToolCatalogue(servers)
        calls = [_call(f"bad_{i}", f"c{i}") for i in range(200) if i % 5 != 3]
        found = {o.call_id: o for o in run_calls(calls, catalogue, limits)}
        assert len(found) == 160
        for index in (i for i in range(200) if i % 5 != 3):
            expected = {0: "error", 1: "timeout", 2: "ok", 4: "ok"}[index % 5]
            assert found[f"c{index}"].status == expected, (index, found[f"c{index}"].content)
        leaving = [_call(f"bad_{i}", f"c{i}") for i in range(200) if i % 5 == 3]
        short = ExecutionLimits(timeout_seconds=2, parallel=64)
        statuses = {o.status for o in run_calls(leaving, catalogue, short)}
        assert statuses <= {"error", "timeout"}  # the server is half dead, then started again
        again = [_one(servers, "bad_4").content for _ in range(3)]
        assert again[-1] == "4 went well"


def test_many_calls_share_a_connection(over_http: McpServers) -> None:
    catalogue = ToolCatalogue(over_http)

    async def many() -> list[Observation]:
        calls = [_call("add", f"c{i}", a=i, b=0) for i in range(100)]
        return await arun_calls(calls, catalogue)

    assert [o.content for o in asyncio.run(many())] == [str(i) for i in range(100)]
