"""One call to a provider as values: what is sent, what can go wrong before an answer, the answer's port."""

from collections.abc import AsyncIterable, Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from router.domain.flow import Flow
from router.domain.routes import Timeouts


class FailureKind(StrEnum):
    """Why there is no answer, or no end of one. The values are stable: they appear in `attempts` and metrics."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    RESET = "reset"
    PROTOCOL = "protocol"
    TOO_LARGE = "too_large"
    FORCED = "forced"


NEVER_SENT = frozenset(
    {FailureKind.DNS, FailureKind.CONNECT, FailureKind.TLS, FailureKind.CONNECT_TIMEOUT, FailureKind.FORCED}
)
"""Failures after which the provider certainly has not seen the request."""

TIMEOUTS = frozenset(
    {
        FailureKind.CONNECT_TIMEOUT,
        FailureKind.FIRST_BYTE_TIMEOUT,
        FailureKind.IDLE_TIMEOUT,
        FailureKind.TOTAL_TIMEOUT,
    }
)


class TransportFailure(Exception):
    """The one error a transport raises; `detail` is for the operator and holds no credential."""

    def __init__(self, kind: FailureKind, detail: str = "") -> None:
        super().__init__(f"{kind.value}: {detail}" if detail else kind.value)
        self.kind = kind
        self.detail = detail


TRANSPORT_HEADERS = frozenset(
    "host content-length transfer-encoding connection keep-alive proxy-connection te trailer upgrade expect".split()
)
"""What a transport writes itself, or what belongs to one connection: neither callers nor the file set them."""


class Upload(msgspec.Struct, frozen=True):
    """A body that is sent as it comes. `length` in bytes; None is unknown, and sent in chunks.

    `pieces` is iterated once, a piece at a time as the provider takes them, and no further once there is an answer. What it
    raises ends the call and is raised by the transport as it is. Whoever made it closes it.
    """

    pieces: AsyncIterable[bytes]
    length: int | None = None


class Answered(msgspec.Struct, frozen=True):
    """One part of a call that came back whole and well."""

    body: bytes
    headers: Mapping[str, str]


class Parts(msgspec.Struct):
    """The bodies of a call that goes to its URL in several, or may. The transport notes by number which were sent, and what
    came back: who pays for them reads it here, however the call ends. Of a part that was refused nothing is noted."""

    bodies: tuple[bytes, ...]
    answered: dict[int, Answered] = msgspec.field(default_factory=dict)
    unanswered: set[int] = msgspec.field(default_factory=set)


class Destination(msgspec.Struct, frozen=True, eq=False):
    """Where calls go, and the headers that they share. Made once for many: what a transport makes of one it may keep.

    `ca_digest` is that of the content of `ca_file`: a new content is trusted by new connections only. `trusted_host` is
    False for a host that the operator's file does not name: it is asked at addresses of the public internet only.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    ca_file: str = ""
    ca_digest: str = ""
    trusted_host: bool = True


_NO_HEADERS: Mapping[str, str] = {}


class UpstreamCall(msgspec.Struct, frozen=True):
    """One HTTP request to a provider, ready to send. `total_s` is what is left of the request's deadline. `own_headers` go
    with this call alone, in the place of those of its destination that have the same names. With `parts` it is several,
    whose bodies are theirs.
    """

    to: Destination
    body: bytes | Upload
    stream: bool
    timeouts: Timeouts
    total_s: float
    own_headers: Mapping[str, str] = _NO_HEADERS
    parts: Parts | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """All that it is sent with."""
        return {**self.to.headers, **self.own_headers} if self.own_headers else self.to.headers


class UpstreamAnswer(Flow, Protocol):
    """An answer whose head has arrived, and its body as a flow, which raises TransportFailure on a break or when a timer
    runs out. Ends in exactly one `close`; closing before the end drops the connection."""

    status: int
    headers: Mapping[str, str]  # names in lower case; of repeated names the last

    async def read(self, limit: int) -> bytes:
        """The whole body; TransportFailure TOO_LARGE past `limit` bytes, or what the connection met."""
        ...

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it at once. Never raises, never waits."""
        ...
