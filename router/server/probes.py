"""Operators' routes: alive, ready, metrics, and the front door that real clients knock at."""

import asyncio
from hmac import compare_digest
from ipaddress import ip_address

import msgspec
from aiohttp import web

from router.domain.errors import NotFound
from router.domain.ports import Clock, Pinger
from router.server.headers import presented_key
from router.server.notes import Notes
from router.server.state import Serving

PING_TIMEOUT_S = 1.0


class Probing:
    """Handlers of the operators' routes."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def front_door(self, request: web.BaseRequest, notes: Notes) -> web.Response:
        return _json(200, {"name": "routerd", "status": "ok", "api": "/v1"})

    async def health(self, request: web.BaseRequest, notes: Notes) -> web.Response:
        """Alive: always 200 while this answers at all; each dependency's state beside it, never slower than a second."""
        serving = self._serving
        checks = await asyncio.gather(*(_check(p, serving.clock) for p in serving.pingers))
        named = {p.name: check for p, check in zip(serving.pingers, checks, strict=True)}
        is_well = all(check["status"] == "ok" for check in checks)
        return _json(200, {"status": "ok" if is_well else "degraded", "checks": named})

    async def ready(self, request: web.BaseRequest, notes: Notes) -> web.Response:
        """Can serve: 503 with the reasons while it cannot; `notes` are worth knowing but no reason to be taken out."""
        serving = self._serving
        reasons = sorted(serving.reasons)
        ledger = serving.gateway.world.ledger
        if not ledger.accepting():
            reasons.append(f"storage: usage cannot be recorded: {ledger.fault}")
        body = {"status": "ready" if not reasons else "not_ready", "reasons": reasons, "notes": dict(serving.notes)}
        return _json(503 if reasons else 200, body)

    async def metrics(self, request: web.BaseRequest, notes: Notes) -> web.Response:
        """Prometheus text for loopback or the bearer of `observability.metrics_token`; for others there is no such route."""
        snapshot = self._serving.current.snapshot
        token, sent = snapshot.metrics_token, presented_key(request.headers)
        is_known = bool(token) and sent is not None and compare_digest(sent.encode(), token.encode())
        if not snapshot.has_metrics or not (is_known or _is_loopback(request)):
            raise NotFound("there is no route GET /metrics")
        self._serving.gateway.settler.flush()
        text = await self._serving.render_metrics()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _is_loopback(request: web.BaseRequest) -> bool:
    """The peer itself, and nobody behind a proxy on this machine."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        return ip_address(request.remote or "").is_loopback
    except ValueError:
        return request.remote is None


async def _check(pinger: Pinger, clock: Clock) -> dict[str, object]:
    started = clock.monotonic()
    try:
        async with asyncio.timeout(PING_TIMEOUT_S):
            await pinger.ping()
    except Exception as error:  # noqa: BLE001  whatever a dependency raises, it is down and `/health` says so
        return {"status": "down", "reason": type(error).__name__, "latency_ms": _ms_since(started, clock)}
    return {"status": "ok", "latency_ms": _ms_since(started, clock)}


def _ms_since(started: float, clock: Clock) -> float:
    return round((clock.monotonic() - started) * 1000, 3)


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")
