"""The events of a Responses stream as canonical events. Types that are not known are no events, and are counted.

A part ends when its item's next part begins, or with its item: what an item repeats at its end is compared with what its
deltas brought, and only what is new of it is told.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from router.domain.chat import Family, Opaque, Part, Reasoning, Refusal, Text, ToolCall
from router.domain.events import (
    Broken,
    CitationAdded,
    Finished,
    LogprobsAdded,
    PartEnded,
    PartStarted,
    SignatureDelta,
    Started,
    StreamEvent,
    TextDelta,
    UsageReported,
)
from router.providers.openai_chat_codec.shapes import arguments_of, logprobs_of, seconds_of, text_of
from router.providers.openai_responses_codec.annotations import citation_of
from router.providers.openai_responses_codec.result_in import (
    Told,
    call_of,
    content_part,
    failure_of,
    finish_of,
    parts_of,
)
from router.providers.openai_responses_codec.under_way import (
    KIND_OF_EVENT,
    OpenItem,
    OpenPart,
    emptied,
    number_of,
    part_for,
    slots_of,
)
from router.providers.sse import frames
from router.providers.usage import with_output

Json = dict[str, Any]


class _Event(msgspec.Struct):
    """Every event in one: a type that is not known may have any members."""

    type: str = ""
    output_index: Any = 0
    content_index: Any = 0
    summary_index: Any = 0
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    logprobs: Any = None
    annotation: Any = None
    part: Any = None
    item: Any = None
    response: msgspec.Raw = msgspec.Raw()
    error: Any = None
    code: Any = None
    message: Any = None


_EVENT = msgspec.json.Decoder(_Event)
_TOLD = msgspec.json.Decoder(Told)
_SILENT = frozenset(
    f"response.{name}"
    for name in (
        "in_progress",
        "queued",
        "reasoning_summary_part.done",
        "web_search_call.in_progress",
        "web_search_call.searching",
        "web_search_call.completed",
        "file_search_call.in_progress",
        "file_search_call.searching",
        "file_search_call.completed",
        "code_interpreter_call.in_progress",
        "code_interpreter_call.interpreting",
        "code_interpreter_call.completed",
        "code_interpreter_call_code.delta",
        "code_interpreter_call_code.done",
        "image_generation_call.in_progress",
        "image_generation_call.generating",
        "image_generation_call.partial_image",
        "image_generation_call.completed",
        "mcp_call.in_progress",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
        "mcp_call.completed",
        "mcp_call.failed",
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
    )
)
"""Known, and nothing but progress: what they bring stands in the item when it is done."""


class ResponsesStreamDecoder:
    """Reads one stream. `unknown` counts events of types that are not known."""

    __slots__ = (
        "finished",
        "unknown",
        "_items",
        "_next",
        "_is_started",
        "_is_broken",
        "_has_calls",
        "_has_refused",
        "_size",
    )

    def __init__(self) -> None:
        self.finished = False
        self.unknown = 0
        self._items: dict[int, OpenItem] = {}
        self._next = 0
        self._is_started = False
        self._is_broken = False
        self._has_calls = False
        self._has_refused = False
        self._size = 0

    def feed(self, frame: bytes) -> Sequence[StreamEvent]:
        """Raises ValueError for a frame that is none."""
        events: list[StreamEvent] = []
        for name, data in frames(frame):
            if data == b"[DONE]":
                continue
            try:
                event = _EVENT.decode(data)
                if self._is_broken:
                    self.finished = self.finished or event.type == "response.failed"
                if self._is_broken or self.finished:
                    continue
                self._read(event, events, is_error=name == b"error")
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                raise ValueError(f"no event of a response: {error}") from error
        return events

    def close(self) -> Sequence[StreamEvent]:
        return ()

    def _read(self, event: _Event, events: list[StreamEvent], *, is_error: bool) -> None:
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta" | "response.reasoning_text.delta":
                self._more(event, events, "content", event.content_index)
            case "response.reasoning_summary_text.delta":
                self._more(event, events, "summary", event.summary_index)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                self._more(event, events, "call", 0)
            case "response.output_item.added":
                self._begin_item(event, events)
            case "response.output_item.done":
                self._end_item(number_of(event.output_index), event.item if isinstance(event.item, dict) else {}, events)
            case "response.content_part.added":
                self._begin_content(event, events)
            case "response.reasoning_summary_part.added":
                self._in(event, events, "summary", event.summary_index)
            case "response.output_text.annotation.added":
                self._cite(event, events)
            case "response.created":
                self._start(_TOLD.decode(event.response), events)
            case "response.completed" | "response.incomplete" | "response.failed":
                self._end(event, events)
            case kind if is_error or kind == "error":
                word, message = failure_of(event.error or {"code": event.code, "message": event.message})
                self._break(word, message, events)
            case _:
                self._whole(event, events)

    # -- beginning and end ------------------------------------------------------------------------------------

    def _start(self, told: Told, events: list[StreamEvent]) -> None:
        if self._is_started:
            return
        self._is_started = True
        tier, created = text_of(told.service_tier), seconds_of(told.created_at)
        events.append(Started(Family.RESPONSES, text_of(told.id), text_of(told.model), created, tier))

    def _end(self, event: _Event, events: list[StreamEvent]) -> None:
        told = _TOLD.decode(event.response)
        self._start(told, events)
        self.finished = True
        if event.type == "response.failed" or told.status == "failed":
            self._break(*failure_of(told.error), events)
            return
        if not self._items:
            for number, item in enumerate(told.items()):
                self._end_item(number, item, events)
        self._end_all(events)
        usage = told.counted()
        if usage is not None:
            events.append(UsageReported(with_output(usage, lambda: max(1, self._size // 4))))
        status = event.type.removeprefix("response.")
        events.append(Finished(*finish_of(status, told.reason(), has_calls=self._has_calls, has_refused=self._has_refused)))

    def _end_all(self, events: list[StreamEvent]) -> None:
        """Items whose end was not told."""
        for item in self._items.values():
            if not item.has_ended:
                self._end_part(item, events)
                item.has_ended = True

    def _break(self, word: str, message: str, events: list[StreamEvent]) -> None:
        self._is_broken = True
        status = 429 if word in {"rate_limit_exceeded", "insufficient_quota"} else None
        events.append(Broken(word, message, status))

    # -- items ------------------------------------------------------------------------------------------------

    def _begin_item(self, event: _Event, events: list[StreamEvent]) -> None:
        number = number_of(event.output_index)
        head = event.item if isinstance(event.item, dict) else {}
        if number in self._items:
            raise ValueError(f"the item {number} begins twice")
        item = self._items[number] = OpenItem(head)
        if item.kind in {"function_call", "custom_tool_call"}:
            call = call_of(head)
            self._begin(item, ("call", 0), msgspec.structs.replace(call, arguments=""), events)
            self._say(item, call.arguments, events)
        elif item.kind not in {"message", "reasoning"}:
            # Its place is kept: it is told when it is whole.
            item.reserved = self._next
            self._next += 1

    def _end_item(self, number: int, told: Json, events: list[StreamEvent]) -> None:
        item = self._items.get(number)
        if item is None:
            item = self._items[number] = OpenItem(told)
        if item.has_ended:
            return
        parts = parts_of(told)
        if parts and isinstance(parts[0], Opaque) and item.kind not in {"message", "reasoning"}:
            self._tell_whole(item, parts[0], events)
        else:
            for slot, part in zip(slots_of(told), parts, strict=False):
                self._complete(item, slot, part, events)
        self._end_part(item, events)
        item.has_ended = True

    def _complete(self, item: OpenItem, slot: tuple[str, int], part: Part, events: list[StreamEvent]) -> None:
        """Tell what of the whole `part` was not told by deltas."""
        if slot in item.told and slot != item.slot:
            return
        if slot != item.slot:
            self._begin(item, slot, emptied(part), events)
        self._reconcile(item, part, events)

    def _tell_whole(self, item: OpenItem, part: Part, events: list[StreamEvent]) -> None:
        self._start(Told(), events)
        if item.reserved is None:
            item.reserved = self._next
            self._next += 1
        events += (PartStarted(item.reserved, part), PartEnded(item.reserved))

    # -- parts ------------------------------------------------------------------------------------------------

    def _begin(self, item: OpenItem, slot: tuple[str, int], part: Part, events: list[StreamEvent]) -> None:
        self._start(Told(), events)
        self._end_part(item, events)
        item.open = OpenPart(self._next, part)
        item.slot = slot
        item.told.add(slot)
        self._next += 1
        self._has_calls = self._has_calls or isinstance(part, ToolCall)
        self._has_refused = self._has_refused or isinstance(part, Refusal)
        events.append(PartStarted(item.open.index, part))
        if isinstance(part, Opaque):
            self._end_part(item, events)

    def _end_part(self, item: OpenItem, events: list[StreamEvent]) -> None:
        if item.open is not None:
            events.append(PartEnded(item.open.index))
            item.open = item.slot = None

    def _in(self, event: _Event, events: list[StreamEvent], place: str, index: object) -> OpenItem:
        """The item that an event is about, with the part of that place under way. Some servers do not say that it begins."""
        number, slot = number_of(event.output_index), (place, number_of(index))
        item = self._items.get(number)
        if item is None:
            item = self._items[number] = OpenItem({"type": KIND_OF_EVENT.get(event.type, "message")})
        if item.has_ended:
            raise ValueError(f"more of the item {number}, which has ended")
        if item.slot != slot:
            self._begin(item, slot, part_for(item, place, event.type), events)
        return item

    def _begin_content(self, event: _Event, events: list[StreamEvent]) -> None:
        slot = ("content", number_of(event.content_index))
        item = self._items.get(number_of(event.output_index))
        told = event.part if isinstance(event.part, dict) else {}
        if item is None or item.kind == "reasoning" or text_of(told.get("type")) in {"output_text", "reasoning_text", ""}:
            item = self._in(event, events, *slot)
        elif item.slot != slot and not item.has_ended:
            self._begin(item, slot, emptied(content_part(told)), events)

    def _more(self, event: _Event, events: list[StreamEvent], place: str, index: object) -> None:
        item = self._in(event, events, place, index)
        self._say(item, text_of(event.delta), events)
        if event.logprobs and item.open is not None and isinstance(item.open.part, Text):
            self._weigh(item.open, logprobs_of(event.logprobs), events)

    def _say(self, item: OpenItem, text: str, events: list[StreamEvent]) -> None:
        if text and item.open is not None:
            item.open.pieces.append(text)
            self._size += len(text)
            events.append(TextDelta(item.open.index, text))

    def _weigh(self, part: OpenPart, found: tuple[Any, ...], events: list[StreamEvent]) -> None:
        if found:
            part.has_logprobs = True
            events.append(LogprobsAdded(part.index, found))

    def _cite(self, event: _Event, events: list[StreamEvent]) -> None:
        item = self._in(event, events, "content", event.content_index)
        if item.open is not None and isinstance(event.annotation, dict):
            item.open.citations += 1
            events.append(CitationAdded(item.open.index, citation_of(event.annotation)))

    def _whole(self, event: _Event, events: list[StreamEvent]) -> None:
        """Events that repeat what deltas brought; and all that are not known."""
        match event.type:
            case "response.output_text.done" | "response.reasoning_text.done":
                self._repeat_in(event, events, ("content", event.content_index), event.text)
            case "response.refusal.done":
                self._repeat_in(event, events, ("content", event.content_index), event.refusal)
            case "response.reasoning_summary_text.done":
                self._repeat_in(event, events, ("summary", event.summary_index), event.text)
            case "response.function_call_arguments.done":
                self._repeat_in(event, events, ("call", 0), arguments_of(event.arguments))
            case "response.custom_tool_call_input.done":
                self._repeat_in(event, events, ("call", 0), event.input)
            case "response.content_part.done":
                item = self._items.get(number_of(event.output_index))
                if item is not None and item.slot == ("content", number_of(event.content_index)) and item.kind == "message":
                    self._reconcile(item, content_part(event.part if isinstance(event.part, dict) else {}), events)
            case kind:
                self.unknown += kind not in _SILENT

    def _repeat_in(self, event: _Event, events: list[StreamEvent], place: tuple[str, object], whole: object) -> None:
        """Some servers repeat a text when its item, or its part, has long ended."""
        item = self._items.get(number_of(event.output_index))
        slot = (place[0], number_of(place[1]))
        if item is None or not (item.has_ended or (slot in item.told and slot != item.slot)):
            self._repeat(self._in(event, events, *place), whole, events)

    def _repeat(self, item: OpenItem, whole: object, events: list[StreamEvent]) -> None:
        part = item.open
        text = text_of(whole)
        said = "".join(part.pieces) if part is not None else ""
        if len(text) > len(said) and text.startswith(said):
            self._say(item, text[len(said) :], events)

    def _reconcile(self, item: OpenItem, part: Part, events: list[StreamEvent]) -> None:
        under_way = item.open
        if under_way is None:
            return
        match part:
            case Text():
                self._repeat(item, part.text, events)
                events += (CitationAdded(under_way.index, one) for one in part.citations[under_way.citations :])
                under_way.citations = max(under_way.citations, len(part.citations))
                if not under_way.has_logprobs:
                    self._weigh(under_way, part.logprobs, events)
            case Refusal() | Reasoning():
                self._repeat(item, part.text, events)
            case ToolCall():
                self._repeat(item, part.arguments, events)
        if isinstance(part, Reasoning) and part.encrypted:
            events.append(SignatureDelta(under_way.index, part.encrypted, is_encrypted=True))
