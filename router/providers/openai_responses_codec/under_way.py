"""The output items of a stream while they come: which place of each is under way, and what was told of it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from router.domain.chat import Family, Part, Reasoning, Refusal, Text, ToolCall
from router.providers.openai_chat_codec.shapes import text_of
from router.providers.openai_responses_codec.result_in import call_of

Json = dict[str, Any]
_MOST = 100_000


class OpenPart:
    """A part under way: its index, and what has been told of it."""

    __slots__ = ("index", "part", "pieces", "citations", "has_logprobs")

    def __init__(self, index: int, part: Part) -> None:
        self.index = index
        self.part = part
        self.pieces: list[str] = []
        self.citations = 0
        self.has_logprobs = False


class OpenItem:
    """An output item. `slot` is the place of the part under way, `told` the places of those that were."""

    __slots__ = ("head", "slot", "open", "told", "reserved", "has_ended")

    def __init__(self, head: Json) -> None:
        self.head = head
        self.slot: tuple[str, int] | None = None
        self.open: OpenPart | None = None
        self.told: set[tuple[str, int]] = set()
        self.reserved: int | None = None
        self.has_ended = False

    @property
    def kind(self) -> str:
        return text_of(self.head.get("type"))


KIND_OF_EVENT = {
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_text.done": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.reasoning_summary_text.done": "reasoning",
    "response.reasoning_summary_part.added": "reasoning",
    "response.function_call_arguments.delta": "function_call",
    "response.function_call_arguments.done": "function_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
    "response.custom_tool_call_input.done": "custom_tool_call",
}


def part_for(item: OpenItem, place: str, event: str) -> Part:
    """The empty part of an item's place. Raises ValueError where the item has no such place."""
    own_id = text_of(item.head.get("id"))
    if item.kind == "reasoning" and place != "call":
        return Reasoning("", Family.RESPONSES, id=own_id, is_summary=place == "summary")
    if item.kind == "message" and place == "content":
        return Refusal("") if "refusal" in event else Text("")
    if place == "call" and item.kind in {"function_call", "custom_tool_call"}:
        return msgspec.structs.replace(call_of(item.head), arguments="")
    raise ValueError(f"{event[:64]} of an item of type {item.kind[:64]!r}")


def slots_of(told: Json) -> Iterable[tuple[str, int]]:
    """The places of the parts of a whole item, in the order of `parts_of`."""
    if text_of(told.get("type")) in {"function_call", "custom_tool_call"}:
        return [("call", 0)]
    names = ("summary", "content") if told.get("type") == "reasoning" else ("content",)
    listed = [(name, told.get(name)) for name in names]
    found = [(name, at) for name, value in listed if isinstance(value, list) for at in range(len(value))]
    return found or [("content", 0)]


def emptied(part: Part) -> Part:
    match part:
        case Text():
            return Text("")
        case Refusal():
            return Refusal("")
        case Reasoning():
            return msgspec.structs.replace(part, text="", encrypted="")
        case ToolCall():
            return msgspec.structs.replace(part, arguments="")
    return part


def number_of(value: object) -> int:
    """Raises ValueError for what is no place."""
    if type(value) is int and 0 <= value < _MOST:
        return value
    if value is None:
        return 0
    raise ValueError("an index is no number")
