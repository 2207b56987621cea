"""The items of a conversation, as JSON: what a request wants kept, what it goes on from, how items are listed. Pure.

Items keep the bytes they came in; only those are read that decide which of them travel on.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from router.domain.errors import InvalidRequest
from router.domain.responses import KeptResponse

MAX_NAMED = 512
"""Of the items of a turn: the latest, which later requests may name."""

_REFERENCE = "item_reference"
_BARE = re.compile(rb'\{\s*+(?:"type"\s*+:\s*+null\s*+,\s*+)?"id"\s*+:\s*+"[^"]*+"\s*+[,}]')
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}


class Asked(msgspec.Struct, frozen=True):
    """The members of a request that are about state."""

    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


class _Item(msgspec.Struct):
    type: Any = None
    id: Any = None
    role: Any = None
    encrypted_content: Any = None


class _Output(msgspec.Struct):
    output: list[msgspec.Raw] = []


_ASKED = msgspec.json.Decoder(Asked)
_ITEM = msgspec.json.Decoder(_Item)
_OUTPUT = msgspec.json.Decoder(_Output)
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def asked_of(body: bytes) -> Asked:
    """Raises InvalidRequest for a wrong type. The body is known to be a JSON object."""
    try:
        return _ASKED.decode(body)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        param = path.rstrip("`") or None
        raise InvalidRequest(f"{param or 'the body'}: {what}", param=param) from None


def names_items(body: bytes) -> bool:
    """Whether the input may name items instead of holding them: a glance that errs on the safe side."""
    return b"item_reference" in body or _BARE.search(body) is not None


def items_of(given: bytes) -> list[bytes]:
    """The items of an `input`; a text is a message of the user's. Raises InvalidRequest."""
    if not given or given == b"null":
        return []
    if given[:1] == b'"':
        return [message_of(given)]
    try:
        return [bytes(item) for item in _RAWS.decode(given)]
    except msgspec.MsgspecError:
        raise InvalidRequest("input: expected a string or an array of items", param="input") from None


def message_of(text: bytes) -> bytes:
    """A JSON string as the item it stands for."""
    return b'{"type":"message","role":"user","content":[{"type":"input_text","text":' + text + b"}]}"


def array_of(items: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def referenced(item: bytes) -> str | None:
    """The id of the item that is named here instead of being told."""
    read = _read(item)
    if read is None or not isinstance(read.id, str):
        return None
    is_reference = read.type == _REFERENCE or (
        read.type is None and read.role is None and _MEMBERS.decode(item).keys() == {"id"}
    )
    return read.id if is_reference else None


def travels_on(item: bytes) -> bool:
    """Whether an item may be told again. What a model thought is kept by its provider under the item's id, and the provider
    was told to keep nothing: only what came sealed can go back to it."""
    read = _read(item)
    return read is None or read.type != "reasoning" or bool(read.encrypted_content)


def context_of(turns: Sequence[KeptResponse]) -> list[bytes]:
    """What was said in these turns, in order."""
    return [item for turn in turns for item in (*items_of(turn.input), *outputs_of(turn.answer)) if travels_on(item)]


def outputs_of(answer: bytes) -> list[bytes]:
    """The items of a response object; none where it is no such thing."""
    try:
        return [bytes(item) for item in _OUTPUT.decode(answer).output]
    except msgspec.MsgspecError:
        return []


def rewritten(body: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """The object with these members set, or, where it is None, without them; the values of the others keep their bytes."""
    members: dict[str, bytes | None] = {name: bytes(value) for name, value in _MEMBERS.decode(body).items()}
    members |= changes
    return b"{" + b",".join(_encode(name) + b":" + value for name, value in members.items() if value is not None) + b"}"


def id_of(response: str, index: int, item: bytes) -> str:
    """The item's own id, or one that it gets by its place in the turn `response`."""
    read = _read(item)
    if read is not None and isinstance(read.id, str) and read.id:
        return read.id
    kind = read.type if read is not None and isinstance(read.type, str) else "message"
    return f"{_PREFIXES.get(kind, 'item')}_{sha256(f'{response} {index}'.encode()).hexdigest()[:48]}"


def named_items(turn: KeptResponse) -> dict[str, bytes]:
    """The items of a turn by the ids they are listed under."""
    given = {id_of(turn.id, index, item): item for index, item in enumerate(items_of(turn.input))}
    told = {id_of(turn.id, -1 - index, item): item for index, item in enumerate(outputs_of(turn.answer))}
    return given | told


def listed(turns: Sequence[KeptResponse]) -> list[tuple[str, bytes]]:
    """All that the last of these turns was asked with, the oldest first: (id, item as it is listed)."""
    found: list[tuple[str, bytes]] = []
    for turn in turns:
        found += [(id_of(turn.id, n, item), item) for n, item in enumerate(items_of(turn.input))]
        if turn is not turns[-1]:
            told = enumerate(outputs_of(turn.answer))
            found += [(id_of(turn.id, -1 - n, item), item) for n, item in told if travels_on(item)]
    return [(name, _listed(name, item)) for name, item in found]


def _listed(name: str, item: bytes) -> bytes:
    """An item as callers are told it: with an id, and a message's text as the part it stands for."""
    try:
        members = _MEMBERS.decode(item)
    except msgspec.MsgspecError:
        return item
    told: dict[str, msgspec.Raw] = {"id": _raw(msgspec.json.encode(name))}
    if "type" not in members:
        told["type"] = _raw(b'"message"')
    told |= {key: value for key, value in members.items() if key != "id"}
    content = bytes(members.get("content", b""))
    if content[:1] == b'"':
        part = (
            b'{"type":"output_text","annotations":[],"text":' if _is_assistant(members) else b'{"type":"input_text","text":'
        )
        told["content"] = _raw(b"[" + part + content + b"}]")
    if bytes(told["type"]) == b'"message"' and "status" not in told:
        told["status"] = _raw(b'"completed"')
    return msgspec.json.encode(told)


def _is_assistant(members: Mapping[str, msgspec.Raw]) -> bool:
    return bytes(members.get("role", b"")) == b'"assistant"'


def _raw(value: bytes) -> msgspec.Raw:
    return msgspec.Raw(value)


def _read(item: bytes) -> _Item | None:
    try:
        return _ITEM.decode(item)
    except msgspec.MsgspecError:
        return None
