"""The transport against a hostile peer: each fault has its kind, and no connection is left open."""

import asyncio
import socket

import pytest

from router.domain.flow import pieces_of
from router.domain.ports import Transport
from router.domain.routes import Timeouts
from router.domain.upstream import Destination, FailureKind, TransportFailure, UpstreamCall
from tests.providers.hostile import Script, resets, says, says_once, upstream

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
SHORT = Timeouts(connect=0.5, first_byte=0.2, idle=0.15, total=5.0)


def post(
    url: str, *, stream: bool = False, total_s: float = 5.0, body: bytes = b"{}", timeouts: Timeouts = SHORT
) -> UpstreamCall:
    return UpstreamCall(
        Destination("POST", url, {"content-type": "application/json", "x-k": "v"}), body, stream, timeouts, total_s
    )


async def everything(transport: Transport, call: UpstreamCall, limit: int = 2**20) -> bytes:
    answer = await transport.send(call)
    try:
        if call.stream:
            return b"".join([chunk async for chunk in pieces_of(answer)])
        return await answer.read(limit)
    finally:
        answer.close()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- what goes well --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_whole_answer_is_read_and_its_connection_kept(transport: Transport, stream: bool) -> None:
    async with upstream(says(WHOLE)) as peer:
        for _ in range(3):
            assert await everything(transport, post(peer.url, stream=stream)) == b"abc"
        assert peer.connections == 1


async def test_only_what_the_call_says_is_sent(transport: Transport) -> None:
    async with upstream(says(WHOLE)) as peer:
        await everything(transport, post(peer.url, body=b'{"a":1}'))
        head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    names = sorted(line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:])
    assert names == [b"content-length", b"content-type", b"host", b"x-k"]
    assert head.startswith(b"POST /v1/x HTTP/1.1")
    assert body == b'{"a":1}'


async def test_a_probe_has_no_body(transport: Transport) -> None:
    async with upstream(says(WHOLE)) as peer:
        await everything(transport, UpstreamCall(Destination("GET", peer.url, {}), b"", False, SHORT, 5.0))
        assert b"content-length" not in peer.requests[0].lower()


async def test_a_body_of_many_megabytes_is_sent_whole(transport: Transport) -> None:
    async with upstream(says(WHOLE)) as peer:
        body = b"x" * (5 * 2**20)
        await everything(transport, post(peer.url, body=body))
        assert peer.requests[0].endswith(b"\r\n\r\n" + body)


async def test_header_names_are_lower_case_and_the_last_of_a_name_wins(transport: Transport) -> None:
    async with upstream(
        says(b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n")
    ) as peer:
        answer = await transport.send(post(peer.url))
        answer.close()
    assert answer.status == 429
    assert (answer.headers["retry-after"], answer.headers["x-a"]) == ("3", "2")


async def test_chunks_arrive_as_they_are_sent(transport: Transport) -> None:
    go_on = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\nabc\r\n")
        await go_on.wait()
        writer.write(b"2\r\nde\r\n0\r\n\r\n")

    async with upstream(script) as peer:
        answer = await transport.send(post(peer.url, stream=True))
        chunks = pieces_of(answer)
        assert await anext(chunks) == b"abc"
        go_on.set()
        assert [chunk async for chunk in chunks] == [b"de"]
        answer.close()
        assert await everything(transport, post(peer.url, stream=True)) == b"abcde"
        assert peer.connections == 1


async def test_a_body_without_length_ends_with_its_connection(transport: Transport) -> None:
    async with upstream(says(b"HTTP/1.1 200 OK\r\n\r\nabc", then_closes=True)) as peer:
        assert await everything(transport, post(peer.url)) == b"abc"


async def test_a_redirect_is_returned_not_followed(transport: Transport) -> None:
    async with upstream(says(WHOLE)) as other:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
        async with upstream(says(moved)) as peer:
            answer = await transport.send(post(peer.url))
            answer.close()
        assert answer.status == 307
        assert other.connections == 0


async def test_cookies_are_not_kept(transport: Transport) -> None:
    async with upstream(says(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 3\r\n\r\nabc")) as peer:
        for _ in range(2):
            await everything(transport, post(peer.url))
        assert b"cookie" not in peer.requests[1].lower()


async def test_a_slow_trickle_is_not_idle(transport: Transport) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for _ in range(8):
            writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.04)
        writer.write(b"0\r\n\r\n")

    async with upstream(script) as peer:
        assert await everything(transport, post(peer.url, stream=True)) == b"x" * 8


async def test_a_slow_reader_is_not_an_idle_upstream(transport: Transport) -> None:
    async with upstream(says(CHUNKED + b"3\r\nabc\r\n" + b"3\r\ndef\r\n0\r\n\r\n")) as peer:
        answer = await transport.send(post(peer.url, stream=True))
        chunks = pieces_of(answer)
        first = await anext(chunks)
        await asyncio.sleep(2 * SHORT.idle)
        assert first + b"".join([chunk async for chunk in chunks]) == b"abcdef"
        answer.close()


# -- faults ----------------------------------------------------------------------------------------------------------

BREAKS: list[tuple[str, Script, FailureKind]] = [
    ("reset before the head", resets, FailureKind.RESET),
    ("half a head", says(b"HTTP/1.1 200 OK\r\nContent-", then_closes=True), FailureKind.RESET),
    ("too few bytes", says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"abc", then_closes=True), FailureKind.RESET),
    ("chunks without an end", says(CHUNKED, b"3\r\nabc\r\n", then_closes=True), FailureKind.RESET),
    ("a chunk size that is none", says(CHUNKED + b"zz\r\nabc\r\n"), FailureKind.PROTOCOL),
    ("a length that is none", says(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc"), FailureKind.PROTOCOL),
    ("two lengths", says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"), FailureKind.PROTOCOL),
    ("no http", says(b"220 mail ready\r\n\r\n"), FailureKind.PROTOCOL),
    ("a flood of headers", says(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n"), FailureKind.PROTOCOL),
    ("a huge header", says(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n"), FailureKind.PROTOCOL),
    ("compressed", says(CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\n"), FailureKind.PROTOCOL),
    ("idle in the body", says(CHUNKED, b"3\r\nabc\r\n"), FailureKind.IDLE_TIMEOUT),
    ("silence", says(), FailureKind.FIRST_BYTE_TIMEOUT),
    ("a head and silence", says(CHUNKED), FailureKind.FIRST_BYTE_TIMEOUT),
]


@pytest.mark.parametrize(("script", "kind"), [b[1:] for b in BREAKS], ids=[b[0] for b in BREAKS])
async def test_a_broken_stream_has_its_kind_and_leaves_no_connection(
    transport: Transport, script: Script, kind: FailureKind
) -> None:
    async with upstream(script) as peer:
        with pytest.raises(TransportFailure) as caught:
            await everything(transport, post(peer.url, stream=True))
        assert caught.value.kind is kind
        async with asyncio.timeout(1):
            await peer.left.wait()
        assert len(peer.requests) == 1


@pytest.mark.parametrize("script", [says(), says(CHUNKED), says(CHUNKED, b"3\r\nabc\r\n")], ids=["silence", "head", "body"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_deadline_holds_everywhere(transport: Transport, script: Script, stream: bool) -> None:
    patient = Timeouts(connect=1.0, first_byte=9.0, idle=9.0, total=9.0)
    async with upstream(script) as peer:
        with pytest.raises(TransportFailure) as caught:
            await everything(transport, post(peer.url, stream=stream, total_s=0.1, timeouts=patient))
        assert caught.value.kind is FailureKind.TOTAL_TIMEOUT
        await asyncio.wait_for(peer.left.wait(), 1)


async def test_a_json_answer_may_take_until_its_deadline(transport: Transport) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2.5 * SHORT.first_byte)
        writer.write(WHOLE)

    async with upstream(script) as peer:
        assert await everything(transport, post(peer.url)) == b"abc"


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_listening_is_a_connect_failure(direct: Transport, stream: bool) -> None:
    with pytest.raises(TransportFailure) as caught:
        await direct.send(post(f"http://127.0.0.1:{unused_port()}/", stream=stream))
    assert caught.value.kind is FailureKind.CONNECT


async def test_an_unknown_host_is_a_dns_failure(direct: Transport) -> None:
    with pytest.raises(TransportFailure) as caught:
        await direct.send(post("http://no-such-host.invalid/"))
    assert caught.value.kind is FailureKind.DNS


async def test_a_host_that_takes_no_connection_is_a_connect_timeout(direct: Transport) -> None:
    # A listener whose queue is full neither accepts nor refuses.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        await asyncio.sleep(0.05)
        call = post(f"http://127.0.0.1:{full.getsockname()[1]}/", timeouts=Timeouts(connect=0.2))
        with pytest.raises(TransportFailure) as caught:
            await direct.send(call)
    assert caught.value.kind is FailureKind.CONNECT_TIMEOUT


@pytest.mark.parametrize(
    "script",
    [says(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"), says(CHUNKED, *[b"400\r\n" + b"x" * 1024 + b"\r\n"] * 64)],
)
async def test_an_answer_over_the_limit_is_refused_and_dropped(transport: Transport, script: Script) -> None:
    async with upstream(script) as peer:
        with pytest.raises(TransportFailure) as caught:
            await everything(transport, post(peer.url), limit=10_000)
        assert caught.value.kind is FailureKind.TOO_LARGE
        await asyncio.wait_for(peer.left.wait(), 1)


async def test_an_endless_stream_is_paused_while_nobody_reads(transport: Transport) -> None:
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(CHUNKED)
        while True:
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await writer.drain()
            sent += 0x4000

    async with upstream(script) as peer:
        answer = await transport.send(post(peer.url, stream=True))
        chunks = pieces_of(answer)
        await anext(chunks)
        while True:
            before = sent
            await asyncio.sleep(0.1)
            if sent == before:
                break
        assert sent < 32 * 2**20
        answer.close()
        await asyncio.wait_for(peer.left.wait(), 1)


async def test_closing_before_the_end_drops_the_connection_at_once(transport: Transport) -> None:
    async with upstream(says(CHUNKED + b"3\r\nabc\r\n")) as peer:
        answer = await transport.send(post(peer.url, stream=True))
        assert await anext(pieces_of(answer)) == b"abc"
        answer.close()
        answer.close()
        await asyncio.wait_for(peer.left.wait(), 1)


async def test_cancelling_before_the_head_drops_the_connection(transport: Transport) -> None:
    async with upstream(says()) as peer:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(transport.send(post(peer.url)), 0.05)
        await asyncio.wait_for(peer.left.wait(), 1)


async def test_cancelling_a_reader_and_closing_drops_the_connection(transport: Transport) -> None:
    async with upstream(says(CHUNKED)) as peer:
        answer = await transport.send(post(peer.url))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answer.read(100), 0.05)
        answer.close()
        await asyncio.wait_for(peer.left.wait(), 1)


async def test_a_post_on_a_connection_that_died_is_sent_once_more_at_most(transport: Transport) -> None:
    """Where the reused connection died before any byte of an answer."""
    async with upstream(says_once(WHOLE)) as peer:
        await everything(transport, post(peer.url))
        with pytest.raises(TransportFailure) as caught:
            await everything(transport, post(peer.url))
        assert caught.value.kind is FailureKind.RESET
        assert len(peer.requests) <= 3


async def test_a_closed_transport_fails_as_one_that_never_sent(transport: Transport) -> None:
    await transport.close()
    with pytest.raises(TransportFailure) as caught:
        await transport.send(post("http://127.0.0.1:9/"))
    assert caught.value.kind is FailureKind.CONNECT


async def test_a_header_with_a_line_break_is_refused_here(transport: Transport) -> None:
    async with upstream(says(WHOLE)) as peer:
        call = UpstreamCall(Destination("POST", peer.url, {"x-a": "b\r\nx-evil: 1"}), b"{}", False, SHORT, 5.0)
        with pytest.raises(TransportFailure) as caught:
            await transport.send(call)
        assert caught.value.kind is FailureKind.PROTOCOL
        assert peer.requests == []
