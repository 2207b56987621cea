"""Turns as the messages of a Chat Completions request. What a message cannot hold is refused by name or noted as dropped."""

from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec

from router.domain.chat import (
    Audio,
    CacheMark,
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
from router.domain.errors import UnsupportedFeature
from router.providers.call_ids import nine_letters
from router.providers.openai_chat_codec.accents import Accent
from router.providers.openai_chat_codec.media import format_of, url_of
from router.providers.openai_chat_codec.reasoning import google_signature, written_reasoning
from router.providers.saying import SHOWN_BEHIND, CallBook, lost_marks, results_first

Message = dict[str, Any]
_OWN_FILES = frozenset({Family.CHAT, Family.RESPONSES})
_BETWEEN = "OK."


class MessageWriter:
    """Writes the turns of one request. `dropped` collects what docs/fidelity.md lists as dropped."""

    def __init__(self, query: ChatQuery, target: str, accent: Accent) -> None:
        self._query = query
        self._target = target
        self._is_own = query.origin is Family.CHAT
        self._is_mistral = accent.is_mistral and not self._is_own
        self._has_names = "speaker's name" not in accent.drops or self._is_own
        self._developer = "developer" if accent.has_developer or self._is_own else "system"
        self._calls = CallBook()
        self.dropped: dict[str, None] = {}

    def messages(self) -> list[Message]:
        """Raises UnsupportedFeature."""
        told = [message for number, turn in enumerate(self._query.turns) for message in self._turn(turn, number)]
        return _in_mistrals_order(told) if self._is_mistral else told

    def _turn(self, turn: Turn, number: int) -> Iterable[Message]:
        if turn.role is Role.ASSISTANT:
            return [self._assistant(turn, number)]
        if turn.role is not Role.USER:
            role = self._developer if turn.role is Role.DEVELOPER else "system"
            return [self._named(turn, {"role": role, "content": self._content(turn.parts)})]
        return self._user(turn)

    def _named(self, turn: Turn, message: Message) -> Message:
        if turn.name and self._has_names:
            message["name"] = turn.name
        elif turn.name:
            self.dropped["speaker's name"] = None
        return message

    # -- the user ---------------------------------------------------------------------------------------------

    def _user(self, turn: Turn) -> list[Message]:
        def spoken(parts: list[Part]) -> Message:
            return self._named(turn, {"role": "user", "content": self._content(parts)})

        return results_first(turn.parts, self._result, spoken)

    def _result(self, result: ToolResult, behind: list[Part]) -> Message:
        call_id, _ = self._calls.answered(result)
        texts = [part for part in result.parts if isinstance(part, Text)]
        media = [part for part in result.parts if not isinstance(part, Text)]
        if media and not self._is_own:
            behind += [Text(SHOWN_BEHIND.format(call_id=call_id)), *media]
        elif media:
            return {"role": "tool", "tool_call_id": self._id(call_id), "content": self._content(result.parts)}
        if result.is_error:
            self.dropped["tool_result.is_error"] = None
        if result.cache is not None and not self._is_own:
            self.dropped["cache_control"] = None
        return {"role": "tool", "tool_call_id": self._id(call_id), "content": self._content(texts)}

    # -- the assistant ----------------------------------------------------------------------------------------

    def _assistant(self, turn: Turn, number: int) -> Message:
        message: Message = {"role": "assistant", "content": self._said(turn.parts)}
        self._calls.begin_turn()
        calls: list[Message] = []
        for part in turn.parts:
            if isinstance(part, Refusal):
                message["refusal"] = message.get("refusal", "") + part.text
            elif isinstance(part, ToolCall):
                calls.append(self._call(part, number, len(calls)))
            elif isinstance(part, Audio):
                message["audio"] = self._spoken(part)
            elif isinstance(part, Image | Document | ToolResult):
                self._refuse(f"messages: {type(part).__name__.lower()} in an assistant message")
        if calls:
            message["tool_calls"] = calls
        if self._is_own:
            signed = (part.signature for part in reversed(turn.parts) if isinstance(part, Text) and part.signature)
            message |= google_signature(next(signed, ""))
        if any(isinstance(part, Reasoning) for part in turn.parts):
            if self._is_own:
                message |= written_reasoning(turn.parts)
            else:
                self.dropped["reasoning of earlier turns"] = None
        return self._named(turn, message)

    def _said(self, parts: tuple[Part, ...]) -> str | list[Message | msgspec.Raw] | None:
        """A dialect that cuts its texts for citations cuts within one text: they are one again."""
        texts = [part for part in parts if isinstance(part, Text | Opaque)]
        if not texts:
            return None if any(isinstance(part, ToolCall | Refusal | Audio) for part in parts) else ""
        if self._is_own:
            return self._content(texts)
        self._note_marks(texts)
        return "".join(part.text if isinstance(part, Text) else self._opaque(part) for part in texts)

    def _call(self, call: ToolCall, turn: int, number: int) -> Message:
        call_id = self._calls.called(call, turn, number)
        self._note_marks([call])
        if call.is_custom:
            shape: Message = {"type": "custom", "custom": {"name": call.name, "input": call.arguments}}
        else:
            shape = {"type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
        if call.family is Family.CHAT or (self._is_own and call.family is Family.GEMINI):
            shape |= google_signature(call.signature)
        return {"id": self._id(call_id)} | shape | self._mark(call.cache)

    def _id(self, call_id: str) -> str:
        return nine_letters(call_id) if self._is_mistral else call_id

    def _spoken(self, part: Audio) -> Message:
        if not part.id:
            self._refuse("messages: audio in an assistant message")
        return {"id": part.id}

    # -- content ----------------------------------------------------------------------------------------------

    def _content(self, parts: Iterable[Part]) -> str | list[Message | msgspec.Raw]:
        """One text alone is a string: every server of this dialect takes that."""
        found = list(parts)
        self._note_marks(found)
        written = [self._part(part) for part in found]
        if len(written) == 1 and isinstance(written[0], dict) and written[0].keys() == {"type", "text"}:
            text: str = written[0]["text"]
            return text
        return written or ""

    def _part(self, part: Part) -> Message | msgspec.Raw:
        if isinstance(part, Opaque) and part.family is Family.CHAT:
            return part.raw
        shape = self._shape(part)
        return shape | self._mark(getattr(part, "cache", None))

    def _mark(self, mark: CacheMark | None) -> Message:
        """In the words of servers that take marks; OpenAI's callers alone may know that theirs does."""
        if mark is None or not self._is_own:
            return {}
        return {"cache_control": {"type": "ephemeral"} | ({"ttl": mark.ttl} if mark.ttl else {})}

    def _shape(self, part: Part) -> Message:
        match part:
            case Text():
                return {"type": "text", "text": part.text}
            case Refusal():
                return {"type": "refusal", "refusal": part.text}
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case Audio():
                return self._audio(part)
            case Opaque():
                return self._opaque(part)
        return self._refuse(f"messages: {type(part).__name__.lower()} in a message")

    def _image(self, part: Image) -> Message:
        url = url_of(part.source)
        if not url:
            self._refuse("messages: an image by file id")
        return {"type": "image_url", "image_url": {"url": url} | ({"detail": part.detail} if part.detail else {})}

    def _document(self, part: Document) -> Message:
        """OpenAI takes a file by content or by id; a plain text is a text."""
        source = part.source
        if part.is_cited:
            self.dropped["document.citations"] = None
        if part.context:
            self.dropped["document.context"] = None
        if source.text:
            head = f"{part.name}:\n\n" if part.name else ""
            return {"type": "text", "text": head + source.text}
        if self._is_mistral and (url := url_of(source)):
            return {"type": "document_url", "document_url": url} | ({"document_name": part.name} if part.name else {})
        if source.file_id:
            if self._is_mistral or self._query.origin not in _OWN_FILES:
                self._refuse("messages: a file by an id of another provider")
            file = {"file_id": source.file_id}
        elif source.data:
            file = {"file_data": url_of(source) if source.media_type else source.data}
        elif self._is_own and part.name:
            file = {"file_data": source.url}
        elif self._is_own:
            return {"type": "document_url", "document_url": source.url}
        else:
            self._refuse("messages: a document by URL")
        name = part.name or ("" if source.file_id or self._is_own else "document")
        return {"type": "file", "file": ({"filename": name} if name else {}) | file}

    def _audio(self, part: Audio) -> Message:
        kind = part.format or format_of(part.source.media_type)
        if not part.source.data or not kind:
            self._refuse("messages: audio that is not given as base64 in a format known here")
        return {"type": "input_audio", "input_audio": {"data": part.source.data, "format": kind}}

    def _opaque(self, part: Opaque) -> NoReturn:
        self._refuse(f"messages: a part of type {part.kind}")

    # -- what cannot be said ----------------------------------------------------------------------------------

    def _note_marks(self, parts: Iterable[Part]) -> None:
        if not self._is_own:
            self.dropped |= dict.fromkeys(lost_marks(parts))

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedFeature(f"{what} cannot be said to {self._target} (Chat Completions)", param="messages")


def _in_mistrals_order(told: list[Message]) -> list[Message]:
    """Mistral refuses a user right behind a tool, and an assistant's last word that is not marked to be gone on from."""
    ordered: list[Message] = []
    for message in told:
        if ordered and (ordered[-1]["role"], message["role"]) == ("tool", "user"):
            ordered.append({"role": "assistant", "content": _BETWEEN})
        ordered.append(message)
    if ordered and ordered[-1]["role"] == "assistant":
        ordered[-1]["prefix"] = True
    return ordered
