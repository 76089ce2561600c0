"""Every name that agentkit gives to OpenTelemetry, in one place.

The GenAI semantic conventions are in development; these follow them as of November 2026
(https://github.com/open-telemetry/semantic-conventions/tree/main/docs/gen-ai). Cost has no standard
yet: the three keys below are what Langfuse, Logfire and MLflow read.
"""

from __future__ import annotations

from typing import Final

SCOPE_NAME: Final = "agentkit"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
AGENT_NAME: Final = "gen_ai.agent.name"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
CONVERSATION: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
RESPONSE_MODEL: Final = "gen_ai.response.model"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
ERROR_TYPE: Final = "error.type"

INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
CACHE_WRITE_TOKENS_FORMER: Final = "gen_ai.usage.cache_creation.input_tokens"

COST_LANGFUSE: Final = "gen_ai.usage.cost"
COST_LOGFIRE: Final = "operation.cost"
COST_MLFLOW: Final = "mlflow.llm.cost"

USER: Final = "user.id"
MLFLOW_EXPERIMENT_HEADER: Final = "x-mlflow-experiment-id"
LANGFUSE_USAGE: Final = "langfuse.observation.usage_details"
LANGFUSE_COST: Final = "langfuse.observation.cost_details"
LANGFUSE_TRACE: Final = "langfuse.trace.name"
OI_KIND: Final = "openinference.span.kind"
OI_TOTAL: Final = "llm.token_count.total"

TOOL_REMEMBERED: Final = "agentkit.tool.remembered"
AGE_SECONDS: Final = "agentkit.tool.age_seconds"
TIER: Final = "agentkit.tier"
STEP: Final = "agentkit.step"
ATTEMPT: Final = "agentkit.attempt"
PURPOSE: Final = "agentkit.purpose"
COST_SOURCE: Final = "agentkit.cost.source"
COST_CONFIRMED: Final = "agentkit.cost.confirmed"
CONFIDENCE: Final = "agentkit.confidence"
ACCEPTED: Final = "agentkit.accepted"
ESCALATION_REASON: Final = "agentkit.escalation.reason"

TASK_ID: Final = "agentkit.task.id"
TASK_SCOPE: Final = "agentkit.task.scope"
TASK_OUTCOME: Final = "agentkit.task.outcome"
TASK_COST_USD: Final = "agentkit.task.cost_usd"
TASK_UNCONFIRMED_USD: Final = "agentkit.task.unconfirmed_usd"
TASK_INPUT_TOKENS: Final = "agentkit.task.input_tokens"
TASK_OUTPUT_TOKENS: Final = "agentkit.task.output_tokens"
TASK_CACHED_TOKENS: Final = "agentkit.task.cache_read_tokens"
TASK_CALLS: Final = "agentkit.task.calls"
TASK_STEPS: Final = "agentkit.task.steps"
TASK_ESCALATIONS: Final = "agentkit.task.escalations"
TAG_PREFIX: Final = "agentkit.tag."

BUDGET_EVENT_PREFIX: Final = "agentkit.budget."
BUDGET_EVENT_KIND: Final = "agentkit.budget.kind"
BUDGET_SCOPE: Final = "agentkit.budget.scope"
BUDGET_DIMENSION: Final = "agentkit.budget.dimension"
BUDGET_LIMIT: Final = "agentkit.budget.limit"
BUDGET_SETTLED: Final = "agentkit.budget.settled"
BUDGET_HELD: Final = "agentkit.budget.held"
BUDGET_ASKED: Final = "agentkit.budget.asked"
BUDGET_FRACTION: Final = "agentkit.budget.fraction"
ESCALATION_EVENT: Final = "agentkit.escalation"
TO_TIER: Final = "agentkit.escalation.to_tier"
DECISION_EVENT: Final = "agentkit.decision"
DECISION_ACTION: Final = "agentkit.decision.action"
DECISION_PROBABILITY: Final = "agentkit.decision.probability"
DECISION_THRESHOLD: Final = "agentkit.decision.threshold"
DECISION_SCARCITY: Final = "agentkit.decision.scarcity"
DECISION_REASON: Final = "agentkit.decision.reason"
DECISION_COST_PREFIX: Final = "agentkit.decision.expected_usd."
SIGNAL_PREFIX: Final = "agentkit.signal."
ROUTE_EVENT: Final = "agentkit.route"
ROUTE_REASON: Final = "agentkit.route.reason"

METRIC_TOKENS: Final = "gen_ai.client.token.usage"
METRIC_DURATION: Final = "gen_ai.client.operation.duration"
METRIC_COST: Final = "agentkit.cost"
METRIC_BUDGET_EVENTS: Final = "agentkit.budget.events"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  counts of tokens, no secret

TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
"""1, 4, 16 … 67108864, as the conventions advise."""
DURATION_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
"""0.01 … 81.92 seconds, as the conventions advise."""

PROVIDER_NAMES: Final = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
}
"""What the conventions call providers that the price table names otherwise."""
