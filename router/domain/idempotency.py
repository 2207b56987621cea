"""Requests that carry a key of their caller's: sent twice with the same key, they are done once."""

import msgspec

KEPT_FOR_US = 24 * 3600 * 1_000_000
MAX_KEPT_BYTES = 4 * 2**20


class KeptAnswer(msgspec.Struct, frozen=True):
    """A finished answer as it is told again: of a stream the bytes of all its events. `headers` are those that stay true."""

    status: int
    headers: dict[str, str]
    body: bytes


class Claim(msgspec.Struct, frozen=True):
    """The right to answer under a key. `name` and `fingerprint` are keyed digests, hex: of whose key it is, and of what is
    asked. `id` is the claiming request's."""

    name: str
    fingerprint: str
    id: str


class Earlier(msgspec.Struct, frozen=True):
    """What is known of a key that is taken. Finished without an answer: that was too large to be kept."""

    fingerprint: str
    is_finished: bool
    answer: KeptAnswer | None = None
