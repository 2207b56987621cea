"""Opening connections: who asks the resolver, which address is taken, what TLS insists on, what a cancelled dial leaves."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohappyeyeballs import AddrInfoType

from router.domain.routes import Timeouts
from router.domain.upstream import Destination, FailureKind, TransportFailure, UpstreamCall
from router.providers.http1.connection import Http1Connection
from router.providers.http1.dial import FAILURES, Dialer, failure_of
from router.providers.http1.request import Origin
from router.providers.http1.tls_trust import TrustStore
from router.providers.http1.transport import Http1Transport
from tests.providers.certificates import server_tls
from tests.providers.conftest import assert_clean
from tests.providers.hostile import says, upstream
from tests.providers.sockets import Owner

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    made = Http1Transport()
    yield made
    await assert_clean(made)


def address(host: str, port: int) -> AddrInfoType:
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


class Resolver:
    """Answers when it is told to, with what it was given."""

    def __init__(self, *answers: list[AddrInfoType] | OSError) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, host: str, port: int) -> list[AddrInfoType]:
        self.asked += 1
        await self.may_answer.wait()
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


async def dialled(dialer: Dialer, port: int, host: str = "provider.example") -> FailureKind | None:
    """None for a connection, which is dropped again."""
    connection = Http1Connection(asyncio.get_running_loop(), Owner())
    try:
        await dialer.dial(Origin(host, port, is_tls=False), connection)
    except TransportFailure as failure:
        return failure.kind
    assert connection.is_open
    connection.drop()
    return None


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


async def test_those_who_ask_for_one_name_at_one_time_ask_once_and_remember() -> None:
    async with upstream(says()) as peer:
        port = port_of(peer.url)
        resolver = Resolver([address("127.0.0.1", port)])
        dialer = Dialer(TrustStore(), resolver)
        assert await asyncio.gather(*[dialled(dialer, port) for _ in range(5)]) == [None] * 5
        assert await dialled(dialer, port) is None
        assert resolver.asked == 1


async def test_a_name_that_is_unknown_is_asked_for_again_by_the_next() -> None:
    async with upstream(says()) as peer:
        port = port_of(peer.url)
        resolver = Resolver(socket.gaierror(-2, "unknown"), [address("127.0.0.1", port)])
        resolver.may_answer.clear()
        dialer = Dialer(TrustStore(), resolver)
        asking = [asyncio.ensure_future(dialled(dialer, port)) for _ in range(3)]
        await asyncio.sleep(0)
        resolver.may_answer.set()
        assert await asyncio.gather(*asking) == [FailureKind.DNS] * 3
        assert resolver.asked == 1
        assert await dialled(dialer, port) is None


async def test_when_the_one_who_asks_is_cancelled_another_asks() -> None:
    async with upstream(says()) as peer:
        port = port_of(peer.url)
        resolver = Resolver([address("127.0.0.1", port)])
        resolver.may_answer.clear()
        dialer = Dialer(TrustStore(), resolver)
        first, second, third = (asyncio.ensure_future(dialled(dialer, port)) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        await asyncio.wait([first, second])
        resolver.may_answer.set()
        assert await third is None
        assert resolver.asked == 2


async def test_of_several_addresses_one_that_answers_is_taken() -> None:
    async with upstream(says()) as peer:
        port = port_of(peer.url)
        resolver = Resolver([address("127.0.0.9", port), address("127.0.0.1", port)])
        assert await dialled(Dialer(TrustStore(), resolver), port) is None
    assert await dialled(Dialer(TrustStore(), Resolver([])), port) is FailureKind.CONNECT


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "..", "no-such-host.invalid"])
async def test_a_name_that_cannot_be_looked_up_is_a_dns_failure(transport: Http1Transport, host: str) -> None:
    with pytest.raises(TransportFailure) as caught:
        await transport.send(UpstreamCall(Destination("GET", f"http://{host}/", {}), b"", False, Timeouts(), 5.0))
    assert caught.value.kind is FailureKind.DNS


@pytest.mark.parametrize("error", FAILURES)
def test_the_table_speaks_of_every_error_in_one_short_line(error: type[BaseException]) -> None:
    made = error.__new__(error)
    made.args = ("a\nb" * 500,)
    assert isinstance(made, OSError | ValueError | RuntimeError)
    failure = failure_of(made)
    assert failure.kind is FAILURES[error]
    assert "\n" not in failure.detail
    assert len(failure.detail) <= 200


# -- TLS ----------------------------------------------------------------------------------------------------------------


def call(url: str, certificate: Path, *, connect: float = 2.0) -> UpstreamCall:
    return UpstreamCall(Destination("POST", url, {}, str(certificate)), b"{}", False, Timeouts(connect=connect), 5.0)


async def test_a_connection_over_tls_is_used_again(transport: Http1Transport, certificate: Path) -> None:
    async with upstream(says(OK + b"Content-Length: 4\r\n\r\ngood"), tls=server_tls(certificate)) as peer:
        for _ in range(3):
            answer = await transport.send(call(peer.url, certificate))
            assert await answer.read(100) == b"good"
        assert peer.connections == 1


async def test_a_large_body_passes_through_tls(transport: Http1Transport, certificate: Path) -> None:
    async with upstream(says(OK + b"Content-Length: 4\r\n\r\ngood"), tls=server_tls(certificate)) as peer:
        big = UpstreamCall(Destination("POST", peer.url, {}, str(certificate)), bytes(3_000_000), False, Timeouts(), 5.0)
        answer = await transport.send(big)
        assert await answer.read(100) == b"good"
        assert peer.requests[0].endswith(b"\r\n\r\n" + bytes(3_000_000))


@pytest.mark.asyncio(loop_factories=["uvloop"])  # asyncio's own loop does not tell a goodbye from a cut
@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_a_body_without_length_is_whole_only_when_tls_said_goodbye(
    transport: Http1Transport, certificate: Path, says_goodbye: bool
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\ngood")
        await writer.drain()
        if says_goodbye:
            writer.close()
            await writer.wait_closed()
        raise ConnectionError

    async with upstream(script, tls=server_tls(certificate)) as peer:
        answer = await transport.send(call(peer.url, certificate))
        if says_goodbye:
            assert await answer.read(100) == b"good"
        else:
            with pytest.raises(TransportFailure) as caught:
                await answer.read(100)
            assert caught.value.kind is FailureKind.RESET


async def test_a_handshake_that_stalls_is_a_connect_timeout_and_one_that_is_cancelled_leaves_nothing(
    transport: Http1Transport, certificate: Path
) -> None:
    left = asyncio.Queue[None]()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(10_000):
            pass
        writer.transport.abort()
        left.put_nowait(None)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises(TransportFailure) as caught:
        await transport.send(call(url, certificate, connect=0.1))
    assert caught.value.kind is FailureKind.CONNECT_TIMEOUT
    await asyncio.wait_for(left.get(), 1)
    sending = asyncio.ensure_future(transport.send(call(url, certificate)))
    await asyncio.sleep(0.05)
    sending.cancel()
    await asyncio.wait([sending])
    await asyncio.wait_for(left.get(), 1)
    server.close()


async def test_a_peer_that_hangs_up_in_the_handshake_has_not_seen_the_request(
    transport: Http1Transport, certificate: Path
) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    with pytest.raises(TransportFailure) as caught:
        await transport.send(call(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", certificate))
    assert caught.value.kind in {FailureKind.CONNECT, FailureKind.TLS}
    server.close()


async def test_plain_http_on_the_other_side_is_a_tls_failure(transport: Http1Transport, certificate: Path) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    with pytest.raises(TransportFailure) as caught:
        await transport.send(call(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", certificate))
    assert caught.value.kind in {FailureKind.CONNECT, FailureKind.TLS}
    server.close()


async def test_the_authorities_of_a_file_are_loaded_once_and_an_unreadable_file_is_tried_again(
    tmp_path: Path, certificate: Path
) -> None:
    trust, path = TrustStore(), tmp_path / "ca.pem"
    with pytest.raises(TransportFailure, match=r"ca\.pem"):
        await trust.context(str(path))
    await asyncio.to_thread(shutil.copy, certificate, path)
    context = await trust.context(str(path))
    assert await trust.context(str(path)) is context
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
