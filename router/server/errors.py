"""GatewayError to HTTP: one table of statuses and types, and the body in the caller's dialect."""

import msgspec

from router.domain.errors import GatewayError

STATUSES: dict[str, tuple[int, str]] = {
    "invalid_request": (400, "invalid_request_error"),
    "model_required": (400, "invalid_request_error"),
    "price_unknown": (400, "invalid_request_error"),
    "context_length_exceeded": (400, "invalid_request_error"),
    "unsupported_feature": (400, "invalid_request_error"),
    "invalid_api_key": (401, "authentication_error"),
    "budget_exceeded": (402, "budget_error"),
    "scope_missing": (403, "permission_error"),
    "tenant_suspended": (403, "permission_error"),
    "model_not_found": (404, "not_found_error"),
    "not_found": (404, "not_found_error"),
    "method_not_allowed": (405, "not_found_error"),
    "idempotency_in_progress": (409, "idempotency_error"),
    "idempotency_mismatch": (422, "idempotency_error"),
    "request_timeout": (408, "invalid_request_error"),
    "body_too_large": (413, "invalid_request_error"),
    "unsupported_media_type": (415, "invalid_request_error"),
    "rate_limited": (429, "rate_limit_error"),
    "upstream_rate_limited": (429, "rate_limit_error"),
    "internal_error": (500, "api_error"),
    "not_supported": (501, "api_error"),
    "upstream_error": (502, "upstream_error"),
    "upstream_truncated": (502, "upstream_error"),
    "invalid_upstream_response": (502, "upstream_error"),
    "no_healthy_target": (503, "overloaded_error"),
    "overloaded": (503, "overloaded_error"),
    "not_ready": (503, "overloaded_error"),
    "storage_unavailable": (503, "overloaded_error"),
    "upstream_timeout": (504, "timeout_error"),
}
"""Code -> (status, type); contract.md, "Errors"."""


def status_of(error: GatewayError) -> int:
    return STATUSES[error.code][0]


def error_object(error: GatewayError) -> dict[str, object]:
    """The value of `error` in OpenAI's envelope; also sent in the middle of a stream."""
    body: dict[str, object] = {
        "message": error.message,
        "type": STATUSES[error.code][1],
        "param": error.param,
        "code": error.code,
    }
    if error.attempts:
        body["attempts"] = [
            {"provider": a.provider, "status": a.status, "reason": a.reason, "ms": a.ms} for a in error.attempts
        ]
    return body


def error_body(error: GatewayError, request_id: str, *, is_messages: bool) -> bytes:
    """OpenAI's envelope, or Anthropic's on Messages routes."""
    if is_messages:
        inner = {"type": STATUSES[error.code][1], "message": error.message}
        return msgspec.json.encode({"type": "error", "error": inner, "request_id": request_id})
    return msgspec.json.encode({"error": error_object(error)})
