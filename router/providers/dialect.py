"""What a wire dialect must be able to do. A dialect is pure: no socket, no clock, no randomness, no log."""

from typing import Protocol

from router.domain.requests import ModelRequest
from router.domain.usage import Usage

Cap = tuple[str, int]
"""The name and value of an output cap to send because the caller gave none."""


class StreamMeter(Protocol):
    """Watches the frames of one stream on their way to the caller.

    `usage` is the provider's own count, None until it was seen. `finished` is true once the dialect's end has been seen
    (contract.md, "Streams"); `failed` once the provider itself has sent an error event. `frames` counts events with content.
    """

    @property
    def usage(self) -> Usage | None: ...

    @property
    def finished(self) -> bool: ...

    @property
    def failed(self) -> bool: ...

    @property
    def frames(self) -> int: ...

    def feed(self, frames: bytes) -> bytes:
        """Take whole frames; return those to relay: the same bytes, but for a usage frame the caller did not ask for."""
        ...

    def close(self) -> bytes:
        """The stream has ended well: what is still to be relayed, b"" where the frames were the caller's own."""
        ...

    def estimated_output_tokens(self) -> int:
        """Tokens produced so far, from what passed; at least 1 once anything with content did."""
        ...


class Dialect(Protocol):
    """How one API is spoken to one provider."""

    @property
    def path(self) -> str:
        """Below the provider's base URL, with its leading slash."""
        ...

    def build_body(self, request: ModelRequest, upstream_model: str, *, inject_usage: bool, cap: Cap | None = None) -> bytes:
        """The body to send, with `cap` set where the caller gave none. Raises UnsupportedFeature.

        Idempotent: called again for each attempt.
        """
        ...

    def usage_of(self, answer: bytes) -> Usage | None:
        """The provider's count in a whole JSON answer, None if it gives none. Raises ValueError if it is no JSON object."""
        ...

    def stream_meter(self, request: ModelRequest, *, hides_usage: bool) -> StreamMeter:
        """`hides_usage`: the usage frame was asked for by us and must not reach the caller."""
        ...
