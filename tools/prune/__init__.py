"""Observation pruning: what a tool returned, within a bound, with what later calls copy kept."""

from agentkit.tools.prune.earlier import Earlier
from agentkit.tools.prune.pruned import Kind, Pruned
from agentkit.tools.prune.pruning import Keep, prune

__all__ = ["Earlier", "Keep", "Kind", "Pruned", "prune"]
