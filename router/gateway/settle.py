"""The one end of every admitted request: limits given back, ledger written, observers told. Never awaited."""

from collections.abc import Callable

import msgspec

from router.domain.errors import StorageUnavailable
from router.domain.ledger import LedgerEntry, Outcome
from router.domain.observations import Failure, RequestsFinished
from router.domain.ports import Clock, Ledger, Observer
from router.domain.requests import API_NAMES
from router.domain.routes import HealthView
from router.gateway.case import CALLER_LEFT, Case

MAX_TEXT = 1024
BATCH_DELAY_S = 0.02

Later = Callable[[float, Callable[[], None]], object]
"""Call it after so many seconds; an event loop's `call_later`."""


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
    principal, permit, request, attempts = case.principal, case.permit, case.request, tuple(case.attempts)
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
        permit.alias.name,
        permit.requested[:MAX_TEXT],
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
        permit.generation.snapshot.fingerprint,
        case.draw,
        f"{api} {'1' if stream else '0'} {len(request.body)} {case.affinity}",
        "" if case.health.is_well else _health(case.health),
        principal.member,
    )


def _health(view: HealthView) -> str:
    """Ejected ids bare, half-open ones marked `?`, last ones standing `!`."""
    marks = sorted(view.ejected) + [f"?{i}" for i in sorted(view.trial)] + [f"!{i}" for i in sorted(view.shaky)]
    return ",".join(marks)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:MAX_TEXT]
