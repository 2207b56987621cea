"""The items of a Responses request as turns. What an assistant did in a row is one turn, as other dialects tell it."""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from router.domain.chat import (
    Audio,
    Document,
    Family,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Source,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from router.domain.errors import InvalidRequest
from router.providers.carried import unpacked
from router.providers.openai_chat_codec.media import AUDIO_TYPES, source_of
from router.providers.openai_chat_codec.members import Members, raw, wrong
from router.providers.openai_chat_codec.messages_in import cache_mark
from router.providers.openai_chat_codec.shapes import logprobs_of
from router.providers.openai_responses_codec.annotations import citations_of
from router.providers.openai_responses_codec.tools import flat_name

IN_MESSAGE = "message."
"""Begins the kind of an opaque part that stands inside of a message; all others are items."""

_ROLES = {"system": Role.SYSTEM, "developer": Role.DEVELOPER, "user": Role.USER, "assistant": Role.ASSISTANT}
_ANSWERS = ("_output", "_response")


class ItemReader:
    """Reads items in order: a result needs to know the call before it. `others` takes what has no place in a turn."""

    def __init__(self, others: dict[str, msgspec.Raw]) -> None:
        self._others = others
        self._turns: list[tuple[Role, list[Part]]] = []
        self._calls: dict[str, ToolCall] = {}
        self._signed: dict[str, Reasoning] = {}

    def read(self, value: object, path: str) -> None:
        """Raises InvalidRequest naming the member."""
        item = Members(value, path)
        kind = item.text("type") or ("message" if isinstance(value, dict) and "role" in value else "item_reference")
        if kind == "message":
            self._message(item)
        elif kind == "reasoning":
            self._thought(item)
        elif kind in {"function_call", "custom_tool_call"}:
            self._call(item, is_custom=kind == "custom_tool_call")
        elif kind in {"function_call_output", "custom_tool_call_output"}:
            self._result(item, is_custom=kind == "custom_tool_call_output")
        else:
            part = Opaque(Family.RESPONSES, kind, raw(value))
            if kind.endswith(_ANSWERS):
                self._add(Role.USER, part, joins=self._answers())
            else:
                self._add(Role.ASSISTANT, part)
            return
        item.leave(self._others)

    def turns(self) -> tuple[Turn, ...]:
        turns = (Turn(role, tuple(parts)) for role, parts in self._turns)
        if not self._signed:
            return tuple(turns)
        return tuple(Turn(turn.role, tuple(map(self._sealed, turn.parts))) for turn in turns)

    def _sealed(self, part: Part) -> Part:
        seal = self._signed.get(part.id) if isinstance(part, ToolCall) else None
        if seal is None or not isinstance(part, ToolCall):
            return part
        return replace(part, signature=seal.signature, family=seal.family)

    def _add(self, role: Role, part: Part, *, joins: bool = True) -> None:
        if joins and self._turns and self._turns[-1][0] is role:
            self._turns[-1][1].append(part)
        else:
            self._turns.append((role, [part]))

    def _answers(self) -> bool:
        """Whether the last turn holds results of tools alone."""
        return bool(self._turns) and all(isinstance(part, ToolResult | Opaque) for part in self._turns[-1][1])

    # -- items ------------------------------------------------------------------------------------------------

    def _message(self, item: Members) -> None:
        name = item.needed_text("role")
        role = _ROLES.get(name)
        if role is None:
            told = f"{item.at('role')}: expected system, developer, user or assistant, found {name[:40]!r}"
            raise InvalidRequest(told, param=item.at("role"))
        parts = read_content(item, "content")
        if role is not Role.ASSISTANT:
            self._turns.append((role, list(parts)))
            return
        last = self._turns[-1][1] if self._turns and self._turns[-1][0] is role else []
        has_spoken = any(isinstance(part, Text | Refusal) for part in last)
        has_called = any(isinstance(part, ToolCall) for part in last)
        if has_spoken and not has_called:
            self._turns.append((role, []))
        for part in parts or (Text(""),):
            self._add(role, part)

    def _thought(self, item: Members) -> None:
        for part in read_thought(item):
            if isinstance(part, Reasoning) and part.id.startswith(_OF_CALL):
                self._signed[part.id.removeprefix(_OF_CALL)] = part
            else:
                self._add(Role.ASSISTANT, part)

    def _call(self, item: Members, *, is_custom: bool) -> None:
        name = flat_name(item.text("namespace"), item.needed_text("name"))
        arguments = item.text("input" if is_custom else "arguments")
        call = ToolCall(item.needed_text("call_id"), name, arguments, is_custom=is_custom, item_id=item.text("id"))
        self._calls[call.id] = call
        self._add(Role.ASSISTANT, call)

    def _result(self, item: Members, *, is_custom: bool) -> None:
        call_id, name = item.needed_text("call_id"), item.text("name")
        namespace = item.text("namespace")
        call = self._calls.get(call_id)
        told = flat_name(namespace, name) if name else (call.name if call is not None else "")
        result = ToolResult(call_id, read_content(item, "output"), told, is_custom=is_custom)
        self._add(Role.USER, result, joins=self._answers())


_OF_CALL = "call\0"


def read_thought(item: Members) -> list[Part]:
    """One part for each piece of text; what is sealed stands with the last. Of another family it is what was carried."""
    item_id, sealed = item.text("id"), item.text("encrypted_content")
    found: list[Reasoning] = []
    for name in ("summary", "content"):
        for value, path in item.items(name):
            piece = item.inner(value, path)
            piece.any("type")
            text = piece.needed_text("text")
            found.append(Reasoning(text, Family.RESPONSES, id=item_id, is_summary=name == "summary"))
    carried = unpacked(sealed)
    if carried is not None:
        text = "".join(part.text for part in found)
        own_id = _OF_CALL + carried.call_id if carried.call_id else carried.id
        return [Reasoning(text, carried.family, carried.signature, carried.encrypted, own_id, carried.is_summary)]
    last = found.pop() if found else Reasoning("", Family.RESPONSES, id=item_id)
    return [*found, replace(last, encrypted=sealed)]


# -- content --------------------------------------------------------------------------------------------------


def read_content(item: Members, name: str) -> tuple[Part, ...]:
    """A text, or a list of parts. Raises InvalidRequest."""
    content, path = item.any(name), item.at(name)
    if content is None or content == "":
        return ()
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        wrong(path, "a string or a list of parts", content)
    return tuple(_part(value, item, f"{path}[{index}]") for index, value in enumerate(content))


def _part(value: object, item: Members, path: str) -> Part:
    kind = value.get("type") if isinstance(value, dict) else None
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and read is None:
        return Opaque(Family.RESPONSES, IN_MESSAGE + kind, raw(value))
    members = item.inner(value, path)
    members.needed_text("type")
    assert read is not None, "a type that is a string is known or opaque"
    return read(members)


def _text(part: Members) -> Part:
    text, cache = part.needed_text("text"), cache_mark(part)
    return Text(text, citations_of(part.any("annotations")), logprobs_of(part.any("logprobs")), cache)


def _refusal(part: Members) -> Part:
    return Refusal(part.needed_text("refusal"))


def _image(part: Members) -> Part:
    detail, cache = part.text("detail"), cache_mark(part)
    url, file_id = part.text("image_url"), part.text("file_id")
    if not url and not file_id:
        raise InvalidRequest(f"{part.path}: expected image_url or file_id", param=part.path)
    return Image(source_of(url) if url else Source(file_id=file_id), detail, cache)


def _file(part: Members) -> Part:
    name, cache = part.text("filename"), cache_mark(part)
    content, url, file_id = part.text("file_data"), part.text("file_url"), part.text("file_id")
    if content:
        source = source_of(content) if content.startswith("data:") else Source(data=content)
        source = Source(data=content) if source.url else source
    elif url or file_id:
        source = Source(url=url) if url else Source(file_id=file_id)
    else:
        raise InvalidRequest(f"{part.path}: expected file_data, file_url or file_id", param=part.path)
    return Document(source, name, cache=cache)


def _audio(part: Members) -> Part:
    sound = part.needed_object("input_audio")
    kind, content = sound.text("format"), sound.needed_text("data")
    return Audio(Source(AUDIO_TYPES.get(kind, ""), data=content), kind)


_READERS: dict[str, Callable[[Members], Part]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}
