"""Doubles of the gateway's ports: classes with the same behaviour, to order."""

from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from router.config.snapshot import HealthSettings, RateDefaults, ServerSettings, Snapshot
from router.domain.budgets import Budget, Lease, Period, Standing, lease_amount
from router.domain.errors import StorageUnavailable
from router.domain.flow import Drawn, Take
from router.domain.identity import EVERY_MODEL, ApiKey, Principal, Tenant
from router.domain.ledger import AttemptEntry, LedgerEntry, OpenedAttempt
from router.domain.limits import UNLIMITED, Allowance, LimitRule, Refusal
from router.domain.observations import Observation
from router.domain.ports import Reservation
from router.domain.requests import Api, ModelRequest, parse_request
from router.domain.routes import Alias, ProviderSpec
from router.domain.upstream import FailureKind, TransportFailure, UpstreamAnswer, UpstreamCall
from router.domain.usage import NanoUSD


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now_us(self) -> int:
        return 1_750_000_000_000_000 + int(self.seconds * 1e6)

    def monotonic(self) -> float:
        return self.seconds

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds


class CountingIds:
    """Ids 1, 2, 3 ...; draws from a list, then 0.5."""

    def __init__(self, *draws: float) -> None:
        self.draws = list(draws)
        self.count = 0

    def new(self) -> str:
        self.count += 1
        return f"{self.count:032x}"

    def draw(self) -> float:
        return self.draws.pop(0) if self.draws else 0.5


class CollectingObserver:
    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def emit(self, observation: Observation) -> None:
        self.seen.append(observation)

    def of(self, kind: type[Any]) -> list[Any]:
        return [o for o in self.seen if isinstance(o, kind)]


class ListLedger:
    fault = ""

    def __init__(self) -> None:
        self.entries: list[LedgerEntry] = []
        self.is_accepting = True

    def accepting(self) -> bool:
        return self.is_accepting

    def record(self, entries: Sequence[LedgerEntry]) -> None:
        self.entries += entries


class ListJournal:
    """Keeps lines; refuses to open while `is_full`."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, object]] = []
        self.is_full = False

    def opened(self, line: OpenedAttempt) -> None:
        if self.is_full:
            raise StorageUnavailable("the journal is full")
        self.lines.append(("opened", line))

    def progressed(self, request: str, attempt: int, output_tokens: int) -> None:
        self.lines.append(("progressed", (request, attempt, output_tokens)))

    def ended(self, request: str, attempt: AttemptEntry) -> None:
        self.lines.append(("ended", attempt))

    def finished(self, entries: Sequence[LedgerEntry]) -> None:
        self.lines += [("finished", entry) for entry in entries]

    def flushed(self, entries: Sequence[LedgerEntry]) -> None:
        pass

    def accepting(self) -> bool:
        return not self.is_full

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.lines]


class BudgetTable:
    """The budgets' rows in memory, with the rule of the real ones: a lease is taken only within the limit."""

    def __init__(self) -> None:
        self.posted: dict[tuple[str, str], int] = {}
        self.leased: dict[tuple[str, str], int] = {}
        self.takes = self.renewals = 0
        self.asked_back: list[tuple[str, str]] = []
        self.failure: Exception | None = None

    async def take(self, budget: Budget, period: Period, need: int, processes: int) -> Lease | Standing:
        self.takes += 1
        if self.failure is not None:
            raise self.failure
        name = (budget.id, period.key)
        posted, leased = self.posted.get(name, 0), self.leased.get(name, 0)
        remaining = budget.limit - posted - leased
        amount = lease_amount(need, remaining, processes)
        if amount > remaining:
            amount = need
        if amount > remaining:
            return Standing(NanoUSD(posted), NanoUSD(leased))
        self.leased[name] = leased + amount
        return Lease(NanoUSD(amount), Standing(NanoUSD(posted), NanoUSD(leased + amount)))

    async def give_back(self, budget: str, period: str, amount: int) -> None:
        self.leased[budget, period] -= amount

    async def renew(self, budget: Budget, period: Period) -> bool:
        self.renewals += 1
        if self.failure is not None:
            raise self.failure
        name = (budget.id, period.key)
        return name in self.leased and self.posted.get(name, 0) + self.leased[name] <= budget.limit

    async def wanted(self) -> Sequence[tuple[str, str]]:
        return self.asked_back

    async def standing(self, budget: Budget, period: Period) -> Standing:
        name = (budget.id, period.key)
        return Standing(NanoUSD(self.posted.get(name, 0)), NanoUSD(self.leased.get(name, 0)))

    def post(self, entry: LedgerEntry) -> None:
        """What a flush does with a finished request."""
        for attempt in entry.attempts:
            for posting in attempt.postings:
                name = (posting.budget, posting.period)
                self.posted[name] = self.posted.get(name, 0) + attempt.cost
                if posting.is_leased:
                    self.leased[name] -= min(attempt.cost, self.leased[name])


class CountingReservation:
    allowance: Allowance = UNLIMITED

    def __init__(self) -> None:
        self.settled: list[int] = []

    def settle(self, tokens: int) -> None:
        self.settled.append(tokens)


class OpenLimiter:
    """Admits everything, or answers with `refusal`."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self.reservations: list[CountingReservation] = []
        self.asked: list[tuple[tuple[LimitRule, ...], int]] = []

    async def acquire(self, rules: Sequence[LimitRule], tokens: int) -> Reservation | Refusal:
        return self.decide(rules, tokens)

    def decide(self, rules: Sequence[LimitRule], tokens: int) -> Reservation | Refusal:
        self.asked.append((tuple(rules), tokens))
        if self.refusal is not None:
            return self.refusal
        self.reservations.append(CountingReservation())
        return self.reservations[-1]


class InlineTasks:
    """Collects what was spawned; the test runs it."""

    def __init__(self) -> None:
        self.spawned: list[Coroutine[Any, Any, None]] = []

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        self.spawned.append(work)


class OneKey:
    def __init__(self, key: ApiKey, tenant: Tenant) -> None:
        self.found: tuple[ApiKey, Tenant] | None = (key, tenant)
        self.lookups: list[str] = []
        self.failure: Exception | None = None

    async def find_key(self, prefix: str) -> tuple[ApiKey, Tenant] | None:
        self.lookups.append(prefix)
        if self.failure is not None:
            raise self.failure
        return self.found if self.found and self.found[0].prefix == prefix else None


class Scripted:
    """An answer to order: bytes, or pieces of a stream in which an exception is raised where it stands."""

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        pieces: Sequence[bytes | Exception] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        default = "text/event-stream" if pieces is not None else "application/json"
        self.headers: Mapping[str, str] = {"content-type": default} | dict(headers or {})
        self.body = body
        self.pieces = list(pieces) if pieces is not None else [body]
        self.closed = 0
        self._body: Drawn | None = None

    async def read(self, limit: int) -> bytes:
        if len(self.body) > limit:
            raise TransportFailure(FailureKind.TOO_LARGE)
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
        return self.body

    async def pour(self, take: Take) -> bytes | None:
        self._body = self._body or Drawn(self.chunks())
        return await self._body.pour(take)

    async def chunks(self) -> AsyncIterator[bytes]:
        while self.pieces:
            piece = self.pieces.pop(0)
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def close(self) -> None:
        self.closed += 1


class ScriptedTransport:
    """Answers by provider, told apart by host; the last thing in a list is repeated."""

    def __init__(self, **scripts: Sequence[Scripted | Exception]) -> None:
        self.scripts = {name: list(script) for name, script in scripts.items()}
        self.calls: list[UpstreamCall] = []

    async def send(self, call: UpstreamCall) -> UpstreamAnswer:
        self.calls.append(call)
        host = call.to.url.split("/")[2].split(".")[0]
        script = self.scripts[host]
        step = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(step, Exception):
            raise step
        return step

    async def close(self) -> None:
        pass

    @property
    def hosts(self) -> list[str]:
        return [c.to.url.split("/")[2].split(".")[0] for c in self.calls]


def answer(text: str = "hi", prompt: int = 10, completion: int = 5) -> Scripted:
    body = {
        "id": "c1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }
    return Scripted(body=msgspec.json.encode(body))


def status(code: int, **headers: str) -> Scripted:
    body = {"error": {"message": f"status {code}", "type": "x", "code": None}}
    return Scripted(code, msgspec.json.encode(body), headers={k.replace("_", "-"): v for k, v in headers.items()})


def frame(text: str | None = None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


USAGE_FRAME = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}\n\n'
DONE = b"data: [DONE]\n\n"


def chat(stream: bool = False, **fields: object) -> ModelRequest:
    body = {"model": "a", "messages": [{"role": "user", "content": "hello"}], "stream": stream} | fields
    return parse_request(Api.CHAT, msgspec.json.encode(body))


def principal(**changes: Any) -> Principal:
    known: dict[str, Any] = {
        "tenant_id": "t1",
        "tenant": "demo",
        "key_id": "k1",
        "key": "demo-key",
        "scopes": None,
        "tenant_models": EVERY_MODEL,
        "key_models": EVERY_MODEL,
        "defaults": {},
        "tiers": {},
        "rules": (),
    }
    return Principal(**(known | changes))


def spec(name: str, **changes: Any) -> ProviderSpec:
    return ProviderSpec(name, "openai-compatible", f"http://{name}.test/v1", **changes)


def snapshot(*aliases: Alias, providers: Sequence[ProviderSpec] = (), **changes: Any) -> Snapshot:
    named = {t.provider: spec(t.provider) for a in aliases for t in a.targets} | {p.name: p for p in providers}
    known: dict[str, Any] = {
        "fingerprint": "f" * 64,
        "masked_yaml": "",
        "server": ServerSettings(),
        "providers": named,
        "aliases": {a.name: a for a in aliases if not a.is_wildcard},
        "wildcards": tuple(a for a in aliases if a.is_wildcard),
        "tiers": {},
        "defaults": {},
        "health": HealthSettings(),
        "rates": RateDefaults(),
    }
    return Snapshot(**(known | changes))
