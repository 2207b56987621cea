"""Streams whose events tell their kind in a `type`: what the Messages and the Responses API have in common.

Markers are searched in the raw frames and only a block that holds one is decoded: inside a JSON string every quote is
escaped, so these bytes are a whole value or name, never text a model wrote.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from router.providers.estimate import Production
from router.providers.sse import frames

ERROR_NAME = re.compile(rb"(?:\A|[\r\n])event: ?error[\r\n]")
_ERROR_TYPE = re.compile(rb'"type":\s*+"error"')


class Typed(Protocol):
    @property
    def type(self) -> str: ...


E = TypeVar("E", bound=Typed)


class EventMeter(ABC, Generic[E]):
    """Watches one stream. `marked` finds the events that `_note` wants to see, which all hold `mark`; `delta` those with
    text."""

    __slots__ = ("finished", "failed", "_decoder", "_mark", "_marked", "_delta", "_produced")

    def __init__(
        self,
        decoder: msgspec.json.Decoder[E],
        mark: bytes,
        marked: re.Pattern[bytes],
        delta: bytes,
        text_of: Callable[[bytes], int],
    ) -> None:
        self.finished = False
        self.failed = False
        self._decoder = decoder
        self._mark = mark
        self._marked = marked
        self._delta = delta
        self._produced = Production(text_of)

    @property
    def frames(self) -> int:
        return self._produced.frames

    def feed(self, frames: bytes) -> bytes:
        # Only deltas count: what begins and ends a part has no text, or repeats what the deltas brought.
        self._produced.add_marked(frames, self._delta)
        may_fail = frames.rfind(b"error") >= 0 and (_ERROR_TYPE.search(frames) or ERROR_NAME.search(frames))
        if may_fail or (frames.rfind(self._mark) >= 0 and self._marked.search(frames) is not None):
            self._inspect(frames)
        return frames

    def close(self) -> bytes:
        return b""

    def estimated_output_tokens(self) -> int:
        return self._produced.tokens()

    def _inspect(self, block: bytes) -> None:
        for name, found in frames(block):
            if not (name == b"error" or self._marked.search(found) or _ERROR_TYPE.search(found)):
                continue
            event = self._decoded(found)
            if name == b"error" or (event is not None and event.type == "error"):
                self.failed = True
            if event is not None:
                self._note(event)

    def _decoded(self, data: bytes) -> E | None:
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, RecursionError):
            return None

    @abstractmethod
    def _note(self, event: E) -> None: ...
