"""Your own LangGraph graph with agentkit's context: observations pruned, history bounded.

No Agent and no ledger: `prune` and `recall` in the node of the tools, a `ContextHook` before the
model.

python examples/langgraph_context.py
"""

import json
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph
from scripted import Reply, WireRequest, frontier_models

from agentkit.memory import Allocation, Context, ContextHook
from agentkit.tools import MemoryObservationStore, prune, recall

store = MemoryObservationStore()
hook = ContextHook("openai:gpt-5.1", Context(limit_tokens=900, allocation=Allocation(recent=300)))


def list_orders(month: int) -> str:
    """All orders of a month."""
    rows = [
        {"id": f"W{month}-{n}", "note": f"customer {n} asked {n * 7 % 11} times", "total": n * 3.5}
        for n in range(300)
    ]
    return json.dumps({"month": month, "orders": rows})


def bring_back(handle: str, query: str) -> str:
    """What a shortened observation left out, about a query."""
    return handle + query  # the node of the tools calls `recall`, which knows the thread


def assistant(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """One model call with what matters of the transcript, which stays whole in the state."""
    sent = hook.messages(state["messages"], thread=config["configurable"]["thread_id"])
    longest.append(sum(len(message.text) for message in sent))
    return {"messages": [model.invoke(sent)]}


def tools(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Each observation pruned before it is first sent; the whole is kept for `recall`."""
    thread = config["configurable"]["thread_id"]
    asking = state["messages"][-1]
    assert isinstance(asking, AIMessage)
    results: list[ToolMessage] = []
    for call in asking.tool_calls:
        if call["name"] == "bring_back":
            said = recall(store, thread, call["args"]["handle"], call["args"]["query"])
        else:
            query = f"{state['messages'][0].text} {call['args']}"
            keep = partial(store.put, thread)
            said = prune(list_orders(**call["args"]), query=query, max_tokens=200, keep=keep).text
        results.append(ToolMessage(said, tool_call_id=call["id"], name=call["name"]))
    return {"messages": results}


def goes_on(state: MessagesState) -> str:
    """To the tools while the model calls any."""
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else END


def script(request: WireRequest) -> Reply:
    """Twelve months one after another, then one order of the last month that was not shown."""
    last = request.last_text
    if "W12-217" in last:
        row = next(line for line in last.splitlines() if "W12-217" in line)
        return Reply(text=f"found {row.strip()}")
    done = int(last.split("W")[1].split("-")[0]) if "orders[300]" in last else 0
    if done == 12:
        handle = last.rpartition("recall ")[2].rstrip("]\n")
        return Reply(tool_calls=[("bring_back", {"handle": handle, "query": "W12-217"})])
    return Reply(tool_calls=[("list_orders", {"month": done + 1})])


builder = StateGraph(MessagesState)
builder.add_node("assistant", assistant)
builder.add_node("tools", tools)
builder.add_edge(START, "assistant")
builder.add_conditional_edges("assistant", goes_on, ["tools", END])
builder.add_edge("tools", "assistant")
graph = builder.compile()

longest: list[int] = []
with frontier_models("openai:gpt-5.1", script=script) as [chat]:
    model = chat.bind_tools([list_orders, bring_back])
    config: RunnableConfig = {"configurable": {"thread_id": "chat-7"}, "recursion_limit": 60}
    request = HumanMessage("Go through this year's orders, and tell me of any one.")
    state = graph.invoke({"messages": [request]}, config)

whole = sum(len(list_orders(month)) for month in range(1, 13))
print(state["messages"][-1].text)
print(f"{len(longest)} calls, at most {max(longest):,} characters each; tools said {whole:,}")
