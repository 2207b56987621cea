"""Inference routes: headers, key, body, pipeline, answer. The order is the contract's."""

import asyncio

from aiohttp import StreamReader, hdrs, web

from router.domain.errors import (
    BodyTooLarge,
    CutOff,
    GatewayError,
    InvalidRequest,
    RequestTimeout,
    ScopeMissing,
    UnsupportedMediaType,
)
from router.domain.requests import API_SCOPE, Api, ModelRequest, parse_request
from router.gateway.generation import Generation
from router.gateway.idempotency import HEADER as IDEMPOTENCY_KEY
from router.gateway.idempotency import KeyedRequest
from router.gateway.pipeline import Open, Opened
from router.gateway.stateful import Stateful
from router.server.headers import (
    answer_lines,
    budget_lines,
    caller_of,
    cors_headers,
    headers_in,
    lines_of,
    presented_key,
    receipt_headers,
)
from router.server.keyed_call import KeyedCall
from router.server.notes import Notes
from router.server.state import Serving
from router.server.streaming import EventStream
from router.server.whole_answer import whole_answer

BODY_TIMEOUT_S = 30.0
_JSON_TYPES = frozenset({"application/json", "application/octet-stream", "text/plain"})
"""What is taken for JSON: the type itself, none (aiohttp says octet-stream then), and what plain `fetch` sends."""

_MAX_WRITTEN = 64
_written: set[str | None] = set()


class Inference:
    """The handler of one API's route."""

    def __init__(self, serving: Serving, api: Api) -> None:
        self._serving = serving
        self._api = api
        self._scope = API_SCOPE[api]
        self._open: Open = serving.gateway.open
        if api is Api.RESPONSES and serving.responses is not None:
            self._open = Stateful(serving.responses, serving.gateway).open

    async def handle(self, request: web.BaseRequest, notes: Notes) -> web.StreamResponse:
        serving = self._serving
        generation, headers = serving.current, request.headers
        snapshot, presented = generation.snapshot, presented_key(headers)
        principal = serving.authenticator.recognized(snapshot, presented)
        if principal is None:
            principal = await serving.authenticator.authenticate(snapshot, presented)
        notes.principal = principal
        if not principal.has_scope(self._scope):
            raise ScopeMissing(f"this key lacks the scope {self._scope.value!r}")
        caller = caller_of(headers, notes.id, notes.request_id)
        body = whole_body(request, snapshot.server.body_limit)
        if body is None:
            body = await read_body(request, snapshot.server.body_limit)
        model_request = parse_request(self._api, body)
        opening = self._open(generation, principal, model_request, caller, forwarded=headers)
        key = headers.get(IDEMPOTENCY_KEY)
        if key is not None:
            asked = KeyedRequest(key, notes.route, principal, model_request, caller.tier, caller.id)
            return await self._answer_keyed(request, notes, opening, asked, generation=generation)
        started: EventStream | None = None
        try:
            async with opening as answer:
                lines = answer_lines(answer, explain=headers.get("x-router-explain") == "1")
                if origins := snapshot.server.cors_origins:
                    lines += lines_of(cors_headers(headers.get("Origin"), origins))
                if answer.frames is None:
                    may_stay = not serving.is_draining
                    return whole_answer(request, answer.status, lines, answer.body or b"", may_stay=may_stay)
                started = self.stream(request, answer.status, lines)
                await started.relay(answer.frames)
                return started.written
        except GatewayError as error:
            if started is not None:
                return started.written
            _note(notes, opening, error, model_request)
            raise
        except ConnectionError:
            # The caller left between two writes; settlement has seen it, and there is nobody to answer.
            if started is None:
                raise
            return started.written

    async def _answer_keyed(
        self, request: web.BaseRequest, notes: Notes, opening: Opened, asked: KeyedRequest, *, generation: Generation
    ) -> web.StreamResponse:
        """The same through a task of its own, which goes on when this handler is cancelled."""
        serving = self._serving
        is_explained = request.headers.get("x-router-explain") == "1"
        call = KeyedCall(serving, generation, opening, asked, request_id=notes.request_id, is_explained=is_explained)
        serving.tasks.spawn(call.run(), name="keyed call")
        started: EventStream | None = None
        try:
            told = await call.head()
            lines = lines_of(told.headers)
            if origins := generation.snapshot.server.cors_origins:
                lines += lines_of(cors_headers(request.headers.get("Origin"), origins))
            if told.body is not None:
                return whole_answer(request, told.status, lines, told.body, may_stay=not serving.is_draining)
            started = self.stream(request, told.status, lines)
            await started.relay(call.frames())
        except GatewayError as error:
            if started is None:
                _note(notes, opening, error, asked.request)
                raise
        except asyncio.CancelledError:
            if not serving.gateway.is_cutting:
                raise
            cut = CutOff()
            _note(notes, opening, cut, asked.request)
            raise cut from None
        except ConnectionError:
            if started is None:
                raise
        finally:
            call.leave()
        return started.written

    def stream(self, request: web.BaseRequest, status: int, lines: str) -> EventStream:
        """The stream to a caller, of which nothing is sent yet. Raises ConnectionError where the caller has gone."""
        serving = self._serving
        stall = serving.current.snapshot.server.write_stall_s
        may_stay = not serving.is_draining
        return EventStream(request, status, lines, self._api, among=serving.streams, may_stay=may_stay, write_stall_s=stall)


def whole_body(request: web.BaseRequest, limit: int) -> bytes | None:
    """The body where all of it is here, as it mostly is; None where it must be waited for. Raises as `read_body` does."""
    content = request.content
    if not content.is_eof():
        return None
    _require_json(request)
    return _checked(content.read_nowait(), limit)


async def read_body(request: web.BaseRequest, limit: int, within_s: float = BODY_TIMEOUT_S) -> bytes:
    """The whole body, at most `limit` bytes, within 30 s. Raises BodyTooLarge, RequestTimeout, UnsupportedMediaType."""
    _require_json(request)
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await _invite(request)
    try:
        async with asyncio.timeout(within_s):
            body = await _read_slowly(request.content, limit)
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {within_s:.0f} s") from None
    return _checked(body, limit)


def _require_json(request: web.BaseRequest) -> None:
    """Raises UnsupportedMediaType. Few ways of writing a type are in use, and each is taken apart once."""
    headers = request.headers
    written, encoding = headers.get(hdrs.CONTENT_TYPE), headers.get(hdrs.CONTENT_ENCODING)
    if encoding is not None and encoding.lower() != "identity":
        raise UnsupportedMediaType(f"Content-Encoding {encoding[:40]!r} is not accepted; send the body uncompressed")
    if written in _written:
        return
    if request.content_type not in _JSON_TYPES:
        raise UnsupportedMediaType(
            f"expected the header `Content-Type: application/json`, found {request.content_type[:80]!r}"
        )
    if len(_written) < _MAX_WRITTEN:
        _written.add(written)


def _checked(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    if not body:
        raise InvalidRequest("the body is empty; expected a JSON object")
    return body


async def _invite(request: web.BaseRequest) -> None:
    """Ask a caller that waits for it to send its body. The interim answer does not count as the beginning of ours."""
    writer = request.writer
    await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    writer.output_size = 0


async def _read_slowly(content: StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in content.iter_any():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over the limit of {limit / 2**20:g} MiB")


def _note(notes: Notes, opening: Opened, error: GatewayError, request: ModelRequest) -> None:
    """Leave for the edge what it needs to answer an error."""
    case, purse = opening.case, opening.purse_for(error)
    notes.receipt = {} if purse is None else headers_in(budget_lines(purse))
    if case is None:
        notes.alias = "" if error.code == "model_not_found" else request.fields.model or ""
        return
    notes.is_settled = True
    notes.receipt = receipt_headers(case) | notes.receipt
