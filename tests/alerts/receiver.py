"""An HTTP receiver on loopback that keeps what it is sent and answers to order; and a check of signatures after the spec."""

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web


@dataclass
class Post:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Receiver:
    """`answers`: statuses in turn, the last one for ever; 0 never answers. `headers` go with every answer."""

    answers: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)
    url: str = ""
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.posts.append(Post(request.path, headers, await request.read()))
        self.came.set()
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not status:
            await asyncio.Event().wait()
        return web.Response(status=status, headers=self.headers)


@asynccontextmanager
async def receiver(answers: list[int] | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    made = Receiver(answers or [200])
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def is_authentic(post: Post, shown_secret: str, now: Callable[[], float]) -> bool:
    """What a receiver does by the Standard Webhooks specification, version 1.0.0, written from its text alone."""
    key = base64.b64decode(shown_secret.removeprefix("whsec_"), validate=True)
    try:
        message_id, timestamp, given = (post.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError:
        return False
    if "." in message_id or not timestamp.isdigit() or abs(now() - int(timestamp)) > 300:
        return False
    expected = hmac.new(key, f"{message_id}.{timestamp}.".encode() + post.body, hashlib.sha256).digest()
    candidates = [each.partition(",") for each in given.split(" ")]
    return any(
        version == "v1" and hmac.compare_digest(base64.b64decode(text, validate=True), expected)
        for version, _, text in candidates
    )
