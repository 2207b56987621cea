"""The edge of every request: its id, its address's limit, CORS, and errors turned into answers in the caller's dialect."""

import re
import traceback
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from router.domain.errors import GatewayError, InternalError, InvalidRequest, MethodNotAllowed, NotFound, NotReady, RateLimited
from router.domain.observations import Failure, RequestRefused
from router.gateway.admit import OverLimit
from router.server.client_address import client_address
from router.server.errors import error_body, status_of
from router.server.headers import cors_headers, limit_headers
from router.server.notes import NOTES, Notes
from router.server.state import SERVING, Serving

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
OPEN_PATHS = frozenset({"/", "/healthz", "/health", "/readyz", "/metrics"})


def request_id_of(request: web.Request, serving: Serving) -> str:
    """The caller's X-Request-Id if it is well formed, else ours."""
    sent = request.headers.get("X-Request-Id")
    return sent if sent and _REQUEST_ID.fullmatch(sent) else serving.ids.new()


@web.middleware
async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every answer carries X-Request-Id; every error is one of ours."""
    serving = request.app[SERVING]
    notes = request[NOTES] = Notes(request_id_of(request, serving))
    serving.inflight += 1
    try:
        if request.path in OPEN_PATHS:
            response = await handler(request)
        else:
            _pass(request, serving)
            response = _preflight(request) if request.method == hdrs.METH_OPTIONS else await handler(request)
    except GatewayError as error:
        response = refuse(request, serving, error)
    except web.HTTPException as error:
        response = refuse(request, serving, _translated(error, request))
    except Exception as error:
        serving.observer.emit(Failure(notes.request_id, _route(request), "".join(traceback.format_exception(error))))
        response = refuse(request, serving, InternalError(f"internal error; quote the request id {notes.request_id}"))
    finally:
        serving.inflight -= 1
    if not response.prepared:
        response.headers["X-Request-Id"] = notes.request_id
        origins = serving.current.snapshot.server.cors_origins
        if origins:
            response.headers.update(cors_headers(request.headers.get("Origin"), origins))
        if serving.is_draining:
            response.force_close()
    return response


def _pass(request: web.Request, serving: Serving) -> None:
    """Who may not even be heard: everyone while draining, an address over its limit."""
    if serving.is_draining:
        raise NotReady("the gateway is shutting down; send the request to another replica or retry shortly", retry_after_s=1)
    settings = serving.current.snapshot.server
    peer = request.remote or ""
    address = client_address(peer, request.headers.getall("X-Forwarded-For", ()), settings.trusted_proxies)
    wait_ms = serving.addresses.admit(address)
    if wait_ms is not None:
        raise RateLimited("the limit of this address is reached", retry_after_s=wait_ms / 1000)


def _preflight(request: web.Request) -> web.Response:
    if "Access-Control-Request-Method" not in request.headers:
        raise MethodNotAllowed("OPTIONS is answered only as a CORS preflight")
    return web.Response(status=204)


def refuse(request: web.Request, serving: Serving, error: GatewayError) -> web.Response:
    """An error as an answer; a refusal before settlement is observed here, a later one by its ledger entry."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, -int(-error.retry_after_s // 1)))
    if isinstance(error, OverLimit):
        headers.update(limit_headers(error.refusal.allowance))
        headers["X-RateLimit-Reset-Ms"] = str(error.refusal.retry_after_ms)
        headers["X-RateLimit-Remaining"] = "0"
    if isinstance(error, NotReady):
        headers["Connection"] = "close"
    notes = request[NOTES]
    headers.update(notes.receipt)
    if not notes.is_settled:
        principal = notes.principal
        serving.observer.emit(
            RequestRefused(
                request_id=notes.request_id,
                method=request.method,
                route=_route(request),
                status=status,
                code=error.code,
                tenant=principal.tenant if principal else "",
                key=principal.key if principal else "",
                alias=notes.alias,
                hint=error.hint,
            )
        )
    body = error_body(error, notes.request_id, is_messages="/messages" in request.path)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _route(request: web.Request) -> str:
    """The route's template, never the path: a label and a log field that callers cannot invent."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def _translated(error: web.HTTPException, request: web.Request) -> GatewayError:
    if isinstance(error, web.HTTPNotFound):
        return NotFound(f"there is no route {request.method} {request.path[:200]}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return MethodNotAllowed(f"{request.method} is not answered here; allowed: {allowed}")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return InvalidRequest("the request is too large")
    return InvalidRequest(error.reason)
