"""Inference routes: headers, key, body, pipeline, answer. The order is the contract's."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import StreamReader, hdrs, web

from router.domain.errors import (
    BodyTooLarge,
    GatewayError,
    InvalidRequest,
    RequestTimeout,
    ScopeMissing,
    UnsupportedMediaType,
)
from router.domain.requests import API_SCOPE, Api, ModelRequest, parse_request
from router.gateway.answer import Answer
from router.gateway.generation import Generation
from router.gateway.idempotency import HEADER as IDEMPOTENCY_KEY
from router.gateway.idempotency import KeyedRequest
from router.gateway.pipeline import Open, Opened
from router.gateway.settle import Caller
from router.gateway.stateful import Stateful
from router.server.headers import (
    answer_headers,
    budget_headers,
    cors_headers,
    forwarded,
    presented_key,
    receipt_headers,
    tags_of,
    tier_of,
    timeout_of,
)
from router.server.keyed_call import KeyedCall
from router.server.live_answer import live_answer
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
        generation = serving.current
        snapshot = generation.snapshot
        principal = notes.principal = await serving.authenticator.authenticate(snapshot, presented_key(request.headers))
        if not principal.has_scope(self._scope):
            raise ScopeMissing(f"this key lacks the scope {self._scope.value!r}")
        headers = request.headers
        caller = Caller(notes.id, notes.request_id, timeout_of(headers), tier_of(headers), tags_of(headers))
        body = await read_body(request, snapshot.server.body_limit)
        model_request = parse_request(self._api, body)
        opening = self._open(generation, principal, model_request, caller, forwarded=forwarded(headers))
        key = headers.get(IDEMPOTENCY_KEY)
        if key is not None:
            asked = KeyedRequest(key, notes.route, principal, model_request, caller.tier, caller.id)
            return await self._answer_keyed(request, notes, opening, asked, generation=generation)
        started: web.StreamResponse | None = None
        try:
            async with opening as answer:
                out = self._headers(request, answer)
                if answer.frames is None:
                    return whole_answer(request, answer.status, out, answer.body or b"")
                started = live_answer(request, answer.status, out)
                await started.prepare(request)
                await self.relay(started, request, answer.frames)
                return started
        except GatewayError as error:
            if started is not None:
                return started
            _note(notes, opening, error, model_request)
            raise
        except ConnectionError:
            # The caller left between two writes; settlement has seen it, and there is nobody to answer.
            if started is None:
                raise
            return started

    async def _answer_keyed(
        self, request: web.BaseRequest, notes: Notes, opening: Opened, asked: KeyedRequest, *, generation: Generation
    ) -> web.StreamResponse:
        """The same through a task of its own, which goes on when this handler is cancelled."""
        serving = self._serving
        is_explained = request.headers.get("x-router-explain") == "1"
        call = KeyedCall(serving, generation, opening, asked, request_id=notes.request_id, is_explained=is_explained)
        serving.tasks.spawn(call.run(), name="keyed call")
        started: web.StreamResponse | None = None
        try:
            told = await call.head()
            out = told.headers | self._cors(request)
            if told.body is not None:
                return whole_answer(request, told.status, out, told.body)
            started = live_answer(request, told.status, out)
            await started.prepare(request)
            await self.relay(started, request, call.frames())
        except GatewayError as error:
            if started is None:
                _note(notes, opening, error, asked.request)
                raise
        except ConnectionError:
            if started is None:
                raise
        finally:
            call.leave()
        return started

    def _headers(self, request: web.BaseRequest, answer: Answer) -> dict[str, str]:
        headers = answer_headers(answer, explain=request.headers.get("x-router-explain") == "1")
        origins = self._serving.current.snapshot.server.cors_origins
        if origins:
            headers.update(cors_headers(request.headers.get("Origin"), origins))
        return headers

    def _cors(self, request: web.BaseRequest) -> dict[str, str]:
        return {**cors_headers(request.headers.get("Origin"), self._serving.current.snapshot.server.cors_origins)}

    async def relay(self, response: web.StreamResponse, request: web.BaseRequest, frames: AsyncIterator[bytes]) -> None:
        """Write a stream; a break is told in the dialect of this API, and raised."""
        serving = self._serving
        stall = serving.current.snapshot.server.write_stall_s
        stream = EventStream(response, request, self._api, tasks=serving.tasks, write_stall_s=stall)
        serving.streams.add(stream)
        try:
            await stream.relay(frames)
        finally:
            serving.streams.discard(stream)


async def read_body(request: web.BaseRequest, limit: int, within_s: float = BODY_TIMEOUT_S) -> bytes:
    """The whole body, at most `limit` bytes, within 30 s. Raises BodyTooLarge, RequestTimeout, UnsupportedMediaType."""
    headers = request.headers
    encoding = headers.get(hdrs.CONTENT_ENCODING)
    if encoding is not None and encoding.lower() != "identity":
        raise UnsupportedMediaType(f"Content-Encoding {encoding[:40]!r} is not accepted; send the body uncompressed")
    _require_json(headers.get(hdrs.CONTENT_TYPE), request)
    content = request.content
    if content.is_eof():
        body = content.read_nowait()
    else:
        if (request.content_length or 0) > limit:
            raise _too_large(limit)
        if headers.get("Expect", "").lower() == "100-continue":
            await _invite(request)
        try:
            async with asyncio.timeout(within_s):
                body = await _read_slowly(content, limit)
        except TimeoutError:
            raise RequestTimeout(f"the body did not arrive within {within_s:.0f} s") from None
    if len(body) > limit:
        raise _too_large(limit)
    if not body:
        raise InvalidRequest("the body is empty; expected a JSON object")
    return body


def _require_json(written: str | None, request: web.BaseRequest) -> None:
    """Few ways of writing it are in use, and each is taken apart once."""
    if written in _written:
        return
    if request.content_type not in _JSON_TYPES:
        raise UnsupportedMediaType(
            f"expected the header `Content-Type: application/json`, found {request.content_type[:80]!r}"
        )
    if len(_written) < _MAX_WRITTEN:
        _written.add(written)


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
    notes.receipt = {} if purse is None else budget_headers(purse)
    if case is None:
        notes.alias = "" if error.code == "model_not_found" else request.fields.model or ""
        return
    notes.is_settled = True
    notes.receipt = receipt_headers(case) | notes.receipt
