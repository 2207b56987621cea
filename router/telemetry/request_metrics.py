"""What requests and attempts add up to. One dictionary look-up finds everything a request has to be added to."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client import Metric

from router.domain.errors import GatewayError
from router.domain.ledger import LedgerEntry
from router.domain.observations import RequestRefused
from router.domain.requests import Api
from router.domain.usage import NANO_PER_USD
from router.telemetry.series import OTHER, Histogram, Labels, LabelSet, counter, histogram

MAX_TENANTS = 1000

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class Count:
    value: int = 0


@dataclass(slots=True, eq=False)
class Spend:
    """Tokens, searches and nano-USD of one alias at one provider."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    searches: int = 0
    cost: int = 0


@dataclass(slots=True, frozen=True)
class _RequestCell:
    requests: Count
    duration: Histogram
    first_byte: Histogram
    tenant_cost: Count


@dataclass(slots=True, frozen=True)
class _AttemptCell:
    attempts: Count
    spend: Spend


@dataclass(slots=True, eq=False)
class _Series:
    """Every series there is, by the values of its labels."""

    requests: dict[Labels, Count] = field(default_factory=dict)
    durations: dict[Labels, Histogram] = field(default_factory=dict)
    first_bytes: dict[Labels, Histogram] = field(default_factory=dict)
    attempts: dict[Labels, Count] = field(default_factory=dict)
    spends: dict[Labels, Spend] = field(default_factory=dict)
    tenant_costs: dict[Labels, Count] = field(default_factory=dict)
    refused: dict[Labels, Count] = field(default_factory=dict)


class RequestMetrics:
    """Adds up on the event loop; `collect` may run in another thread meanwhile.

    The two `_cells` map what an entry says, word by word, to where it counts. Only entries whose every word is an
    allowed label value get in, so they are bounded too; the others take the slow way to "other" each time.
    """

    def __init__(self) -> None:
        self._aliases = LabelSet()
        self._providers = LabelSet()
        self._targets = LabelSet()
        self._tenants = LabelSet(cap=MAX_TENANTS)
        self._codes = LabelSet(_codes(GatewayError))
        self._apis = LabelSet(api.value for api in Api)
        self._series = _Series()
        self._request_cells: dict[tuple[str, str, str, int, str, bool], _RequestCell] = {}
        self._attempt_cells: dict[tuple[str, str, str, str], _AttemptCell] = {}

    def configure(self, aliases: Iterable[str], providers: Iterable[str], targets: Iterable[str]) -> None:
        """Replace what may be a label."""
        self._aliases.configure(aliases)
        self._providers.configure(providers)
        self._targets.configure(targets)
        self._request_cells.clear()
        self._attempt_cells.clear()

    def targets(self) -> Iterator[str]:
        """The configured targets, in order of their names."""
        return iter(self._targets)

    def target(self, name: str) -> str:
        """The label for a target of this name."""
        return self._targets.admit(name)

    def finished(self, entries: Iterable[LedgerEntry]) -> None:
        requests, attempts = self._request_cells, self._attempt_cells
        for entry in entries:
            key = (entry.tenant, entry.alias, entry.api, entry.status // 100, entry.code, entry.stream)
            cell = requests.get(key) or self._request_cell(key)
            cell.requests.value += 1
            cell.duration.observe(entry.duration_us)
            if entry.first_byte_us is not None:
                cell.first_byte.observe(entry.first_byte_us)
            cell.tenant_cost.value += entry.cost
            for attempt in entry.attempts:
                at = (attempt.alias, attempt.provider, attempt.target, attempt.outcome)
                tried = attempts.get(at) or self._attempt_cell(at)
                tried.attempts.value += 1
                usage, spend = attempt.usage, tried.spend
                spend.input += usage.input_tokens
                spend.output += usage.output_tokens
                spend.cost += attempt.cost
                if usage.cached_input_tokens or usage.reasoning_tokens or usage.searches:
                    spend.cached += usage.cached_input_tokens
                    spend.reasoning += usage.reasoning_tokens
                    spend.searches += usage.searches

    def refused(self, refusal: RequestRefused) -> None:
        code, alias = self._codes.admit(refusal.code), self._aliases.admit(refusal.alias)
        api = _ROUTE_API.get(refusal.route.removeprefix("/openai"), OTHER)
        labels = (self._tenants.admit(refusal.tenant), alias, api, _status_class(refusal.status // 100), code)
        _at(self._series.requests, labels, Count).value += 1
        _at(self._series.refused, (code,), Count).value += 1

    def _request_cell(self, key: tuple[str, str, str, int, str, bool]) -> _RequestCell:
        tenant, alias, api, status_class, code, stream = key
        allowed = (self._tenants.admit(tenant), self._aliases.admit(alias), self._apis.admit(api), self._codes.admit(code))
        labels = (*allowed[:3], _status_class(status_class), allowed[3])
        cell = _RequestCell(
            _at(self._series.requests, labels, Count),
            _at(self._series.durations, (allowed[1], "true" if stream else "false"), Histogram),
            _at(self._series.first_bytes, (allowed[1],), Histogram),
            _at(self._series.tenant_costs, (allowed[0],), Count),
        )
        if allowed == (tenant, alias, api, code):
            self._request_cells[key] = cell
        return cell

    def _attempt_cell(self, key: tuple[str, str, str, str]) -> _AttemptCell:
        alias, provider, target, outcome = key
        allowed = (self._aliases.admit(alias), self._providers.admit(provider), self._targets.admit(target))
        cell = _AttemptCell(
            _at(self._series.attempts, (*allowed, str(outcome)), Count),
            _at(self._series.spends, allowed[:2], Spend),
        )
        if allowed == (alias, provider, target):
            self._attempt_cells[key] = cell
        return cell

    def collect(self) -> Iterator[Metric]:
        series = self._series
        yield counter(
            "routerd_requests_total",
            "Data-plane requests, finished or refused.",
            ("tenant", "alias", "api", "status", "code"),
            _counts(series.requests),
        )
        yield counter("routerd_refused_total", "Requests refused before a plan stood.", ("code",), _counts(series.refused))
        yield histogram(
            "routerd_request_duration_seconds",
            "From the request's head to its settlement.",
            ("alias", "stream"),
            series.durations.copy().items(),
        )
        yield histogram(
            "routerd_time_to_first_byte_seconds",
            "From the dispatch of the attempt that answered to its first byte.",
            ("alias",),
            series.first_bytes.copy().items(),
        )
        yield counter(
            "routerd_attempts_total",
            "Attempts at targets, by how they ended.",
            ("alias", "provider", "target", "outcome"),
            _counts(series.attempts),
        )
        yield from _spending(series.spends.copy())
        yield counter(
            "routerd_tenant_cost_usd_total",
            f"Cost in USD by tenant, the first {MAX_TENANTS} by name.",
            ("tenant",),
            [(labels, cost.value / NANO_PER_USD) for labels, cost in series.tenant_costs.copy().items()],
        )


def _spending(spends: dict[Labels, Spend]) -> Iterator[Metric]:
    yield counter(
        "routerd_tokens_total",
        "Tokens; cached is a part of input, reasoning of output.",
        ("alias", "provider", "kind"),
        [((*labels, kind), getattr(spend, kind)) for labels, spend in spends.items() for kind in _TOKEN_KINDS],
    )
    yield counter(
        "routerd_searches_total",
        "Searches of rerank, which some providers sell instead of tokens.",
        ("alias", "provider"),
        [(labels, float(spend.searches)) for labels, spend in spends.items() if spend.searches],
    )
    yield counter(
        "routerd_cost_usd_total",
        "Cost in USD where the price is known.",
        ("alias", "provider"),
        [(labels, spend.cost / NANO_PER_USD) for labels, spend in spends.items()],
    )


_TOKEN_KINDS = ("input", "output", "cached", "reasoning")
_ROUTE_API = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/moderations": "moderations",
    "/v1/rerank": "rerank",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "count_tokens",
}
_STATUS_CLASSES = {n: f"{n}xx" for n in range(1, 6)}


def _status_class(hundreds: int) -> str:
    return _STATUS_CLASSES.get(hundreds, OTHER)


def _codes(error: type[GatewayError]) -> Iterator[str]:
    yield error.code
    for kind in error.__subclasses__():
        yield from _codes(kind)


def _at(series: dict[Labels, _T], labels: Labels, make: type[_T]) -> _T:
    """The series with these labels, new if it must be."""
    found = series.get(labels)
    if found is None:
        found = series[labels] = make()
    return found


def _counts(series: dict[Labels, Count]) -> list[tuple[Labels, float]]:
    return [(labels, float(count.value)) for labels, count in series.copy().items()]
