"""The items of a stream while they are written: what is known of each until its end is told."""

from typing import Any

import msgspec

from router.domain.chat import Citation, Logprob, Part, Reasoning

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode


class OpenMessage:
    """The message that texts go into while nothing else is said. `open` counts its parts under way."""

    __slots__ = ("id", "number", "content", "open", "is_sealed")

    def __init__(self, item_id: str, number: int) -> None:
        self.id = item_id
        self.number = number
        self.content: list[Json | None] = []
        self.open = 0
        self.is_sealed = False


class OpenPart:
    """A part under way. `place` are the members that say where; `head` begins the frame of each of its deltas. A thought
    is begun with its first word."""

    __slots__ = (
        "part",
        "place",
        "kind",
        "head",
        "is_begun",
        "pieces",
        "message",
        "thought",
        "citations",
        "logprobs",
        "signature",
        "encrypted",
    )

    def __init__(self, part: Part, place: Json, kind: str, message: OpenMessage | None = None) -> None:
        self.part = part
        self.place = place
        self.kind = kind
        self.is_begun = not isinstance(part, Reasoning)
        self.pieces: list[str] = []
        self.message = message
        self.thought: OpenThought | None = None
        self.citations: list[Citation] = []
        self.logprobs: list[Logprob] = []
        self.signature = ""
        self.encrypted: list[str] = []
        weights: Json = {"logprobs": []} if kind == "response.output_text" else {}
        told = _encode({"type": f"{kind}.delta"} | place | weights)
        self.head = f"event: {kind}.delta\n".encode() + b"data: " + told[:-1] + b',"delta":'

    @property
    def number(self) -> int:
        number: int = self.place["output_index"]
        return number


class OpenThought:
    """The thought whose pieces are told. `told` are those that have ended, `open` counts the others."""

    __slots__ = ("id", "number", "last", "told", "open", "is_sealed", "_summaries", "_contents")

    def __init__(self, item_id: str, number: int, first: Reasoning) -> None:
        self.id = item_id
        self.number = number
        self.last = first
        self.told: list[Reasoning] = []
        self.open = 0
        self.is_sealed = False
        self._summaries = 0
        self._contents = 0

    def place(self, *, is_summary: bool) -> Json:
        """Where its next piece stands."""
        place: Json = {"item_id": self.id, "output_index": self.number}
        if is_summary:
            self._summaries += 1
            return place | {"summary_index": self._summaries - 1}
        self._contents += 1
        return place | {"content_index": self._contents - 1}
