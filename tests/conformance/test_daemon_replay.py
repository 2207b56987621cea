"""Every recorded exchange through the real daemon and real sockets, its answer whole and in small pieces."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from router.domain.requests import INBOUND, Api
from router.server.errors import STATUSES
from tests.conformance import expected
from tests.conformance.catalog import PLENTY, alias_of, configuration, tier_of, upstream_model
from tests.conformance.expected import Counts, Json, airy, asks_usage
from tests.conformance.recordings import ABSENT, EXPLAINED, PATHS, Exchange, elsewhere, exchange, place_of, replayed
from tests.conformance.upstream import Received, ReplayingServer
from tests.daemon import Daemon, Entry, Workplace

WHOLE, IN_64S, CUT = "whole", "in-64s", "cut"
AT_ONCE = 16
NONE = pytest.param("", marks=pytest.mark.skip(reason=ABSENT))
every_exchange = pytest.mark.parametrize("name", replayed() or [NONE], ids=str)

NOT_FOR_PROVIDERS = {"cookie": "a=b", "x-api-key": "nobody's", "openai-organization": "org", "x-forwarded-for": "9.9.9.9"}
GO_UP = {"openai-beta": "assistants=v2", "user-agent": "a client", "accept": "*/*", "content-type": "application/json"}
MADE_BY_THE_WIRE = {"host", "content-length", "accept-encoding"}
OURS = {"content-type", "content-length", "transfer-encoding", "date", "server", "x-request-id", "x-cost-usd", "connection"}
OUR_LIMITS = {f"x-ratelimit-{n}-{what}" for n in ("limit", "remaining", "reset") for what in ("requests", "tokens")} | {
    "x-ratelimit-remaining",
    "x-ratelimit-reset-ms",
}
PASSED_DOWN = {"retry-after", "openai-processing-ms"}


@dataclass(frozen=True)
class Served:
    """What the caller got, what the provider received for it, and what the ledger says of it."""

    status: int
    headers: dict[str, str]
    body: bytes
    received: list[Received]
    row: Entry


class Session:
    """The daemon, the replaying provider before it, and one pass over all exchanges for each size of pieces."""

    def __init__(self, folder: Workplace, exchanges: list[Exchange]) -> None:
        self._folder = folder
        self._exchanges = exchanges
        self._got: dict[tuple[int, str], tuple[int, dict[str, str], bytes, list[Received]]] = {}
        self.refused: dict[str, tuple[int, Json]] = {}  # by path
        self._rows: dict[str, Entry] = {}

    def run(self) -> None:
        asyncio.run(self._run())

    def served(self, of: Exchange, way: str) -> Served:
        return Served(*self._got[of.number, way], self._rows[_request_id(of, way)])

    async def _run(self) -> None:
        async with ReplayingServer(self._exchanges) as upstream:
            with Daemon(self._folder, configuration(self._exchanges, upstream.origin)) as daemon:
                async with daemon.client(headers=GO_UP | NOT_FOR_PROVIDERS) as http:
                    for way in (WHOLE, IN_64S, CUT):
                        await self._pass(http, upstream, way)
                    await self._ask_for_what_is_not_served(http)
            self._rows = {row["request_id"]: row for row in daemon.ledger()}

    async def _pass(self, http: aiohttp.ClientSession, upstream: ReplayingServer, way: str) -> None:
        upstream.piece = None if way == WHOLE else 64
        upstream.stops_early = way == CUT
        upstream.received.clear()
        few = asyncio.Semaphore(AT_ONCE)

        async def one(of: Exchange) -> None:
            async with few:
                await self._ask(http, upstream, of, way)

        async with asyncio.TaskGroup() as group:
            for of in self._exchanges if way != CUT else filter(lambda of: of.is_sse, self._exchanges):
                group.create_task(one(of))

    async def _ask(self, http: aiohttp.ClientSession, upstream: ReplayingServer, of: Exchange, way: str) -> None:
        headers = {"X-Request-Id": _request_id(of, way)}
        if "model" not in of.fields:
            headers["X-Router-Tier"] = tier_of(of)
        async with http.post(f"/v1{PATHS[of.api]}", data=airy(sent(of)), headers=headers) as answer:
            body = await answer.read()
            given = {name.lower(): value for name, value in answer.headers.items()}
            self._got[of.number, way] = answer.status, given, body, upstream.received[of.number]

    async def _ask_for_what_is_not_served(self, http: aiohttp.ClientSession) -> None:
        for method, path in (*map(explained, EXPLAINED), *elsewhere()):
            async with http.request(method, path) as answer:
                self.refused[path] = answer.status, await answer.json()


def explained(name: str) -> tuple[str, str]:
    of = exchange(name)
    return of.method, urlsplit(of.url).path


def _request_id(of: Exchange, way: str) -> str:
    return f"{of.number}-{way}"


def sent(of: Exchange) -> Json:
    return of.fields | {"model": alias_of(of)} if "model" in of.fields else of.fields


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    folder = Workplace()
    made = Session(folder, [exchange(name) for name in replayed()])
    try:
        made.run()
        yield made
    finally:
        folder.remove()


@every_exchange
def test_the_provider_gets_the_callers_bytes_but_for_the_splices(session: Session, name: str) -> None:
    of = exchange(name)
    received = session.served(of, WHOLE).received + session.served(of, IN_64S).received
    assert len(received) == 2 * expected.attempts_of(of)
    for call in received:
        assert call.body == expected.request_upstream(of, sent(of), airy, upstream_model(of))
        assert (call.method, call.target) == ("POST", place_of(of, "").path)
        assert {n: v for n, v in call.headers.items() if n not in MADE_BY_THE_WIRE} == GO_UP | credential_of(of) | unsaid(of)
        assert call.headers["accept-encoding"] == "identity"


def credential_of(of: Exchange) -> dict[str, str]:
    provider = place_of(of, "").provider
    header = {"azure-openai": "api-key", "anthropic": "x-api-key"}.get(provider["type"])
    return {header: provider["api_key"]} if header else {"authorization": f"Bearer {provider['api_key']}"}


def unsaid(of: Exchange) -> dict[str, str]:
    """What a provider must be told where the caller does not say it."""
    return {"anthropic-version": "2023-06-01"} if of.family == "anthropic" else {}


@every_exchange
def test_the_caller_gets_the_providers_bytes(session: Session, name: str) -> None:
    of = exchange(name)
    for way in (WHOLE, IN_64S):
        got = session.served(of, way)
        if expected.is_mapped(of):
            check_mapped(of, got)
            continue
        body = expected.answer_of(of, asks_usage(of))
        assert (got.status, got.headers["content-type"]) == (of.status, of.content_type)
        assert got.body == (expected.relayed(of, body) if of.is_sse else body)
        check_headers(of, got)


def check_mapped(of: Exchange, got: Served) -> None:
    status, code = expected.mapped_status(of)
    said = json.loads(got.body)
    error = said["error"]
    if of.family == "anthropic":
        assert said == {"type": "error", "error": {"type": STATUSES[code][1], "message": error["message"]}} | {
            "request_id": got.headers["x-request-id"]
        }
        assert (got.status, got.headers["x-router-attempts"]) == (status, str(expected.attempts_of(of)))
    else:
        assert (got.status, error["code"]) == (status, code)
        told = [(note["provider"], note["status"]) for note in error["attempts"]]
        assert told == [(f"p{of.number}", of.status)] * expected.attempts_of(of)
    assert of.body not in got.body
    assert ("retry-after" in got.headers) == (status == 429)


def check_headers(of: Exchange, got: Served) -> None:
    """Of the provider's headers the listed ones come down, as they were; nothing else does."""
    foreign = {n for n in got.headers if n not in OURS and not n.startswith(("x-router-", "x-ratelimit-"))}
    assert {n: got.headers[n] for n in foreign} == {n: v for n, v in of.headers.items() if n in PASSED_DOWN}
    assert {got.headers[f"x-ratelimit-limit-{what}"] for what in ("requests", "tokens")} == {str(PLENTY)}
    assert {n for n in got.headers if n.startswith("x-ratelimit-")} <= OUR_LIMITS
    assert got.headers["x-router-attempts"] == "1"
    told = next((of.headers[n] for n in ("x-request-id", "apim-request-id", "request-id") if n in of.headers), None)
    assert got.headers.get("x-router-upstream-request-id") == told
    assert ("x-cost-usd" in got.headers) == (not of.is_sse)


@every_exchange
def test_the_ledger_has_the_providers_count(session: Session, name: str) -> None:
    of = exchange(name)
    for way in (WHOLE, IN_64S):
        check_row(of, session.served(of, way).row)


def check_row(of: Exchange, row: Entry) -> None:
    body = expected.answer_of(of, asks_usage(of))
    wanted = Counts() if expected.is_mapped(of) else expected.counts_of(of, body)
    assert (row["api"], row["alias"], row["stream"]) == (of.api.value, alias_of(of), int(of.streams))
    assert row["status"] == (expected.mapped_status(of)[0] if expected.is_mapped(of) else of.status)
    assert [t["status"] for t in row["tries"]] == [of.status] * expected.attempts_of(of)
    if wanted is None:
        assert (row["estimated"], row["input_tokens"] > 0) == (1, True)
        return
    assert counted(row) == wanted
    assert (row["estimated"], row["suspect"]) == (0, 0)
    assert row["cost_nano"] == 1000 * wanted.input + 2000 * wanted.output


def counted(row: dict[str, Any]) -> Counts:
    names = ("input", "output", "cached_input", "cache_write", "reasoning", "audio_input", "audio_output")
    return Counts(*(row[f"{name}_tokens"] for name in names))


@pytest.mark.parametrize("name", [n for n in replayed() if exchange(n).is_sse] or [NONE], ids=str)
def test_a_stream_that_stops_early_ends_with_our_error_event_and_without_done(session: Session, name: str) -> None:
    of = exchange(name)
    got = session.served(of, CUT)
    cut = expected.before_the_end(of)
    assert not expected.is_finished(of, cut)
    whole = expected.relayed(of, cut)
    assert (got.status, got.body[: len(whole)]) == (200, whole)
    [event] = expected.events(got.body[len(whole) :])
    if of.api is Api.RESPONSES:
        assert got.body[len(whole) :].startswith(b"event: error\ndata: ")
        assert (event["type"], event["code"]) == ("error", "upstream_truncated")
        assert event["sequence_number"] == 1 + max(
            (e.get("sequence_number", -1) for e in expected.events(whole)), default=-1
        )
    if of.api is Api.MESSAGES:
        assert got.body[len(whole) :].startswith(b"event: error\ndata: ")
        assert (event["type"], event["error"]["type"]) == ("error", "upstream_error")
    else:
        assert event["error"]["code"] == "upstream_truncated"
    assert b"[DONE]" not in got.body
    assert got.row["outcome"] == "truncated"
    assert got.row["input_tokens"] > 0


@pytest.mark.parametrize("name", list(EXPLAINED) if replayed() else [NONE], ids=str)
def test_an_explained_exchange_is_answered_as_its_reason_says(session: Session, name: str) -> None:
    status, error = session.refused[explained(name)[1]]
    assert (status, error["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", [path for _, path in elsewhere()] or [NONE])
def test_recorded_responses_are_not_found_and_what_counts_or_compacts_is_refused_by_name(
    session: Session, path: str
) -> None:
    status, error = session.refused[path]
    is_served = not path.endswith(("/input_tokens", "/compact"))
    assert (status, error["error"]["code"]) == ((404, "not_found") if is_served else (501, "not_supported"))


assert set(PATHS) == INBOUND
