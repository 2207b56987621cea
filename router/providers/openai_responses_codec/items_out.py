"""Turns as the items of a Responses request. What no item can hold is refused by name or noted as dropped."""

from collections.abc import Iterable, Sequence
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
from router.providers.openai_chat_codec.media import format_of, url_of
from router.providers.openai_responses_codec.annotations import annotation
from router.providers.openai_responses_codec.items_in import IN_MESSAGE
from router.providers.openai_responses_codec.tools import call_item, grouped_names
from router.providers.saying import CallBook, lost_marks

Json = dict[str, Any]
Item = Json | msgspec.Raw
_OWN_FILES = frozenset({Family.CHAT, Family.RESPONSES})


class ItemWriter:
    """Writes the turns of one request. `dropped` collects what docs/fidelity.md lists as dropped."""

    def __init__(self, query: ChatQuery, target: str) -> None:
        self._query = query
        self._target = target
        self._is_own = query.origin is Family.RESPONSES
        self._names = grouped_names(query.tools)
        self._calls = CallBook()
        self.dropped: dict[str, None] = {}

    def said(self) -> tuple[str, list[Item]]:
        """(the instructions, the items). Raises UnsupportedFeature."""
        turns = self._query.turns
        head = turns[0] if turns else None
        is_apart = self._query.has_instructions or (not self._is_own and head is not None and _is_plain_system(head))
        instructions = ""
        if head is not None and is_apart:
            self._note(head.parts)
            if head.name:
                self.dropped["speaker's name"] = None
            instructions = "\n\n".join(part.text for part in head.parts if isinstance(part, Text))
        skipped = 1 if is_apart else 0
        items: list[Item] = []
        for number, turn in enumerate(turns[skipped:], skipped):
            items += self._assistant(turn, number) if turn.role is Role.ASSISTANT else self._others(turn)
        return instructions, items

    # -- the user, and those who instruct ---------------------------------------------------------------------

    def _others(self, turn: Turn) -> list[Item]:
        """Results answer the calls of the turn before, so they come first."""
        if turn.name:
            self.dropped["speaker's name"] = None
        items = [self._answer(part) for part in turn.parts if _is_item(part)]
        said = [part for part in turn.parts if not _is_item(part)]
        if said or not items:
            items.append({"role": turn.role.value, "content": self._content(said)})
        return items

    def _answer(self, part: Part) -> Item:
        if not isinstance(part, ToolResult):
            return self._opaque(part)
        if part.is_error:
            self.dropped["tool_result.is_error"] = None
        self._note([part])
        kind = "custom_tool_call_output" if part.is_custom else "function_call_output"
        return {"type": kind, "call_id": self._calls.answered(part)[0], "output": self._content(part.parts)}

    # -- the assistant ----------------------------------------------------------------------------------------

    def _assistant(self, turn: Turn, number: int) -> list[Item]:
        items: list[Item] = []
        said: list[Part] = []
        thought: list[Reasoning] = []
        self._calls.begin_turn()
        calls = 0
        for part in turn.parts:
            if thought and not (isinstance(part, Reasoning) and _goes_on(thought, part)):
                items += self._thought(thought)
                thought = []
            if not isinstance(part, Text | Refusal | Audio) and not _stands_in_message(part) and said:
                items.append(self._spoken(said))
                said = []
            if isinstance(part, Reasoning):
                thought.append(part)
            elif isinstance(part, ToolCall):
                items.append(self._call(part, number, calls))
                calls += 1
            elif isinstance(part, Image | Document | ToolResult):
                self._refuse(f"messages: {type(part).__name__.lower()} in an assistant message")
            elif _is_item(part):
                items.append(self._opaque(part))
            else:
                said.append(part)
        items += self._thought(thought)
        return [*items, self._spoken(said)] if said else items

    def _spoken(self, parts: Sequence[Part]) -> Item:
        """One text alone is a string: every server of this dialect takes that."""
        self._note(parts)
        only = parts[0] if len(parts) == 1 else None
        if isinstance(only, Text) and not (self._is_own and only.citations):
            return {"role": "assistant", "content": only.text}
        return {"type": "message", "role": "assistant", "content": [self._spoken_part(part) for part in parts]}

    def _spoken_part(self, part: Part) -> Item:
        if isinstance(part, Text):
            marks = [annotation(one, len(part.text)) for one in part.citations] if self._is_own else []
            return {"type": "output_text", "text": part.text, "annotations": marks}
        if isinstance(part, Refusal):
            return {"type": "refusal", "refusal": part.text}
        if isinstance(part, Audio):
            if not part.transcript:
                self._refuse("messages: audio in an assistant message")
            return {"type": "output_text", "text": part.transcript, "annotations": []}
        return self._opaque(part)

    def _thought(self, parts: Sequence[Reasoning]) -> list[Item]:
        """Only what its author can read again goes back to it; anybody else's would be taken for nothing."""
        if not parts:
            return []
        sealed = parts[-1].encrypted
        if parts[0].family is not Family.RESPONSES or not (sealed or self._is_own):
            self.dropped["reasoning of earlier turns"] = None
            return []
        item: Json = {"type": "reasoning"}
        if parts[0].id:
            item["id"] = parts[0].id
        item["summary"] = [{"type": "summary_text", "text": part.text} for part in parts if part.is_summary]
        content = [part.text for part in parts if not part.is_summary and part.text]
        if content and self._is_own:
            item["content"] = [{"type": "reasoning_text", "text": text} for text in content]
        if sealed:
            item["encrypted_content"] = sealed
        return [item]

    def _call(self, call: ToolCall, turn: int, number: int) -> Item:
        call_id = self._calls.called(call, turn, number)
        self._note([call])
        if not call.is_custom and not call.arguments and not self._is_own:
            call = msgspec.structs.replace(call, arguments="{}")
        item = call_item(call, call_id, self._names)
        return item | {"id": call.item_id} if call.item_id and self._is_own else item

    # -- content ----------------------------------------------------------------------------------------------

    def _content(self, parts: Iterable[Part]) -> str | list[Item]:
        found = list(parts)
        self._note(found)
        written = [self._part(part) for part in found]
        only = written[0] if len(written) == 1 else None
        if isinstance(only, dict) and only.keys() == {"type", "text"}:
            text: str = only["text"]
            return text
        return written or ""

    def _part(self, part: Part) -> Item:
        if isinstance(part, Opaque):
            return self._opaque(part)
        return self._shape(part) | self._mark(getattr(part, "cache", None))

    def _mark(self, mark: CacheMark | None) -> Json:
        return {"prompt_cache_breakpoint": {"mode": "explicit"}} if mark is not None and self._is_own else {}

    def _shape(self, part: Part) -> Json:
        match part:
            case Text():
                return {"type": "input_text", "text": part.text}
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case Audio():
                return self._audio(part)
            case Refusal():
                return {"type": "refusal", "refusal": part.text}
        return self._refuse(f"messages: {type(part).__name__.lower()} in a message")

    def _image(self, part: Image) -> Json:
        self._check_file(part.source.file_id, "an image")
        where = {"file_id": part.source.file_id} if part.source.file_id else {"image_url": url_of(part.source)}
        return {"type": "input_image", **where} | ({"detail": part.detail} if part.detail else {})

    def _document(self, part: Document) -> Json:
        """By content, by URL or by id; a plain text is a text."""
        source = part.source
        if part.is_cited:
            self.dropped["document.citations"] = None
        if part.context:
            self.dropped["document.context"] = None
        if source.text:
            head = f"{part.name}:\n\n" if part.name else ""
            return {"type": "input_text", "text": head + source.text}
        self._check_file(source.file_id, "a file")
        if source.file_id or source.url:
            if part.name and not self._is_own:
                self.dropped["file's name"] = None
            where = {"file_id": source.file_id} if source.file_id else {"file_url": source.url}
            return {"type": "input_file", **where} | ({"filename": part.name} if part.name and self._is_own else {})
        content = url_of(source) if source.media_type else source.data
        name = part.name or ("" if self._is_own else "document")
        return {"type": "input_file"} | ({"filename": name} if name else {}) | {"file_data": content}

    def _check_file(self, file_id: str, what: str) -> None:
        if file_id and self._query.origin not in _OWN_FILES:
            self._refuse(f"messages: {what} by an id of another provider")

    def _audio(self, part: Audio) -> Json:
        kind = part.format or format_of(part.source.media_type)
        if not self._is_own or not part.source.data or not kind:
            self._refuse("messages: audio")
        return {"type": "input_audio", "input_audio": {"data": part.source.data, "format": kind}}

    def _opaque(self, part: Part) -> msgspec.Raw:
        if isinstance(part, Opaque) and part.family is Family.RESPONSES:
            return part.raw
        return self._refuse(f"messages: a part of type {getattr(part, 'kind', type(part).__name__)}")

    # -- what cannot be said ----------------------------------------------------------------------------------

    def _note(self, parts: Iterable[Part]) -> None:
        if not self._is_own:
            self.dropped |= dict.fromkeys(lost_marks(parts))

    def _refuse(self, what: str) -> NoReturn:
        raise UnsupportedFeature(f"{what} cannot be said to {self._target} (Responses)", param="messages")


def _is_plain_system(turn: Turn) -> bool:
    return turn.role is Role.SYSTEM and not turn.name and all(isinstance(part, Text) for part in turn.parts)


def _stands_in_message(part: Part) -> bool:
    return isinstance(part, Opaque) and part.kind.startswith(IN_MESSAGE)


def _is_item(part: Part) -> bool:
    return isinstance(part, ToolResult) or (isinstance(part, Opaque) and not part.kind.startswith(IN_MESSAGE))


def _goes_on(thought: Sequence[Reasoning], part: Reasoning) -> bool:
    """Whether a piece belongs to the same item: what is sealed ends it, and summaries come before the content."""
    last = thought[-1]
    is_same = (last.family, last.id) == (part.family, part.id) and not last.encrypted
    return is_same and (last.is_summary or not part.is_summary)
