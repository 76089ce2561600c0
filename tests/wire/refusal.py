"""Errors as the providers word them."""

from __future__ import annotations

from tests.wire.fault import Fault
from tests.wire.script import Protocol

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Refusal(Exception):  # noqa: N818 - an answer of the provider, not an error of ours
    """A request that is answered by an error, with its status and the provider's words."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds

    def body(self, protocol: Protocol, request_id: str) -> dict[str, object]:
        """The error's JSON in that protocol."""
        if protocol == "anthropic":
            error_type = _ANTHROPIC_TYPES.get(self.status, "api_error")
            error = {"type": error_type, "message": self.message}
            return {"type": "error", "error": error, "request_id": request_id}
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


def refusal_of(fault: Fault, protocol: Protocol, model: str) -> Refusal | None:
    """The error response that `fault` means, or None if it is no response."""
    if fault.kind == "rate_limited":
        wait = fault.retry_after_seconds
        openai = f"Rate limit reached for {model} on tokens per min (TPM). Try again in {wait}s."
        anthropic = "This request would exceed your organization's rate limit of input tokens."
        return Refusal(
            openai if protocol == "openai" else anthropic,
            status=429,
            kind="tokens",
            code="rate_limit_exceeded",
            retry_after_seconds=wait,
        )
    if fault.kind == "server_error":
        openai = "The server had an error while processing your request. Sorry about that!"
        message = openai if protocol == "openai" else "Internal server error"
        return Refusal(message, status=500, kind="server_error")
    if fault.kind == "overloaded":
        if protocol == "anthropic":
            return Refusal("Overloaded", status=529)
        message = "The engine is currently overloaded, please try again later."
        return Refusal(message, status=503, kind="server_error")
    return None
