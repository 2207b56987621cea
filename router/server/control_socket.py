"""What the CLI asks a running daemon over its unix socket: health, the file in force, a reload, dropped key caches."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from aiohttp import web

from router.server.state import Serving

Answers = Mapping[str, Callable[[], Awaitable[bytes]]]
"""What is answered, JSON, by method and path."""

STATUS = "GET /status"
RELOAD = "POST /reload"
FORGET_KEYS = "POST /forget-keys"


class ControlRoutes:
    """Answers of one process. The socket's file mode is the authentication: 0600, the daemon's own user."""

    def __init__(self, serving: Serving, reload_now: Callable[[], Awaitable[dict[str, object]]]) -> None:
        self._serving = serving
        self._reload_now = reload_now

    @property
    def answers(self) -> Answers:
        return {STATUS: self.status, RELOAD: self.reload, FORGET_KEYS: self.forget_keys}

    async def status(self) -> bytes:
        """The daemon at a glance: what `explain` needs of health, and what an operator asks first."""
        serving = self._serving
        return msgspec.json.encode(
            {
                "fingerprint": serving.current.snapshot.fingerprint,
                "ready": not serving.reasons,
                "reasons": sorted(serving.reasons),
                "notes": dict(serving.notes),
                "inflight": serving.inflight,
                "streams": len(serving.streams),
                "health": serving.gateway.health.report(),
            }
        )

    async def reload(self) -> bytes:
        """Read the file again, as SIGHUP does; the answer says what came of it."""
        return msgspec.json.encode(await self._reload_now())

    async def forget_keys(self) -> bytes:
        """Keys have changed in the database: the next request of each reads it again."""
        self._serving.authenticator.forget()
        return msgspec.json.encode({"status": "ok"})


def control_app(answers: Answers) -> web.Application:
    """The answers over HTTP, for a unix socket."""
    app = web.Application()
    for name, answer in answers.items():
        method, _, path = name.partition(" ")
        app.router.add_route(method, path, _handler(answer))
    return app


def _handler(answer: Callable[[], Awaitable[bytes]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=await answer(), content_type="application/json")

    return handle
