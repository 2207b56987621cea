"""What only a call through a proxy meets: the proxy itself, the tunnel, its credentials, what the environment holds."""

import socket
from base64 import b64encode
from pathlib import Path

import aiohttp
import pytest
from aiohttp import http_exceptions

from router.domain.routes import ProviderSpec, Timeouts
from router.domain.upstream import NEVER_SENT, Destination, FailureKind, TransportFailure, UpstreamCall
from router.providers.http1.transport import Http1Transport
from router.providers.proxied import FOREIGN, ProxiedTransport, failure_of, kind_of
from router.providers.transports import Transports
from tests.gateway.fakes import CountingIds, FakeClock
from tests.providers.certificates import server_tls
from tests.providers.forwarding import forwarder
from tests.providers.hostile import says, upstream

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


def post(url: str, ca: str = "", *, connect: float = 2.0) -> UpstreamCall:
    return UpstreamCall(
        Destination("POST", url, {"authorization": "Bearer k"}, ca), b"{}", False, Timeouts(connect=connect), 5.0
    )


async def ask(proxy: str, *calls: UpstreamCall) -> list[bytes]:
    transport = ProxiedTransport(proxy)
    found = []
    try:
        for call in calls:
            answer = await transport.send(call)
            found.append(await answer.read(100))
            answer.close()
    finally:
        await transport.close()
    return found


async def failure(proxy: str, call: UpstreamCall) -> TransportFailure:
    with pytest.raises(TransportFailure) as caught:
        await ask(proxy, call)
    return caught.value


async def test_a_plain_address_is_forwarded_and_one_with_tls_is_tunnelled(certificate: Path) -> None:
    async with (
        forwarder() as proxy,
        upstream(says(WHOLE)) as plain,
        upstream(says(WHOLE), tls=server_tls(certificate)) as tls,
    ):
        assert await ask(proxy.url, *[post(plain.url)] * 2, *[post(tls.url, str(certificate))] * 2) == [b"abc"] * 4
        assert [head.split(b" ")[0] for head in proxy.heads] == [b"POST", b"POST", b"CONNECT"]
        assert proxy.heads[0].startswith(f"POST {plain.url} HTTP/1.1\r\n".encode())
        assert proxy.connections == 2


async def test_the_provider_s_certificate_is_checked_through_the_tunnel_and_the_proxy_sees_no_key(certificate: Path) -> None:
    async with forwarder() as proxy, upstream(says(WHOLE), tls=server_tls(certificate)) as peer:
        assert (await failure(proxy.url, post(peer.url))).kind is FailureKind.TLS
        assert peer.requests == []
        assert b"bearer" not in b"".join(proxy.heads).lower()


async def test_the_proxy_s_credentials_are_for_the_proxy_alone(certificate: Path) -> None:
    async with (
        forwarder() as proxy,
        upstream(says(WHOLE)) as plain,
        upstream(says(WHOLE), tls=server_tls(certificate)) as tls,
    ):
        with_login = proxy.url.replace("http://", "http://me:p%40ss@")
        await ask(with_login, post(plain.url), post(tls.url, str(certificate)))
        login = b"Proxy-Authorization: Basic " + b64encode(b"me:p@ss")
        assert all(login in head for head in proxy.heads)
        for request in (*plain.requests, *tls.requests):
            assert b"proxy" not in request.lower()
            assert request.count(b"uthorization") + request.count(b"AUTHORIZATION") == 1


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", "407 Who are you"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "403 No"),
        (b"HTTP/1.1 502 Bad gateway\r\nConnection: close\r\n\r\n", "502 Bad gateway"),
    ],
)
async def test_a_tunnel_that_is_refused_has_sent_nothing(certificate: Path, refusal: bytes, said: str) -> None:
    async with forwarder() as proxy, upstream(says(WHOLE), tls=server_tls(certificate)) as peer:
        proxy.refuses = refusal
        found = await failure(proxy.url, post(peer.url, str(certificate)))
        assert found.kind is FailureKind.CONNECT
        assert said in found.detail
        assert peer.connections == 0


async def test_a_proxy_that_is_not_there_is_a_connect_failure_without_its_password_in_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = await failure(f"http://me:canary@127.0.0.1:{port}", post("http://provider.example/v1"))
    assert found.kind is FailureKind.CONNECT
    assert "canary" not in str(found)
    unknown = await failure("http://no-such-host.invalid:3128", post("http://provider.example/v1"))
    assert unknown.kind is FailureKind.DNS


async def test_a_proxy_that_takes_no_connection_is_a_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first, socket.socket() as second:
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        found = await failure(f"http://127.0.0.1:{full.getsockname()[1]}", post("http://h.example/", connect=0.2))
    assert found.kind in NEVER_SENT
    assert found.kind is FailureKind.CONNECT_TIMEOUT


async def test_nothing_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither another proxy nor a password for the provider's host in ~/.netrc."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password canary\n")
    netrc.chmod(0o600)
    async with forwarder() as proxy, forwarder() as other, upstream(says(WHOLE)) as peer:
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("http_proxy", other.url)
        monkeypatch.setenv("no_proxy", "*")
        call = UpstreamCall(Destination("POST", peer.url, {}), b"{}", False, Timeouts(), 5.0)
        await ask(proxy.url, call)
        assert (proxy.connections, other.connections) == (1, 0)
        assert b"authorization" not in peer.requests[0].lower()
        direct = Http1Transport()
        answer = await direct.send(call)
        assert await answer.read(10) == b"abc"
        await direct.close()
        assert other.connections == 0


async def test_a_provider_with_a_proxy_is_asked_through_it_and_others_are_not() -> None:
    transports = Transports(FakeClock(), CountingIds())
    through = ProviderSpec("a", "openai", "https://h", proxy="http://p:1")
    same = ProviderSpec("b", "groq", "https://h", proxy="http://p:1")
    other = ProviderSpec("c", "groq", "https://h", proxy="http://q:1")
    plain = ProviderSpec("d", "openai", "https://h")
    assert isinstance(transports.of(through), ProxiedTransport)
    assert transports.of(same) is transports.of(through) is not transports.of(other)
    assert isinstance(transports.of(plain), Http1Transport)
    await transports.close()


def descendants(cls: type[BaseException]) -> set[type[BaseException]]:
    return {cls}.union(*(descendants(sub) for sub in cls.__subclasses__()))


CLIENTS_OWN = sorted(
    (
        cls
        for cls in descendants(aiohttp.ClientError) | descendants(http_exceptions.HttpProcessingError)
        if cls.__module__.startswith("aiohttp")
    ),
    key=lambda cls: cls.__qualname__,
)


@pytest.mark.parametrize("cls", CLIENTS_OWN)
def test_every_error_of_the_client_is_in_the_table(cls: type[BaseException]) -> None:
    assert issubclass(cls, FOREIGN)
    assert kind_of(cls.__new__(cls)) is not None


def test_a_bare_timeout_is_what_it_means_where_it_was_caught() -> None:
    assert failure_of(TimeoutError(), FailureKind.FIRST_BYTE_TIMEOUT).kind is FailureKind.FIRST_BYTE_TIMEOUT
