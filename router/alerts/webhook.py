"""Webhooks over aiohttp: one POST, no redirect followed, nothing of the answer kept but its status.

Addresses that are not the operator's own are checked when they are dialled, each of them: a name may resolve to anything.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from router.domain.alerts import DeliveryFailed
from router.domain.egress import is_public

TIMEOUT_S = 15.0
MAX_RETRY_AFTER_S = 3600.0
_CONNECT_TIMEOUT_S = 5.0
PUBLIC_PORTS = (443, 8443)
_PRIVATE = "its address is not one of the public internet, and the file does not name it"


class WebhookSender:
    """`guarded`, for URLs the operator's file does not name: https to these ports of public addresses, and nothing else."""

    def __init__(
        self,
        *,
        guarded: Collection[int] | None = None,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._guarded = guarded
        self._trust = trust
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        """Deliver: any 2xx is good. Raises DeliveryFailed."""
        if self._guarded is not None and (fault := fault_of(url, self._guarded)):
            raise DeliveryFailed(fault, is_final=True)
        try:
            session = await self._opened()
            async with session.post(
                URL(url, encoded=True),
                data=body,
                headers={"content-type": "application/json", "user-agent": "routerd", **headers},
                allow_redirects=False,
            ) as response:
                status, retry_after = response.status, response.headers.get("retry-after", "")
        except FOREIGN as error:
            raise DeliveryFailed(reason_of(error)) from None
        if not 200 <= status < 300:
            raise _refused(status, retry_after)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is not None:
            return self._session
        context = await asyncio.to_thread(self._trust)
        if self._session is None:  # another letter may have been faster
            factory = None if self._guarded is None else _public_socket
            # No connection is kept: an alert is rare, and its receiver may have moved meanwhile.
            connector = aiohttp.TCPConnector(ssl=context, socket_factory=factory, force_close=True, use_dns_cache=False)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
            )
        return self._session


def fault_of(url: str, ports: Collection[int] = PUBLIC_PORTS) -> str:
    """Why a URL that is not the operator's is not even tried; "" if it may be."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return "only https is possible for an address the file does not name"
    if parts.username is not None or parts.password is not None:
        return "an address with user and password is not used"
    return "" if (parts.port or 443) in ports else f"its port is none of {', '.join(map(str, ports))}"


def _public_socket(info: tuple[Any, ...]) -> socket.socket:
    """Called for every address that would be dialled, whether it came from a name or stood in the URL."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise PermissionError(errno.EACCES, _PRIVATE)
    return socket.socket(family, kind, protocol)


def _refused(status: int, retry_after: str) -> DeliveryFailed:
    if status == 410:
        return DeliveryFailed("HTTP 410: the receiver wants no more", is_final=True)
    if 300 <= status < 400:
        return DeliveryFailed(f"HTTP {status}: redirects are not followed")
    wait = min(float(retry_after), MAX_RETRY_AFTER_S) if retry_after.isascii() and retry_after.isdigit() else 0.0
    return DeliveryFailed(f"HTTP {status}", retry_after_s=wait)


# The nearest class of the exception's method resolution order decides. Their own texts may hold the URL, which is a secret.
REASONS: dict[type[BaseException], str] = {
    TimeoutError: "no answer in time",
    aiohttp.ClientConnectorDNSError: "its host name cannot be resolved",
    aiohttp.ClientConnectorCertificateError: "its certificate is not trusted",
    aiohttp.ClientSSLError: "TLS failed",
    aiohttp.ClientConnectorError: "it cannot be reached",
    aiohttp.InvalidURL: "its URL cannot be used",
    aiohttp.ClientConnectionError: "the connection was lost",
    aiohttp.ClientError: "its answer was not HTTP",
    OSError: "the connection was lost",
    ValueError: "its URL cannot be used",
}
FOREIGN = (aiohttp.ClientError, OSError, ValueError)


def reason_of(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PermissionError):
        return _PRIVATE
    return next(REASONS[ancestor] for ancestor in type(error).__mro__ if ancestor in REASONS)
