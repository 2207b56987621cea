"""The messages of a Chat Completions request as turns: one message is one turn, so that what is left over can be named."""

import msgspec

from router.domain.chat import (
    Audio,
    CacheMark,
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
from router.providers.openai_chat_codec.media import AUDIO_TYPES, source_of
from router.providers.openai_chat_codec.members import Members, raw, wrong
from router.providers.openai_chat_codec.reasoning import read_google_signature, read_reasoning

_ROLES = {"system": Role.SYSTEM, "developer": Role.DEVELOPER, "user": Role.USER, "assistant": Role.ASSISTANT}
_ALL_ROLES = "system, developer, user, assistant, tool or function"
_REASONING = ("reasoning_content", "reasoning", "reasoning_details")
_LEGACY_CALL = "call_of_"


class MessageReader:
    """Reads messages in order: a result needs to know the call before it. `others` takes what has no place in a turn."""

    def __init__(self, others: dict[str, msgspec.Raw]) -> None:
        self._others = others
        self._calls: dict[str, ToolCall] = {}
        self._legacy = 0

    def turn(self, value: object, path: str) -> Turn:
        """Raises InvalidRequest naming the member."""
        message = Members(value, path)
        role = message.needed_text("role")
        name = message.text("name")
        if role == "tool":
            turn = self._tool_turn(message, name)
        elif role == "function":
            turn = self._function_turn(message, name)
        elif role in _ROLES:
            parts = self._assistant_parts(message) if role == "assistant" else self._content(message)
            turn = Turn(_ROLES[role], _marked(parts, cache_mark(message)), name)
        else:
            raise InvalidRequest(f"{path}.role: expected {_ALL_ROLES}, found {role[:40]!r}", param=f"{path}.role")
        message.leave(self._others)
        return turn

    # -- results ----------------------------------------------------------------------------------------------

    def _tool_turn(self, message: Members, name: str) -> Turn:
        call_id = message.needed_text("tool_call_id")
        call = self._calls.get(call_id)
        told = name or (call.name if call is not None else "")
        is_custom = call is not None and call.is_custom
        cache = cache_mark(message)
        return Turn(Role.USER, (ToolResult(call_id, self._content(message), told, is_custom=is_custom, cache=cache),))

    def _function_turn(self, message: Members, name: str) -> Turn:
        """Of the time before tools: a function was called once a message, without an id."""
        if not name:
            raise InvalidRequest(f"{message.path}.name: expected the name of the function", param=f"{message.path}.name")
        call_id = f"{_LEGACY_CALL}{name}_{self._legacy}"
        return Turn(Role.USER, (ToolResult(call_id, self._content(message), name),))

    # -- what the assistant said ------------------------------------------------------------------------------

    def _assistant_parts(self, message: Members) -> tuple[Part, ...]:
        if message.flag("prefix"):
            # Mistral's: to go on from these words. Its clients send `false` with every other message.
            self._others[message.at("prefix")] = msgspec.Raw(b"true")
        reasoning = read_reasoning({name: message.any(name) for name in _REASONING})
        parts: list[Part] = [*reasoning, *_signed(self._content(message), read_google_signature(message))]
        if refusal := message.text("refusal"):
            parts.append(Refusal(refusal))
        spoken = message.members("audio")
        if spoken is not None:
            parts.append(Audio(Source(data=spoken.text("data")), transcript=spoken.text("transcript"), id=spoken.text("id")))
            spoken.any("expires_at")
        parts += [self._call(message.inner(item, path)) for item, path in message.items("tool_calls")]
        legacy = message.members("function_call")
        if legacy is not None:
            parts.append(self._legacy_call(legacy))
        return tuple(parts)

    def _call(self, call: Members) -> ToolCall:
        call.any("index")
        call_id, kind = call.text("id"), call.text("type", "function")
        if kind not in {"function", "custom"}:
            param = call.at("type")
            raise InvalidRequest(f"{param}: expected function or custom, found {kind[:40]!r}", param=param)
        what = call.needed_object(kind)
        name = what.needed_text("name")
        arguments = what.text("input" if kind == "custom" else "arguments")
        signature = read_google_signature(call)
        family = Family.GEMINI if signature else None
        cache = cache_mark(call)
        found = ToolCall(call_id, name, arguments, kind == "custom", signature=signature, family=family, cache=cache)
        self._calls[call_id] = found
        return found

    def _legacy_call(self, legacy: Members) -> ToolCall:
        self._legacy += 1
        name = legacy.needed_text("name")
        return ToolCall(f"{_LEGACY_CALL}{name}_{self._legacy}", name, legacy.text("arguments"))

    # -- content ----------------------------------------------------------------------------------------------

    def _content(self, message: Members) -> tuple[Part, ...]:
        content = message.any("content")
        path = message.at("content")
        if content is None or content == "":
            return ()
        if isinstance(content, str):
            return (Text(content),)
        if not isinstance(content, list):
            wrong(path, "a string or a list of parts", content)
        return tuple(_part(item, message, f"{path}[{index}]") for index, item in enumerate(content))


def _signed(parts: tuple[Part, ...], signature: str) -> tuple[Part, ...]:
    """Gemini's signature of a text stands beside the content; it is of the last of it."""
    if not signature:
        return parts
    if parts and isinstance(parts[-1], Text):
        return (*parts[:-1], msgspec.structs.replace(parts[-1], signature=signature))
    return (*parts, Text("", signature=signature))


def _part(item: object, message: Members, path: str) -> Part:
    if isinstance(item, str):
        return Text(item)
    kind = item.get("type") if isinstance(item, dict) else None
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and read is None:
        return Opaque(Family.CHAT, kind, raw(item))
    members = message.inner(item, path)
    members.needed_text("type")
    assert read is not None, "a type that is a string is known or opaque"
    return read(members)


def _text_part(members: Members) -> Part:
    return Text(members.needed_text("text"), cache=cache_mark(members))


def _refusal_part(members: Members) -> Part:
    return Refusal(members.needed_text("refusal"))


def _thinking_part(members: Members) -> Part:
    """Mistral's: a list of texts."""
    members.any("closed")
    inner = [members.inner(item, path) for item, path in members.items("thinking")]
    kinds = {part.text("type") for part in inner}
    if kinds - {"text"}:
        raise InvalidRequest(f"{members.at('thinking')}: expected parts of type text", param=members.at("thinking"))
    return Reasoning("".join(part.text("text") for part in inner), Family.CHAT)


def _image_part(members: Members) -> Part:
    """An object with a URL, or, as Mistral takes it, the URL alone."""
    value, cache = members.any("image_url"), cache_mark(members)
    if isinstance(value, str):
        return Image(source_of(value), cache=cache)
    image = members.inner(value, members.at("image_url"))
    return Image(source_of(image.needed_text("url")), image.text("detail"), cache)


def _document_url_part(members: Members) -> Part:
    """Mistral's way to name a file."""
    source = source_of(members.needed_text("document_url"))
    return Document(source, members.text("document_name"), cache=cache_mark(members))


def _file_part(members: Members) -> Part:
    file = members.needed_object("file")
    name, file_id, content = file.text("filename"), file.text("file_id"), file.text("file_data")
    if not content and not file_id:
        raise InvalidRequest(f"{file.path}: expected file_data or file_id", param=file.path)
    source = source_of(content) if content else Source(file_id=file_id)
    if source.url and not source.url.startswith(("http:", "https:")):
        source = Source(data=content)
    return Document(source, name, cache=cache_mark(members))


def _audio_part(members: Members) -> Part:
    sound = members.needed_object("input_audio")
    kind, content = sound.text("format"), sound.needed_text("data")
    source = source_of(content) if content.startswith("data:") else Source(AUDIO_TYPES.get(kind, ""), data=content)
    return Audio(source, kind)


_READERS = {
    "text": _text_part,
    "refusal": _refusal_part,
    "thinking": _thinking_part,
    "image_url": _image_part,
    "document_url": _document_url_part,
    "file": _file_part,
    "input_audio": _audio_part,
}


def cache_mark(members: Members) -> CacheMark | None:
    """OpenRouter's and others' `cache_control`, or OpenAI's breakpoint."""
    control, point = members.members("cache_control"), members.members("prompt_cache_breakpoint")
    for mark, kind in ((control, "type"), (point, "mode")):
        if mark is not None:
            mark.any(kind)
    if control is not None:
        return CacheMark(control.text("ttl"))
    return CacheMark() if point is not None else None


def _marked(parts: tuple[Part, ...], cache: CacheMark | None) -> tuple[Part, ...]:
    """A mark on a message stands behind its last part."""
    if cache is None or not parts or not isinstance(parts[-1], Text | Image | Document | ToolCall):
        return parts
    return (*parts[:-1], msgspec.structs.replace(parts[-1], cache=cache))
