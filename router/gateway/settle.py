"""The one end of every admitted request: limits given back, ledger written, observers told. Never awaited."""

from collections.abc import Callable, Mapping

import msgspec

from router.domain.errors import StorageUnavailable
from router.domain.identity import Principal
from router.domain.ledger import AttemptEntry, LedgerEntry, Outcome
from router.domain.limits import UNLIMITED, Allowance
from router.domain.observations import Failure, RequestsFinished
from router.domain.ports import Clock, Ledger, Observer, Reservation
from router.domain.requests import API_NAMES, ModelRequest
from router.domain.routes import ALL_WELL, HealthView, Plan
from router.domain.usage import NanoUSD, Usage, usage_sum
from router.gateway.permit import Permit
from router.gateway.purses import Funds, Hold

MAX_TEXT = 1024
CALLER_LEFT = 499
BATCH_DELAY_S = 0.02

Later = Callable[[float, Callable[[], None]], object]
"""Call it after so many seconds; an event loop's `call_later`."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    """What the caller said about itself in headers; kept in the ledger, never a metric label.

    `id` is ours and unique; `request_id` is the caller's own where it sent one, else the same.
    """

    id: str
    request_id: str
    timeout_s: float | None = None
    tier: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


class _Unreserved:
    """What a request holds of its limits before it is admitted: nothing."""

    allowance: Allowance = UNLIMITED

    def settle(self, tokens: int) -> None:
        """There is nothing to give back."""


_UNRESERVED = _Unreserved()


class Case(msgspec.Struct, eq=False, gc=False):
    """One request: what it was decided on, and what has become of it. `deadline` is monotonic seconds.

    `attempts` are those that have ended, `hold` the money of the last one. `funds` is what they count against, None where no
    budget applies. `status` is what the caller was answered, 499 while it was answered nothing.

    Nothing that it holds may lead back to it: the garbage collector does not look into it.
    """

    id: str
    caller: Caller
    principal: Principal
    request: ModelRequest
    forwarded: Mapping[str, str]
    permit: Permit
    plan: Plan
    health: HealthView
    affinity: str
    draw: float
    started_at: int
    started: float
    deadline: float
    funds: Funds | None
    attempts: list[AttemptEntry]
    reservation: Reservation = _UNRESERVED
    hold: Hold | None = None
    status: int = CALLER_LEFT
    code: str = ""
    duration_us: int = 0

    @property
    def outcome(self) -> Outcome:
        return self.attempts[-1].outcome if self.attempts else Outcome.NO_TARGET

    @property
    def cost(self) -> NanoUSD:
        attempts = self.attempts
        return attempts[0].cost if len(attempts) == 1 else NanoUSD(sum(a.cost for a in attempts))

    @property
    def usage(self) -> Usage:
        """The sum over all attempts; `estimated` and `suspect` if any was."""
        attempts = self.attempts
        return attempts[0].usage if len(attempts) == 1 else usage_sum([a.usage for a in attempts])


class Settler:
    """The one end of every admitted request. Its limits are given back at once; the record is made in batches.

    Entries are built, recorded and observed a few hundredths of a second later, many in a row: the work is the same, but
    done with warm caches it costs half. `flush` makes what is waiting at once. Only then is held money free again: if the
    process died with the end unwritten, the attempt would be charged all of it.
    """

    def __init__(self, clock: Clock, ledger: Ledger, observer: Observer, later: Later) -> None:
        self._clock = clock
        self._ledger = ledger
        self._observer = observer
        self._later = later
        self._ended: list[Case] = []

    def settle(self, case: Case) -> None:
        """Called once, when the caller leaves the block. One step that cannot be cancelled; never raises."""
        case.duration_us = int((self._clock.monotonic() - case.started) * 1e6)
        usage = case.usage
        case.reservation.settle(usage.input_tokens + usage.output_tokens)
        self._ended.append(case)
        if len(self._ended) == 1:
            self._later(BATCH_DELAY_S, self.flush)

    def flush(self) -> None:
        """Record and observe every settled request that waits."""
        ended, self._ended = self._ended, []
        if not ended:
            return
        entries = [_entry(case) for case in ended]
        try:
            self._ledger.record(entries)
        except StorageUnavailable as error:
            for entry in entries:
                owed = f"not recorded: request {entry.id}, tenant {entry.tenant}, key {entry.key_id}, {entry.cost} nano-USD"
                self._observer.emit(Failure(entry.request_id, owed, str(error)))
        for case in ended:
            if case.hold is not None:
                case.hold.release()
        self._observer.emit(RequestsFinished(entries))


def _entry(case: Case) -> LedgerEntry:
    principal, plan, request, attempts = case.principal, case.plan, case.request, tuple(case.attempts)
    fields, api, stream = request.fields, API_NAMES[request.api], request.stream
    outcome = case.outcome
    first, price_known = None, True
    for attempt in attempts:
        price_known = price_known and attempt.price_known
        if attempt.first_byte_us is not None:
            first = attempt.first_byte_us
    # In the order of its fields: their names would cost more than all the rest.
    return LedgerEntry(
        case.id,
        case.caller.request_id,
        principal.tenant_id,
        principal.tenant,
        principal.key_id,
        principal.key,
        api,
        plan.alias.name,
        plan.requested[:MAX_TEXT],
        stream,
        outcome,
        CALLER_LEFT if outcome is Outcome.CANCELLED and not case.code else case.status,
        case.code,
        case.started_at,
        case.duration_us,
        first,
        case.usage,
        case.cost,
        price_known,
        attempts,
        _text(fields.user) if fields.user is not None else "",
        case.caller.tags,
        _text(fields.metadata) if fields.metadata is not None else "",
        case.permit.generation.snapshot.fingerprint,
        case.draw,
        f"{api} {'1' if stream else '0'} {len(request.body)} {case.affinity}",
        _health(case.health) if case.health is not ALL_WELL else "",
        principal.member,
    )


def _health(view: HealthView) -> str:
    """Ejected ids bare, half-open ones marked `?`, last ones standing `!`."""
    marks = sorted(view.ejected) + [f"?{i}" for i in sorted(view.trial)] + [f"!{i}" for i in sorted(view.shaky)]
    return ",".join(marks)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:MAX_TEXT]
