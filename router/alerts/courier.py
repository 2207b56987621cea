"""Who gets an alert and how: drafts for every recipient, and the way each letter goes out."""

import hmac
import importlib
import ssl
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from router.alerts.render import mail_body, title, webhook_body
from router.alerts.signature import signed_headers, signing_key
from router.alerts.webhook import PUBLIC_PORTS, WebhookSender
from router.config.snapshot import AlertSettings
from router.domain.alerts import Channel, DeliveryFailed, Draft, Letter, RaisedAlert, Recipients, Webhook
from router.domain.ports import Clock

if TYPE_CHECKING:
    from router.alerts.email import EmailSender


class Courier:
    """Writes and sends. `key`, derived from the server's secret, makes references and signing secrets.

    A webhook is known in the outbox by its reference alone; its URL is looked up when a letter leaves, so that one that
    was taken out of the configuration gets nothing more.
    """

    def __init__(
        self,
        settings: Callable[[], AlertSettings],
        key: bytes,
        clock: Clock,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock
        self._trust = trust
        self._email: EmailSender | None = None
        self._trusted = WebhookSender(trust=trust)
        self._guarded = WebhookSender(guarded=PUBLIC_PORTS, trust=trust)

    def drafts(self, raised: RaisedAlert, own: Recipients) -> list[Draft]:
        """One for each recipient: the file's, and `own`, the tenant's. Nobody gets it twice."""
        settings = self._settings()
        heading, text = title(raised.alert), mail_body(raised)
        emails = dict.fromkeys((*settings.emails, *own.emails)) if settings.smtp is not None else {}
        drafts = [Draft(Channel.EMAIL, address, heading, text) for address in emails]
        webhooks = {hook.url: hook for hook in (*own.webhooks, *settings.webhooks)}
        for hook in webhooks.values():
            body = webhook_body(hook.channel, raised)
            drafts.append(Draft(hook.channel, self.reference(hook.url), heading, body))
        return drafts

    async def send(self, letter: Letter, own: Recipients) -> None:
        """Deliver it. Raises DeliveryFailed."""
        draft, settings = letter.draft, self._settings()
        if draft.channel is Channel.EMAIL:
            if settings.smtp is None:
                raise DeliveryFailed("smtp.host is not set")
            await self._mail().send(letter, settings.smtp)
            return
        hook = self._webhook(draft.recipient, settings, own)
        if hook is None:
            raise DeliveryFailed("the webhook is no longer configured", is_final=True)
        body = draft.body.encode()
        headers = {}
        if draft.channel is Channel.STANDARD:
            headers = signed_headers(letter.id, body, self.signing_key(hook.url), self._clock.now_us())
        await self._sender(hook.url, settings).post(hook.url, body, headers)

    def reference(self, url: str) -> str:
        """What the outbox and the log call a webhook: its host, and a keyed digest that gives nothing away."""
        digest = hmac.digest(self._key, b"reference:" + url.encode("utf-8", "surrogateescape"), sha256)
        return f"{urlsplit(url).hostname or ''}#{digest.hex()[:16]}"

    def signing_key(self, url: str) -> bytes:
        """The key of the secret the file gives this URL, else one of its own: one a URL, the same on every start."""
        given = next((hook.secret for hook in self._settings().named if hook.url == url and hook.secret), "")
        if given:
            return signing_key(given)
        return hmac.digest(self._key, b"signing:" + url.encode("utf-8", "surrogateescape"), sha256)

    async def close(self) -> None:
        await self._trusted.close()
        await self._guarded.close()

    def _mail(self) -> "EmailSender":
        """Loaded with the first letter: mail takes two megabytes, and most daemons send none."""
        if self._email is None:
            self._email = importlib.import_module("router.alerts.email").EmailSender(self._trust)
        return self._email

    def _webhook(self, reference: str, settings: AlertSettings, own: Recipients) -> Webhook | None:
        hooks = (*settings.webhooks, *own.webhooks)
        return next((hook for hook in hooks if self.reference(hook.url) == reference), None)

    def _sender(self, url: str, settings: AlertSettings) -> WebhookSender:
        """The operator's file is trusted with private hosts; an address from elsewhere is not."""
        named = {_origin(hook.url) for hook in settings.named}
        return self._trusted if _origin(url) in named else self._guarded


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port
