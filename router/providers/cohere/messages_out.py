"""Turns as the messages of a Cohere request, and the documents that stand beside them."""

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
from router.providers.cohere.wording import PLAN, THINKING
from router.providers.openai_chat_codec.media import url_of
from router.providers.saying import CallBook, Saying, results_first, said_in_results

Json = dict[str, Any]
_DETAILS = frozenset({"auto", "low", "high"})


class MessageWriter:
    """Writes the turns of one request. `documents` are those that the answer is to cite."""

    def __init__(self, query: ChatQuery, saying: Saying) -> None:
        self._query = query
        self._saying = saying
        self._calls = CallBook()
        self.documents: list[Json] = []

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
        return [{"role": "system", "content": self._content(turn.parts, has_media=False)}]

    # -- the user ---------------------------------------------------------------------------------------------

    def _user(self, turn: Turn) -> list[Json]:
        def spoken(parts: list[Part]) -> Json:
            return {"role": "user", "content": self._content(parts, has_media=True)}

        return results_first(turn.parts, self._result, spoken)

    def _result(self, result: ToolResult, behind: list[Part]) -> Json:
        call_id, _ = self._calls.answered(result)
        parts = said_in_results(result.parts, call_id, behind)
        self._saying.note_marks([*parts, result])
        if result.is_error:
            self._saying.drop("tool_result.is_error")
        return {"role": "tool", "tool_call_id": call_id, "content": _plain([self._block(part) for part in parts])}

    def _block(self, part: Part) -> Json:
        """In a result a document stands where it is, and can be cited."""
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        if isinstance(part, Document):
            return {"type": "document", "document": self._document(part)}
        return self._saying.refuse("messages", f"{type(part).__name__.lower()} in a tool's result")

    # -- the assistant ----------------------------------------------------------------------------------------

    def _assistant(self, turn: Turn, number: int) -> Json:
        self._calls.begin_turn()
        message: Json = {"role": "assistant"}
        blocks: list[Json] = []
        calls: list[Json] = []
        for part in turn.parts:
            if isinstance(part, ToolCall):
                calls.append(self._call(part, number, len(calls)))
            elif isinstance(part, Reasoning):
                self._think(part, message, blocks)
            elif text := self._words(part):
                _add_text(blocks, text)
        self._saying.note_marks(turn.parts)
        if blocks or not calls:
            message["content"] = _plain(blocks)
        return message | ({"tool_calls": calls} if calls else {})

    def _think(self, part: Reasoning, message: Json, blocks: list[Json]) -> None:
        """Cohere's own thoughts only: another author's may be of any model."""
        if part.family is not Family.COHERE or not part.text:
            self._saying.drop("reasoning of earlier turns")
        elif part.signature == PLAN:
            message["tool_plan"] = message.get("tool_plan", "") + part.text
        else:
            blocks.append({"type": THINKING, "thinking": part.text})

    def _words(self, part: Part) -> str:
        if isinstance(part, Text | Refusal):
            return part.text
        if isinstance(part, Audio) and part.transcript:
            return part.transcript
        kind = part.kind if isinstance(part, Opaque) else type(part).__name__.lower()
        return self._saying.refuse("messages", f"{kind} in an assistant message")

    def _call(self, call: ToolCall, turn: int, number: int) -> Json:
        arguments = msgspec.json.encode({"input": call.arguments}).decode() if call.is_custom else call.arguments or "{}"
        call_id = self._calls.called(call, turn, number)
        return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

    # -- content ----------------------------------------------------------------------------------------------

    def _content(self, parts: Sequence[Part], *, has_media: bool) -> Any:
        self._saying.note_marks(parts)
        blocks: list[Json] = []
        for part in parts:
            if isinstance(part, Text | Refusal):
                blocks.append({"type": "text", "text": part.text})
            elif isinstance(part, Document):
                self._say_document(part, blocks)
            elif isinstance(part, Image) and has_media:
                blocks.append({"type": "image_url", "image_url": self._image(part)})
            else:
                kind = part.kind if isinstance(part, Opaque) else type(part).__name__.lower()
                self._saying.refuse("messages", f"{kind} in a message")
        return _plain(blocks)

    def _image(self, part: Image) -> Json:
        url = url_of(part.source)
        if not url:
            self._saying.refuse("messages", "an image by file id")
        if part.detail and part.detail not in _DETAILS:
            self._saying.refuse("messages", f"the image detail {part.detail[:40]!r}")
        return {"url": url} | ({"detail": part.detail} if part.detail else {})

    def _say_document(self, part: Document, blocks: list[Json]) -> None:
        """One that is to be cited stands beside the messages; any other is a text where it is."""
        if part.is_cited:
            self.documents.append({"id": f"document_{len(self.documents)}"} | self._document(part))
            return
        data = self._document(part)["data"]
        blocks.append({"type": "text", "text": "\n\n".join(str(value) for value in data.values())})

    def _document(self, part: Document) -> Json:
        """Cohere shows all members of `data` to the model."""
        if not part.source.text:
            self._saying.refuse("messages", "a document that is no plain text")
        told = {"title": part.name, "context": part.context, "text": part.source.text}
        return {"data": {name: value for name, value in told.items() if value}}


def _add_text(blocks: list[Json], text: str) -> None:
    """A dialect that cuts its texts for citations cuts within one text: they are one again."""
    if blocks and blocks[-1]["type"] == "text":
        blocks[-1]["text"] += text
    else:
        blocks.append({"type": "text", "text": text})


def _plain(blocks: list[Json]) -> Any:
    """One text alone is a string, nothing an empty one."""
    if not blocks:
        return ""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks
