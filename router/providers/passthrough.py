"""The caller's body for a provider of the same dialect: the same bytes, but for the few members that contract.md lists."""

from functools import lru_cache
from operator import itemgetter

import msgspec

from router.domain.json_scan import Member, Span, top_level_members
from router.domain.requests import ModelRequest
from router.providers.dialect import Cap

_INCLUDE_USAGE = b'{"include_usage":true}'
_STREAM_OPTIONS = b'"stream_options":' + _INCLUDE_USAGE

Edit = tuple[Span, bytes]
"""Bytes to put in the place of a span; an empty span is an insertion."""

_span_of = itemgetter(0)


@lru_cache(maxsize=1024)
def _quoted(name: str) -> bytes:
    return msgspec.json.encode(name)


@lru_cache(maxsize=1024)
def _member(cap: Cap) -> bytes:
    return b'"%b":%d' % (cap[0].encode(), cap[1])


def passed_body(request: ModelRequest, upstream_model: str, *, inject_usage: bool, cap: Cap | None = None) -> bytes:
    """The body to send: `model` replaced, usage asked for and a cap set where wanted; all other bytes as they came.

    Where nothing changes it is `request.body` itself.
    """
    body = request.body
    found: list[Edit] = []
    new: list[bytes] = []
    if request.fields.model != upstream_model:
        span = request.model_span()
        if span is not None:
            found.append((span, _quoted(upstream_model)))
        else:
            new.append(b'"model":' + _quoted(upstream_model))
    if inject_usage:
        options = request.span_of("stream_options")
        if options is not None:
            found += _options_edits(body, options)
        else:
            new.append(_STREAM_OPTIONS)
    if cap is not None:
        span = request.span_of(cap[0])
        if span is not None:
            found.append((span, b"%d" % cap[1]))
        else:
            new.append(_member(cap))
    if new:
        found.append(inserted(body, b",".join(new)))
    return spliced(body, found)


def spliced(body: bytes, edits: list[Edit]) -> bytes:
    """`body` with the edits, which must not overlap; insertions at one place keep their order."""
    if not edits:
        return body
    if len(edits) == 1:
        (start, end), new = edits[0]
        return b"".join((body[:start], new, body[end:]))
    pieces: list[bytes] = []
    at = 0
    for (start, end), new in sorted(edits, key=_span_of):
        pieces += (body[at:start], new)
        at = end
    pieces.append(body[at:])
    return b"".join(pieces)


def inserted(of: bytes, members: bytes) -> Edit:
    """Put `members` ("name":value, comma-separated) first into the object `of`."""
    opening = of.index(b"{") + 1
    is_empty = of.find(b'"', opening) < 0
    return (opening, opening), members if is_empty else members + b","


def removed(members: list[Member], gone: Member) -> Edit:
    """Take the member `gone` out of the object whose members are `members`, with the comma that goes with it."""
    place = members.index(gone)
    if place + 1 < len(members):
        return (gone.key[0], members[place + 1].key[0]), b""
    if place:
        return (members[place - 1].value[1], gone.value[1]), b""
    return (gone.key[0], gone.value[1]), b""


def shifted(edit: Edit, by: int) -> Edit:
    """An edit of an inner object, in the offsets of the body that holds it at `by`."""
    (start, end), new = edit
    return (start + by, end + by), new


def _options_edits(body: bytes, span: Span) -> list[Edit]:
    """Set `include_usage` in the `stream_options` at `span`, keeping the other options."""
    options = body[span[0] : span[1]]
    if options == b"null":
        return [(span, _INCLUDE_USAGE)]
    said: list[Edit] = [(m.value, b"true") for m in top_level_members(options) if m.name == "include_usage"]
    return [shifted(edit, span[0]) for edit in said or [inserted(options, b'"include_usage":true')]]
