"""Rate limits as values: what is limited, what a request asks for, what it was told."""

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec


class LimitScope(StrEnum):
    """Whose limit it is. The address limit is process-local and passed before authentication."""

    ADDRESS = "address"
    KEY = "key"
    TENANT = "tenant"
    MODEL = "model"


class Resource(StrEnum):
    REQUESTS = "requests"
    TOKENS = "tokens"
    PARALLEL = "parallel"


@dataclass(frozen=True, slots=True)
class Limits:
    """Per minute, except `parallel` (requests in flight). None is no limit."""

    requests: int | None = None
    tokens: int | None = None
    parallel: int | None = None

    def over(self, base: "Limits") -> "Limits":
        """These limits, with what they leave open taken from `base`."""
        return Limits(
            base.requests if self.requests is None else self.requests,
            base.tokens if self.tokens is None else self.tokens,
            base.parallel if self.parallel is None else self.parallel,
        )

    @property
    def is_empty(self) -> bool:
        return self.requests is None and self.tokens is None and self.parallel is None


@dataclass(frozen=True, slots=True)
class LimitRule:
    """Limits bound to one subject; `subject` is the key's id, the tenant's id or the alias."""

    scope: LimitScope
    subject: str
    limits: Limits
    key: str = field(init=False, repr=False, compare=False)
    """Scope and subject as one text, to be looked up by."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.scope, self.subject))


def key_of(scope: LimitScope, subject: str) -> str:
    """What windows are kept under."""
    return f"{scope.value}:{subject}"


def scope_and_subject(key: str) -> tuple[LimitScope, str]:
    """What `key_of` has put together."""
    scope, _, subject = key.partition(":")
    return LimitScope(scope), subject


class Allowance(msgspec.Struct, frozen=True, gc=False):
    """What remains after this request, for the strictest rule of each resource; None where nothing is limited.

    `reset_ms` is when one more request (or the tokens used now) becomes free again.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_ms: int | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_ms: int | None = None


UNLIMITED = Allowance()


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Which rule said no, to which resource, and when to come back. A refused request has consumed nothing."""

    scope: LimitScope
    subject: str
    resource: Resource
    limit: int
    retry_after_ms: int
    allowance: Allowance


def held_tokens(body_bytes: int, output_cap: int | None, choices: int | None) -> int:
    """Tokens held for a request before its usage is known: bytes/4 plus the output cap of each choice, or 1,024 without one;
    there is one choice where nothing is said."""
    return body_bytes // 4 + (1024 if output_cap is None else output_cap * (choices or 1))
