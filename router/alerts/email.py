"""Mail over SMTP: one message a recipient, TLS as configured and never less."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

import aiosmtplib

from router.config.snapshot import SmtpSettings
from router.domain.alerts import DeliveryFailed, Letter

TIMEOUT_S = 30.0
_MAX_SAID = 200


class EmailSender:
    """`trust` makes the TLS context; by default the system's authorities, host names checked, TLS 1.2 or later."""

    def __init__(
        self, trust: Callable[[], ssl.SSLContext] = ssl.create_default_context, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._trust = trust
        self._timeout_s = timeout_s
        self._context: ssl.SSLContext | None = None

    async def send(self, letter: Letter, smtp: SmtpSettings) -> None:
        """Hand it to the mail server. Raises DeliveryFailed."""
        try:
            message = message_of(letter, smtp.sender)
            async with asyncio.timeout(self._timeout_s):
                await self._hand_over(message, letter.draft.recipient, smtp)
        except aiosmtplib.SMTPRecipientsRefused as error:
            code = error.recipients[0].code
            raise DeliveryFailed(f"the mail server refused the recipient ({code})", is_final=code >= 500) from None
        except FOREIGN as error:
            raise DeliveryFailed(reason_of(error)) from None

    async def _hand_over(self, message: EmailMessage, recipient: str, smtp: SmtpSettings) -> None:
        if self._context is None and smtp.tls != "off":
            self._context = await asyncio.to_thread(self._trust)
        await aiosmtplib.send(
            message,
            sender=parseaddr(smtp.sender)[1],
            recipients=[recipient],
            hostname=smtp.host,
            port=smtp.port,
            username=smtp.username or None,
            password=smtp.password or None,
            local_hostname=_own_name(),
            timeout=self._timeout_s,
            use_tls=smtp.tls == "tls",
            start_tls=smtp.tls == "starttls",  # True insists; None would go on without
            tls_context=self._context,
        )


def message_of(letter: Letter, sender: str) -> EmailMessage:
    """The same message every time it is made. Raises ValueError for an address or a title that cannot stand in a header."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = letter.draft.recipient
    message["Subject"] = f"[routerd] {letter.draft.title}"
    message["Date"] = format_datetime(datetime.fromtimestamp(letter.raised_at // 1_000_000, UTC))
    message["Message-ID"] = f"<{letter.id}@{parseaddr(sender)[1].rpartition('@')[2] or 'routerd'}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.draft.body)
    return message


def _own_name() -> str:
    name = socket.gethostname()
    return name if name and name.isascii() and name.isprintable() and " " not in name else "localhost"


# The nearest class of the exception's method resolution order decides. What a server said may quote what we sent, so only
# its code is kept.
REASONS: dict[type[BaseException], str] = {
    aiosmtplib.SMTPAuthenticationError: "the mail server refused name or password",
    aiosmtplib.SMTPSenderRefused: "the mail server refused the sender",
    aiosmtplib.SMTPDataError: "the mail server refused the message",
    aiosmtplib.SMTPHeloError: "the mail server refused the greeting",
    aiosmtplib.SMTPConnectResponseError: "the mail server takes no connection now",
    aiosmtplib.SMTPResponseException: "the mail server refused",
    aiosmtplib.SMTPTimeoutError: "the mail server did not answer in time",
    aiosmtplib.SMTPConnectError: "the mail server cannot be reached",
    aiosmtplib.SMTPServerDisconnected: "the mail server closed the connection",
    aiosmtplib.SMTPException: "the mail server lacks what is configured",
    ssl.CertificateError: "the mail server's certificate is not trusted",
    ssl.SSLError: "TLS with the mail server failed",
    TimeoutError: "the mail server did not answer in time",
    OSError: "the mail server cannot be reached",
    ValueError: "an address or the title cannot stand in a message",
}
FOREIGN = (aiosmtplib.SMTPException, OSError, ValueError)


def reason_of(error: BaseException) -> str:
    """For the log and the outbox: ours, with the server's code where there is one."""
    reason = next(REASONS[ancestor] for ancestor in type(error).__mro__ if ancestor in REASONS)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{reason} ({error.code})"
    if type(error) is aiosmtplib.SMTPException:
        # The library's own words: no STARTTLS, no AUTH. They quote neither us nor the server.
        return f"{reason}: {error.message}"[:_MAX_SAID]
    cause = error.__cause__
    return f"{reason}: {REASONS[ssl.SSLError]}" if isinstance(cause, ssl.SSLError) else reason
