"""Response objects under ids of ours: the few members that are written over, in whole answers and in the events of streams.

Everything else keeps the bytes it came in. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from router.domain.errors import GatewayError
from router.domain.json_scan import top_level_members
from router.domain.responses import ResponseStatus
from router.providers.passthrough import Edit, inserted, spliced
from router.providers.sse import blocks, frames

Members = Mapping[str, bytes]
"""By the name of a member of the response object the JSON that is written over it."""

_WHOLE = re.compile(rb'"response\.(?:created|queued|in_progress|completed|failed|incomplete)"')
_ENDS = {
    "response.completed": ResponseStatus.COMPLETED,
    "response.failed": ResponseStatus.FAILED,
    "response.incomplete": ResponseStatus.INCOMPLETE,
}
_NUMBER = re.compile(rb'"sequence_number":\s*+(\d{1,15})')
_ECHOED: Members = {
    "instructions": b"null",
    "max_output_tokens": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "reasoning": b"null",
    "temperature": b"null",
    "text": b'{"format":{"type":"text"}}',
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_p": b"null",
    "truncation": b'"disabled"',
    "user": b"null",
}
GONE = "the process that worked on this response ended before it was whole"


class _Head(msgspec.Struct):
    id: str
    status: str = "completed"
    error: msgspec.Raw = msgspec.Raw()


class _Error(msgspec.Struct):
    message: str = ""


class _Event(msgspec.Struct):
    type: str = ""


class Stamped(NamedTuple):
    """A frame as it goes to the caller. `ended`: the response object it brings is the last word, and how it ended."""

    frame: bytes
    ended: tuple[ResponseStatus, bytes] | None = None


_HEAD = msgspec.json.Decoder(_Head)
_EVENT = msgspec.json.Decoder(_Event)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FAULT = msgspec.json.Decoder(_Error)


def status_in(answer: bytes) -> ResponseStatus | None:
    """How a whole answer has ended; None where it is no response object."""
    try:
        return ResponseStatus(_HEAD.decode(answer).status)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def stamped(answer: bytes, members: Members) -> bytes:
    """The response object with these members written over; those it lacks are put first."""
    found: list[Edit] = []
    said: set[str] = set()
    for member in top_level_members(answer):
        if member.name in members:
            found.append((member.value, members[member.name]))
            said.add(member.name)
    new = [f'"{name}":'.encode() + value for name, value in members.items() if name not in said]
    if new:
        found.append(inserted(answer, b",".join(new)))
    return spliced(answer, found)


def stamped_frames(block: bytes, members: Members) -> Iterator[Stamped]:
    """The frames of `block`, those that bring the response object stamped."""
    if _WHOLE.search(block) is None:
        yield Stamped(block)
        return
    for frame in blocks(block):
        yield Stamped(frame) if _WHOLE.search(frame) is None else _stamped_frame(frame, members)


def _stamped_frame(frame: bytes, members: Members) -> Stamped:
    for name, event in frames(frame):
        try:
            kind = _EVENT.decode(event).type
            place = next((m.value for m in top_level_members(event) if m.name == "response"), None)
        except (msgspec.MsgspecError, RecursionError):
            continue
        if place is None or event[place[0] : place[0] + 1] != b"{":
            continue
        told = stamped(event[place[0] : place[1]], members)
        said = event[: place[0]] + told + event[place[1] :]
        head = b"event: " + name + b"\n" if name else b""
        whole = frame.replace(event, said, 1) if event in frame else head + b"data: " + said + b"\n\n"
        return Stamped(whole, (_ENDS[kind], told) if kind in _ENDS else None)
    return Stamped(frame)


def last_number(frames_: bytes) -> int:
    """The highest number of these events, -1 if they have none."""
    return max(map(int, _NUMBER.findall(frames_)), default=-1)


def numbered_after(piece: bytes, after: int) -> bytes:
    """Of whole frames those with numbers above `after`, and those without a number."""
    return b"".join(frame for frame in blocks(piece) if not -1 < last_number(frame) <= after)


def queued_object(body: bytes, members: Members, model: str, created_s: int) -> bytes:
    """The response object of a request that nobody has answered yet, with what of the request it repeats."""
    given = _MEMBERS.decode(body)
    told: dict[str, object] = {
        "id": None,
        "object": "response",
        "created_at": created_s,
        "status": "queued",
        "background": True,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
    }
    for name, default in _ECHOED.items():
        value = given.get(name)
        told[name] = value if value is not None and bytes(value) != b"null" else msgspec.Raw(default)
    return stamped(msgspec.json.encode(told), members)


def failed_object(first: bytes, code: str, message: str) -> bytes:
    """The response object of a call that brought none: what it began with, and why it failed."""
    error = msgspec.json.encode({"code": code, "message": message[:4096]})
    return stamped(first, {"status": b'"failed"', "error": error})


def told(answer: bytes, status: ResponseStatus) -> bytes:
    """The kept object with the status it has now; failed without a reason, it was left by its process."""
    try:
        head = _HEAD.decode(answer)
    except msgspec.MsgspecError:
        return answer
    if status is ResponseStatus.FAILED and head.status != status and bytes(head.error) in (b"", b"null"):
        return failed_object(answer, "server_error", GONE)
    return answer if head.status == status else stamped(answer, {"status": f'"{status.value}"'.encode()})


def complaint_in(answer: bytes) -> str:
    """Why a response failed, "" if it does not say."""
    try:
        return _FAULT.decode(_HEAD.decode(answer).error).message
    except msgspec.MsgspecError:
        return ""


def refusal_in(body: bytes) -> str:
    """The message of an error envelope."""
    try:
        return _FAULT.decode(_MEMBERS.decode(body)["error"]).message
    except (msgspec.MsgspecError, KeyError):
        return ""


def code_of(error: GatewayError) -> str:
    """In the words of the Responses API, which knows few."""
    return "rate_limit_exceeded" if error.code in {"rate_limited", "upstream_rate_limited"} else "server_error"
