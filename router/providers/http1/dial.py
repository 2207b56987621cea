"""Opens connections: names to addresses with a short memory, addresses raced as RFC 8305 has it, TLS on top.

What is dialled are the addresses that were looked at, never the name: it may lead elsewhere a moment
later. Foreign errors are translated by one table. Whatever fails here has failed before a byte of the request was written.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from aiohappyeyeballs import AddrInfoType, start_connection

from router.domain.egress import is_public
from router.domain.upstream import FailureKind, TransportFailure
from router.providers.http1.connection import Http1Connection
from router.providers.http1.failures import KindTable, detail, nearest
from router.providers.http1.request import Origin
from router.providers.http1.tls_trust import TrustStore

DNS_TTL_S = 10.0
HAPPY_EYEBALLS_DELAY_S = 0.25
_MAX_NAMES = 1024

FAILURES: KindTable = {
    socket.gaierror: FailureKind.DNS,
    UnicodeError: FailureKind.DNS,  # a label that is empty or too long
    ValueError: FailureKind.CONNECT,  # a name without addresses, or one that TLS cannot ask for
    ssl.SSLError: FailureKind.TLS,
    ssl.CertificateError: FailureKind.TLS,
    TimeoutError: FailureKind.CONNECT_TIMEOUT,  # the kernel's own
    OSError: FailureKind.CONNECT,
    RuntimeError: FailureKind.CONNECT,  # uvloop's word for some of them
}
FOREIGN = (OSError, ValueError, RuntimeError)
PRIVATE = "its address is not one of the public internet, and the file does not name the host"


def failure_of(error: OSError | ValueError | RuntimeError) -> TransportFailure:
    return TransportFailure(nearest(FAILURES, error) or FailureKind.CONNECT, detail(error, str(error)))


Resolve = Callable[[str, int], Awaitable[list[AddrInfoType]]]
"""The addresses of a host and port. Raises OSError or UnicodeError."""

Connect = Callable[[list[AddrInfoType]], Awaitable[socket.socket]]
"""A socket connected to one of these addresses. Raises OSError, ValueError or RuntimeError."""


async def race(addresses: list[AddrInfoType]) -> socket.socket:
    return await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_S, interleave=1)


class Dialer:
    """Made inside the running loop. Its callers have the timer, and may be cancelled at any point."""

    def __init__(self, trust: TrustStore, resolve: Resolve | None = None, connect: Connect = race) -> None:
        self._loop = asyncio.get_running_loop()
        self._trust = trust
        self._resolve = resolve or self._getaddrinfo
        self._connect = connect
        self._resolved: dict[tuple[str, int], tuple[float, list[AddrInfoType]]] = {}
        self._resolving: dict[tuple[str, int], asyncio.Future[OSError | UnicodeError | None]] = {}

    async def dial(self, origin: Origin, connection: Http1Connection) -> None:
        """Connect `connection`. Raises TransportFailure: DNS, TLS or CONNECT; CONNECT too for a guarded origin without an
        address of the public internet."""
        try:
            trust = await self._trust.context(origin.ca_file, origin.ca_digest) if origin.is_tls else None
            addresses = await self._addresses(origin.host, origin.port)
            if origin.is_guarded:
                addresses = _public_ones(addresses)
            link = await self._connect(addresses)
            try:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                name = origin.host.rstrip(".") if origin.is_tls else None
                await self._loop.create_connection(lambda: connection, sock=link, ssl=trust, server_hostname=name)
            except BaseException:
                link.close()
                raise
        except FOREIGN as error:
            raise failure_of(error) from None

    async def _addresses(self, host: str, port: int) -> list[AddrInfoType]:
        """Of everybody who asks for a name at one time, one asks the resolver. Failures are shared, not remembered."""
        key = host, port
        while True:
            known = self._resolved.get(key)
            if known is not None and known[0] > self._loop.time():
                return known[1]
            asked = self._resolving.get(key)
            if asked is None:
                return await self._ask_resolver(key)
            if (error := await asyncio.shield(asked)) is not None:
                raise failure_of(error)

    async def _ask_resolver(self, key: tuple[str, int]) -> list[AddrInfoType]:
        asked = self._resolving[key] = self._loop.create_future()
        failed: OSError | UnicodeError | None = None
        try:
            found = await self._resolve(*key)
        except (OSError, UnicodeError) as error:
            failed = error
            raise
        finally:
            # None to those who wait if it was cancelled: one of them asks again.
            del self._resolving[key]
            asked.set_result(failed)
        if len(self._resolved) >= _MAX_NAMES:
            self._resolved.clear()
        self._resolved[key] = self._loop.time() + DNS_TTL_S, found
        return found

    async def _getaddrinfo(self, host: str, port: int) -> list[AddrInfoType]:
        return [*await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)]


def _public_ones(addresses: list[AddrInfoType]) -> list[AddrInfoType]:
    """Raises TransportFailure where there is none."""
    found = [info for info in addresses if is_public(str(info[4][0]))]
    if not found:
        raise TransportFailure(FailureKind.CONNECT, PRIVATE)
    return found
