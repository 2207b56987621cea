"""The routes of kept responses: fetch, delete, cancel, list what they were asked with. A caller sees its tenant's alone."""

from contextlib import suppress

import msgspec
from aiohttp import hdrs, web

from router.domain.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound, NotSupported, ScopeMissing
from router.domain.flow import Drawn
from router.domain.identity import Principal, Scope
from router.domain.requests import Api
from router.gateway.response_items import array_of
from router.gateway.responses import Responses
from router.server.headers import cors_headers, lines_of, presented_key
from router.server.inference import Inference
from router.server.notes import Notes
from router.server.state import Serving

MAX_PAGE = 100
PAGE = 20
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_ELSEWHERE = frozenset({"input_tokens", "compact"})
_METHODS = {"": ("DELETE", "GET"), "input_items": ("GET",), "cancel": ("POST",)}


class StoredResponses:
    """Handlers of what is below `/v1/responses/`."""

    def __init__(self, serving: Serving, responses: Responses) -> None:
        self._serving = serving
        self._responses = responses
        self._inference = Inference(serving, Api.RESPONSES)

    async def handle(self, request: web.BaseRequest, notes: Notes) -> web.StreamResponse:
        name, _, what = notes.rest.partition("/")
        if name in _ELSEWHERE:
            raise NotSupported(f"{request.method} {request.path[:200]} is not served by this version of routerd")
        who = await self._caller(request, notes)
        if what not in _METHODS or not name:
            raise NotFound(f"there is no route {request.method} {request.path[:200]}")
        method = "GET" if request.method == "HEAD" else request.method
        if method not in _METHODS[what]:
            raise MethodNotAllowed(f"{request.method} is not answered here; allowed: {', '.join(_METHODS[what])}")
        if what == "input_items":
            return await self._items(request, who, name)
        if what == "cancel":
            return _json(await self._responses.cancel(who.tenant_id, name))
        if method == "DELETE":
            await self._responses.delete(who.tenant_id, name)
            return _json(msgspec.json.encode({"id": name, "object": "response", "deleted": True}))
        if _boolean(request, "stream"):
            return await self._stream(request, notes, who, name)
        return _json(await self._responses.body(who.tenant_id, name))

    async def _caller(self, request: web.BaseRequest, notes: Notes) -> Principal:
        serving = self._serving
        snapshot, key = serving.current.snapshot, presented_key(request.headers)
        principal = notes.principal = await serving.authenticator.authenticate(snapshot, key)
        if not principal.has_scope(Scope.RESPONSES):
            raise ScopeMissing(f"this key lacks the scope {Scope.RESPONSES.value!r}")
        return principal

    async def _items(self, request: web.BaseRequest, who: Principal, name: str) -> web.Response:
        order = request.query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise InvalidRequest(f"order: expected asc or desc, found {order[:40]!r}", param="order")
        limit = _integer(request, "limit", PAGE)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit: expected 1 to {MAX_PAGE}, found {limit}", param="limit")
        page = await self._responses.items(
            who.tenant_id, name, after=request.query.get("after"), limit=limit, is_ascending=order == "asc"
        )
        told = {
            "object": "list",
            "data": msgspec.Raw(array_of(page.items)),
            "first_id": page.ids[0] if page.ids else None,
            "last_id": page.ids[-1] if page.ids else None,
            "has_more": page.has_more,
        }
        return _json(msgspec.json.encode(told))

    async def _stream(self, request: web.BaseRequest, notes: Notes, who: Principal, name: str) -> web.StreamResponse:
        after = _integer(request, "starting_after", -1)
        kept = await self._responses.find(who.tenant_id, name)
        if not kept.is_streamed:
            raise InvalidRequest(
                f"stream: {name!r} was not asked for in the background with stream: true; it has no events", param="stream"
            )
        origins = self._serving.current.snapshot.server.cors_origins
        headers = {"X-Request-Id": notes.request_id, "Content-Type": "text/event-stream", "Server": "routerd"}
        headers |= cors_headers(request.headers.get("Origin"), origins)
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers=headers)
        stream = self._inference.stream(request, 200, lines_of(headers))
        # A break has been told in the stream, and who has left needs no answer.
        with suppress(GatewayError, ConnectionError):
            await self._inference.relay(stream, Drawn(self._responses.events(kept, after)))
        return stream.written


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _integer(request: web.BaseRequest, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise InvalidRequest(f"{name}: expected a whole number, found {text[:40]!r}", param=name)
    return int(text)


def _boolean(request: web.BaseRequest, name: str) -> bool:
    text = request.query.get(name, "false")
    if text.lower() not in _BOOLEANS:
        raise InvalidRequest(f"{name}: expected true or false, found {text[:40]!r}", param=name)
    return _BOOLEANS[text.lower()]
