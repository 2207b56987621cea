"""TLS on the listener: served from files, and from new files without a restart or a dropped connection."""

import asyncio
import os
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.daemon import Daemon, Workplace, settings, until
from tests.wire import Wire, head

pytestmark = pytest.mark.process


def make_certificate(folder: Path, serial: int) -> bytes:
    """Write tls.pem and tls.key for localhost; returns the certificate in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), serial, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    (folder / "tls.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    return built.public_bytes(serialization.Encoding.DER)


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shown_by(wire: Wire) -> bytes:
    found: bytes = wire.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return found


async def shown_to_a_new_caller(routerd: Daemon) -> bytes:
    async with Wire(routerd, tls=client_tls()) as wire:
        return shown_by(wire)


async def test_a_new_certificate_is_used_for_new_connections_and_old_ones_go_on(folder: Workplace) -> None:
    first = make_certificate(folder.path, 1)
    server = {"tls": {"cert": "tls.pem", "key": "tls.key"}}
    with Daemon(folder, settings({"sim": {"type": "simulated"}}, {"m": "sim"}, server=server)) as routerd:
        assert routerd.url.startswith("https://")
        async with Wire(routerd, tls=client_tls()) as old:
            assert shown_by(old) == first
            second = make_certificate(folder.path, 2)
            began = time.monotonic()
            while await shown_to_a_new_caller(routerd) != second:
                assert time.monotonic() - began < 6, "the changed files are noticed without a signal"
                await asyncio.sleep(0.05)
            old.send(head("GET", "/v1/models", {}))
            assert (await old.reply()).status == 200


async def test_a_broken_new_certificate_leaves_the_old_one_in_use_and_is_told(folder: Workplace) -> None:
    first = make_certificate(folder.path, 1)
    server = {"tls": {"cert": "tls.pem", "key": "tls.key"}}
    config = settings({"sim": {"type": "simulated"}}, {"m": "sim"}, server=server)
    with Daemon(folder, config) as routerd:
        (folder.path / "tls.pem").write_text("no certificate")
        os.utime(folder.path / "tls.pem", (1, 1))
        await until(lambda: "certificate" in routerd.stdout.read_text() or None, 6.0, what="a word about the certificate")
        async with Wire(routerd, tls=client_tls()) as wire:
            assert shown_by(wire) == first


async def test_plain_http_is_not_served_on_a_tls_port(folder: Workplace) -> None:
    make_certificate(folder.path, 1)
    server = {"tls": {"cert": "tls.pem", "key": "tls.key"}}
    with Daemon(folder, settings({"sim": {"type": "simulated"}}, {"m": "sim"}, server=server)) as routerd:
        async with Wire(routerd) as plain:
            plain.send(head("GET", "/healthz", {}))
            assert b"200 OK" not in await plain.rest()
        async with Wire(routerd, tls=client_tls()) as wire:
            assert wire.writer.get_extra_info("ssl_object").version() in {"TLSv1.2", "TLSv1.3"}
