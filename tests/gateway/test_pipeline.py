"""One request through the whole pipeline: however it ends, it is settled once, and the ledger says what happened."""

import pytest

from router.config.snapshot import UnknownPrice
from router.domain.errors import (
    ModelNotFound,
    NoHealthyTarget,
    PriceUnknown,
    StorageUnavailable,
    UnsupportedFeature,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamTimeout,
)
from router.domain.ledger import Outcome
from router.domain.limits import UNLIMITED, LimitScope, Refusal, Resource
from router.domain.requests import Api, Kind, parse_request
from router.domain.routes import Alias, Credential, FallbackReason, ProviderSpec, Strategy, Target
from router.domain.upstream import FailureKind, TransportFailure
from router.gateway.admit import OverLimit
from tests.gateway.fakes import Scripted, answer, chat, principal, spec, status
from tests.gateway.table import Table, alias

REFUSED = TransportFailure(FailureKind.CONNECT, "refused")
RESET = TransportFailure(FailureKind.RESET)
IN_ORDER = Strategy.PRIORITY


async def test_a_good_answer_is_metered_priced_and_settled_once() -> None:
    table = Table(alias("a", "p"), p=[answer(prompt=10, completion=5)])
    got = await table.ask()
    assert (got.status, got.cost, got.provider, got.attempts) == (200, 20, "p", 1)
    entry = table.entry
    assert (entry.cost, entry.usage.input_tokens, entry.usage.output_tokens, entry.status) == (20, 10, 5, 200)
    assert entry.outcome is Outcome.OK
    assert table.limiter.reservations[0].settled == [15]


async def test_the_answers_bytes_are_the_providers() -> None:
    table = Table(alias("a", "p"), p=[answer("x \u00e4")])
    assert (await table.ask()).body == answer("x \u00e4").body


async def test_a_failing_target_is_followed_by_the_next_and_both_attempts_are_in_the_ledger() -> None:
    table = Table(alias("a", "p", "q", strategy=IN_ORDER), p=[status(500)], q=[answer()])
    got = await table.ask()
    assert (got.provider, got.attempts) == ("q", 2)
    assert table.outcomes == ["server_error", "ok"]
    assert table.entry.cost == 20 and table.entry.attempts[0].cost == 0


@pytest.mark.parametrize("code", [408, 409, 425, 500, 502, 503, 529, 401, 403, 429, 307])
async def test_these_statuses_go_to_the_next_target(code: int) -> None:
    table = Table(alias("a", "p", "q", strategy=IN_ORDER), p=[status(code)], q=[answer()])
    assert (await table.ask()).provider == "q"


async def test_a_long_refusal_keeps_its_status_and_is_cut_instead_of_blaming_the_target() -> None:
    """Validation errors that echo the request can be as long as it was."""
    table = Table(alias("a", "p"), p=[Scripted(422, b"x" * 2**21)])
    got = await table.ask()
    assert (got.status, len(got.body or b""), got.attempts) == (422, 64 * 2**10, 1)
    assert table.outcomes == ["refused_upstream"]


async def test_an_answer_without_usage_is_estimated_by_its_text_not_by_its_envelope() -> None:
    body = b'{"padding":"' + b"x" * 4000 + b'","choices":[{"message":{"content":"' + b"word" * 10 + b'"}}]}'
    table = Table(alias("a", "p"), p=[Scripted(body=body)])
    await table.ask()
    assert (table.entry.usage.output_tokens, table.entry.usage.estimated) == (10, True)


@pytest.mark.parametrize("code", [400, 404, 413, 422])
async def test_a_refusal_of_the_request_itself_is_passed_on_and_not_retried(code: int) -> None:
    table = Table(alias("a", "p", "q", strategy=IN_ORDER), p=[status(code)], q=[answer()])
    got = await table.ask()
    assert (got.status, got.body, table.transport.hosts) == (code, status(code).body, ["p"])
    assert table.entry.outcome is Outcome.REFUSED_UPSTREAM and table.entry.cost == 0


async def test_a_fallback_alias_answers_when_the_own_targets_fail() -> None:
    first = alias("a", "p", fallbacks={FallbackReason.DEFAULT: ("b",)})
    table = Table(first, alias("b", "q"), p=[REFUSED], q=[answer()])
    got = await table.ask()
    assert (got.provider, table.entry.alias, table.entry.attempts[1].alias) == ("q", "a", "b")


async def test_only_rate_limits_lead_to_the_rate_limit_fallback() -> None:
    fallbacks = {FallbackReason.RATE_LIMITED: ("b",), FallbackReason.DEFAULT: ("c",)}
    for step, expected in ((status(429), "q"), (status(500), "r")):
        table = Table(
            alias("a", "p", fallbacks=fallbacks), alias("b", "q"), alias("c", "r"), p=[step], q=[answer()], r=[answer()]
        )
        assert (await table.ask()).provider == expected


async def test_a_single_target_is_visited_again_after_a_pause() -> None:
    table = Table(alias("a", "p"), draws=[0.5, 0.0], p=[status(500), answer()])
    assert (await table.ask()).attempts == 2


async def test_no_more_than_max_attempts_calls_are_made() -> None:
    table = Table(alias("a", "p", "q", "r", "s", strategy=IN_ORDER), p=[REFUSED], q=[REFUSED], r=[REFUSED], s=[answer()])
    with pytest.raises(UpstreamError) as told:
        await table.ask()
    assert len(table.transport.calls) == 3
    assert [(n.provider, n.reason) for n in told.value.attempts] == [("p", "connect"), ("q", "connect"), ("r", "connect")]
    assert (table.entry.status, table.entry.code) == (502, "upstream_error")


async def test_when_every_target_is_rate_limited_the_caller_is_told_when_to_come_back() -> None:
    table = Table(alias("a", "p"), p=[status(429, retry_after="7")])
    with pytest.raises(UpstreamRateLimited) as told:
        await table.ask()
    assert told.value.retry_after_s == 7.0 and len(table.transport.calls) == 1


async def test_a_timeout_is_charged_its_estimate_and_told_as_one() -> None:
    table = Table(alias("a", "p", max_attempts=1), p=[TransportFailure(FailureKind.FIRST_BYTE_TIMEOUT)])
    with pytest.raises(UpstreamTimeout):
        await table.ask()
    [attempt] = table.entry.attempts
    assert attempt.usage.estimated and attempt.usage.input_tokens > 0 and attempt.cost > 0


async def test_a_connection_that_was_never_made_costs_nothing() -> None:
    table = Table(alias("a", "p", max_attempts=1), p=[REFUSED])
    with pytest.raises(UpstreamError):
        await table.ask()
    assert table.entry.cost == 0 and table.entry.price_known


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b'{"choices": ['])
async def test_an_answer_that_is_no_json_object_is_named_so_and_not_free(body: bytes) -> None:
    table = Table(alias("a", "p", "q", strategy=IN_ORDER), p=[Scripted(body=body)], q=[answer()])
    with pytest.raises(Exception, match="no JSON object") as told:
        await table.ask()
    assert getattr(told.value, "code", "") == "invalid_upstream_response"
    assert table.entry.cost > 0 and table.transport.hosts == ["p"]


async def test_an_answer_without_usage_is_charged_an_estimate() -> None:
    body = b'{"choices":[{"message":{"content":"hello there, you"}}],"usage":null}'
    table = Table(alias("a", "p"), p=[Scripted(body=body)])
    await table.ask()
    assert table.entry.usage.estimated and table.entry.usage.output_tokens >= 1


async def test_explicit_zero_usage_is_zero() -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}'
    table = Table(alias("a", "p"), p=[Scripted(body=body)])
    await table.ask()
    assert table.entry.cost == 0 and not table.entry.usage.estimated


async def test_forced_failover_makes_a_target_fail_without_calling_it_each_time() -> None:
    table = Table(
        alias("a", "p", "q", strategy=IN_ORDER), p=[answer()], q=[answer()], changes={"force_failover": frozenset({"p"})}
    )
    for _ in range(30):
        assert (await table.ask()).attempts == 2
    assert set(table.transport.hosts) == {"q"}
    assert [a.outcome.value for a in table.ledger.entries[-1].attempts] == ["forced", "ok"]


async def test_a_refused_credential_rotates_before_the_target_counts_as_ill() -> None:
    keys = (Credential("one", "k-one-secret"), Credential("two", "k-two-secret"))
    table = Table(alias("a", "p"), providers=[spec("p", credentials=keys)], draws=[0.1, 0.1], p=[status(401), answer()])
    await table.ask()
    assert [a.credential for a in table.entry.attempts] == ["one", "two"]
    assert table.health.report()["p/m"]["state"] == "up" and table.health.resting("p") == {"one"}
    await table.ask()
    assert table.ledger.entries[-1].attempts[0].credential == "two"


async def test_a_deadline_the_caller_shortened_is_nobodys_illness() -> None:
    late = TransportFailure(FailureKind.TOTAL_TIMEOUT)
    for timeout_s, state in ((0.5, "up"), (None, "ejected")):
        table = Table(alias("a", "p", "q", strategy=IN_ORDER, max_attempts=1), p=[late], q=[answer()])
        for _ in range(5):
            with pytest.raises(UpstreamTimeout):
                await table.ask(timeout_s=timeout_s)
        assert table.health.report()["p/m"]["state"] == state


async def test_a_pool_of_credentials_does_not_use_up_the_attempts() -> None:
    keys = tuple(Credential(name, f"k-{name}-secret") for name in ("one", "two", "three", "four"))
    table = Table(
        alias("a", "p", "q", strategy=IN_ORDER, max_attempts=2),
        providers=[spec("p", credentials=keys)],
        p=[status(429)],
        q=[answer()],
    )
    got = await table.ask()
    assert (got.provider, got.attempts) == ("q", 5)


async def test_a_wildcard_is_priced_by_the_model_that_was_asked_for() -> None:
    wild = Alias("any/*", Kind.CHAT, (Target("p/*", "p", ""),))
    openai = ProviderSpec("p", "openai", "http://p.test/v1")
    table = Table(wild, providers=[openai], p=[answer()])
    await table.ask(chat(model="any/gpt-4o-mini"))
    assert table.entry.price_known and table.entry.cost > 0


# -- before any call ----------------------------------------------------------------------------------------------


async def test_an_unknown_model_touches_no_limit_and_no_ledger() -> None:
    table = Table(alias("a", "p"), p=[answer()])
    with pytest.raises(ModelNotFound):
        await table.ask(chat(model="other"))
    assert table.limiter.asked == [] and table.ledger.entries == []


async def test_a_refusal_of_the_limiter_is_told_and_nothing_is_sent() -> None:
    table = Table(alias("a", "p"), p=[answer()])
    table.limiter.refusal = Refusal(LimitScope.TENANT, "t1", Resource.TOKENS, 100, 1500, UNLIMITED)
    with pytest.raises(OverLimit, match="this tenant is reached: 100 tokens per minute") as told:
        await table.ask()
    assert told.value.retry_after_s == 1.5 and table.transport.calls == [] and table.ledger.entries == []


async def test_tokens_are_held_for_every_choice() -> None:
    table = Table(alias("a", "p"), p=[answer()])
    request = chat(max_tokens=100, n=3)
    await table.ask(request)
    assert table.limiter.asked[0][1] == len(request.body) // 4 + 300


async def test_nothing_is_sent_while_usage_cannot_be_recorded() -> None:
    table = Table(alias("a", "p"), p=[answer()])
    table.ledger.is_accepting = False
    with pytest.raises(StorageUnavailable):
        await table.ask()
    assert table.transport.calls == []


async def test_a_route_no_target_speaks_is_refused_by_name() -> None:
    table = Table(alias("a", "p"), providers=[spec("p", apis=frozenset({Api.CHAT}))], p=[answer()])
    request = parse_request(Api.RESPONSES, b'{"model":"a","input":"hi"}')
    with pytest.raises(UnsupportedFeature, match="p does not speak responses"):
        await table.ask(request)


async def test_what_cannot_be_priced_is_refused_where_the_file_says_so() -> None:
    unpriced = Alias("a", Kind.CHAT, (Target("p/m", "p", "m"),))
    table = Table(unpriced, p=[answer()], changes={"unknown_price": UnknownPrice.REJECT})
    with pytest.raises(PriceUnknown):
        await table.ask()
    assert table.transport.calls == []


async def test_when_every_reachable_target_is_ejected_the_last_one_is_still_asked() -> None:
    table = Table(alias("a", "p", "q", strategy=IN_ORDER), p=[REFUSED], q=[REFUSED])
    for _ in range(40):
        with pytest.raises((UpstreamError, NoHealthyTarget)):
            await table.ask()
    assert sum(r["state"] == "ejected" for r in table.health.report().values()) == 2
    before = len(table.transport.calls)
    with pytest.raises(UpstreamError):
        await table.ask()
    assert len(table.transport.calls) == before + 1


async def test_tags_user_and_metadata_are_kept_for_attribution() -> None:
    table = Table(alias("a", "p"), p=[answer()])
    await table.ask(chat(user="u1", metadata={"team": "x"}), tags=(("env", "prod"),))
    assert (table.entry.user, table.entry.metadata, table.entry.tags) == ("u1", '{"team":"x"}', (("env", "prod"),))


async def test_a_shorter_timeout_of_the_caller_shortens_the_call() -> None:
    table = Table(alias("a", "p"), p=[answer()])
    await table.ask(timeout_s=3.0)
    assert table.transport.calls[0].total_s == pytest.approx(3.0)


async def test_the_principals_rules_and_the_alias_own_limit_are_asked_together() -> None:
    table = Table(alias("a", "p"), p=[answer()])
    async with table.open(who=principal()):
        pass
    assert table.limiter.asked[0][0] == ()
