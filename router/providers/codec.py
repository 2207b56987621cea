"""What a chat dialect must be able to say for translation: its words to and from the canonical form. Pure, like a dialect.

A dialect that is only spoken to providers (Gemini, Bedrock, Cohere, Ollama) has no caller's side.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from router.domain.chat import ChatQuery, ChatResult, Family
from router.domain.events import StreamEvent


class Encoded(msgspec.Struct, frozen=True):
    """A request in a target's words. `dropped` are fields of the caller's that docs/fidelity.md lists as dropped."""

    body: bytes
    dropped: tuple[str, ...] = ()


class ToldError(msgspec.Struct, frozen=True):
    """A provider's error in common words; None where it does not tell. `retry_after_s`: seconds, told in the body."""

    message: str
    kind: str | None = None
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None


class StreamDecoder(Protocol):
    """Reads one provider's stream. `feed` takes one whole frame of the wire (an SSE frame with its blank line, a binary
    event); unknown event types are no events. Raises ValueError for a frame that is none."""

    def feed(self, frame: bytes) -> Sequence[StreamEvent]: ...

    def close(self) -> Sequence[StreamEvent]:
        """The stream has ended: what is still to be said."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the dialect's own end has been seen."""
        ...


class StreamEncoder(Protocol):
    """Writes one caller's stream: each event becomes whole frames, or none."""

    def feed(self, event: StreamEvent) -> bytes: ...

    def close(self) -> bytes:
        """The stream has ended well: its last frames."""
        ...


class TargetSide(Protocol):
    """To and from a provider. `takes_free_text`: its tools may take a text that is no JSON."""

    family: Family
    takes_free_text: bool

    def encode_query(self, query: ChatQuery, model: str, target: str) -> Encoded:
        """The body to send. Raises UnsupportedFeature naming the field and `target` where it cannot be said."""
        ...

    def decode_result(self, answer: bytes) -> ChatResult:
        """Raises ValueError where it is no answer."""
        ...

    def stream_decoder(self) -> StreamDecoder: ...

    def decode_error(self, status: int, body: bytes) -> ToldError:
        """Never raises: what cannot be read is told as far as it can."""
        ...


class CallerSide(Protocol):
    """To and from a caller."""

    family: Family

    def decode_query(self, body: bytes) -> ChatQuery:
        """Raises InvalidRequest naming the field."""
        ...

    def encode_result(self, result: ChatResult, query: ChatQuery) -> bytes: ...

    def stream_encoder(self, query: ChatQuery) -> StreamEncoder: ...
