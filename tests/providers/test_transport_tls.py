"""TLS to a provider is always verified: against the system's authorities and the provider's own `ca_file`."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from router.domain.ports import Transport
from router.domain.routes import Timeouts
from router.domain.upstream import NEVER_SENT, FailureKind, TransportFailure, UpstreamCall
from tests.providers.hostile import says, upstream

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


def post(url: str, ca: str = "") -> UpstreamCall:
    return UpstreamCall("POST", url, {}, b"{}", False, Timeouts(connect=2.0), 5.0, ca)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key behind it in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


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
