"""Streams through the whole pipeline: relayed as they come, never falsely ended, paid for when they are left."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest

from router.domain.errors import (
    UpstreamTimeout,
    UpstreamTruncated,
)
from router.domain.flow import pieces_of
from router.domain.ledger import Outcome
from router.domain.requests import Api, ModelRequest
from router.domain.routes import Strategy
from router.domain.upstream import FailureKind, TransportFailure
from router.gateway.answer import Answer
from router.gateway.metered_stream import MeteredStream
from router.providers.openai_chat import ChatDialect, ChatMeter
from tests.gateway.fakes import DONE, USAGE_FRAME, Scripted, answer, chat, frame, spec
from tests.gateway.table import Table, alias

RESET = TransportFailure(FailureKind.RESET)
IN_ORDER = Strategy.PRIORITY


def frames_of(answered: Answer) -> AsyncIterator[bytes]:
    assert answered.frames is not None
    return pieces_of(answered.frames)


async def leave_after(frames: int, table: Table) -> None:
    """Open a stream, read that many frames, and be cancelled."""
    with suppress(asyncio.CancelledError):
        async with table.open(chat(stream=True)) as got:
            for _ in range(frames):
                await anext(frames_of(got))
            raise asyncio.CancelledError


def streamed(*pieces: bytes | Exception) -> Scripted:
    return Scripted(pieces=pieces)


async def test_a_stream_is_relayed_and_the_injected_usage_frame_is_not() -> None:
    table = Table(alias("a", "p"), p=[streamed(frame("he") + frame("llo"), frame(finish="stop") + USAGE_FRAME + DONE)])
    async with table.open(chat(stream=True)) as got:
        assert got.frames is not None
        seen = b"".join([f async for f in pieces_of(got.frames)])
    assert seen == frame("he") + frame("llo") + frame(finish="stop") + DONE
    assert table.entry.usage.output_tokens == 2 and table.entry.cost == 14
    body = table.transport.calls[0].body
    assert isinstance(body, bytes) and b'"include_usage":true' in body.replace(b" ", b"")


async def test_a_stream_that_has_ended_is_freed_without_the_collector() -> None:
    table = Table(alias("a", "p"), p=[streamed(frame("he"), frame(finish="stop") + DONE)])
    gc.collect()
    gc.disable()
    try:
        async with table.open(chat(stream=True)) as got:
            async for _ in frames_of(got):
                pass
        del got
        assert not [left for left in gc.get_objects() if isinstance(left, MeteredStream)]
    finally:
        gc.enable()


async def test_a_callers_own_wish_for_usage_is_honoured_byte_for_byte() -> None:
    table = Table(alias("a", "p"), p=[streamed(frame("x"), frame(finish="stop"), USAGE_FRAME + DONE)])
    request = chat(stream=True, stream_options={"include_usage": True})
    async with table.open(request) as got:
        assert got.frames is not None
        seen = b"".join([f async for f in pieces_of(got.frames)])
    assert seen == frame("x") + frame(finish="stop") + USAGE_FRAME + DONE


async def test_a_stream_that_breaks_before_its_first_frame_goes_to_another_target() -> None:
    table = Table(
        alias("a", "p", "q", strategy=IN_ORDER), p=[streamed(b"data: {", RESET)], q=[streamed(frame("x", "stop"), DONE)]
    )
    got = await table.ask(chat(stream=True))
    assert got.provider == "q"


@pytest.mark.parametrize("ending", [RESET, None, TransportFailure(FailureKind.PROTOCOL)])
async def test_a_stream_cut_after_its_first_frame_is_never_retried_and_never_free(ending: Exception | None) -> None:
    pieces = [frame("one"), frame("two"), b"data: {unfinished"] + ([ending] if ending else [])
    table = Table(alias("a", "p", "q", strategy=IN_ORDER), p=[streamed(*pieces)], q=[answer()])
    seen = b""

    async def read() -> None:
        nonlocal seen
        async with table.open(chat(stream=True)) as got:
            async for part in frames_of(got):
                seen += part

    with pytest.raises(UpstreamTruncated):
        await read()
    assert seen == frame("one") + frame("two")
    assert table.transport.hosts == ["p"]
    assert table.entry.outcome is Outcome.TRUNCATED and table.entry.usage.output_tokens == 2


async def test_a_silent_stream_ends_as_a_timeout() -> None:
    table = Table(alias("a", "p"), p=[streamed(frame("x"), TransportFailure(FailureKind.IDLE_TIMEOUT))])
    with pytest.raises(UpstreamTimeout):
        await table.ask(chat(stream=True))


async def test_done_inside_a_text_is_no_end() -> None:
    table = Table(alias("a", "p"), p=[streamed(frame("data: [DONE]\n\n"))])
    with pytest.raises(UpstreamTruncated):
        await table.ask(chat(stream=True))


async def test_a_last_frame_without_its_blank_line_is_relayed_only_if_it_is_the_end() -> None:
    async def seen(*pieces: bytes) -> bytes:
        parts = b""
        table = Table(alias("a", "p"), p=[streamed(*pieces)])
        async with table.open(chat(stream=True)) as got:
            assert got.frames is not None
            try:
                async for part in pieces_of(got.frames):
                    parts += part
            except UpstreamTruncated:
                parts += b"<error>"
        return parts

    assert await seen(frame("x", "stop"), b"data: [DONE]\n") == frame("x", "stop") + b"data: [DONE]\n"
    assert await seen(frame("x"), frame("y")[:-1]) == frame("x") + b"<error>"


async def test_an_empty_stream_is_an_invalid_answer() -> None:
    table = Table(alias("a", "p"), p=[streamed()])
    with pytest.raises(Exception, match="no whole event"):
        await table.ask(chat(stream=True))


async def test_a_caller_who_leaves_in_the_middle_stops_the_call_and_pays_for_what_was_made() -> None:
    script = streamed(frame("one"), frame("two"), frame("three"))
    table = Table(alias("a", "p"), p=[script])
    await leave_after(2, table)
    assert script.closed == 1
    assert table.entry.outcome is Outcome.CANCELLED and table.entry.status == 499
    assert table.entry.usage.output_tokens == 2 and table.entry.usage.estimated
    assert table.limiter.reservations[0].settled == [table.entry.usage.total_tokens]


class BlindMeter(ChatMeter):
    def estimated_output_tokens(self) -> int:
        raise RuntimeError("a fault of ours")


class BlindDialect(ChatDialect):
    def stream_meter(self, request: ModelRequest, *, hides_usage: bool) -> ChatMeter:
        return BlindMeter(request.choices, hides_usage=hides_usage)


async def test_an_attempt_whose_end_meets_a_fault_of_ours_stands_in_the_ledger_all_the_same() -> None:
    script = streamed(frame("one"), frame("two"))
    table = Table(alias("a", "p"), p=[script])
    provider = table.generation.providers["p"]
    blind = replace(provider, dialects={Api.CHAT: BlindDialect("/chat/completions")})
    table.generation = replace(table.generation, providers={"p": blind})

    with pytest.raises(RuntimeError, match="a fault of ours"):
        await leave_after(1, table)
    assert [a.outcome for a in table.entry.attempts] == [Outcome.INTERNAL]
    assert script.closed == 1 and table.limiter.reservations[0].settled == [0]


async def test_a_provider_that_bills_on_cancel_is_read_to_its_end() -> None:
    script = streamed(frame("one"), frame("two"), frame(finish="stop"), USAGE_FRAME + DONE)
    table = Table(alias("a", "p"), providers=[spec("p", bills_on_cancel=True)], p=[script])
    await leave_after(1, table)
    assert table.ledger.entries == []
    [drain] = table.tasks.spawned
    await drain
    assert table.entry.usage.output_tokens == 2 and not table.entry.usage.estimated
    assert table.entry.outcome is Outcome.CANCELLED and script.closed == 1
