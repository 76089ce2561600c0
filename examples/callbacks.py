"""A budget that asks its owner: hear thresholds, give more once, then let the task land.

    python examples/callbacks.py

With OPENAI_API_KEY set it calls the real model and may spend up to $0.015; without it a scripted
server answers, and says so.
"""

from scripted import Reply, WireRequest, frontier_models

from agentkit import Agent, Budget
from agentkit.budgets import BudgetEvent, Decision, Extend, Land

extensions: list[Extend] = []


def search(query: str) -> str:
    """Search the archive; there is always more to find."""
    return f"3 of 9,000 papers on {query}. Ask again for more."


def on_budget(event: BudgetEvent) -> Decision | None:
    """Called after the money was booked; what it returns is carried out before the next call."""
    if event.kind != "threshold" or event.limit is None:
        print(f"  {event.kind}")
        return None
    print(f"  {event.fraction:.0%} of {event.limit / 1e9:.3f} USD is spent")
    if not extensions:
        extensions.append(Extend(usd="0.005"))
        print("  -> 0.005 USD more, once")
        return extensions[0]
    print("  -> enough: land with what there is")
    return Land()


def script(request: WireRequest) -> Reply:
    """What the scripted server says: a researcher that never has enough."""
    if request.may_call:
        return Reply(tool_calls=[("search", {"query": f"tides, page {request.tool_turns + 1}"})])
    return Reply(text="From what I found so far: tides follow the moon. I did not read all papers.")


with frontier_models("openai:gpt-5-mini", script=script) as models:
    agent = Agent(models, [search], budget=Budget(usd="0.01"), on_budget=on_budget)
    result = agent.run("Summarize all papers on tides.")

print(f"{result.outcome}: {result.answer}\n  because {result.reason}")
print(f"  {result.cost_usd:f} USD in {result.calls} calls")
