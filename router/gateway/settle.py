"""The one end of every admitted request: limits given back, ledger written, observers told. One step, never awaited."""

import msgspec

from router.domain.identity import Principal
from router.domain.ledger import LedgerEntry, Outcome
from router.domain.observations import RequestFinished
from router.domain.ports import Ledger, Observer, Reservation
from router.domain.requests import ModelRequest
from router.domain.routes import ALL_WELL, HealthView, Plan
from router.gateway.meter import Meter

MAX_TEXT = 1024
CALLER_LEFT = 499


class Caller(msgspec.Struct, frozen=True):
    """What the caller said about itself in headers; kept in the ledger, never a metric label.

    `id` is ours and unique; `request_id` is the caller's own where it sent one, else the same.
    """

    id: str
    request_id: str
    timeout_s: float | None = None
    tier: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


class Case(msgspec.Struct):
    """Everything one request was decided on. `status` is what the caller was answered, 499 while it was answered nothing."""

    id: str
    caller: Caller
    principal: Principal
    request: ModelRequest
    plan: Plan
    health: HealthView
    fingerprint: str
    started_at: int
    started: float
    meter: Meter
    reservation: Reservation
    status: int = CALLER_LEFT
    code: str = ""

    @property
    def outcome(self) -> Outcome:
        attempts = self.meter.attempts
        return attempts[-1].outcome if attempts else Outcome.NO_TARGET


def settle(case: Case, ledger: Ledger, observer: Observer) -> None:
    """Give back what was held and record what was used. Called once, when the caller leaves the block."""
    usage = case.meter.usage
    case.reservation.settle(usage.total_tokens)
    entry = _entry(case)
    try:
        ledger.record(entry)
    finally:
        observer.emit(RequestFinished(entry))


def _entry(case: Case) -> LedgerEntry:
    meter, principal, plan, fields = case.meter, case.principal, case.plan, case.request.fields
    outcome = case.outcome
    attempts = tuple([a.entry() for a in meter.attempts])
    first = next((a.first_byte_us for a in reversed(attempts) if a.first_byte_us is not None), None)
    return LedgerEntry(
        id=case.id,
        request_id=case.caller.request_id,
        tenant_id=principal.tenant_id,
        tenant=principal.tenant,
        key_id=principal.key_id,
        key=principal.key,
        api=case.request.api.value,
        alias=plan.alias.name,
        requested_model=plan.requested[:MAX_TEXT],
        stream=case.request.stream,
        outcome=outcome,
        status=CALLER_LEFT if outcome is Outcome.CANCELLED and not case.code else case.status,
        code=case.code,
        started_at=case.started_at,
        duration_us=int((meter.clock.monotonic() - case.started) * 1e6),
        first_byte_us=first,
        usage=meter.usage,
        cost=meter.cost,
        price_known=all(a.price_known for a in attempts),
        attempts=attempts,
        user=_text(fields.user) if fields.user is not None else "",
        tags=case.caller.tags,
        metadata=_text(fields.metadata) if fields.metadata is not None else "",
        fingerprint=case.fingerprint,
        draw=plan.draw,
        facets=_facets(plan),
        health=_health(case.health),
    )


def _facets(plan: Plan) -> str:
    f = plan.facets
    return f"{f.api.value} {int(f.stream)} {f.body_bytes} {f.affinity_key}"


def _health(view: HealthView) -> str:
    """Ejected ids bare, half-open ones marked `?`, last ones standing `!`."""
    if view is ALL_WELL:
        return ""
    marks = sorted(view.ejected) + [f"?{i}" for i in sorted(view.trial)] + [f"!{i}" for i in sorted(view.shaky)]
    return ",".join(marks)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:MAX_TEXT]
