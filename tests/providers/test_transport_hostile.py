"""Answers that no server should give, through real sockets: each is a failure of a kind, and leaves nothing open."""

import asyncio
from typing import NoReturn

import pytest

from router.domain.ports import Transport
from router.domain.routes import Timeouts
from router.domain.upstream import FailureKind, TransportFailure, UpstreamCall
from tests.providers.hostile import Script, says, upstream
from tests.providers.hostile_wire import CHUNKED, OK, REFUSED

SHORT = Timeouts(connect=1.0, first_byte=0.15, idle=0.15)


async def outcome(
    transport: Transport, url: str, *, stream: bool = True, total_s: float = 5.0
) -> tuple[bytes, FailureKind | None]:
    body = b""
    try:
        answer = await transport.send(UpstreamCall("POST", url, {}, b"{}", stream, SHORT, total_s))
        try:
            async for piece in answer.chunks():
                body += piece
        finally:
            answer.close()
    except TransportFailure as failure:
        return body, failure.kind
    return body, None


@pytest.mark.parametrize("name", REFUSED)
async def test_an_answer_that_breaks_the_rules_is_a_protocol_failure(transport: Transport, name: str) -> None:
    async with upstream(says(REFUSED[name])) as peer:
        _, kind = await asyncio.wait_for(outcome(transport, peer.url), 2)
        assert kind is FailureKind.PROTOCOL
        await asyncio.wait_for(peer.left.wait(), 1)


async def trickled(writer: asyncio.StreamWriter, piece: bytes) -> NoReturn:
    while not writer.is_closing():
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.001)
    raise ConnectionError


async def endless_hints(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await trickled(writer, b"HTTP/1.1 103 Wait\r\n\r\n")


async def endless_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED)
    await trickled(writer, b"4\r\n: x\n\r\n")


async def endless_extension(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED + b"4\r\n: x\n\r\n5;")
    await trickled(writer, b"x" * 100)


async def endless_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    await trickled(writer, b"X")


@pytest.mark.parametrize(
    ("script", "kinds"),
    [
        (endless_hints, {FailureKind.FIRST_BYTE_TIMEOUT}),
        (endless_head, {FailureKind.FIRST_BYTE_TIMEOUT}),
        (endless_stream, {FailureKind.TOTAL_TIMEOUT}),
        (endless_extension, {FailureKind.IDLE_TIMEOUT, FailureKind.PROTOCOL}),
    ],
)
async def test_what_never_ends_is_ended_by_the_timer_it_is_for(
    transport: Transport, script: Script, kinds: set[FailureKind]
) -> None:
    async with upstream(script) as peer:
        _, kind = await asyncio.wait_for(outcome(transport, peer.url, total_s=0.4), 2)
        assert kind in kinds
        await asyncio.wait_for(peer.left.wait(), 1)
