"""Two paid tiers: the cheap one is asked first, the dear one where the answer will not do.

    python examples/two_frontier_tiers.py

With OPENAI_API_KEY and ANTHROPIC_API_KEY set it calls the real models and may spend up to $0.05 a
task; without them a scripted server answers, and says so.
"""

from scripted import Reply, WireRequest, frontier_models

from agentkit import Agent, Budget

ORDERS = {"W123": "two lamps, delivered on 3 November", "W124": "one chair, not yet sent"}


def find_order(number: str) -> str:
    """Look up an order by its number."""
    return ORDERS.get(number, "there is no such order")


def script(request: WireRequest) -> Reply:
    """What the scripted server says: the cheap model invents a tool where two orders are asked."""
    numbers = [word.strip("?.,") for word in request.messages[-1].text.split() if "W12" in word]
    if request.tool_turns:
        facts = [message.text for message in request.messages if message.role == "tool"]
        return Reply(text=f"Here is what I found: {'; '.join(facts)}.")
    if len(numbers) > 1 and request.model.startswith("gpt"):
        return Reply(tool_calls=[("compare_orders", {"numbers": numbers})])
    return Reply(tool_calls=[("find_order", {"number": number}) for number in numbers])


with frontier_models("openai:gpt-5-mini", "anthropic:claude-sonnet-4-5", script=script) as models:
    agent = Agent(models, [find_order], budget=Budget(usd="0.05"), system="Answer about orders.")
    for request in ("Where is order W123?", "Compare the orders W123 and W124."):
        result = agent.run(request)
        print(f"{request}\n  {result.outcome}: {result.answer or result.reason}")
        for call in result.records:
            verdict = f"gave way: {call.reason}" if call.accepted is False else "kept"
            print(f"  tier {call.tier} {call.model}: {call.cost_nusd / 1e9:.6f} USD, {verdict}")
        print(f"  {result.cost_usd:f} USD in all, {result.escalations} escalations\n")
