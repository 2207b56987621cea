"""The edge of every request: its id, its route, its address's limit, CORS, and errors as answers in the caller's dialect.

It stands on aiohttp's low-level server: dispatch by one dictionary costs a fraction of an Application's resolution.
"""

import asyncio
import re
import traceback

from aiohttp import hdrs, web

from router.domain.errors import CutOff, GatewayError, InternalError, MethodNotAllowed, NotFound, NotReady, RateLimited
from router.domain.observations import Failure, RequestRefused
from router.gateway.admit import OverLimit
from router.server.client_address import client_address
from router.server.errors import error_body, status_of
from router.server.headers import SERVER, cors_headers, headers_in, limit_lines
from router.server.notes import Notes
from router.server.routes import Handler, RouteTable
from router.server.state import Serving
from router.server.whole_answer import closing

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Edge:
    """Handles every request of the public listener. Every answer carries X-Request-Id; every error is one of ours."""

    def __init__(self, serving: Serving, table: RouteTable) -> None:
        self._serving = serving
        self._table = table

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        serving = self._serving
        # The request id is the caller's X-Request-Id if that is well formed, else ours.
        own, sent = serving.ids.new(), request.headers.get("x-request-id")
        notes = Notes(own, own if sent is None or not _REQUEST_ID.fullmatch(sent) else sent)
        serving.inflight += 1
        try:
            response = await self._handler(request, notes)(request, notes)
        except GatewayError as error:
            response = self._refusal(request, notes, error)
        except ConnectionError:
            raise
        except asyncio.CancelledError:
            if not serving.gateway.is_cutting or request.transport is None:
                raise
            response = self._refusal(request, notes, CutOff())
        except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an envelope and the log the traceback
            serving.observer.emit(Failure(notes.request_id, notes.route, "".join(traceback.format_exception(error))))
            response = self._refusal(
                request, notes, InternalError(f"internal error; quote the request id {notes.request_id}")
            )
        finally:
            serving.ended()
        if not response.prepared:
            self._finish(request, notes, response)
        elif serving.is_draining:
            return closing(response)
        return response

    def _handler(self, request: web.BaseRequest, notes: Notes) -> Handler:
        """Who answers, once the request may be heard. Raises what refuses it."""
        message = request._message  # noqa: SLF001  its properties cost more than what is done with them
        method, path = message.method, message.path
        route = self._table.exact.get(path)
        if route is None:
            path = request.path
            route = self._table.find(path)
        if route is not None:
            notes.route = route.name
            notes.rest = path.partition(route.prefix)[2] if route.prefix else ""
        if route is None or not route.is_open:
            self._admit(request)
        if method == hdrs.METH_OPTIONS:
            return _preflight
        if route is None:
            raise NotFound(f"there is no route {method} {path[:200]}")
        handler = route.handlers.get(method) or route.handlers.get("*")
        if handler is None:
            allowed = ", ".join(sorted(route.handlers))
            raise MethodNotAllowed(f"{method} is not answered here; allowed: {allowed}")
        return handler

    def _admit(self, request: web.BaseRequest) -> None:
        """Who may not even be heard: everyone while draining, an address over its limit."""
        serving = self._serving
        if serving.is_draining:
            raise NotReady(
                "the gateway is shutting down; send the request to another replica or retry shortly", retry_after_s=1
            )
        trusted, address = serving.current.snapshot.server.trusted_proxies, request.remote or ""
        if trusted:
            address = client_address(address, request.headers.getall("X-Forwarded-For", ()), trusted)
        wait_ms = serving.addresses.admit(address)
        if wait_ms is not None:
            raise RateLimited("the limit of this address is reached", retry_after_s=wait_ms / 1000)

    def _refusal(self, request: web.BaseRequest, notes: Notes, error: GatewayError) -> web.Response:
        """An error as an answer; a refusal before settlement is observed here, a later one by its ledger entry."""
        status = status_of(error)
        headers = _refusal_headers(error) | dict(notes.receipt)
        if not notes.is_settled:
            principal = notes.principal
            self._serving.observer.emit(
                RequestRefused(
                    request_id=notes.request_id,
                    method=request.method,
                    route=notes.route,
                    status=status,
                    code=error.code,
                    tenant=principal.tenant if principal else "",
                    key=principal.key if principal else "",
                    alias=notes.alias,
                    hint=error.hint,
                )
            )
        body = error_body(error, notes.request_id, is_messages=notes.route.startswith("/v1/messages"))
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)

    def _finish(self, request: web.BaseRequest, notes: Notes, response: web.StreamResponse) -> None:
        if self._serving.is_draining:
            response.force_close()
        headers = response.headers
        headers["X-Request-Id"] = notes.request_id
        headers["Server"] = SERVER
        origins = self._serving.current.snapshot.server.cors_origins
        if origins:
            headers.update(cors_headers(request.headers.get("Origin"), origins))


def _refusal_headers(error: GatewayError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, -int(-error.retry_after_s // 1)))
    if isinstance(error, OverLimit):
        headers.update(headers_in(limit_lines(error.refusal.allowance)))
        headers["X-RateLimit-Reset-Ms"] = str(error.refusal.retry_after_ms)
        headers["X-RateLimit-Remaining"] = "0"
    if isinstance(error, NotReady):
        headers["Connection"] = "close"
    return headers


async def _preflight(request: web.BaseRequest, notes: Notes) -> web.StreamResponse:
    if "Access-Control-Request-Method" not in request.headers:
        raise MethodNotAllowed("OPTIONS is answered only as a CORS preflight")
    return web.Response(status=204)
