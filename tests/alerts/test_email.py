"""Mail arrives over a real SMTP server: with TLS as configured and never less, and every refusal has its reason."""

import asyncio
import inspect
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest

from router.alerts.email import FOREIGN, REASONS, EmailSender, message_of, reason_of
from router.domain.alerts import Channel, DeliveryFailed, Draft
from tests.alerts.samples import LETTER, letter, smtp
from tests.alerts.smtp_server import MailServer, mail_server
from tests.providers.certificates import server_tls

Trust = Callable[[], ssl.SSLContext]
ACCOUNT = ("router", "a-password-of-the-tests")
LOGIN = {"username": ACCOUNT[0], "password": ACCOUNT[1]}


async def failure(server: MailServer, trust: Trust, **given: Any) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await EmailSender(trust, timeout_s=given.pop("timeout_s", 5.0)).send(LETTER, smtp(server.port, **given))
    return caught.value


async def test_a_letter_arrives_encrypted_by_starttls_and_the_password_is_never_seen_in_clear(
    certificate: Path, trust: Trust
) -> None:
    async with mail_server(MailServer(server_tls(certificate), ACCOUNT)) as server:
        await EmailSender(trust).send(LETTER, smtp(server.port, **LOGIN))
    (mail,) = server.taken
    assert (mail.sender, mail.recipient) == ("alerts@example.com", "ops@example.com")
    assert (mail.was_encrypted, mail.logged_in_as) == (True, ACCOUNT)
    assert "AUTH" not in server.seen_in_clear()
    assert "MAIL" not in server.seen_in_clear()
    assert mail.message["Subject"] == "[routerd] Target a/b is down"
    assert mail.message["From"] == "routerd <alerts@example.com>"
    assert mail.message["To"] == "ops@example.com"
    assert mail.message["Message-ID"] == f"<{LETTER.id}@example.com>"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message.get_content().strip() == "Reason: x"


async def test_a_letter_arrives_over_tls_from_the_first_byte_on(certificate: Path, trust: Trust) -> None:
    async with mail_server(MailServer(account=ACCOUNT), tls=server_tls(certificate)) as server:
        await EmailSender(trust).send(LETTER, smtp(server.port, tls="tls", **LOGIN))
    assert [(m.was_encrypted, m.logged_in_as) for m in server.taken] == [(True, ACCOUNT)]


async def test_a_letter_goes_in_clear_only_where_tls_is_off(certificate: Path, trust: Trust) -> None:
    async with mail_server(MailServer(server_tls(certificate))) as server:
        await EmailSender(trust).send(LETTER, smtp(server.port, tls="off"))
    assert [m.was_encrypted for m in server.taken] == [False]


async def test_a_server_without_starttls_gets_neither_password_nor_letter(trust: Trust) -> None:
    async with mail_server(MailServer(account=ACCOUNT)) as server:
        failed = await failure(server, trust, **LOGIN)
    assert "STARTTLS extension not supported" in failed.reason
    assert not failed.is_final
    assert server.taken == []
    assert "AUTH" not in server.seen_in_clear()
    assert "MAIL" not in server.seen_in_clear()


async def test_a_server_that_refuses_starttls_gets_nothing(certificate: Path, trust: Trust) -> None:
    async with mail_server(MailServer(server_tls(certificate), refuse={"STARTTLS": "454 not now"})) as server:
        failed = await failure(server, trust)
    assert (failed.reason, server.taken) == ("the mail server refused (454)", [])


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_a_certificate_nobody_vouches_for_gets_nothing(certificate: Path, tls: str) -> None:
    context = server_tls(certificate)
    server = MailServer(context if tls == "starttls" else None)
    async with mail_server(server, tls=context if tls == "tls" else None):
        failed = await failure(server, ssl.create_default_context, tls=tls)
    assert "TLS" in failed.reason or "certificate" in failed.reason
    assert server.taken == []


async def test_a_wrong_password_is_said_without_saying_it(certificate: Path, trust: Trust) -> None:
    async with mail_server(MailServer(server_tls(certificate), ACCOUNT)) as server:
        failed = await failure(server, trust, username="router", password="not-the-password")
    assert failed.reason == "the mail server refused name or password (535)"


@pytest.mark.parametrize(
    ("refused", "is_final", "reason"),
    [
        ({"RCPT": "550 no such user ops@example.com"}, True, "the mail server refused the recipient (550)"),
        ({"RCPT": "450 try later"}, False, "the mail server refused the recipient (450)"),
        ({"MAIL": "550 not you"}, False, "the mail server refused the sender (550)"),
        ({"DATA": "451 busy"}, False, "the mail server refused the message (451)"),
    ],
)
async def test_a_refusal_is_final_only_where_the_address_does_not_exist(
    refused: dict[str, str], is_final: bool, reason: str, trust: Trust
) -> None:
    async with mail_server(MailServer(refuse=refused)) as server:
        failed = await failure(server, trust, tls="off")
    assert (failed.reason, failed.is_final) == (reason, is_final)


async def test_a_server_that_falls_silent_is_left_in_time(trust: Trust) -> None:
    async with mail_server(MailServer(stalls_on="DATA")) as server:
        failed = await failure(server, trust, tls="off", timeout_s=0.2)
    assert failed.reason == "the mail server did not answer in time"


async def test_a_server_that_is_not_there_is_said(trust: Trust) -> None:
    async with mail_server(MailServer()) as server:
        pass
    assert (await failure(server, trust)).reason == "the mail server cannot be reached"


async def test_a_server_that_is_no_mail_server_is_said(trust: Trust) -> None:
    async def wrong(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(wrong, "127.0.0.1", 0)
    server = MailServer(port=listening.sockets[0].getsockname()[1])
    failed = await failure(server, trust)
    listening.close()
    assert "Bad Request" not in failed.reason


def test_the_same_letter_makes_the_same_message() -> None:
    made = {message_of(LETTER, "a@example.com").as_bytes() for _ in range(3)}
    assert len(made) == 1


def test_a_line_break_in_an_address_cannot_make_a_header() -> None:
    draft = Draft(Channel.EMAIL, "a@example.com\r\nBcc: b@example.com", "t", "b")
    with pytest.raises(ValueError, match=r"linefeed|newline|carriage"):
        message_of(letter(draft=draft), "a@example.com")


def test_every_error_of_the_library_has_its_reason() -> None:
    errors = [e for _, e in inspect.getmembers(aiosmtplib, inspect.isclass) if issubclass(e, Exception)]
    assert len(errors) > 10
    for error in errors:
        assert issubclass(error, FOREIGN)
        assert any(ancestor in REASONS for ancestor in error.__mro__), error


def test_what_a_server_says_is_not_repeated() -> None:
    said = aiosmtplib.SMTPDataError(554, "your password hunter2 is weak")
    assert reason_of(said) == "the mail server refused the message (554)"
