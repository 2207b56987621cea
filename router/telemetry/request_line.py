"""The line of one finished request: field names that dashboards are built on, in the order eyes look for them."""

import msgspec

from router.domain.ledger import OUTCOME_NAMES, AttemptEntry, LedgerEntry, Outcome
from router.domain.usage import usd_text
from router.telemetry.redaction import shorten

_MAX_SUBJECTS = 1024

_NONE = AttemptEntry(0, "", "", "", "", "", Outcome.OK, 0, 0)
"""What stands for the last attempt where there was none."""

_encode = msgspec.json.Encoder().encode

_Names = tuple[str, str, str, str, str, str, str]


class Try(msgspec.Struct, gc=False):
    """One attempt of a request that took several. `status` None: no head of an answer was received."""

    target: str
    outcome: str
    status: int | None
    duration_ms: float
    reason: str


class Subject(msgspec.Struct, gc=False):
    """Whose request it was and where it went: the same from request to request."""

    tenant: str
    key: str
    api: str
    alias: str
    provider: str
    target: str
    model: str


class Course(msgspec.Struct, omit_defaults=True, gc=False):
    """What came of it. Fields without a default are in every line; `cost_usd` is decimal text."""

    status: int
    outcome: str
    duration_ms: float
    input_tokens: int
    output_tokens: int
    cost_usd: str
    attempts: int
    code: str = ""
    first_byte_ms: float | None = None
    stream: bool = False
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    searches: int = 0
    usage_estimated: bool = False
    usage_suspect: bool = False
    price_unknown: bool = False
    tries: tuple[Try, ...] = ()


class RequestLines:
    """Lines as JSON: `time`, `level`, `event`, `request_id`, `decision` (our id), the Subject, the Course.

    Subjects are encoded once. Names may be the caller's words, and even those of a configuration may be no text.
    """

    def __init__(self) -> None:
        self._subjects: dict[_Names, str] = {}

    def line(self, entry: LedgerEntry, time: str, level: str) -> tuple[bytes, bool]:
        """The line, and whether anybody's words may be in it.

        Provider, target and model are those of the last attempt, "" if there was none.
        """
        attempts, usage = entry.attempts, entry.usage
        last = attempts[-1] if attempts else _NONE
        names = (entry.tenant, entry.key, entry.api, entry.alias, last.provider, last.target, last.upstream_model)
        subject = self._subjects.get(names) or self._encoded(names)
        decision, request_id = entry.id, entry.request_id
        is_ours = request_id == decision
        asked = f'"{decision}"' if is_ours else _encode(shorten(request_id)).decode()
        has_tries = len(attempts) > 1 or last.outcome is not Outcome.OK
        # In the order of its fields: their names would cost more than all the rest.
        course = Course(
            entry.status,
            OUTCOME_NAMES[entry.outcome],
            entry.duration_us / 1000,
            usage.input_tokens,
            usage.output_tokens,
            usd_text(entry.cost),
            len(attempts),
            entry.code,
            None if entry.first_byte_us is None else entry.first_byte_us / 1000,
            entry.stream,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
            usage.searches,
            usage.estimated,
            usage.suspect,
            not entry.price_known,
            tuple([_try(a) for a in attempts]) if has_tries else (),
        )
        head = (
            f'{{"time":"{time}","level":"{level}","event":"request_finished","request_id":{asked},"decision":"{decision}",'
            f"{subject},"
        )
        is_foreign = has_tries or entry.requested_model != entry.alias or (not is_ours and "sk-" in request_id)
        return head.encode() + _encode(course)[1:], is_foreign

    def _encoded(self, names: _Names) -> str:
        """The members of their Subject."""
        if len(self._subjects) >= _MAX_SUBJECTS:
            self._subjects.clear()
        members = self._subjects[names] = _encode(Subject(*map(shorten, names))).decode()[1:-1]
        return members


def _try(attempt: AttemptEntry) -> Try:
    return Try(attempt.target, attempt.outcome, attempt.status, attempt.duration_us / 1000, shorten(attempt.reason))
