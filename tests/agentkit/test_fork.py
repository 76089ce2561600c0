"""What a forked process finds of an agent that was made before: it works, or it is told why not."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import pytest

from agentkit import Agent, Budget
from agentkit.budgets import Ledger
from tests.wire import Reply, ScriptedProvider, WireRequest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

_CHILD = """
import os, signal, sys, time

def in_child(work):
    '''What `work` gives in a forked child, or "hangs".'''
    seen, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = str(work())
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        os.write(told, said.encode())
        os._exit(0)
    end = time.monotonic() + 20
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hangs"
        time.sleep(0.02)
    return os.read(seen, 10_000).decode()
"""

_POCKET = """
import asyncio
from agentkit import Agent, Budget, chat_model

def get_weather(city: str) -> str:
    '''Tell the weather in a city.'''
    return f"{city}: sunny"

model = chat_model("local:pocket", n_threads=int(sys.argv[1]))
agent = Agent([model], [get_weather], budget=Budget(calls=9))

def ask():
    return agent.run("what is the weather in Lisbon").answer

def ask_on_a_loop():
    return asyncio.run(agent.arun("what is the weather in Lisbon")).answer

print(ask(), ask_on_a_loop(), in_child(ask), in_child(ask_on_a_loop), ask(), sep="|")
"""


def _output(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("threads", [1, 2])
def test_a_local_model_works_in_parent_and_child(threads: int) -> None:
    pytest.importorskip("llama_cpp")
    said = _output(_CHILD + _POCKET, str(threads))
    assert said.partition("\n")[0].split("|") == ["Lisbon: sunny"] * 5


_MEMORY = """
from agentkit.budgets import Amount, Budget, Ledger, Limits

ledger = Ledger("memory://")
ledger.set_limits("acme", Limits(calls=1))

def spend(scope):
    task = ledger.open_task(scope=scope, budget=Budget(calls=1))
    ledger.reserve(f"{task.task_id}.1.x", Amount(0, 0, 0, 1), [scope, task.path], lease_seconds=9)
    return "spent"

def spend_anew():
    ledger.set_limits("acme", Limits(calls=1))
    return spend("acme")

print(in_child(lambda: spend("acme")))
print(in_child(lambda: spend("other")), in_child(spend_anew), spend("acme"))
"""


def test_a_limit_in_memory_is_not_spent_once_more_by_each_child() -> None:
    refused, others = _output(_CHILD + _MEMORY).splitlines()
    assert refused.startswith("StoreError: the limits of 'acme' were set before this process was")
    assert "sqlite:///" in refused
    assert others == "spent spent spent"


_STREAM = """
import os, sys
from agentkit import Budget, chat_model, metered
from agentkit.budgets import Ledger

url, address = sys.argv[1:]
model = chat_model("openai:gpt-5-mini", base_url=url, api_key="test", max_tokens=300)
ledger = Ledger(address)
task = ledger.open_task(scope="acme", budget=Budget(usd="1"))
stream = metered(model, task).stream("hi")
next(stream)
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
assert len(ledger.store.held()) == 1
for chunk in stream:
    pass
print([(call.status, call.confirmed) for call in task.calls])
"""


def test_a_child_does_not_end_the_streams_of_its_parent(tmp_path: object) -> None:
    with ScriptedProvider(lambda _: Reply(text="one two three", pause_seconds=0.2)) as provider:
        said = _output(_STREAM, provider.openai_url, f"sqlite:///{tmp_path}/ledger.db")
    assert said == "[('ok', True)]\n"


def test_what_cannot_be_sent_to_a_process_says_what_to_do() -> None:
    agent = Agent(["local:pocket"], budget=Budget(calls=1), ledger=Ledger())
    for each in (agent, agent.ledger, agent.ledger.open_task()):
        with pytest.raises(TypeError, match="make it there, over an address"):
            pickle.dumps(each)


_HTTP = """
import sys
from agentkit import Agent, Budget, chat_model

name, url = sys.argv[1:]
model = chat_model(name, base_url=url, api_key="test", max_tokens=200)
agent = Agent([model], budget=Budget(usd="1"))

def ask(whose):
    results = [agent.run(f"{whose} {n}") for n in range(5)]
    return all(r.answer == f"{whose} {n}" and r.unconfirmed_usd == 0 for n, r in enumerate(results))

print(ask("before"))
pids = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if ask(f"child{child}") else 1)
    pids.append(pid)
print(ask("parent"), [os.waitpid(pid, 0)[1] for pid in pids])
"""


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_parent_and_child_read_no_answers_of_each_other(wire: str) -> None:
    def script(request: WireRequest) -> Reply:
        return Reply(text=request.last_text, delay_seconds=0.05)

    with ScriptedProvider(script) as provider:
        url = provider.openai_url if wire == "openai" else provider.anthropic_url
        name = {"openai": "openai:gpt-5-mini", "anthropic": "anthropic:claude-haiku-4-5"}[wire]
        said = _output("import os" + _HTTP, name, url)
        assert said == "True\nTrue [0, 0, 0]\n"
        assert len(provider.requests) == 25
