"""What the CLI asks a running daemon over its unix socket: health, the file in force, a reload, dropped key caches."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from router.server.state import Serving


class ControlRoutes:
    """Answers JSON. The socket's file mode is the authentication: 0600, the daemon's own user."""

    def __init__(self, serving: Serving, reload_now: Callable[[], Awaitable[dict[str, object]]]) -> None:
        self._serving = serving
        self._reload_now = reload_now

    def build_app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/status", self.status),
                web.post("/reload", self.reload),
                web.post("/forget-keys", self.forget_keys),
            ]
        )
        return app

    async def status(self, request: web.Request) -> web.Response:
        """The daemon at a glance: what `explain` needs of health, and what an operator asks first."""
        serving = self._serving
        return _json(
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

    async def reload(self, request: web.Request) -> web.Response:
        """Read the file again, as SIGHUP does; the answer says what came of it."""
        return _json(await self._reload_now())

    async def forget_keys(self, request: web.Request) -> web.Response:
        """Keys have changed in the database: the next request of each reads it again."""
        self._serving.authenticator.forget()
        return _json({"status": "ok"})


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
