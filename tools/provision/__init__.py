"""Which tools a step is offered, and how briefly they are described."""

from agentkit.tools.provision.compaction import CompactTool, compact, compact_all
from agentkit.tools.provision.embedding import Embedder, LangChainEmbedding, StaticEmbedding
from agentkit.tools.provision.index import ToolCard, ToolIndex
from agentkit.tools.provision.offer import Offer, Provisioner
from agentkit.tools.provision.retrieval import Calibration, Match, search

__all__ = [
    "Calibration",
    "CompactTool",
    "Embedder",
    "LangChainEmbedding",
    "Match",
    "Offer",
    "Provisioner",
    "StaticEmbedding",
    "ToolCard",
    "ToolIndex",
    "compact",
    "compact_all",
    "search",
]
