"""TLS to a provider is always verified: against the system's authorities and the provider's own `ca_file`."""

import ssl
from pathlib import Path

import pytest

from router.domain.ports import Transport
from router.domain.routes import Timeouts
from router.domain.upstream import NEVER_SENT, Destination, FailureKind, TransportFailure, UpstreamCall
from tests.providers.certificates import make_certificate, server_tls
from tests.providers.hostile import says, upstream

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


def post(url: str, ca: str = "", digest: str = "") -> UpstreamCall:
    return UpstreamCall(Destination("POST", url, {}, ca, digest), b"{}", False, Timeouts(connect=2.0), 5.0)


async def test_a_certificate_nobody_vouches_for_is_refused(transport: Transport, certificate: Path) -> None:
    async with upstream(says(WHOLE), tls=server_tls(certificate)) as peer:
        with pytest.raises(TransportFailure) as caught:
            await transport.send(post(peer.url))
        assert caught.value.kind is FailureKind.TLS
        assert peer.requests == []


async def test_a_certificate_from_the_providers_ca_file_is_accepted(transport: Transport, certificate: Path) -> None:
    async with upstream(says(WHOLE), tls=server_tls(certificate)) as peer:
        answer = await transport.send(post(peer.url, ca=str(certificate)))
        assert await answer.read(100) == b"abc"
        answer.close()
        with pytest.raises(TransportFailure):
            await transport.send(post(peer.url))


async def test_a_certificate_for_another_name_is_refused(transport: Transport, certificate: Path) -> None:
    async with upstream(says(WHOLE), tls=server_tls(certificate)) as peer:
        with pytest.raises(TransportFailure) as caught:
            await transport.send(post(peer.url.replace("127.0.0.1", "localhost"), ca=str(certificate)))
        assert caught.value.kind is FailureKind.TLS


async def test_a_new_content_of_the_ca_file_decides_about_new_connections(
    transport: Transport, certificate: Path, tmp_path: Path
) -> None:
    path, other = tmp_path / "ca.pem", make_certificate(tmp_path / "other.pem")
    async with upstream(says(WHOLE), tls=server_tls(certificate)) as peer:
        path.write_bytes(certificate.read_bytes())
        answer = await transport.send(post(peer.url, str(path), "1"))
        assert await answer.read(100) == b"abc"
        path.write_bytes(other.read_bytes())
        with pytest.raises(TransportFailure) as caught:
            await transport.send(post(peer.url, str(path), "2"))
        assert caught.value.kind is FailureKind.TLS
        path.write_bytes(certificate.read_bytes())
        answer = await transport.send(post(peer.url, str(path), "3"))
        assert await answer.read(100) == b"abc"
        # The free connection of the first is not used by those who trust another content.
        assert (peer.connections, len(peer.requests)) == (2, 2)


async def test_an_old_tls_version_is_refused(transport: Transport, certificate: Path) -> None:
    context = server_tls(certificate)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with upstream(says(WHOLE), tls=context) as peer:
        with pytest.raises(TransportFailure) as caught:
            await transport.send(post(peer.url, ca=str(certificate)))
        assert caught.value.kind in NEVER_SENT
        assert peer.requests == []


async def test_a_missing_ca_file_is_named(transport: Transport) -> None:
    with pytest.raises(TransportFailure, match=r"no-such\.pem") as caught:
        await transport.send(post("https://127.0.0.1:9/", ca="/no-such.pem"))
    assert caught.value.kind is FailureKind.TLS
