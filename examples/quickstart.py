"""A small local model, a tool and a budget. Runs offline, needs no key and costs nothing.

python examples/quickstart.py
"""

from agentkit import Agent, Budget

FORECASTS = {"lisbon": "sunny, 24 degrees", "bergen": "rain, 9 degrees"}


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"{city}: {FORECASTS.get(city.lower(), 'no forecast')}"


agent = Agent(
    models=["local:pocket"],  # cheap to dear; add "openai:gpt-5-mini" for what the pocket cannot do
    tools=[get_weather],
    budget=Budget(usd="0.05", calls=10, seconds=60),
)

for request in ("what is the weather in Lisbon", "write me a poem about the sea"):
    result = agent.run(request)
    print(f"{request!r}")
    print(f"  {result.outcome}: {result.answer or result.reason}")
    print(f"  ${result.cost_usd:.4f}, {result.calls} calls, {result.usage.total_tokens} tokens")
