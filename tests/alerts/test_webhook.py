"""Webhooks reach a real receiver, follow nothing, wait for nobody, and never dial a private address for a stranger."""

import asyncio
import inspect
import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from router.alerts.webhook import FOREIGN, PUBLIC_PORTS, REASONS, WebhookSender, fault_of
from router.domain.alerts import DeliveryFailed
from tests.alerts.receiver import Receiver, receiver
from tests.providers.certificates import server_tls

BODY = b'{"type":"alert.test"}'


async def sent(url: str, sender: WebhookSender) -> DeliveryFailed | None:
    """None: delivered."""
    try:
        await sender.post(url, BODY, {"x-test": "1"})
    except DeliveryFailed as failure:
        return failure
    finally:
        await sender.close()
    return None


async def refused(url: str, sender: WebhookSender | None = None) -> DeliveryFailed:
    failure = await sent(url, sender or WebhookSender(timeout_s=5.0))
    assert failure is not None
    return failure


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_delivered(status: int) -> None:
    async with receiver([status]) as peer:
        assert await sent(f"{peer.url}/hook?token=a%2Fb", WebhookSender()) is None
    (post,) = peer.posts
    assert (post.path, post.body, post.headers["x-test"]) == ("/hook", BODY, "1")
    assert (post.headers["content-type"], post.headers["user-agent"]) == ("application/json", "routerd")
    assert "cookie" not in post.headers


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 502, 503])
async def test_any_other_status_is_a_failure_that_may_pass(status: int) -> None:
    async with receiver([status]) as peer:
        failed = await refused(peer.url)
    assert (failed.reason, failed.is_final) == (f"HTTP {status}", False)


async def test_a_receiver_that_has_gone_for_good_gets_no_second_letter() -> None:
    async with receiver([410]) as peer:
        assert (await refused(peer.url)).is_final


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_not_followed(status: int) -> None:
    async with receiver() as other, receiver([status]) as peer:
        peer.headers["location"] = f"{other.url}/elsewhere"
        failed = await refused(peer.url)
    assert failed.reason == f"HTTP {status}: redirects are not followed"
    assert (len(peer.posts), other.posts) == (1, [])


@pytest.mark.parametrize(("said", "wait_s"), [("7", 7.0), ("999999", 3600.0), ("soon", 0.0), ("-5", 0.0), ("²", 0.0)])
async def test_retry_after_is_heard_within_bounds(said: str, wait_s: float) -> None:
    async with receiver([503]) as peer:
        peer.headers["retry-after"] = said
        assert (await refused(peer.url)).retry_after_s == wait_s


async def test_a_receiver_that_never_answers_is_left_in_time() -> None:
    async with receiver([0]) as peer:
        failed = await refused(peer.url, WebhookSender(timeout_s=0.2))
    assert failed.reason == "no answer in time"


async def test_a_receiver_that_is_not_there_is_said_without_its_url() -> None:
    async with receiver() as peer:
        url = f"{peer.url}/services/T0/B0/hidden-word"
    failed = await refused(url)
    assert failed.reason == "it cannot be reached"


async def test_a_receiver_that_speaks_no_http_is_said() -> None:
    async def wrong(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 loopback ESMTP hidden-word\r\n")
        writer.close()

    listening = await asyncio.start_server(wrong, "127.0.0.1", 0)
    failed = await refused(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
    listening.close()
    assert "hidden-word" not in failed.reason


async def test_tls_is_verified(certificate: Path, trust: Callable[[], ssl.SSLContext]) -> None:
    async with receiver(tls=server_tls(certificate)) as peer:
        assert (await refused(peer.url)).reason == "its certificate is not trusted"
        assert peer.posts == []
        assert await sent(peer.url, WebhookSender(trust=trust)) is None


# -- addresses the file does not name ---------------------------------------------------------------------------------


def local_forms(peer: Receiver) -> list[str]:
    port = peer.url.rpartition(":")[2]
    hosts = "127.0.0.1 localhost 127.1 2130706433 0x7f000001 0177.0.0.1 0.0.0.0 [::1] [::ffff:127.0.0.1] [::] 127.0.0.1."
    return [f"https://{host}:{port}/" for host in hosts.split()]


async def test_a_strangers_url_never_reaches_this_machine(certificate: Path, trust: Callable[[], ssl.SSLContext]) -> None:
    """Even were its port allowed: every address is looked at when it is dialled, however it was written."""
    async with receiver(tls=server_tls(certificate)) as peer:
        ports = (int(peer.url.rpartition(":")[2]),)
        for url in local_forms(peer):
            assert fault_of(url, ports) == ""
            failed = await refused(url, WebhookSender(guarded=ports, trust=trust, timeout_s=5.0))
            assert "public internet" in failed.reason or "resolved" in failed.reason or "cannot be used" in failed.reason, (
                url
            )
        assert peer.posts == []
        assert await sent(peer.url, WebhookSender(trust=trust)) is None, "the receiver itself works"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x",
        "https://user:word@example.com/x",
        "https://example.com:22/x",
        "https://example.com:6379/x",
        "file:///etc/passwd",
        "gopher://example.com/",
    ],
)
async def test_a_strangers_url_that_is_not_plain_https_is_not_even_tried(url: str) -> None:
    assert fault_of(url)
    assert (await refused(url, WebhookSender(guarded=PUBLIC_PORTS))).is_final


def test_every_error_of_the_library_has_its_reason() -> None:
    errors = [e for _, e in inspect.getmembers(aiohttp, inspect.isclass) if issubclass(e, aiohttp.ClientError)]
    assert len(errors) > 10
    for error in errors:
        assert issubclass(error, FOREIGN)
        assert any(ancestor in REASONS for ancestor in error.__mro__), error
