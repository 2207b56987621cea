"""The Responses API: same bytes both ways, but `response_format` is accepted and sent as `text.format`."""

import re
from dataclasses import dataclass

import msgspec

from router.domain.errors import InvalidRequest, UnsupportedFeature
from router.domain.json_scan import Member, top_level_members
from router.domain.requests import ModelRequest
from router.domain.usage import Usage
from router.providers.answers import usage_in
from router.providers.carried import unpacked
from router.providers.dialect import Cap
from router.providers.named_events import EventMeter
from router.providers.passthrough import Edit, inserted, passed_body, removed, shifted, spliced
from router.providers.usage import counts_of, with_output

_TERMINAL = re.compile(rb'"response\.(?:completed|incomplete|failed)"')
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_DELTA = b'.delta"'
_FORMATS = frozenset({"text", "json_object", "json_schema"})
_SEALED = b'"reasoning.encrypted_content"'
# OpenAI refuses to seal the reasoning of models that do none.
_THINKS = re.compile(r"o[1-9](?:-|$)|gpt-(?:[5-9]|\d\d)(?!.*chat)|codex-")
_ASKS_TO_THINK = re.compile(rb'"reasoning"\s*+:\s*+\{')


class _Body(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct):
    type: str = ""
    response: _Body | None = None


class _Delta(msgspec.Struct):
    type: str = ""
    delta: str = ""


class _Format(msgspec.Struct):
    type: str
    json_schema: dict[str, msgspec.Raw] | None = None


class _Thought(msgspec.Struct):
    type: str = ""
    encrypted_content: str = ""


class _Including(msgspec.Struct):
    include: msgspec.Raw = msgspec.Raw()


_INCLUDE = msgspec.json.Decoder(_Including)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_THOUGHT = msgspec.json.Decoder(_Thought)
_EVENT = msgspec.json.Decoder(_Event)
_DELTA_EVENT = msgspec.json.Decoder(_Delta)
_FORMAT = msgspec.json.Decoder(_Format)


@dataclass(frozen=True, slots=True)
class ResponsesDialect:
    path: str = "/responses"

    def build_body(self, request: ModelRequest, upstream_model: str, *, inject_usage: bool, cap: Cap | None = None) -> bytes:
        """Usage is never asked for: the terminal event always has it."""
        if request.is_kept_here:
            request = request.with_body(_unremembered(request.body, upstream_model))
        if request.fields.response_format:
            request = request.with_body(spliced(request.body, _format_edits(request.body)))
        return passed_body(request, upstream_model, inject_usage=False, cap=cap)

    def usage_of(self, answer: bytes) -> Usage | None:
        return usage_in(answer)

    def stream_meter(self, request: ModelRequest, *, hides_usage: bool) -> "ResponsesMeter":
        return ResponsesMeter()


RESPONSES = ResponsesDialect()


class ResponsesMeter(EventMeter[_Event]):
    """`finished`: `response.completed`, `.incomplete` or `.failed`; usage stands in that event."""

    __slots__ = ("usage",)

    def __init__(self) -> None:
        super().__init__(_EVENT, b'"response.', _TERMINAL, _DELTA, _text_of)
        self.usage: Usage | None = None

    def _note(self, event: _Event) -> None:
        if event.type in _ENDS:
            self.finished = True
            self._note_usage(event)

    def _note_usage(self, event: _Event) -> None:
        counts = counts_of(event.response.usage) if event.response is not None else None
        usage = counts.usage() if counts is not None else None
        if usage is not None:
            self.usage = with_output(usage, self._produced.tokens)


def _text_of(data: bytes) -> int:
    try:
        return len(_DELTA_EVENT.decode(data).delta.encode())
    except (msgspec.MsgspecError, RecursionError):
        return 0


def _unremembered(body: bytes, upstream_model: str) -> bytes:
    """The body of a request whose conversation is kept here: it says `store` itself."""
    body = _without_others_reasoning(body)
    told = spliced(body, [inserted(body, b'"store":false')])
    thinks = _THINKS.match(upstream_model) or _ASKS_TO_THINK.search(body)
    return with_sealed_reasoning(told) if thinks else told


def _without_others_reasoning(body: bytes) -> bytes:
    """What a provider of another dialect thought in an earlier turn is sealed for that one alone."""
    if b'"routerd1.' not in body:
        return body
    given = next((m.value for m in top_level_members(body) if m.name == "input"), None)
    if given is None or body[given[0] : given[0] + 1] != b"[":
        return body
    items = [bytes(item) for item in _ITEMS.decode(body[given[0] : given[1]])]
    return spliced(body, [(given, b"[" + b",".join(item for item in items if not _is_anothers(item)) + b"]")])


def _is_anothers(item: bytes) -> bool:
    try:
        thought = _THOUGHT.decode(item)
    except msgspec.MsgspecError:
        return False
    return thought.type == "reasoning" and unpacked(thought.encrypted_content) is not None


def with_sealed_reasoning(body: bytes) -> bytes:
    """Ask for what the model thinks, in the form that it can be told again in; the other members keep their bytes."""
    is_given = bool(_INCLUDE.decode(body).include)
    given = next((m for m in top_level_members(body) if m.name == "include"), None) if is_given else None
    if given is None:
        return spliced(body, [inserted(body, b'"include":[' + _SEALED + b"]")])
    start, end = given.value
    written = body[start:end]
    if _SEALED in written:
        return body
    if not written.startswith(b"["):
        return spliced(body, [(given.value, b"[" + _SEALED + b"]")]) if written == b"null" else body
    is_empty = not written[1:-1].strip()
    return spliced(body, [((start + 1, start + 1), _SEALED if is_empty else _SEALED + b",")])


def _format_edits(body: bytes) -> list[Edit]:
    """Take `response_format` out and put what it says into `text.format`; the other members keep their bytes."""
    members = list(top_level_members(body))
    given = next(m for m in members if m.name == "response_format")
    text = next((m for m in members if m.name == "text"), None)
    written = body[given.value[0] : given.value[1]]
    if written == b"null":
        return [removed(members, given)]
    wanted = b'"format":' + _flattened(written)
    if text is None:
        return [((given.key[0], given.value[1]), b'"text":{' + wanted + b"}")]
    return [removed(members, given), _merged(body, text, wanted)]


def _merged(body: bytes, text: Member, wanted: bytes) -> Edit:
    written = body[text.value[0] : text.value[1]]
    if written == b"null":
        return text.value, b"{" + wanted + b"}"
    if not written.startswith(b"{"):
        raise InvalidRequest("text: expected an object", param="text")
    if any(m.name == "format" for m in top_level_members(written)):
        raise InvalidRequest("response_format and text.format are both given; keep one", param="response_format")
    return shifted(inserted(written, wanted), text.value[0])


def _flattened(written: bytes) -> bytes:
    """{"type":"json_schema","json_schema":{...}} -> {"type":"json_schema",...}; the schema keeps its bytes."""
    try:
        wanted = _FORMAT.decode(written)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"response_format: {error}", param="response_format") from None
    if wanted.type not in _FORMATS:
        known = ", ".join(sorted(_FORMATS))
        raise UnsupportedFeature(
            f"response_format.type: a Responses target takes {known}, found {wanted.type!r}", param="response_format.type"
        )
    if wanted.type != "json_schema":
        return msgspec.json.encode({"type": wanted.type})
    schema = wanted.json_schema
    if schema is None or "name" not in schema:
        missing = "response_format.json_schema" + ("" if schema is None else ".name")
        raise InvalidRequest(f"{missing} is missing", param=missing)
    parts = [b'"type":"json_schema"']
    parts += [msgspec.json.encode(name) + b":" + bytes(raw) for name, raw in schema.items() if name != "type"]
    return b"{" + b",".join(parts) + b"}"
