"""What a request used and met, attempt by attempt; becomes its ledger entry. Holds facts, decides nothing."""

from collections.abc import Callable

import msgspec

from router.domain.budgets import Posting
from router.domain.ledger import AttemptEntry, Outcome
from router.domain.ports import Clock
from router.domain.requests import Api, ModelRequest
from router.domain.routes import Candidate
from router.domain.usage import NOTHING, NanoUSD, Usage, usage_sum

MAX_COUNT = 2**31


class Attempt(msgspec.Struct):
    """One call to one target while it runs. Durations in microseconds; `started` is monotonic seconds.

    `release` frees what was held for it, once the journal has its end.
    """

    number: int
    candidate: Candidate
    credential: str
    started_at: int
    started: float
    outcome: Outcome = Outcome.INTERNAL
    status: int | None = None
    first_byte_us: int | None = None
    duration_us: int = 0
    usage: Usage = NOTHING
    cost: NanoUSD = NanoUSD(0)
    upstream_request_id: str = ""
    reason: str = ""
    held: NanoUSD = NanoUSD(0)
    postings: tuple[Posting, ...] = ()
    release: Callable[[], None] | None = None

    def entry(self) -> AttemptEntry:
        candidate = self.candidate
        # In the order of its fields: their names would cost more than all the rest.
        return AttemptEntry(
            self.number,
            candidate.alias.name,
            candidate.target.provider,
            candidate.target.id,
            candidate.upstream_model,
            self.credential,
            self.outcome,
            self.started_at,
            self.duration_us,
            self.status,
            self.first_byte_us,
            self.usage,
            self.cost,
            candidate.target.price is not None or not (self.usage.total_tokens or self.usage.searches),
            self.upstream_request_id,
            self.reason,
            self.held,
            self.postings,
        )


class Meter(msgspec.Struct):
    """All attempts of one request."""

    clock: Clock
    attempts: list[Attempt] = msgspec.field(default_factory=list)

    def begin(self, candidate: Candidate, credential: str, started: float) -> Attempt:
        attempts = self.attempts
        attempt = Attempt(len(attempts) + 1, candidate, credential, self.clock.now_us(), started)
        attempts.append(attempt)
        return attempt

    def end(self, attempt: Attempt, outcome: Outcome, reason: str = "") -> None:
        """The attempt's usage is final: price it."""
        attempt.outcome = outcome
        attempt.reason = reason
        price = attempt.candidate.target.price
        if price is not None:
            attempt.cost = price.of(attempt.usage)
        attempt.duration_us = int((self.clock.monotonic() - attempt.started) * 1e6)

    @property
    def cost(self) -> NanoUSD:
        attempts = self.attempts
        return attempts[0].cost if len(attempts) == 1 else NanoUSD(sum(a.cost for a in attempts))

    @property
    def usage(self) -> Usage:
        """The sum over all attempts; `estimated` and `suspect` if any was."""
        attempts = self.attempts
        return attempts[0].usage if len(attempts) == 1 else usage_sum([a.usage for a in attempts])


def estimated_usage(request: ModelRequest, output_tokens: int) -> Usage:
    """What an attempt probably used when the provider did not say: a token per four bytes sent, and what was seen come.
    Nothing of a count of tokens, which is free."""
    if request.api is Api.COUNT_TOKENS:
        return NOTHING
    size, searches = len(request.body), int(request.api is Api.RERANK)
    return Usage(input_tokens=max(1, size // 4), output_tokens=output_tokens, estimated=True, searches=searches)
