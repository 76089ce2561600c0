"""Your own LangGraph graph, spending from one budget: `metered` wraps the model, nothing else.

python examples/langgraph_metered.py
"""

from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from agentkit import Budget, metered
from agentkit.budgets import BudgetExceeded, Ledger


def book_restaurant(city: str, party_size_number: str = "2") -> str:
    """Book a table."""
    return f"a table for {party_size_number} in {city} is booked"


ledger = Ledger("memory://")
task = ledger.open_task(scope="acme/support", budget=Budget(calls=4, tokens=2_000))
model = metered("local:pocket", task).bind_tools([book_restaurant])


def assistant(state: MessagesState) -> dict[str, Any]:
    """One model call: reserved before it is sent, settled after it."""
    return {"messages": [model.invoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("assistant", assistant)
builder.add_node("tools", ToolNode([book_restaurant]))
builder.add_edge(START, "assistant")
builder.add_conditional_edges("assistant", tools_condition, ["tools", END])
builder.add_edge("tools", "assistant")
graph = builder.compile()

for city in ("Rome", "Oslo", "Lima"):
    request = f"book a restaurant in {city} for 4 people"
    try:
        state = graph.invoke({"messages": [HumanMessage(request)]})
    except BudgetExceeded as refusal:
        print(f"{request!r} was not sent: {refusal}")
        break
    print(f"{request!r}: {state['messages'][-1].text}")

record = task.close("answered")
spent = ledger.account("acme").settled
print(f"{record.calls} calls, {record.usage.total_tokens} tokens; {spent.calls} calls in 'acme'")
