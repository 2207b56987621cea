"""Requests that are refused for what they are: told in the caller's words, or taken to the alias that is named for them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from router.domain.errors import UnsupportedFeature, UpstreamError
from router.domain.flow import pieces_of
from router.domain.requests import Api, ModelRequest, parse_request
from router.domain.routes import Alias, Credential, FallbackReason, ProviderSpec, Strategy
from router.server.headers import answer_headers
from tests.gateway.fakes import DONE, Scripted, answer, chat, frame, spec, status
from tests.gateway.table import Table, alias
from tests.gateway.test_budgets import Counting, R, ask

Reasons = Mapping[FallbackReason, tuple[str, ...]]
TOO_LONG = {
    "error": {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}
}
POLICY = {
    "error": {
        "message": "no",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}
ON_WINDOW: Reasons = {FallbackReason.CONTEXT_WINDOW: ("big",)}
ON_POLICY: Reasons = {FallbackReason.CONTENT_POLICY: ("big",)}


def refusal(code: int, body: object, **headers: str) -> Scripted:
    return Scripted(code, msgspec.json.encode(body), headers={k.replace("_", "-"): v for k, v in headers.items()})


def ordered(*providers: str, **changes: Any) -> Alias:
    return alias("a", *providers, strategy=Strategy.PRIORITY, **changes)


def event(body: object) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def two(
    reason: Reasons,
    *p: Scripted | Exception,
    q: Sequence[Scripted | Exception],
    **changes: Any,
) -> Table:
    return Table(alias("a", "p", fallbacks=reason, **changes), alias("big", "q"), p=list(p), q=list(q))


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reason", "body"), [(ON_WINDOW, TOO_LONG), (ON_POLICY, POLICY)])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_of_its_kind_goes_to_the_alias_named_for_it(reason: Any, body: Any, stream: bool) -> None:
    good = Scripted(pieces=[frame("hi", "stop"), DONE]) if stream else answer()
    table = two(reason, refusal(400, body), q=[good])
    got = await table.ask(chat(stream=stream))
    assert (got.status, got.provider, got.attempts) == (200, "q", 2)
    assert table.outcomes == ["refused_upstream", "ok"]
    first, second = table.entry.attempts
    assert (first.cost, first.alias, second.alias) == (0, "a", "big")
    told = "context window exceeded" if body is TOO_LONG else "content policy"
    assert first.reason == f"HTTP 400, {told}"
    [kind] = reason
    assert answer_headers(got, explain=False)["X-Router-Fallback"] == f"{kind.value}: big"


@pytest.mark.parametrize(("reason", "body"), [(ON_WINDOW, POLICY), (ON_POLICY, TOO_LONG), ({}, TOO_LONG), (ON_WINDOW, {})])
async def test_any_other_refusal_is_the_answer(reason: Any, body: Any) -> None:
    table = two(reason, refusal(400, body), q=[answer()])
    async with table.open() as got:
        assert got.status == 400 and json.loads(got.body or b"") == body
    assert table.transport.hosts == ["p"]


async def test_default_fallbacks_and_further_targets_do_not_take_what_is_refused_for_itself() -> None:
    reasons = {FallbackReason.DEFAULT: ("big",)}
    table = Table(
        ordered("p", "r", fallbacks=reasons), alias("big", "q"), p=[refusal(400, TOO_LONG)], r=[answer()], q=[answer()]
    )
    assert (await table.ask()).status == 400
    assert len(table.transport.hosts) == 1


async def test_where_the_fallback_refuses_too_its_refusal_is_the_answer() -> None:
    table = two(ON_WINDOW, refusal(400, TOO_LONG), q=[refusal(400, TOO_LONG | {"who": "q"})])
    async with table.open() as got:
        assert got.status == 400 and json.loads(got.body or b"")["who"] == "q"
    assert table.outcomes == ["refused_upstream", "refused_upstream"]


async def test_where_the_fallback_fails_the_caller_may_come_back() -> None:
    table = two(ON_WINDOW, refusal(400, TOO_LONG), q=[status(500)])
    with pytest.raises(UpstreamError) as failed:
        await table.ask()
    assert [note.status for note in failed.value.attempts][:2] == [400, 500]


async def test_without_attempts_left_the_refusal_is_the_answer() -> None:
    table = two(ON_WINDOW, refusal(400, TOO_LONG), q=[answer()], max_attempts=1)
    assert (await table.ask()).status == 400


async def test_a_refusal_says_nothing_against_the_target() -> None:
    table = two(ON_WINDOW, *[refusal(400, TOO_LONG)] * 12, q=[answer()])
    for _ in range(10):
        await table.ask()
    assert table.health.report()["p/m"]["state"] == "up"


async def test_an_empty_answer_that_a_filter_blocked_goes_to_the_fallback_and_is_paid() -> None:
    body = {"choices": [{"index": 0, "finish_reason": "content_filter", "message": {"role": "assistant", "content": None}}]}
    usage = {"usage": {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}}
    table = two(ON_POLICY, refusal(200, body | usage), q=[answer()])
    got = await table.ask()
    assert (got.provider, table.entry.attempts[0].cost, got.cost) == ("q", 10, 10 + 10 + 5 * 2)
    alone = Table(alias("a", "p"), p=[refusal(200, body | usage)])
    assert (await alone.ask()).status == 200


async def test_the_hold_of_a_refused_attempt_is_free_for_the_fallback() -> None:
    table = Counting(
        2 * R, alias("a", "p", fallbacks=ON_WINDOW), alias("big", "q"), p=[refusal(400, TOO_LONG)], q=[answer()]
    )
    got = await ask(table)
    assert got.provider == "q" and all(attempt.held for attempt in table.entry.attempts)
    assert table.journal.kinds() == ["opened", "ended", "opened"]
    entry = table.entry
    table.flush()
    assert table.spent == entry.cost == entry.attempts[1].cost > 0


# -- what a provider's failure is -----------------------------------------------------------------------------------


async def test_a_spent_quota_at_a_400_rotates_the_key_and_then_the_target() -> None:
    low = {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}}
    keys = (Credential("p#1", "one"), Credential("p#2", "two"))
    known = [spec("p", credentials=keys)]
    table = Table(ordered("p", "q"), providers=known, p=[refusal(400, low), refusal(400, low)], q=[answer()])
    got = await table.ask()
    assert (got.provider, table.transport.hosts) == ("q", ["p", "p", "q"])
    assert table.outcomes == ["credential", "credential", "ok"]
    assert table.entry.attempts[0].reason == "HTTP 400, quota exhausted"


async def test_googles_retry_info_rests_the_target_for_as_long() -> None:
    told = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "q", "details": [{"retryDelay": "34s"}]}}
    table = Table(ordered("p", "q"), p=[refusal(429, told)], q=[answer()])
    await table.ask()
    assert table.health.report()["p/m"]["retry_in_s"] == 34.0


@pytest.mark.parametrize("code", [424, 529])
async def test_a_fault_of_the_model_goes_to_the_next_target(code: int) -> None:
    table = Table(ordered("p", "q"), p=[status(code)], q=[answer()])
    assert (await table.ask()).provider == "q"


# -- errors in a 200 ------------------------------------------------------------------------------------------------


async def test_an_error_instead_of_an_answer_goes_to_the_next_target_and_is_free() -> None:
    table = Table(ordered("p", "q"), p=[refusal(200, {"error": {"code": 502, "message": "x"}})], q=[answer()])
    got = await table.ask()
    assert got.provider == "q" and table.outcomes == ["server_error", "ok"] and table.entry.attempts[0].cost == 0


async def test_an_error_that_blames_the_request_is_told_with_its_own_status() -> None:
    table = Table(ordered("p", "q"), p=[refusal(200, {"error": {"code": 400, "message": "bad"}})], q=[answer()])
    async with table.open() as got:
        assert (got.status, json.loads(got.body or b"")["error"]["message"]) == (400, "bad")


@pytest.mark.parametrize("before", [b"", b": PROCESSING\n\n"])
async def test_an_error_as_the_first_event_goes_to_the_next_target(before: bytes) -> None:
    busy = event({"error": {"code": 503, "message": "busy"}})
    pieces = [before, busy] if before else [busy]
    table = Table(ordered("p", "q"), p=[Scripted(pieces=pieces)], q=[Scripted(pieces=[frame("hi", "stop"), DONE])])
    got = await table.ask(chat(stream=True))
    assert got.provider == "q" and table.outcomes == ["server_error", "ok"]


async def test_a_first_event_that_refuses_the_request_is_a_refusal_with_a_status() -> None:
    table = Table(alias("a", "p"), p=[Scripted(pieces=[event(TOO_LONG)])])
    async with table.open(chat(stream=True)) as got:
        assert (got.status, got.content_type, got.frames) == (400, "application/json", None)
        assert json.loads(got.body or b"")["error"]["code"] == "context_length_exceeded"


async def test_an_error_behind_content_is_the_end_of_the_stream() -> None:
    table = Table(ordered("p", "q"), p=[Scripted(pieces=[frame("hi") + event(TOO_LONG)])], q=[answer()])
    assert (await table.ask(chat(stream=True))).provider == "p"
    assert table.outcomes == ["server_error"] and table.entry.cost > 0


async def test_comments_before_the_first_event_still_reach_the_caller() -> None:
    table = Table(alias("a", "p"), p=[Scripted(pieces=[b": one\n\n", frame("hi", "stop"), DONE])])
    async with table.open(chat(stream=True)) as got:
        assert got.frames is not None
        assert (b"".join([piece async for piece in pieces_of(got.frames)])).startswith(b": one\n\ndata: ")


# -- translated -----------------------------------------------------------------------------------------------------

CLAUDE = ProviderSpec("p", "anthropic", "http://p.test", apis=frozenset({Api.MESSAGES}), translates=frozenset({Api.CHAT}))
CHAT_ONLY = spec("p", apis=frozenset({Api.CHAT}), translates=frozenset({Api.MESSAGES}))
LONG_PROMPT = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 3 > 2"}}


def messages(**fields: Any) -> ModelRequest:
    body = {"model": "a", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]} | fields
    return parse_request(Api.MESSAGES, msgspec.json.encode(body))


async def test_a_translated_refusal_has_the_common_code_and_scrubs_keys() -> None:
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: sk-live1234567"}}
    table = Table(alias("a", "p"), providers=[CLAUDE], p=[refusal(400, said)])
    async with table.open() as got:
        error = json.loads(got.body or b"")["error"]
    assert (error["code"], error["message"]) == ("context_length_exceeded", "prompt is too long: ***")


async def test_a_translated_refusal_keeps_the_providers_request_id_for_messages() -> None:
    table = Table(alias("a", "p"), providers=[CHAT_ONLY], p=[refusal(400, TOO_LONG, x_request_id="req_7")])
    async with table.open(messages()) as got:
        assert json.loads(got.body or b"") == {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "too long"},
            "request_id": "req_7",
        }


async def test_a_translated_refusal_goes_to_its_fallback_too() -> None:
    table = Table(
        alias("a", "p", fallbacks=ON_WINDOW),
        alias("big", "q"),
        providers=[CLAUDE],
        p=[refusal(400, LONG_PROMPT)],
        q=[answer()],
    )
    assert (await table.ask()).provider == "q"


async def test_a_translated_stream_that_begins_with_an_error_goes_to_the_next_target() -> None:
    busy = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    first = b"event: error\ndata: " + msgspec.json.encode(busy) + b"\n\n"
    good = Scripted(pieces=[frame("hi", "stop"), DONE])
    table = Table(ordered("p", "q"), providers=[CLAUDE], p=[Scripted(pieces=[first])], q=[good])
    assert (await table.ask(chat(stream=True))).provider == "q"
    alone = Table(
        alias("a", "p"),
        providers=[CLAUDE],
        p=[Scripted(pieces=[b"event: error\ndata: " + msgspec.json.encode(LONG_PROMPT) + b"\n\n"])],
    )
    async with alone.open(chat(stream=True)) as got:
        assert got.status == 400 and json.loads(got.body or b"")["error"]["message"] == "prompt is too long: 3 > 2"


# -- what cannot be said ----------------------------------------------------------------------------------------------


async def test_a_target_that_can_say_it_answers_where_the_first_cannot() -> None:
    table = Table(ordered("p", "q"), providers=[CLAUDE], p=[answer()], q=[answer()])
    got = await table.ask(chat(logit_bias={"5": -100}))
    assert (got.provider, got.attempts, table.transport.hosts) == ("q", 1, ["q"])


async def test_what_nobody_can_say_is_refused_as_the_first_would() -> None:
    other = ProviderSpec("q", "anthropic", "http://q.test", apis=frozenset({Api.MESSAGES}), translates=frozenset({Api.CHAT}))
    table = Table(ordered("p", "q"), providers=[CLAUDE, other], p=[answer()], q=[answer()])
    with pytest.raises(UnsupportedFeature, match="p/m"):
        await table.ask(chat(logit_bias={"5": -100}))
    assert not table.transport.calls and table.entry.cost == 0


async def test_what_is_left_cannot_say_it_after_a_failure_that_failure_is_told() -> None:
    table = Table(ordered("q", "p", max_attempts=1), providers=[CLAUDE], p=[answer()], q=[status(500)])
    with pytest.raises(UpstreamError):
        await table.ask(chat(logit_bias={"5": -100}))
