"""A host that the operator's file does not name is asked on the public internet or not at all: no canary is visited."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohappyeyeballs import AddrInfoType

from router.domain.ports import Transport
from router.domain.routes import Timeouts
from router.domain.upstream import Destination, FailureKind, TransportFailure, UpstreamCall
from router.providers.http1.connection import Http1Connection
from router.providers.http1.dial import Dialer
from router.providers.http1.request import Origin
from router.providers.http1.tls_trust import TrustStore
from tests.providers.hostile import says, upstream
from tests.providers.sockets import Owner

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
HOSTS = [
    "127.0.0.1",
    "127.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "0.0.0.0",
    "0",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fc00::1]",
    "[ff02::1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "\u2460\u2461\u2467.0.0.1",
]


class Canary:
    """Listens on every address of the machine, both families; nobody may come."""

    def __init__(self) -> None:
        self.visits = 0
        self.port = 0

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.transport.abort()


@asynccontextmanager
async def canary() -> AsyncIterator[Canary]:
    bird = Canary()
    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    server = await asyncio.start_server(bird.meet, sock=both)
    bird.port = both.getsockname()[1]
    try:
        yield bird
    finally:
        server.close()


def ask(url: str, *, trusted: bool) -> UpstreamCall:
    return UpstreamCall(Destination("POST", url, {}, "", "", trusted), b"{}", False, Timeouts(connect=1.0), 2.0)


@pytest.mark.parametrize("host", HOSTS)
async def test_no_spelling_of_an_address_leads_inside(transport: Transport, host: str) -> None:
    async with canary() as bird:
        with pytest.raises(TransportFailure) as caught:
            await transport.send(ask(f"http://{host}:{bird.port}/", trusted=False))
        assert caught.value.kind in {FailureKind.CONNECT, FailureKind.DNS, FailureKind.PROTOCOL}
        assert bird.visits == 0


async def test_a_connection_of_the_operators_own_is_not_lent(transport: Transport) -> None:
    async with upstream(says(WHOLE)) as peer:
        answer = await transport.send(ask(peer.url, trusted=True))
        assert await answer.read(10) == b"abc"
        with pytest.raises(TransportFailure) as caught:
            await transport.send(ask(peer.url, trusted=False))
        assert caught.value.kind is FailureKind.CONNECT
        assert len(peer.requests) == 1


class Names:
    """A resolver: a name leads to the first addresses the first time it is asked for, and to the last ones for good."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[AddrInfoType]:
        self.asked += 1
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)) for address in addresses]


class Wires:
    """Connects nobody; `dialled` are the addresses it was handed."""

    def __init__(self) -> None:
        self.dialled: list[str] = []

    async def __call__(self, addresses: list[AddrInfoType]) -> socket.socket:
        self.dialled += [str(info[4][0]) for info in addresses]
        raise ConnectionRefusedError


async def dial(dialer: Dialer, *, is_guarded: bool = True) -> FailureKind:
    origin = Origin("name.example", 443, is_tls=False, is_guarded=is_guarded)
    with pytest.raises(TransportFailure) as caught:
        await dialer.dial(origin, Http1Connection(asyncio.get_running_loop(), Owner()))
    return caught.value.kind


async def test_a_name_that_turns_private_between_look_and_dial_is_dialled_where_it_was_looked_at() -> None:
    names, wires = Names(("93.184.216.34",), ("127.0.0.1",)), Wires()
    assert await dial(Dialer(TrustStore(), names, wires)) is FailureKind.CONNECT
    assert (names.asked, wires.dialled) == (1, ["93.184.216.34"])


async def test_what_is_remembered_of_a_name_is_looked_at_each_time() -> None:
    names, wires = Names(("127.0.0.1",)), Wires()
    dialer = Dialer(TrustStore(), names, wires)
    await dial(dialer, is_guarded=False)
    assert (names.asked, wires.dialled) == (1, ["127.0.0.1"])
    assert await dial(dialer) is FailureKind.CONNECT
    assert (names.asked, wires.dialled) == (1, ["127.0.0.1"])


async def test_of_several_addresses_the_private_ones_are_left_out() -> None:
    wires = Wires()
    await dial(Dialer(TrustStore(), Names(("10.0.0.1", "93.184.216.34", "127.0.0.1", "::ffff:10.0.0.1")), wires))
    assert wires.dialled == ["93.184.216.34"]
