"""Answers that no server should give, through real sockets: each is a failure of a kind, and leaves nothing open."""

import asyncio
from typing import NoReturn

import pytest

from router.domain.flow import pieces_of
from router.domain.ports import Transport
from router.domain.routes import Timeouts
from router.domain.upstream import Destination, FailureKind, TransportFailure, UpstreamCall
from router.providers.proxied import ProxiedTransport
from tests.providers.hostile import Script, says, upstream
from tests.providers.hostile_wire import CHUNKED, ODD, OK, REFUSED

GOOD = OK + b"Content-Length: 4\r\n\r\ngood"
SHORT = Timeouts(connect=1.0, first_byte=0.15, idle=0.15)
PATIENT = Timeouts(connect=1.0, first_byte=3.0, idle=3.0)

AIOHTTP_READS = {
    "gzip, chunked",
    "chunked, identity",
    "xchunked",
    "chunked twice",
    "bare line feeds",
    "a folded header",
    "a space before the colon",
    "a control character in a header",
    "a line feed in a chunk extension",
    "a switch of protocols",
    "a silent switch of protocols",
    "status 99",
    "status 600",
    "too many headers in hints",
    "a long head",
    "hints without end",
}
"""Its parser of responses is lenient on purpose; what is read of these comes to some end all the same."""

AIOHTTP_REFUSES = {
    "more than its length",
    "junk behind the last chunk",
    "a length of nothing and something",
    "a body where there is none",
}
"""An answer with junk in the same breath: it is given up whole."""


async def outcome(
    transport: Transport, url: str, *, timeouts: Timeouts = PATIENT, total_s: float = 5.0
) -> tuple[bytes, FailureKind | None]:
    body = b""
    try:
        answer = await transport.send(UpstreamCall(Destination("POST", url, {}), b"{}", True, timeouts, total_s))
        try:
            async for piece in pieces_of(answer):
                body += piece
        finally:
            answer.close()
    except TransportFailure as failure:
        return body, failure.kind
    return body, None


@pytest.mark.parametrize("name", REFUSED)
async def test_an_answer_that_breaks_the_rules_is_a_protocol_failure(transport: Transport, name: str) -> None:
    async with upstream(says(REFUSED[name], then_closes=name in AIOHTTP_READS)) as peer:
        _, kind = await asyncio.wait_for(outcome(transport, peer.url), 5)
        if not (isinstance(transport, ProxiedTransport) and name in AIOHTTP_READS):
            assert kind is FailureKind.PROTOCOL
        await asyncio.wait_for(peer.left.wait(), 1)


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_answer_has_its_outcome_and_what_is_unaccounted_for_ends_its_connection(
    transport: Transport, name: str
) -> None:
    odd, is_first = ODD[name], True

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal is_first
        writer.write(odd.wire if is_first else GOOD)
        closes, is_first = is_first and odd.closes, False
        if closes:
            await writer.drain()
            raise ConnectionError

    async with upstream(script) as peer:
        is_strict = isinstance(transport, ProxiedTransport) and name in AIOHTTP_REFUSES
        expected = (b"", FailureKind.PROTOCOL) if is_strict else (odd.body, odd.kind)
        assert await asyncio.wait_for(outcome(transport, peer.url), 5) == expected
        # Whatever was said before, the next answer is the next answer.
        assert await asyncio.wait_for(outcome(transport, peer.url), 5) == (b"good", None)
        assert peer.connections == (1 if odd.stays else 2)
        assert len(peer.requests) == 2


def test_a_hostile_provider_has_more_than_forty_modes() -> None:
    assert len(REFUSED) + len(ODD) > 40


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
        _, kind = await asyncio.wait_for(outcome(transport, peer.url, timeouts=SHORT, total_s=0.8), 2)
        assert kind in kinds
        await asyncio.wait_for(peer.left.wait(), 1)
