"""The same load against LiteLLM's own budget class, as its documentation uses it.

`get_current_cost(user) <= get_total_budget(user)`, then the call, then `update_cost` with the
answer (https://docs.litellm.ai/docs/budget_manager). It lives in one process.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from benchmarks._chaos_provider import INPUT_TOKENS, Client, Cut, Refused
from benchmarks._chaos_spenders import OUTPUT_TOKENS, Finding, Load, Step

_USER, _MODEL = "team", "chaos"
_NUSD = 1e-9


class LitellmSpender:
    """One BudgetManager that all threads share; one token costs one nano-USD."""

    def __init__(self, load: Load) -> None:
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        self._load = load
        self._litellm: Any = import_module("litellm")  # a peer that need not be installed
        price = {"input_cost_per_token": _NUSD, "output_cost_per_token": _NUSD}
        described = {"litellm_provider": "openai", "mode": "chat", "max_tokens": 4096}
        self._litellm.register_model({_MODEL: {**price, **described}})
        self._budget: Any = self._litellm.BudgetManager(project_name="chaos")

    def set_up(self) -> None:
        self._budget.user_dict = {}
        self._budget.create_budget(total_budget=self._load.limit_nusd * _NUSD, user=_USER)

    def spend(self, name: str, step: Step) -> None:
        provider = Client(self._load.provider_port)
        number = 0
        while self._budget.get_current_cost(_USER) <= self._budget.get_total_budget(_USER):
            number += 1
            step()
            try:
                tokens = provider.serve(self._load.run, f"{name}.{number}", OUTPUT_TOKENS)
            except (Refused, Cut):
                continue
            step()
            self._budget.update_cost(completion_obj=self._response(tokens), user=_USER)
            step()
        provider.close()

    def find(self) -> Finding:
        return Finding(charged_nusd=round(self._budget.get_current_cost(_USER) / _NUSD))

    def close(self) -> None:
        """Nothing to let go of."""

    def _response(self, tokens: int) -> Any:
        usage = self._litellm.Usage(
            prompt_tokens=INPUT_TOKENS,
            completion_tokens=tokens,
            total_tokens=INPUT_TOKENS + tokens,
        )
        return self._litellm.ModelResponse(model=_MODEL, usage=usage)
