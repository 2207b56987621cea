"""Every way a request can end badly, as one tree; statuses and envelopes live in `server/errors.py`.

GatewayError                     code, message for the caller, hint for the operator
├── InvalidRequest               the body or a header cannot be acted on
│   ├── ModelRequired            no model named, and no default for this kind of request
│   ├── PriceUnknown             no price is known, and the file says to refuse what cannot be priced
│   ├── ContextLengthExceeded    more tokens than the model's window holds; nothing was sent
│   ├── UnsupportedFeature       a field the chosen target cannot express; names both
│   ├── BodyTooLarge             the body is over `server.body_limit_mb`
│   ├── UnsupportedMediaType     not JSON where JSON is required, or a compressed body
│   └── RequestTimeout           the caller did not send its body in time
├── InvalidApiKey                unknown, wrong, expired or disabled: all answer alike
├── ScopeMissing                 the key is good but not for this route; names the scope
├── TenantSuspended              the tenant's status is not active
├── ModelNotFound                no such alias, or not for this tenant: both answer alike
├── NotFound                     no such route or object
├── MethodNotAllowed             the route exists, with other methods
├── RateLimited                  a limit of ours: requests, tokens or parallel
├── IdempotencyInProgress        the request that has this key is under way, or its answer was too large to be kept
├── IdempotencyMismatch          this key was used for another request
├── NotSupported                 a documented route or protocol that this daemon refuses by name
├── NotReady                     starting, draining or misconfigured
│   └── CutOff                   under way when the drain time was over
├── Overloaded                   shedding load
├── StorageUnavailable           what must be durable cannot be written or read
├── UpstreamFault                a provider did not answer usefully
│   ├── UpstreamRateLimited      every target answered 429
│   ├── UpstreamError            connection lost, 5xx, or our credential refused
│   ├── InvalidUpstreamResponse  the answer is not what its dialect promises
│   ├── UpstreamTruncated        the stream ended before its dialect's end
│   ├── UpstreamTimeout          a timer ran out
│   └── NoHealthyTarget          every target is ejected or out of reach
└── InternalError                ours; the caller sees the request id only
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class AttemptNote:
    """One failed or refused attempt as the caller may see it: no address, no credential.

    `status` is the provider's HTTP status, None where none was received; `ms` is wall time.
    """

    provider: str
    status: int | None
    reason: str
    ms: int


class GatewayError(Exception):
    """Base of the tree. `code` is stable and documented; `message` is for the caller, `hint` for the operator."""

    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        hint: str = "",
        retry_after_s: float | None = None,
        attempts: Sequence[AttemptNote] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.attempts = tuple(attempts)


class InvalidRequest(GatewayError):
    code = "invalid_request"


class ModelRequired(InvalidRequest):
    code = "model_required"


class UnsupportedFeature(InvalidRequest):
    code = "unsupported_feature"


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


class PriceUnknown(InvalidRequest):
    code = "price_unknown"


class BodyTooLarge(InvalidRequest):
    code = "body_too_large"


class UnsupportedMediaType(InvalidRequest):
    code = "unsupported_media_type"


class RequestTimeout(InvalidRequest):
    code = "request_timeout"


class InvalidApiKey(GatewayError):
    code = "invalid_api_key"


class ScopeMissing(GatewayError):
    code = "scope_missing"


class TenantSuspended(GatewayError):
    code = "tenant_suspended"


class ModelNotFound(GatewayError):
    code = "model_not_found"


class NotFound(GatewayError):
    code = "not_found"


class MethodNotAllowed(GatewayError):
    code = "method_not_allowed"


class BudgetExceeded(GatewayError):
    code = "budget_exceeded"


class RateLimited(GatewayError):
    code = "rate_limited"


class IdempotencyInProgress(GatewayError):
    code = "idempotency_in_progress"


class IdempotencyMismatch(GatewayError):
    code = "idempotency_mismatch"


class NotSupported(GatewayError):
    code = "not_supported"


class NotReady(GatewayError):
    code = "not_ready"


class CutOff(NotReady):
    """It was under way when the daemon's drain time was over."""

    def __init__(self) -> None:
        super().__init__("the gateway is shutting down and the request was cut", retry_after_s=1)


class Overloaded(GatewayError):
    code = "overloaded"


class StorageUnavailable(GatewayError):
    code = "storage_unavailable"


class UpstreamFault(GatewayError):
    code = "upstream_error"


class UpstreamRateLimited(UpstreamFault):
    code = "upstream_rate_limited"


class UpstreamError(UpstreamFault):
    code = "upstream_error"


class InvalidUpstreamResponse(UpstreamFault):
    code = "invalid_upstream_response"


class UpstreamTruncated(UpstreamFault):
    code = "upstream_truncated"


class UpstreamTimeout(UpstreamFault):
    code = "upstream_timeout"


class NoHealthyTarget(UpstreamFault):
    code = "no_healthy_target"


class InternalError(GatewayError):
    code = "internal_error"
