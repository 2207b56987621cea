"""What a fault makes of a good exchange. Pure: bytes and moments in, bytes and moments out."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec

from router.providers.simulated.exchange import JSON, Ending, Exchange, Piece, error_exchange
from router.providers.simulated.options import Fault, FaultKind

_AFTER = 3
_BLOCK = 64 * 1024
_HTML = b"""<!DOCTYPE html>
<html><head><title>502 Bad Gateway</title></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body></html>
"""
_ERROR_TYPES = {
    400: ("invalid_request_error", "The request was refused (simulated)."),
    401: ("invalid_request_error", "Incorrect API key provided (simulated)."),
    402: ("insufficient_quota", "Payment is required (simulated)."),
    403: ("invalid_request_error", "You are not allowed to use this model (simulated)."),
    404: ("invalid_request_error", "The model does not exist (simulated)."),
    408: ("timeout", "The request timed out (simulated)."),
    409: ("conflict", "The resource is locked (simulated)."),
    429: ("rate_limit_error", "Rate limit reached for requests (simulated). Please try again later."),
    500: ("server_error", "The server had an error while processing your request (simulated)."),
    503: ("server_error", "The engine is currently overloaded, please try again later (simulated)."),
    529: ("overloaded_error", "Overloaded (simulated)."),
}
_CODES = {401: "invalid_api_key", 402: "insufficient_quota", 404: "model_not_found", 429: "rate_limit_exceeded"}


def failed_head(fault: Fault) -> Exchange | None:
    """The exchange of a fault that needs no answer to spoil: an error, or nothing at all. None for the other kinds."""
    kind = fault.kind
    if kind is FaultKind.TIMEOUT:
        return Exchange(0, "", (), ending=Ending.SILENCE)
    if kind is FaultKind.RESET and fault.after_events is None:
        return Exchange(0, "", (), ending=Ending.RESET)
    if kind is FaultKind.HTML_ERROR:
        return Exchange(fault.status or 502, "text/html", (Piece(_HTML),), length=len(_HTML))
    if kind is FaultKind.EMPTY:
        return Exchange(fault.status or 200, JSON, (), length=0)
    if kind not in (FaultKind.RATE_LIMITED, FaultKind.ERROR):
        return None
    status = fault.status or (429 if kind is FaultKind.RATE_LIMITED else 500)
    fallback = _ERROR_TYPES[500 if status >= 500 else 400]
    type_, message = _ERROR_TYPES.get(status, fallback)
    exchange = error_exchange(status, message, type_, code=fault.code or _CODES.get(status))
    retry_after = fault.retry_after or ("1" if status == 429 else None)
    return replace(exchange, headers=(("retry-after", retry_after),)) if retry_after else exchange


def spoil(exchange: Exchange, fault: Fault) -> Exchange:
    """The good `exchange` as the fault leaves it; kinds that work elsewhere (usage, caps, heads) change nothing here."""
    kind = fault.kind
    if kind is FaultKind.SLOW_HEADERS:
        return replace(exchange, head_after=exchange.head_after + fault.delay)
    if kind is FaultKind.WRONG_CONTENT_TYPE:
        return replace(exchange, content_type="text/plain; charset=utf-8")
    if not exchange.is_stream:
        return _spoil_json(exchange, fault)
    if kind in _FRAMINGS:
        return _reframed(exchange, _FRAMINGS[kind], kind)
    if kind is FaultKind.NO_DONE:
        kept = tuple(piece for piece in exchange.pieces if piece.data != b"data: [DONE]\n\n")
        return replace(exchange, pieces=kept)
    if kind is FaultKind.NOT_AN_OBJECT:
        return replace(exchange, pieces=tuple(p._replace(data=_wrapped(p.data)) for p in exchange.pieces))
    return _broken_off(exchange, fault)


def _spoil_json(exchange: Exchange, fault: Fault) -> Exchange:
    (piece,) = exchange.pieces
    data, kind = piece.data, fault.kind
    half = piece._replace(data=data[: len(data) // 2], tokens=0)
    endings = {FaultKind.CUT_STREAM: Ending.CUT, FaultKind.RESET: Ending.RESET, FaultKind.SILENCE: Ending.SILENCE}
    if kind in endings:
        return replace(exchange, pieces=(half,), ending=endings[kind])
    if kind in (FaultKind.BAD_FRAMES, FaultKind.END_EARLY):
        return replace(exchange, pieces=(half,), length=len(half.data))
    if kind is FaultKind.NOT_AN_OBJECT:
        data = b"[" + data + b"]"
    elif kind is FaultKind.HUGE_EVENT:
        # White space after the object is still valid JSON: only its size is wrong.
        blocks = -(-fault.bytes // _BLOCK)
        filler = Piece(b" " * _BLOCK, at=piece.at, times=blocks)
        return replace(exchange, pieces=(piece, filler), length=len(data) + blocks * _BLOCK)
    return replace(exchange, pieces=(piece._replace(data=data),), length=len(data))


def _broken_off(exchange: Exchange, fault: Fault) -> Exchange:
    """Faults after a number of events: never so late that the answer would be finished."""
    pieces, kind = exchange.pieces, fault.kind
    last = max((index for index, piece in enumerate(pieces) if piece.tokens), default=len(pieces) - 1)
    cut = min(_AFTER if fault.after_events is None else fault.after_events, last)
    sent, following = pieces[:cut], pieces[cut]
    if kind is FaultKind.SILENCE:
        return replace(exchange, pieces=sent, ending=Ending.SILENCE)
    if kind is FaultKind.RESET:
        return replace(exchange, pieces=sent, ending=Ending.RESET)
    if kind is FaultKind.END_EARLY:
        return replace(exchange, pieces=sent)
    if kind is FaultKind.CUT_STREAM:
        part = Piece(following.data[: len(following.data) // 2], at=following.at)
        return replace(exchange, pieces=(*sent, part), ending=Ending.CUT)
    if kind is FaultKind.ERROR_EVENT:
        return replace(exchange, pieces=(*sent, Piece(_error_event(following.data), at=following.at, frames=1)))
    if kind is FaultKind.BAD_FRAMES:
        broken = Piece(b'data: {"id": "broken", "choices": [{"index": 0, "delta": {"cont\n\n', at=following.at, frames=1)
        return replace(exchange, pieces=(*sent, broken, *pieces[cut:]))
    if kind is FaultKind.HUGE_EVENT:
        huge = (
            Piece(b'data: {"huge": "', at=following.at),
            Piece(b"x" * _BLOCK, at=following.at, times=-(-fault.bytes // _BLOCK)),
            Piece(b'"}\n\n', at=following.at, frames=1),
        )
        return replace(exchange, pieces=(*sent, *huge, *pieces[cut:]))
    return exchange


def _error_event(following: bytes) -> bytes:
    """An error in the dialect of the event it replaces: Responses name their events."""
    message = "The server had an error while processing your request (simulated)."
    if not following.startswith(b"event: "):
        error = {"message": message, "type": "server_error", "param": None, "code": None}
        return b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"
    number = msgspec.json.decode(following.partition(b"data: ")[2])["sequence_number"]
    event = {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": number}
    return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


def _wrapped(data: bytes) -> bytes:
    before, prefix, value = data.partition(b"data: ")
    return data if value.startswith(b"[DONE]") else before + prefix + b"[" + value.rstrip(b"\n") + b"]\n\n"


_FRAMINGS: Mapping[FaultKind, Callable[[bytes], bytes]] = {
    FaultKind.CRLF: lambda data: data.replace(b"\n", b"\r\n"),
    FaultKind.CR: lambda data: data.replace(b"\n", b"\r"),
    FaultKind.NO_SPACE: lambda data: data.replace(b"data: ", b"data:", 1).replace(b"event: ", b"event:", 1),
    FaultKind.COMMENTS: lambda data: b": keep-alive\n\n" + data,
    FaultKind.BOM: lambda data: data,
}


def _reframed(exchange: Exchange, change: Callable[[bytes], bytes], kind: FaultKind) -> Exchange:
    pieces = tuple(piece._replace(data=change(piece.data)) for piece in exchange.pieces)
    if kind is FaultKind.BOM and pieces:
        pieces = (pieces[0]._replace(data=b"\xef\xbb\xbf" + pieces[0].data), *pieces[1:])
    return replace(exchange, pieces=pieces)
