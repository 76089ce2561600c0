"""Operations of an OpenAPI document as tools."""

from agentkit.tools.openapi.api import OpenApi

__all__ = ["OpenApi"]
