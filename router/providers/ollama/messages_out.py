"""Turns as the messages of Ollama's own chat: one text each, images beside it."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from router.domain.chat import (
    Audio,
    ChatQuery,
    Document,
    Family,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Turn,
)
from router.providers.saying import CallBook, Saying, results_first, said_in_results

Json = dict[str, Any]
_UNSEALED = frozenset({None, Family.CHAT, Family.OLLAMA})
_OBJECT = msgspec.json.Decoder(dict[str, Any])


class MessageWriter:
    """Writes the turns of one request."""

    def __init__(self, query: ChatQuery, saying: Saying) -> None:
        self._query = query
        self._saying = saying
        self._calls = CallBook()

    def messages(self) -> list[Json]:
        """Raises UnsupportedFeature."""
        return [message for number, turn in enumerate(self._query.turns) for message in self._turn(turn, number)]

    def _turn(self, turn: Turn, number: int) -> Iterable[Json]:
        if turn.name:
            self._saying.drop("speaker's name")
        if turn.role is Role.ASSISTANT:
            return [self._assistant(turn, number)]
        if turn.role is Role.USER:
            return self._user(turn)
        return [self._said("system", turn.parts)]

    # -- the user ---------------------------------------------------------------------------------------------

    def _user(self, turn: Turn) -> list[Json]:
        return results_first(turn.parts, self._result, lambda parts: self._said("user", parts))

    def _result(self, result: ToolResult, behind: list[Part]) -> Json:
        """Ollama knows the call by the tool's name and its place among the results."""
        call_id, name = self._calls.answered(result)
        if result.is_error:
            self._saying.drop("tool_result.is_error")
        if result.cache is not None:
            self._saying.drop("cache_control")
        message = self._said("tool", said_in_results(result.parts, call_id, behind))
        return message | ({"tool_name": name} if name else {})

    def _said(self, role: str, parts: Sequence[Part]) -> Json:
        self._saying.note_marks(parts)
        texts: list[str] = []
        images: list[str] = []
        for part in parts:
            if isinstance(part, Image) and role == "user":
                images.append(self._image(part))
            else:
                texts.append(self._text(part))
        return {"role": role, "content": "\n\n".join(texts)} | ({"images": images} if images else {})

    def _image(self, part: Image) -> str:
        if part.detail and part.detail != "auto":
            self._saying.drop("image detail")
        if not part.source.data:
            self._saying.refuse("messages", "an image that is not given by its content")
        return part.source.data

    def _text(self, part: Part) -> str:
        if isinstance(part, Text | Refusal):
            return part.text
        if isinstance(part, Document) and part.source.text:
            if part.is_cited:
                self._saying.drop("document.citations")
            return "\n\n".join(text for text in (part.name, part.context, part.source.text) if text)
        kind = part.kind if isinstance(part, Opaque) else type(part).__name__.lower()
        return self._saying.refuse("messages", f"{kind} in a message, or one that is no plain text")

    # -- the assistant ----------------------------------------------------------------------------------------

    def _assistant(self, turn: Turn, number: int) -> Json:
        self._calls.begin_turn()
        self._saying.note_marks(turn.parts)
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[Json] = []
        for part in turn.parts:
            if isinstance(part, ToolCall):
                calls.append(self._call(part, number, len(calls)))
            elif isinstance(part, Audio) and part.transcript:
                texts.append(part.transcript)
            elif not isinstance(part, Reasoning):
                texts.append(self._text(part))
            elif part.family in _UNSEALED and part.text:
                thoughts.append(part.text)
            else:
                self._saying.drop("reasoning of earlier turns")
        message: Json = {"role": "assistant", "content": "".join(texts)}
        if thoughts:
            message["thinking"] = "\n\n".join(thoughts)
        return message | ({"tool_calls": calls} if calls else {})

    def _call(self, call: ToolCall, turn: int, number: int) -> Json:
        self._calls.called(call, turn, number)
        return {"function": {"name": call.name, "arguments": self._arguments(call)}}

    def _arguments(self, call: ToolCall) -> Any:
        if call.is_custom:
            return {"input": call.arguments}
        try:
            _OBJECT.decode(call.arguments or "{}")
        except (msgspec.MsgspecError, RecursionError):
            self._saying.refuse("messages", "the arguments of a tool call that are no JSON object")
        return msgspec.Raw((call.arguments or "{}").encode())
