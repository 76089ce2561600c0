"""Which tools a step is offered, and how briefly they are described.

Names are loaded at their first use: an agent whose tools are few needs none of the packages of the
extra `retrieval`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentkit.tools.provision.compaction import CompactTool, compact, compact_all
    from agentkit.tools.provision.embedding import Embedder, LangChainEmbedding, StaticEmbedding
    from agentkit.tools.provision.index import ToolCard, ToolIndex
    from agentkit.tools.provision.offer import Offer, Provisioner
    from agentkit.tools.provision.retrieval import Match, search
    from agentkit.tools.provision.signals import Calibration
    from agentkit.tools.provision.together import Together
    from agentkit.tools.provision.toolbox import Batch, Provisioning, Toolbox

_EXTRA = ("bm25s", "numpy", "snowballstemmer")
_HOMES = {
    "Batch": "toolbox",
    "Calibration": "signals",
    "CompactTool": "compaction",
    "Embedder": "embedding",
    "LangChainEmbedding": "embedding",
    "Match": "retrieval",
    "Offer": "offer",
    "Provisioner": "offer",
    "Provisioning": "toolbox",
    "StaticEmbedding": "embedding",
    "Together": "together",
    "ToolCard": "index",
    "ToolIndex": "index",
    "Toolbox": "toolbox",
    "compact": "compaction",
    "compact_all": "compaction",
    "search": "retrieval",
}

__all__ = [
    "Batch",
    "Calibration",
    "CompactTool",
    "Embedder",
    "LangChainEmbedding",
    "Match",
    "Offer",
    "Provisioner",
    "Provisioning",
    "StaticEmbedding",
    "Together",
    "ToolCard",
    "ToolIndex",
    "Toolbox",
    "compact",
    "compact_all",
    "search",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value: object = getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise ImportError(
            f'{name} needs the package {error.name}: pip install "agentkit[retrieval]"'
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
