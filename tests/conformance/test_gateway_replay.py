"""Every recorded exchange through the whole gateway in process, its answer cut in every way."""

import json
from collections.abc import Iterator

import pytest

from router.domain.errors import UpstreamTruncated
from router.domain.ledger import LedgerEntry, Outcome
from router.domain.requests import Api, parse_request
from router.providers.anthropic.messages import MESSAGES
from router.providers.dialect import Dialect
from router.providers.openai_chat import CHAT, COMPLETIONS
from router.providers.openai_responses import RESPONSES
from router.providers.sse import FrameSplitter
from router.server.errors import status_of
from tests.conformance import expected
from tests.conformance.catalog import upstream_model
from tests.conformance.expected import Counts, Json, Write, airy, asks_usage, compact
from tests.conformance.recordings import ABSENT, Exchange, exchange, place_of, replayed
from tests.conformance.replay import WHOLE, Replay, Replayed, cut_in

one_loop = pytest.mark.asyncio(loop_scope="module")
SIZES = (WHOLE, 1460, 64, 7, 3, 2, 1)
SMALL = 4096
ALIAS = "an-alias-of-the-tests"
STREAMING: dict[Api, Dialect] = {
    Api.CHAT: CHAT,
    Api.COMPLETIONS: COMPLETIONS,
    Api.RESPONSES: RESPONSES,
    Api.MESSAGES: MESSAGES,
}

NONE = pytest.param("", marks=pytest.mark.skip(reason=ABSENT))
every_exchange = pytest.mark.parametrize("name", replayed() or [NONE], ids=str)


def sent(of: Exchange, model: str = ALIAS) -> Json:
    """The recorded request, asking for `model` where it names one."""
    return of.fields | {"model": model} if "model" in of.fields else dict(of.fields)


def replay(of: Exchange) -> Replay:
    return Replay(of, alias=ALIAS, model=of.model)


# -- up ---------------------------------------------------------------------------------------------------------


@every_exchange
@one_loop
async def test_the_provider_gets_the_callers_bytes_but_for_the_splices(name: str) -> None:
    of = exchange(name)
    gateway = replay(of)
    await gateway.ask(sent(of), airy, [expected.answer_of(of, asks_usage(of))])
    check_calls(of, gateway, airy)
    same = upstream_model(of)
    if "model" in of.fields:
        gateway = Replay(of, alias=same, model=of.model)
        await gateway.ask(sent(of, same), airy, [expected.answer_of(of, asks_usage(of))])
        up, down = gateway.calls[0].body, airy(sent(of, same))
        assert up == (down if not asks_usage(of) else b"{" + expected.INJECTED + b"," + down[1:])


def check_calls(of: Exchange, gateway: Replay, write: Write) -> None:
    assert {call.body for call in gateway.calls} == {expected.request_upstream(of, sent(of), write, upstream_model(of))}
    assert {call.to.url for call in gateway.calls} == {"http://upstream.test" + place_of(of, "").path}
    assert len(gateway.calls) == expected.attempts_of(of)


def formatted() -> list[str]:
    """Recorded Responses requests for a format, to be asked again in the words of Chat Completions."""
    return [n for n in replayed() if exchange(n).api is Api.RESPONSES and "format" in (exchange(n).fields.get("text") or {})]


@pytest.mark.parametrize("name", formatted() or [NONE], ids=str)
@one_loop
async def test_response_format_reaches_a_responses_target_as_text_format(name: str) -> None:
    of = exchange(name)
    asked = sent(of)
    text = dict(asked.pop("text"))
    given = dict(text.pop("format"))
    kind = given.pop("type")
    asked["response_format"] = {"type": kind} | ({"json_schema": given} if kind == "json_schema" else {})
    if text:
        asked["text"] = text
    gateway = replay(of)
    await gateway.ask(asked, airy, [of.body])
    sent_body = gateway.calls[0].body
    assert isinstance(sent_body, bytes) and json.loads(sent_body) == of.fields | {"model": upstream_model(of)}


# -- down -------------------------------------------------------------------------------------------------------


@every_exchange
@one_loop
async def test_the_caller_gets_the_providers_bytes_and_the_ledger_its_count_whatever_the_cuts(name: str) -> None:
    of = exchange(name)
    body = expected.answer_of(of, asks_usage(of))
    for size in SIZES if of.is_sse else (WHOLE, 7):
        gateway = replay(of)
        check(of, body, await gateway.ask(sent(of), compact, cut_in(size, body)))
        check_calls(of, gateway, compact)
        if expected.is_mapped(of):
            return  # its body is not read


def check(of: Exchange, body: bytes, got: Replayed) -> None:
    """One replay against what the recording says must come of it."""
    if expected.is_mapped(of):
        assert got.error is not None
        assert (status_of(got.error), got.error.code) == expected.mapped_status(of)
        assert [note.status for note in got.error.attempts] == [of.status] * expected.attempts_of(of)
        assert counted(got.entry) == Counts()
        return
    assert got.answer is not None
    assert (got.answer.status, got.answer.content_type) == (of.status, of.content_type)
    assert got.body == (expected.relayed(of, body) if of.is_sse else body)
    ended_well = not of.is_sse or expected.is_finished(of, body) or expected.has_failed(body)
    assert (got.error is None) == ended_well
    assert got.entry.outcome is outcome_of(of, body, ended_well)
    check_count(of, body, got.entry)


def outcome_of(of: Exchange, body: bytes, ended_well: bool) -> Outcome:
    if of.status >= 300:
        return Outcome.CREDENTIAL if of.name in expected.KEY_REFUSED else Outcome.REFUSED_UPSTREAM
    if of.is_sse and expected.has_failed(body):
        return Outcome.SERVER_ERROR
    return Outcome.OK if ended_well else Outcome.TRUNCATED


def check_count(of: Exchange, body: bytes, entry: LedgerEntry) -> None:
    wanted = expected.counts_of(of, body)
    if wanted is None:
        assert entry.usage.estimated
        assert entry.usage.input_tokens > 0
        return
    assert not entry.usage.estimated
    assert not entry.usage.suspect
    assert counted(entry) == wanted


def counted(entry: LedgerEntry) -> Counts:
    u = entry.usage
    return Counts(
        *(u.input_tokens, u.output_tokens, u.cached_input_tokens, u.cache_write_tokens, u.reasoning_tokens),
        *(u.audio_input_tokens, u.audio_output_tokens),
    )


def small_streams() -> list[str]:
    return [n for n in replayed() if exchange(n).is_sse and len(exchange(n).body) <= SMALL]


every_small_stream = pytest.mark.parametrize("name", small_streams() or [NONE], ids=str)


def in_two(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    return ((body[:at], body[at:]) for at in range(1, len(body)))


@every_small_stream
def test_every_cut_in_two_gives_the_same_frames_and_the_same_count(name: str) -> None:
    """On the two parts a chunk passes: what ends frames and what watches them."""
    of = exchange(name)
    body = expected.answer_of(of, asks_usage(of))
    request = parse_request(of.api, compact(sent(of)))
    dialect, wanted, seen = STREAMING[of.api], expected.relayed(of, body), set()
    for pieces in in_two(body):
        meter, splitter = dialect.stream_meter(request, hides_usage=asks_usage(of)), FrameSplitter()
        out = b"".join([meter.feed(whole) for piece in pieces if (whole := splitter.feed(piece))])
        out += meter.feed(rest) if (rest := splitter.end()) else b""
        assert out == wanted
        seen.add((meter.usage, meter.finished, meter.failed))
    assert len(seen) == 1


@pytest.mark.torture
@every_small_stream
@one_loop
async def test_every_cut_in_two_passes_the_whole_gateway(name: str) -> None:
    of = exchange(name)
    body = expected.answer_of(of, asks_usage(of))
    gateway = replay(of)
    for pieces in in_two(body):
        check(of, body, await gateway.ask(sent(of), compact, pieces))


@pytest.mark.parametrize("name", [n for n in replayed() if exchange(n).is_sse] or [NONE], ids=str)
@one_loop
async def test_a_stream_that_stops_before_its_end_is_relayed_to_its_last_whole_frame_and_called_truncated(name: str) -> None:
    of = exchange(name)
    cut = expected.before_the_end(of)
    wanted = expected.relayed(of, cut)
    got = await replay(of).ask(sent(of), compact, cut_in(64, cut))
    assert got.body == wanted
    assert b"[DONE]" not in got.body
    assert isinstance(got.error, UpstreamTruncated)
    assert got.entry.outcome is Outcome.TRUNCATED
    assert got.entry.usage.total_tokens > 0


@pytest.mark.parametrize("name", [n for n in replayed() if exchange(n).is_sse] or [NONE], ids=str)
@one_loop
async def test_a_stream_that_only_lacks_its_last_blank_line_is_whole(name: str) -> None:
    """Some providers end with `[DONE]` and one line end, or none."""
    of = exchange(name)
    bare = expected.answer_of(of, asks_usage(of)).rstrip(b"\r\n")
    for body in (bare + b"\n", bare):
        got = await replay(of).ask(sent(of), compact, cut_in(64, body))
        assert (got.body, got.error) == (expected.relayed(of, body), None)
